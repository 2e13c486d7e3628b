"""From a source to the matrices of a fit: columns chosen, gaps treated, rows held out."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.advice import advise
from fastgd.cli.errors import InputError
from fastgd.cli.options import FitOptions
from fastgd.cli.output import plural
from fastgd.cli.split import split_rows
from fastgd.cli.target import (
    choose_target,
    columns_to_drop,
    describe_labels,
    drop_words,
    find_column,
    read_target,
)
from fastgd.cli.weights import read_weights
from fastgd.data import ReadOptions
from fastgd.data.categories import categories_of, expanded, indicator_names, met, numbered
from fastgd.data.files import read_table
from fastgd.data.table import ArrayTable, Rows, Table, missing_labels, take_labels

#: Columns that a message lists.
_SHOWN = 8
_INDEX_NAME = re.compile(r"Unnamed: \d+(_level_\d+)?|__index_level_\d+__")


@dataclass
class Problem:
    """What is fitted, and how it came about."""

    source: str
    n_rows_read: int
    n_columns_read: int
    target: str
    task: Literal["linear", "logistic"]
    reason: str
    names: list[str]
    """The columns of `X`."""
    X: NDArray[Any]
    """Shape (n, d), C order, float32 or float64."""
    y: NDArray[Any]
    """Shape (n,)."""
    X_held: NDArray[Any]
    """Shape (n_held, d); no row where nothing is held out."""
    y_held: NDArray[Any]
    weight: str | None = None
    """The column of weights."""
    weights: NDArray[np.float64] | None = None
    """Shape (n,), positive; None weighs all rows alike."""
    weights_held: NDArray[np.float64] | None = None
    """Shape (n_held,)."""
    n_rows_weightless: int = 0
    """Rows of weight 0, which are left out."""
    n_rows_dropped: int = 0
    """Rows with missing values, which are left out."""
    missing: str = "error"
    """What ``--missing`` does."""
    filled: dict[str, int] = field(default_factory=dict)
    """Column -> count of missing values that its mean has taken the place of."""
    dropped: list[str] = field(default_factory=list)
    one_hot: dict[str, list[str]] = field(default_factory=dict)
    """Column -> its categories; all but the first have an indicator among `names`."""
    indicators: dict[str, list[str]] = field(default_factory=dict)
    """Column of `one_hot` -> the names of its indicators."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds_reading: float = 0.0


def prepare(options: FitOptions) -> Problem:
    """Read the source and make the problem that ``fastgd fit`` fits.

    Parameters
    ----------
    options : FitOptions
        What the user asked for.

    Returns
    -------
    Problem
        Matrices, names and counts.

    Raises
    ------
    InputError, TableError, OSError
        The source cannot be used as it was asked.
    """
    if not options.source:
        import sklearn.datasets  # noqa: F401 - so that its time is not taken for reading
    started = time.perf_counter()
    if options.source:
        table, source = read_table(options.source, options.reading, target=options.target), ", ".join(options.source)
    else:
        table, source = example_table(), "the breast cancer data that scikit-learn ships (no SOURCE was given)"
    problem = _problem(table, source, options)
    problem.seconds_reading = time.perf_counter() - started
    return problem


