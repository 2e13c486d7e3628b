"""How good a fit is, beside the trivial prediction that uses no column at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 14


def held_out_scores(task: str, y: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    """Score predictions.

    Parameters
    ----------
    task : {"linear", "logistic"}
        Kind of prediction.
    y, predicted : ndarray of shape (n,)
        What is true and what was predicted.

    Returns
    -------
    dict of str to float
        "r2" and "rmse", or "accuracy". R2 is 1 - sum (y - p)^2 / sum (y - mean y)^2, NaN where y is constant.
    """
    if task == "logistic":
        return {"accuracy": float(np.mean(y == predicted))}
    residual = float(np.mean(np.square(y - predicted)))
    spread = float(np.var(y))
    return {"r2": 1 - residual / spread if spread > 0 else float("nan"), "rmse": residual**0.5}


def baseline_scores(task: str, y: NDArray[Any], y_fitted: NDArray[Any]) -> dict[str, float]:
    """Score the best constant prediction that the fitted rows suggest: their mean, or their largest class."""
    if task == "logistic":
        classes, counts = np.unique(y_fitted, return_counts=True)
        constant = classes[counts.argmax()]
    else:
        constant = y_fitted.mean()
    return held_out_scores(task, y, np.full(len(y), constant))


def column_moments(X: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means and standard deviations of the columns of X, shapes (d,), summed in float64 by blocks of rows."""
    near = X[:_BLOCK].mean(axis=0, dtype=np.float64)  # near enough to the mean to keep the squares from cancelling
    total = np.zeros(X.shape[1])
    squares = np.zeros(X.shape[1])
    for start in range(0, len(X), _BLOCK):
        block = X[start : start + _BLOCK] - near
        total += block.sum(axis=0)
        squares += np.square(block).sum(axis=0)
    offset = total / len(X)
    return near + offset, np.sqrt(np.maximum(squares / len(X) - np.square(offset), 0.0))
