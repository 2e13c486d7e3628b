"""Sums of sample weights, which are on the host whatever the device of the rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Weights that are held in float64 at a time.
_BLOCK = 1 << 16


def total(n: int, weights: NDArray[Any] | None) -> float:
    """The sum of weights (n,); None is 1 each."""
    return float(n) if weights is None else float(np.sum(weights, dtype=np.float64))


def effective(n: int, weights: NDArray[Any] | None) -> float:
    """Rows of equal weights that would tell as much: (sum s)^2 / sum s^2 (Kish, "Survey sampling", 1965)."""
    if weights is None:
        return float(n)
    mean, squares = total(n, weights) / n, 0.0
    for start in range(0, n, _BLOCK):
        squares += float(np.sum(np.square(weights[start : start + _BLOCK] / np.float64(mean))))
    return n**2 / squares