def example_table() -> Table:
    """Return real data that comes with scikit-learn: 569 tumours, 30 measurements, malignant or benign."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return ArrayTable(data.data, data.feature_names.tolist(), {"diagnosis": data.target_names[data.target]})


def check_columns(table: Table, names: Sequence[str], remedy: str) -> None:
    """Raise `InputError` naming the columns that are no numbers, with a value of theirs and its line."""
    unusable = table.unusable(names)
    if not unusable:
        return
    shown = list(unusable)[:_SHOWN]
    described = ", ".join(_described(table, name, unusable[name]) for name in shown)
    if len(unusable) > len(shown):
        described += f" and {len(unusable) - len(shown):,} more"
    advice = next(filter(None, (advise(table.strays(name)) for name in shown)), None)
    raise InputError(f"columns that are no numbers: {described}; {advice or remedy.format(_drop_all(list(unusable)))}")


def _described(table: Table, name: str, kind: str) -> str:
    example = next(iter(table.strays(name).examples), None)
    if example is None:
        return f"{name!r} ({kind})"
    where = f" in line {example.line:,}" if example.line else ""
    return f"{name!r} ({kind}: {example.value[:40]!r}{where})"


def _drop_all(names: Sequence[str]) -> str:
    return " ".join(drop_words(names[:_SHOWN])) + (" ..." if len(names) > _SHOWN else "")


@dataclass(frozen=True)
class _Chosen:
    """What the columns of a table are for."""

    target: str
    names: list[str]
    one_hot: list[str]
    """Those of `names` that hold categories."""
    dropped: list[str]
    weight: str | None
    notes: list[str]
    warnings: list[str]

    @property
    def numbers(self) -> list[str]:
        """The others of `names`."""
        return [name for name in self.names if name not in self.one_hot]


def _choose(table: Table, options: FitOptions) -> _Chosen:
    dropped = columns_to_drop(table, options.drop or ())
    target = choose_target(table, options.target, dropped)
    one_hot = [find_column(table, name, "--one-hot") for name in options.one_hot or ()]
    if target in one_hot:
        raise InputError(f"--one-hot {target}: that is the target, which may hold classes as it is")
    if target in dropped:
        raise InputError(f"--drop {target}: that is the target")
    weight = _weight(table, options, {"the target": [target], "in --drop": dropped, "in --one-hot": one_hot})
    index = [name for name in _index_columns(table) if name not in {target, weight, *one_hot, *dropped}]
    dropped += index
    notes = [*table.notes, *_notes_on_names(table, index)]
    names = [name for name in table.names if name not in {target, weight, *dropped}]
    numbers = [name for name in names if name not in one_hot]
    table.load([*numbers, *([] if weight is None else [weight])], [target, *one_hot])
    warnings: list[str] = []
    if options.drop_text:
        text = table.unusable(numbers)
        on_text, warnings = _notes_on_text(table, text)
        notes += on_text
        dropped += text
        names = [name for name in names if name not in text]
        numbers = [name for name in numbers if name not in text]
    if not names:
        left_out = f" (left out as text: {', '.join(map(repr, text))})" if options.drop_text and text else ""
        raise InputError(f"no column is left to predict {target!r} from: drop fewer{left_out}")
    remedy = "leave them out: {}, or --drop-text for all; --one-hot takes a column of few different values"
    check_columns(table, numbers, remedy)
    return _Chosen(target, names, [name for name in names if name in one_hot], dropped, weight, notes, warnings)


def _weight(table: Table, options: FitOptions, others: dict[str, list[str]]) -> str | None:
    """Return the column of weights, which has no other role."""
    if options.weight is None:
        return None
    weight = find_column(table, options.weight, "--weight")
    for role, names in others.items():
        if weight in names:
            raise InputError(f"--weight {options.weight}: that column is {role} as well: give it one role")
    return weight


def _index_columns(table: Table) -> list[str]:
    """Return the columns that number the rows, by the names that pandas and R give them."""
    return [name for name in table.names if name in table.nameless or _INDEX_NAME.fullmatch(name)]


def _notes_on_names(table: Table, index: Sequence[str]) -> list[str]:
    notes = [
        f"{len(made)} columns are called {name!r}; they are named {', '.join(made)}"
        for name, made in table.repeated.items()
    ]
    for name in index:
        why = "has no name" if name in table.nameless else "is named like an index of pandas"
        notes.append(f"column {name!r} is left out: it {why}; give it another name to use it")
    return notes


def _notes_on_text(table: Table, text: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return why columns are left out as text, and warnings about those of numbers that are spelt otherwise."""
    if not text:
        return [], []
    listed = ", ".join(_described(table, name, kind) for name, kind in text.items())
    warnings = []
    for name in text:
        advice = advise(table.strays(name))
        if advice is not None:
            warnings.append(f"column {name!r} is left out as text, but {advice}")
    return [f"--drop-text leaves out {listed}"], warnings


