"""From a source to the matrices of a fit: columns chosen, gaps treated, rows held out."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.errors import InputError
from fastgd.cli.options import FitOptions
from fastgd.cli.split import split_rows
from fastgd.cli.target import choose_target, find_column, read_target
from fastgd.cli.weights import read_weights
from fastgd.data.categories import categories_of, expanded, indicators, met, numbered
from fastgd.data.files import read_table
from fastgd.data.table import ArrayTable, Rows, Table


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
    filled: dict[str, int] = field(default_factory=dict)
    """Column -> count of missing values that its mean has taken the place of."""
    dropped: list[str] = field(default_factory=list)
    one_hot: dict[str, list[str]] = field(default_factory=dict)
    """Column -> its categories; all but the first have an indicator among `names`."""
    notes: list[str] = field(default_factory=list)
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
    if options.source is None:
        import sklearn.datasets  # noqa: F401 - so that its time is not taken for reading
    started = time.perf_counter()
    if options.source is None:
        table, source = example_table(), "the breast cancer data that scikit-learn ships (no SOURCE was given)"
    else:
        table, source = read_table(options.source, header=options.header, target=options.target), str(options.source)
    problem = _problem(table, source, options)
    problem.seconds_reading = time.perf_counter() - started
    return problem


def example_table() -> Table:
    """Return real data that comes with scikit-learn: 569 tumours, 30 measurements, malignant or benign."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return ArrayTable(data.data, data.feature_names.tolist(), {"diagnosis": data.target_names[data.target]})


def check_columns(table: Table, names: Sequence[str], cure: str) -> None:
    """Raise `InputError` naming the columns that are no numbers."""
    unusable = table.unusable(names)
    if unusable:
        what = ", ".join(f"{name!r} ({kind})" for name, kind in unusable.items())
        raise InputError(f"columns that are no numbers: {what}; {cure.format(' '.join(map(_quoted, unusable)))}")


@dataclass(frozen=True)
class _Chosen:
    """What the columns of a table are for."""

    target: str
    names: list[str]
    one_hot: list[str]
    """Those of `names` that hold categories."""
    dropped: list[str]
    weight: str | None

    @property
    def numbers(self) -> list[str]:
        """The others of `names`."""
        return [name for name in self.names if name not in self.one_hot]


def _choose(table: Table, options: FitOptions) -> _Chosen:
    target = choose_target(table, options.target)
    dropped = [find_column(table, name, "--drop") for name in options.drop]
    one_hot = [find_column(table, name, "--one-hot") for name in options.one_hot]
    if target in one_hot:
        raise InputError(f"--one-hot {target}: that is the target, which may hold classes as it is")
    weight = _weight(table, options, {"the target": [target], "in --drop": dropped, "in --one-hot": one_hot})
    names = [name for name in table.names if name not in (target, weight) and name not in dropped]
    if options.drop_text:
        text = table.unusable([name for name in names if name not in one_hot])
        dropped += text
        names = [name for name in names if name not in text]
    if not names:
        raise InputError(f"no column is left to predict {target!r} from: drop fewer")
    numbers = [name for name in names if name not in one_hot]
    cure = "leave them out: {}, or --drop-text for all; --one-hot takes a column of few different values"
    check_columns(table, numbers, cure)
    return _Chosen(target, names, [name for name in names if name in one_hot], dropped, weight)


def _weight(table: Table, options: FitOptions, others: dict[str, list[str]]) -> str | None:
    """Return the column of weights, which has no other role."""
    if options.weight is None:
        return None
    weight = find_column(table, options.weight, "--weight")
    for role, names in others.items():
        if weight in names:
            raise InputError(f"--weight {options.weight}: that column is {role} as well: give it one role")
    return weight


def _problem(source_table: Table, source: str, options: FitOptions) -> Problem:
    chosen = _choose(source_table, options)
    target, names, table = chosen.target, chosen.names, source_table
    one_hot = {name: categories_of(table, name) for name in chosen.one_hot}
    if one_hot:
        table = numbered(table, one_hot, [*names, target])
    weights = None if chosen.weight is None else read_weights(source_table, chosen.weight)
    further = {target: source_table.missing(target)}
    if chosen.weight is not None and weights is not None:
        further[chosen.weight] = np.isnan(weights)
    rows, filled = _usable_rows(table, names, further, options.missing)
    n_usable = table.n_rows if isinstance(rows, slice) else len(rows)
    if weights is not None:
        rows = np.flatnonzero(weights > 0) if isinstance(rows, slice) else rows[weights[rows] > 0]
        weights = weights[rows]
    if one_hot:
        used = met(table, one_hot, rows)
        table, one_hot = expanded(table, one_hot, used), used
        filled = {made: count for name, count in filled.items() for made in _made_of(name, used)}
        names = [made for name in names for made in _made_of(name, used)]
    values = table.values(target)
    y, task, reason = read_target(values if isinstance(rows, slice) else values[rows], target, options.task)
    held, kept, notes = split_rows(y, task, options.share_held_out, options.seed)
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
        filled=filled,
        dropped=chosen.dropped,
        one_hot=one_hot,
        notes=[*notes, *_conversions(source_table, chosen.numbers, dtype, X.nbytes + X_held.nbytes)],
    )


def _made_of(name: str, categories: dict[str, list[str]]) -> list[str]:
    """Return the columns of the matrix that a column of the source has become."""
    return indicators(name, categories[name]) if name in categories else [name]


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
    shown = ", ".join(f"{name!r} ({count:,} rows)" for name, count in list(counts.items())[:8])
    return f"{shown} and {len(counts) - 8} more columns" if len(counts) > 8 else shown


def _quoted(name: str) -> str:
    return f"--drop {shlex.quote(name)}"
