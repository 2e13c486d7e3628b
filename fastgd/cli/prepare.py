"""From a source to the matrices of a fit: rows chosen, missing values treated, rows held out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from fastgd._categories import Coding, spell
from fastgd.arrays import blocks_of
from fastgd.cli.categories import CategoryTable, fill_sparse_means, read_categories
from fastgd.cli.columns import ChosenColumns, choose_columns, counted
from fastgd.cli.errors import InputError
from fastgd.cli.options import FitOptions, Missing
from fastgd.cli.output import listed, plural
from fastgd.cli.streamed import SelectedSource, check_streamed, read_in_every_pass
from fastgd.cli.target import describe_labels, number_classes, read_target
from fastgd.data import ReadOptions
from fastgd.data.engine import EngineTable
from fastgd.data.files import read_given
from fastgd.data.table import Rows, Table, array_table, missing_labels, take_labels
from fastgd.holdout import held_out_rows

Weights = NDArray[np.float64]
#: Numbers of columns with missing values that are read at a time.
_BLOCK_NUMBERS = 1 << 20


@dataclass
class PreparedData:
    """The data of a fit, and how they were made from the source."""

    source: str
    n_rows_read: int
    n_columns_read: int
    target: str
    task: Literal["linear", "logistic"]
    reason: str
    names: list[str]
    """The columns of `X`."""
    X: NDArray[Any] | csr_matrix | SelectedSource
    """Shape (n, d), CSR or in C order, float32 or float64; or a source that is read in every pass."""
    y: NDArray[Any]
    """Shape (n,)."""
    X_held: NDArray[Any] | csr_matrix
    """Rows held out, shape (n_held, d)."""
    y_held: NDArray[Any]
    weight: str | None = None
    """The column of weights."""
    weights: Weights | None = None
    """Shape (n,), positive; None weighs all rows alike."""
    weights_held: Weights | None = None
    n_rows_weightless: int = 0
    """Rows of weight 0, which are left out."""
    n_rows_dropped: int = 0
    """Rows with missing values, which are left out."""
    missing: Missing = "error"
    filled: dict[str, int] = field(default_factory=dict)
    """Column -> count of missing values that were replaced by its mean."""
    dropped: list[str] = field(default_factory=list)
    coding: Coding | None = None
    """How columns of the source become those of `X`; None without categories."""
    one_hot: dict[str, list[str]] = field(default_factory=dict)
    """Column -> its categories; all but the first have an indicator among `names`."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds_reading: float = 0.0


def prepare(options: FitOptions) -> PreparedData:
    """Read the source and make the data that ``fastgd fit`` fits."""
    is_example = not options.source and options.sql is None
    if is_example:
        import sklearn.datasets  # noqa: F401 - its import does not count as reading
    started = time.perf_counter()
    if is_example:
        table, source = example_table(), "the breast cancer data that scikit-learn ships (no SOURCE was given)"
    else:
        memory = options.matrix_bytes()
        reading, roles = options.reading, {"target": options.target, "weight": options.weight}
        table = read_given(options.source, options.sql, reading, memory, **roles)
        source = options.sql or ", ".join(options.source or ())
    data = (_prepare_streamed if options.cache == "none" else _prepare)(table, source, options)
    data.seconds_reading = time.perf_counter() - started
    return data