def _problem(source_table: Table, source: str, options: FitOptions) -> Problem:
    chosen = _choose(source_table, options)
    target, names, table = chosen.target, chosen.names, source_table
    coded = {name: categories_of(table, name, options.max_categories) for name in chosen.one_hot}
    if coded:
        table = numbered(table, coded, names)
    weights = None if chosen.weight is None else read_weights(source_table, chosen.weight)
    labels = source_table.labels(target)
    further = {target: missing_labels(labels)}
    if chosen.weight is not None and weights is not None:
        further[chosen.weight] = np.isnan(weights)
    rows, filled = _usable_rows(table, names, further, options.missing)
    n_usable = table.n_rows if isinstance(rows, slice) else len(rows)
    if weights is not None:
        rows = np.flatnonzero(weights > 0) if isinstance(rows, slice) else rows[weights[rows] > 0]
        weights = weights[rows]
    one_hot = met(table, coded, rows)
    made = indicator_names(one_hot, chosen.numbers)
    if coded:
        table = expanded(table, coded, one_hot, made)
        filled = {part: count for name, count in filled.items() for part in made.get(name, [name])}
        names = [part for name in names for part in made.get(name, [name])]
    chosen_labels = take_labels(labels, rows)
    y, task, reason = read_target(chosen_labels, target, options.task)
    held, kept, notes = split_rows(y, task, options.holdout_share, options.seed)
    dtype = table.dtype(names) if options.dtype == "auto" else np.dtype(options.dtype)
    X, X_held = table.take(names, [part if isinstance(rows, slice) else rows[part] for part in (kept, held)], dtype)
    if filled:
        X = X if X.flags.writeable else X.copy()
        fill_means(X, X_held, names, filled, None if weights is None else weights[kept])
    return Problem(
        source=source,
        n_rows_read=table.n_rows,
        n_columns_read=len(source_table.names),
        target=target,
        task=task,
        reason=reason,
        names=names,
        X=X,
        y=y[kept],
        X_held=X_held,
        y_held=y[held],
        weight=chosen.weight,
        weights=None if weights is None else weights[kept],
        weights_held=None if weights is None else weights[held],
        n_rows_weightless=n_usable - len(y),
        n_rows_dropped=table.n_rows - n_usable,
        missing=options.missing,
        filled=filled,
        dropped=chosen.dropped,
        one_hot=one_hot,
        indicators=made,
        reading=options.reading,
        warnings=chosen.warnings,
        notes=[
            *chosen.notes,
            *describe_labels(chosen_labels, target),
            *notes,
            *_conversions(source_table, chosen.numbers, dtype, X.nbytes + X_held.nbytes),
        ],
    )


def _conversions(table: Table, names: list[str], dtype: np.dtype[Any], size: int) -> list[str]:
    others = sorted(map(str, table.source_dtypes(names) - {dtype}))
    return [f"{', '.join(others)} converted to {dtype}, once ({size / 1e6:.3g} MB)"] if others else []


def _usable_rows(
    table: Table, names: list[str], further: dict[str, NDArray[np.bool_]], missing: str
) -> tuple[Rows, dict[str, int]]:
    """Return the rows to use, and the counts of missing values that are left in them by column.

    `further` holds the masks of missing values in columns that no mean fills, such as the target.
    """
    gaps = table.gaps(names)
    if gaps.infinite:
        raise InputError(f"infinite values in {counted(gaps.infinite)}: remove those rows, or --drop the columns")
    holes = dict(gaps.missing) | {name: int(mask.sum()) for name, mask in further.items() if mask.any()}
    without = np.logical_or.reduce(list(further.values()))
    if holes and missing == "error":
        raise InputError(
            f"missing values in {counted(holes)}: use --missing drop to leave those rows out, or --missing mean"
        )
    unusable = without if missing == "mean" else without | gaps.rows
    if unusable.all():
        raise InputError("every row has a missing value: --drop the columns that lack the most, or use --missing mean")
    rows = np.flatnonzero(~unusable) if unusable.any() else slice(None)
    return rows, (gaps.missing if missing == "mean" else {})


def fill_means(
    X: NDArray[Any],
    X_held: NDArray[Any],
    names: list[str],
    filled: dict[str, int],
    weights: NDArray[np.float64] | None = None,
) -> None:
    """Put the weighted means of the columns of `X` in place of their missing values, in both matrices."""
    for name in filled:
        column = X[:, names.index(name)]
        missing = np.isnan(column)
        if missing.all():
            raise InputError(f"column {name!r} holds no value at all: --drop it")
        present = column[~missing].astype(np.float64)
        mean = np.average(present, weights=None if weights is None else weights[~missing])
        column[missing] = mean
        held = X_held[:, names.index(name)]
        held[np.isnan(held)] = mean


def counted(counts: dict[str, int]) -> str:
    """Return columns and their counts of rows, the first few of them, for a message."""
    shown = ", ".join(f"{name!r} ({plural(count, 'row')})" for name, count in list(counts.items())[:8])
    return f"{shown} and {plural(len(counts) - 8, 'more column')}" if len(counts) > 8 else shown
