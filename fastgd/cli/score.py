"""How good a fit is, beside the trivial prediction that uses no column at all."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_BLOCK = 1 << 14


class Labelled(NamedTuple):
    """Targets of some rows and the weights of these rows."""

    y: NDArray[Any]
    """Shape (n,)."""
    weights: Vector | None
    """Shape (n,); None weighs all rows alike."""


def regression_scores(rows: Labelled, predicted: NDArray[Any]) -> dict[str, float]:
    """Score predicted numbers.

    Parameters
    ----------
    rows : Labelled
        The true values y and weights s.
    predicted : ndarray of shape (n,)
        The predictions p.

    Returns
    -------
    dict of str to float
        "r2", 1 - sum s (y - p)^2 / sum s (y - mean)^2 with the weighted mean of y, NaN where y is constant; "rmse", the
        root of the weighted mean of (y - p)^2; "mae", the weighted mean of abs(y - p).
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


def classification_scores(rows: Labelled, classes: NDArray[Any], log_shares: NDArray[Any]) -> dict[str, float]:
    """Score predicted probabilities.

    Parameters
    ----------
    rows : Labelled
        The true labels, all among `classes`, and weights.
    classes : ndarray of shape (C,), sorted
        The labels.
    log_shares : ndarray of shape (n, C)
        Natural logarithms of the predicted probabilities.

    Returns
    -------
    dict of str to float
        "accuracy" of the most probable class; "log_loss", the mean of -log of the true class's probability; "auc", the
        area under the ROC curve, with three classes or more the mean of one class against the rest over the classes
        that some rows have and others have not, NaN where there is none. All are weighted.
    """
    y, weights = rows
    codes = np.searchsorted(classes, y)
    right = log_shares.argmax(axis=1) == codes
    own = log_shares[np.arange(len(codes)), codes]
    # Of two classes the logarithms of both tell apart what rounds to a probability of 1.
    scores = [log_shares[:, 1] - log_shares[:, 0]] if len(classes) == 2 else list(log_shares.T)
    numbers = [1] if len(classes) == 2 else range(len(classes))
    areas = [_area(score, codes == c, weights) for c, score in zip(numbers, scores, strict=True)]
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


def column_moments(X: NDArray[Any], weights: Vector | None = None) -> tuple[Vector, Vector]:
    """Return weighted means and standard deviations of the columns of X, (d,), summed in float64 by blocks of rows."""
    near = X[:_BLOCK].mean(axis=0, dtype=np.float64)  # near enough to the mean to keep the squares from cancelling
    total = np.zeros(X.shape[1])
    squares = np.zeros(X.shape[1])
    for start in range(0, len(X), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = X[rows] - near
        each = np.ones(len(block)) if weights is None else weights[rows]
        total += each @ block
        squares += each @ np.square(block)
    weight = len(X) if weights is None else weights.sum()
    offset = total / weight
    return near + offset, np.sqrt(np.maximum(squares / weight - np.square(offset), 0.0))


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
