"""Score a fit: choose the rows, and compare with the best constant prediction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from fastgd.arrays import blocks_of
from fastgd.cli.categories import as_coded
from fastgd.cli.columns import find_column
from fastgd.cli.errors import InputError
from fastgd.cli.model_columns import ModelColumns
from fastgd.cli.options import FitOptions, PredictMissing
from fastgd.cli.output import plural
from fastgd.cli.prepare import PreparedData, read_weights
from fastgd.cli.streamed import SelectedSource
from fastgd.cli.target import number_classes
from fastgd.data.files import read_table
from fastgd.data.store import RowStore
from fastgd.data.table import Labels, Table, missing_labels, take_labels
from fastgd.data.text_column import TextColumn
from fastgd.exceptions import TableError

if TYPE_CHECKING:
    from fastgd import LinearRegression, LogisticRegression

Vector = NDArray[np.float64]

_BLOCK = 1 << 14
#: Numbers that are scored at a time, and most bytes of probabilities in memory.
_NUMBERS, _MOST_BYTES = 1 << 20, 1 << 26
#: Non-zeros of a sparse matrix to sum at a time.
_STORED_BLOCK = 1 << 20
#: Values of ``fastgd fit --missing`` -> those of ``fastgd predict --missing``.
_MISSING: dict[str, PredictMissing] = {"error": "error", "drop": "empty", "mean": "mean"}


class Labelled(NamedTuple):
    """Targets of some rows and the weights of these rows."""

    y: NDArray[Any]
    """Shape (n,)."""
    weights: Vector | None
    """Shape (n,); None weighs all rows alike."""


class Scores(NamedTuple):
    """Scores of a fit and of the best constant prediction."""

    scores: dict[str, float]
    baseline: dict[str, float]
    constant: float | str
    """The mean of the fitted rows, or their largest class."""


class ScoredRows(NamedTuple):
    """Rows to score on."""

    X: NDArray[Any] | csr_matrix | SelectedSource
    """Shape (n, d), with the columns of the fit."""
    labelled: Labelled
    notes: list[str]
    """Which rows were left out."""


def score_model(model: LinearRegression | LogisticRegression, data: PreparedData, rows: ScoredRows) -> Scores:
    """Score a fitted model on some rows."""
    fitted = Labelled(data.y, data.weights)
    if data.task == "linear":
        constant = float(np.average(fitted.y, weights=fitted.weights))
        predicted = model.predict(as_coded(rows.X, data.coding))
        if isinstance(rows.X, SelectedSource):
            predicted = np.concatenate(list(predicted))
        scores = regression_scores(rows.labelled, predicted)
        return Scores(scores, regression_baseline(rows.labelled, fitted), constant)
    classes = model.classes_
    scores = classification_scores(rows.labelled, classes, _log_probabilities(model, rows.X, data))
    largest = classes.tolist()[int(class_shares(fitted, classes).argmax())]
    return Scores(scores, classification_baseline(rows.labelled, fitted, classes), largest)


def _log_probabilities(
    model: LogisticRegression, X: NDArray[Any] | csr_matrix | SelectedSource, data: PreparedData
) -> NDArray[Any]:
    """Return logarithms of probabilities, (n, C), in a file if they are large."""
    if isinstance(X, SelectedSource):
        parts = iter(model.predict_log_proba(X))
    else:
        slices = blocks_of(X.shape[0], _NUMBERS, X.shape[1])
        parts = (model.predict_log_proba(as_coded(X[part], data.coding)) for part in slices)
    first = next(parts)
    store = RowStore(first.shape[1], first.dtype, _MOST_BYTES)
    for part in itertools.chain([first], parts):
        store.append(part)
    return store.finish()


def regression_scores(rows: Labelled, predicted: NDArray[Any]) -> dict[str, float]:
    """Score predictions p of numbers y by "r2", "rmse" and "mae", all weighted.

    R2 is 1 - sum s (y - p)^2 / sum s (y - mean)^2 with the weighted mean of y, NaN where y is constant.
    """
    y, weights = rows
    error = np.asarray(y - predicted, dtype=np.float64)
    square = _mean(np.square(error), weights)
    spread = _mean(np.square(y - _mean(y, weights)), weights)
    return {
        "r2": 1 - square / spread if spread > 0 else math.nan,
        "rmse": math.sqrt(square),
        "mae": _mean(np.abs(error), weights),
    }


def regression_baseline(rows: Labelled, fitted: Labelled) -> dict[str, float]:
    """Score the weighted mean of the fitted rows as the prediction of every row."""
    return regression_scores(rows, np.full(len(rows.y), _mean(fitted.y, fitted.weights)))


def classification_scores(rows: Labelled, classes: NDArray[Any], log_probabilities: NDArray[Any]) -> dict[str, float]:
    """Score logarithms of probabilities, shape (n, C), by "accuracy", "log_loss" and "auc", all weighted.

    AUC is the area under the ROC curve; with three classes or more its mean of one class against the rest, over the
    classes that some rows have and others have not, NaN where there is none. `classes` is sorted.
    """
    y, weights = rows
    codes = np.searchsorted(classes, y)
    right, own = np.empty(len(codes), bool), np.empty(len(codes), log_probabilities.dtype)
    for part in blocks_of(len(codes), _NUMBERS, len(classes)):
        right[part] = log_probabilities[part].argmax(axis=1) == codes[part]
        own[part] = np.take_along_axis(log_probabilities[part], codes[part, None], axis=1)[:, 0]
    # The difference of two logarithms ranks rows whose probability rounds to 1.
    areas = (
        [_area(log_probabilities[:, 1] - log_probabilities[:, 0], codes == 1, weights)]
        if len(classes) == 2
        else [_area(log_probabilities[:, c], codes == c, weights) for c in range(len(classes))]
    )
    defined = [area for area in areas if not math.isnan(area)]
    return {
        "accuracy": _mean(right, weights),
        "log_loss": -_mean(own, weights),
        "auc": math.fsum(defined) / len(defined) if defined else math.nan,
    }


def classification_baseline(rows: Labelled, fitted: Labelled, classes: NDArray[Any]) -> dict[str, float]:
    """Score the prediction of every row by the weighted share of each class among the fitted rows."""
    shares = class_shares(fitted, classes)
    return classification_scores(rows, classes, np.broadcast_to(np.log(shares), (len(rows.y), len(classes))))


def class_shares(rows: Labelled, classes: NDArray[Any]) -> Vector:
    """Return the weighted share of each class, shape (C,)."""
    totals = np.bincount(np.searchsorted(classes, rows.y), weights=rows.weights, minlength=len(classes))
    return np.asarray(totals / totals.sum())


class ColumnMoments(NamedTuple):
    """Weighted means and standard deviations of columns, each of shape (d,)."""

    means: Vector
    scales: Vector


def column_moments(X: NDArray[Any] | csr_matrix | SelectedSource, weights: Vector | None = None) -> ColumnMoments:
    """Return the moments of the columns of X, summed in float64 by blocks of rows."""
    if issparse(X):
        return _sparse_moments(X, weights)
    near, end = None, 0
    total = np.zeros(X.shape[1])
    squares = np.zeros(X.shape[1])
    for values in X.row_blocks() if isinstance(X, SelectedSource) else _row_blocks(X):
        if near is None:  # near enough to the mean to keep the squares from cancelling
            near = values.mean(axis=0, dtype=np.float64)
        start, end = end, end + len(values)
        block = values - near
        each = np.ones(len(block)) if weights is None else weights[start:end]
        total += each @ block
        squares += each @ np.square(block)
    weight = X.shape[0] if weights is None else weights.sum()
    offset = total / weight
    return ColumnMoments(near + offset, np.sqrt(np.maximum(squares / weight - np.square(offset), 0.0)))


def _row_blocks(X: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (X[start : start + _BLOCK] for start in range(0, len(X), _BLOCK))


def _sparse_moments(X: csr_matrix, weights: Vector | None) -> ColumnMoments:
    """Return the moments of columns from their non-zeros.

    The sum of squared deviations is that of the non-zeros plus the squared mean times the weight of the zeros.
    """
    n, d = X.shape
    size = max(_STORED_BLOCK, d)  # the sums over a block take d numbers
    blocks = [slice(start, min(start + size, X.nnz)) for start in range(0, X.nnz, size)]
    total = n if weights is None else weights.sum()
    means, squares, stored = np.zeros(d), np.zeros(d), np.zeros(d)

    def of_rows(part: slice) -> Vector:
        if weights is None:
            return np.broadcast_to(1.0, part.stop - part.start)
        return weights[np.searchsorted(X.indptr, np.arange(part.start, part.stop), side="right") - 1]

    for part in blocks:
        each = of_rows(part)
        means += np.bincount(X.indices[part], each * X.data[part], minlength=d) / total
        stored += np.bincount(X.indices[part], each, minlength=d)
    for part in blocks:
        deviations = X.data[part] - means[X.indices[part]]
        squares += np.bincount(X.indices[part], of_rows(part) * np.square(deviations), minlength=d)
    return ColumnMoments(means, np.sqrt((squares + np.square(means) * (total - stored)) / total))


def _area(scores: NDArray[Any], positive: NDArray[np.bool_], weights: Vector | None) -> float:
    """Return the area under the ROC curve: the weighted share of pairs in order, of which equal scores are half."""
    each = np.ones(len(scores)) if weights is None else weights
    distinct, inverse = np.unique(scores, return_inverse=True)
    above, below = (np.bincount(inverse, each * part, distinct.size) for part in (positive, ~positive))
    pairs = above.sum() * below.sum()
    in_order = above @ (np.cumsum(below) - 0.5 * below)
    return float(in_order / pairs) if pairs > 0 else math.nan


def _mean(values: NDArray[Any], weights: Vector | None) -> float:
    return float(np.average(values, weights=weights))


def read_test(path: Path, options: FitOptions) -> Table:
    """Read the file that ``--test`` names."""
    # Files of targets and weights have a value for each row of the source, not of the test file.
    is_file = options.target is not None and Path(options.target).is_file()
    try:
        target = None if is_file else options.target
        memory = options.matrix_bytes()
        table = read_table(path, options.reading, target=target, weight=options.weight, memory=memory)
    except TableError as error:
        raise InputError(f"--test: {error}") from error
    if is_file and options.target is not None and options.target not in table.names:
        if table.default_target is None:
            raise InputError(
                f"--test {path}: it has no targets, and {options.target} has those of the source: add them as an array"
                " y, in Python numpy.savez('test.npz', X=X, y=y)"
            )
        table.add(options.target, table.column(table.default_target))
    return table


def match_test_rows(table: Table, data: PreparedData, columns: ModelColumns, options: FitOptions) -> ScoredRows:
    """Bring the rows of the test file into the form of the fit.

    Raises
    ------
    InputError
        A column or a value cannot be used, or a label is of no class of the fit.
    """
    where = f"--test {options.test}"
    find_column(table, data.target, where)
    try:
        columns.load(table, data.target, data.weight)
        X, usable = columns.take(table, _MISSING[options.missing])
    except InputError as error:
        raise InputError(f"{where}: {str(error).replace('--missing empty', '--missing drop')}") from error
    notes = []
    weights = None
    if data.weight in table.names:
        weights = read_weights(table, data.weight)
    elif data.weight is not None:
        notes.append(f"the test file has no column {data.weight!r}: its rows weigh alike")
    target = _target(table, data.target, data.y)
    missing = missing_labels(target) | (np.isnan(weights) if weights is not None else False)
    if missing.any() and options.missing == "error":
        raise InputError(f"{where}: {plural(int(missing.sum()), 'row')} without a target or weight: use --missing drop")
    kept = usable & ~missing & ((weights > 0) if weights is not None else True)
    if not kept.any():
        raise InputError(f"{where}: no row has values in all columns and a positive weight")
    if not kept.all():
        out = plural(int((~kept).sum()), "row")
        notes.append(f"{out} of {options.test} left out of the score: missing values or weight 0")
    y = _labels(take_labels(target, np.flatnonzero(kept)), data, where)
    return ScoredRows(X[kept[usable]], Labelled(y, None if weights is None else weights[kept]), notes)


def _target(table: Table, name: str, fitted: NDArray[Any]) -> Labels:
    """Return the target as the fit had it: as text where the labels of the fit are."""
    labels = table.labels(name)
    if fitted.dtype == object or (isinstance(labels, TextColumn) and fitted.dtype.kind != "f"):
        return table.text(name, list(_classes_by_text(fitted)))
    return labels


def _classes_by_text(fitted: NDArray[Any]) -> dict[str, bool | float | str]:
    """Return the classes of the fit by their spelling in a file."""
    spell = (lambda value: str(value).lower()) if fitted.dtype.kind == "b" else str
    return {spell(value): value for value in number_classes(fitted)[0].tolist()}


def _labels(values: Labels, data: PreparedData, where: str) -> NDArray[Any]:
    """Return targets in the dtype of those that were fitted; labels have to be among the fitted classes."""
    fitted = data.y
    if fitted.dtype.kind == "f" and isinstance(values, TextColumn):
        numbers = values.numbers()
        if numbers is None:
            raise InputError(f"{where}: the target {data.target!r} holds text, but the fit was of numbers")
        values = numbers
    if data.task == "linear":
        return np.asarray(values, dtype=np.float64)
    if isinstance(values, TextColumn):
        classes = _classes_by_text(fitted)
        known = np.array([value in classes for value in values.values], dtype=bool)[values.codes]
        given = values.texts()
        found = np.array([classes.get(value) for value in given.tolist()], dtype=object)
    else:
        given = values
        with np.errstate(invalid="ignore"):  # labels out of range become others, which differ from the values
            found = np.asarray(values).astype(fitted.dtype)
        known = np.isin(found, np.unique(fitted)) & (found == values)
    if not known.all():
        raise InputError(
            f"{where}: {plural(int((~known).sum()), 'row')} of a class that no fitted row has, such as"
            f" {str(given[~known][0])!r}: leave them out, or add rows of it to the source"
        )
    return found.astype(fitted.dtype)