def example_table() -> Table:
    """Return real data that scikit-learn ships: 569 tumours, 30 measurements, malignant or benign."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return array_table(data.data, data.feature_names.tolist(), {"diagnosis": data.target_names[data.target]})


def _prepare(source_table: Table, source: str, options: FitOptions) -> PreparedData:
    chosen = choose_columns(source_table, options)
    target, names, table = chosen.target, chosen.names, source_table
    if chosen.one_hot:
        texts = {name: read_categories(table, name, options.max_categories) for name in chosen.one_hot}
        table = CategoryTable(table, names, texts)
    weights = None if chosen.weight is None else read_weights(source_table, chosen.weight)
    labels = source_table.labels(target)
    rows, filled = _usable_rows(table, chosen, missing_labels(labels), weights, options.missing)
    n_usable = table.n_rows if isinstance(rows, slice) else len(rows)
    if weights is not None:
        rows = np.flatnonzero(weights > 0) if isinstance(rows, slice) else rows[weights[rows] > 0]
        weights = weights[rows]
    coding = table.coding(rows) if isinstance(table, CategoryTable) else None
    usable_labels = take_labels(labels, rows)
    y, task, reason = read_target(usable_labels, target, options.task)
    held, kept, notes = split_rows(y, task, options.holdout_share, options.seed)
    dtype = source_table.dtype(chosen.numbers) if options.dtype == "auto" else np.dtype(options.dtype)
    others = sorted(map(str, source_table.source_dtypes(chosen.numbers) - {dtype}))
    parts = [part if isinstance(rows, slice) else rows[part] for part in (kept, held)]
    if coding is not None and isinstance(table, CategoryTable):
        names = list(coding.names)
        X, X_held = table.take_coded(coding, parts, dtype)
    else:
        X, X_held = table.take(names, parts, dtype, last=True)
    kept_weights, held_weights = (None, None) if weights is None else (weights[kept], weights[held])
    if filled and issparse(X):
        fill_sparse_means(X, X_held, names, kept_weights)
    elif filled:
        fill_means(X, X_held, names, _parts(filled, coding), kept_weights)
    if others:
        megabytes = sum(part.data.nbytes for part in (X, X_held)) / 1e6
        notes = [*notes, f"{', '.join(others)} converted to {dtype}, once ({megabytes:.3g} MB)"]
    return PreparedData(
        source=source,
        n_rows_read=source_table.n_rows,
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
        weights=kept_weights,
        weights_held=held_weights,
        n_rows_weightless=n_usable - len(y),
        n_rows_dropped=source_table.n_rows - n_usable,
        missing=options.missing,
        filled=filled,
        dropped=chosen.dropped,
        coding=coding,
        one_hot={} if coding is None else {name: spell(of.tolist()) for name, of in coding.categories.items()},
        reading=options.reading,
        warnings=chosen.warnings,
        notes=[*chosen.notes, *describe_labels(usable_labels, target), *notes],
    )


def _prepare_streamed(table: Table, source: str, options: FitOptions) -> PreparedData:
    """Read target and weights alone; the fit reads the predictors in every pass."""
    check_streamed(options)
    if isinstance(table, EngineTable):
        table.leaves_predictors = True
    chosen = choose_columns(table, options)
    labels = table.labels(chosen.target)
    weights = None if chosen.weight is None else read_weights(table, chosen.weight)
    if missing_labels(labels).any() or (weights is not None and not (weights > 0).all()):
        raise InputError(
            "--cache none keeps no rows, but some have no target, no weight or weight 0: leave them out of the source,"
            " or use --cache disk with --missing drop"
        )
    y, task, reason = read_target(labels, chosen.target, options.task)
    return PreparedData(
        source=source,
        n_rows_read=table.n_rows,
        n_columns_read=len(table.names),
        target=chosen.target,
        task=task,
        reason=reason,
        names=chosen.names,
        X=read_in_every_pass(options, chosen.names, table.n_rows),
        y=y,
        X_held=np.empty((0, len(chosen.names))),
        y_held=y[:0],
        weight=chosen.weight,
        weights=weights,
        dropped=chosen.dropped,
        reading=options.reading,
        warnings=chosen.warnings,
        notes=[*chosen.notes, *describe_labels(labels, chosen.target), "rows are read from the source in every pass"],
    )


def _parts(counts: dict[str, int], coding: Coding | None) -> dict[str, int]:
    """Return counts of columns as those of their columns in `X`."""
    if coding is None:
        return counts
    return {name: counts[column] for column, names in coding.parts.items() if column in counts for name in names}


def read_weights(table: Table, name: str) -> Weights:
    """Return a column of weights, NaN where missing; raise `InputError` for other values and for no positive one."""
    column = table.column(name)
    if column.dtype.kind not in "fiub":
        raise InputError(f"--weight {name}: the column holds {table.unusable([name])[name]}: name a column of numbers")
    weights = np.asarray(column, dtype=np.float64)
    unusable = np.flatnonzero((weights < 0) | np.isinf(weights))
    if unusable.size:
        row = int(unusable[0])
        found = f"{weights[row]:g} in row {row + 1:,} of data"
        raise InputError(f"--weight {name}: {found}, but weights are finite and at least 0: correct or drop the row")
    if not np.nansum(weights) > 0:
        raise InputError(f"--weight {name}: no row has a positive weight")
    return weights


class _UsableRows(NamedTuple):
    rows: Rows
    filled: dict[str, int]
    """Column -> count of missing values that means are to replace."""


def _usable_rows(
    table: Table, chosen: ChosenColumns, unlabelled: NDArray[np.bool_], weights: Weights | None, missing: Missing
) -> _UsableRows:
    """Choose the rows without missing values, or without those that no mean replaces."""
    gaps = table.gaps(chosen.names)
    if gaps.infinite:
        raise InputError(f"infinite values in {counted(gaps.infinite)}: remove those rows, or --drop the columns")
    without = {chosen.target: unlabelled}
    if chosen.weight is not None and weights is not None:
        without[chosen.weight] = np.isnan(weights)
    counts = gaps.missing | {name: int(mask.sum()) for name, mask in without.items() if mask.any()}
    if counts and missing == "error":
        raise InputError(
            f"missing values in {counted(counts)}: use --missing drop to leave those rows out, or --missing mean"
        )
    unusable = np.logical_or.reduce([*without.values(), *([] if missing == "mean" else [gaps.rows])])
    if unusable.all():
        raise InputError("every row has a missing value: --drop the columns that lack the most, or use --missing mean")
    rows = np.flatnonzero(~unusable) if unusable.any() else slice(None)
    return _UsableRows(rows, gaps.missing if missing == "mean" else {})


def fill_means(
    X: NDArray[Any], X_held: NDArray[Any], names: list[str], filled: dict[str, int], weights: Weights | None = None
) -> None:
    """Replace missing values in both matrices by the weighted means of the columns of `X`."""
    columns = [names.index(name) for name in filled]
    sums, present = np.zeros(len(columns)), np.zeros(len(columns))
    for rows in blocks_of(len(X), _BLOCK_NUMBERS, len(columns)):
        values = np.ascontiguousarray(X[rows][:, columns].T, np.float64)
        missing = np.isnan(values)
        each = np.ones(values.shape[1]) if weights is None else weights[rows]
        sums += (np.where(missing, 0.0, values) * each).sum(axis=1)
        present += (~missing * each).sum(axis=1)
    if not present.all():
        raise InputError(f"column {list(filled)[int(np.argmin(present))]!r} holds no value at all: --drop it")
    means = sums / present
    for part in (X, X_held):
        for rows in blocks_of(len(part), _BLOCK_NUMBERS, len(columns)):
            block = part[rows]
            for j, mean in zip(columns, means, strict=True):
                block[np.isnan(block[:, j]), j] = mean


class Split(NamedTuple):
    """Rows held out and rows kept, both in order."""

    held: Rows
    kept: Rows
    notes: list[str]
    """Which classes have no row among those held out."""


def split_rows(y: NDArray[Any], task: str, share: float, seed: int) -> Split:
    """Choose the rows to hold out: of a logistic task the share of each class, and never its last row."""
    n = len(y)
    if share == 0:
        return Split(slice(0, 0), slice(None), [])
    if n - max(1, round(n * share)) < 2:
        raise InputError(f"{n} usable rows are too few to hold out a share of {share:g}: use --holdout 0")
    classes, codes = number_classes(y) if task == "logistic" else (y[:0], None)
    held = held_out_rows(n, share, seed, classes=codes)
    if held.size == 0:
        raise InputError("each class has one row alone, so that none can be held out: use --holdout 0")
    kept = np.ones(n, dtype=bool)
    kept[held] = False
    return Split(held, np.flatnonzero(kept), [] if codes is None else _note_unscored(classes, codes, held))


def _note_unscored(classes: NDArray[Any], codes: NDArray[np.intp], held: NDArray[np.int64]) -> list[str]:
    """Return a note on the classes of which no row is held out."""
    absent = np.flatnonzero(np.bincount(codes[held], minlength=classes.size) == 0)
    if absent.size == 0:
        return []
    counts = np.bincount(codes, minlength=classes.size).tolist()
    named = listed([f"{classes[c]} ({plural(counts[c], 'row')})" for c in absent.tolist()], most=5)
    subject = "class" if absent.size == 1 else "classes"
    return [f"no row held out of {subject} {named}: too rare, all rows are in the training part"]
