"""Sums of sample weights, which are on the host whatever the device of the rows."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.threads import by_blocks

#: Weights to convert to float64 at a time.
_BLOCK = 1 << 16


def total(n: int, weights: NDArray[Any] | None) -> float:
    """Return the sum of weights (n,); None stands for weights of 1."""
    return float(n) if weights is None else float(np.sum(weights, dtype=np.float64))


def effective(n: int, weights: NDArray[Any] | None, n_threads: int = 1) -> float:
    """Return the effective number of rows, (sum s)^2 / sum s^2 (Kish, "Survey sampling", 1965)."""
    if weights is None:
        return float(n)
    mean, squares = np.float64(total(n, weights) / n), np.zeros(-(-n // _BLOCK))

    def work(slot: int, rows: slice) -> None:
        squares[rows.start // _BLOCK] = np.sum(np.square(weights[rows] / mean))

    by_blocks(n, _BLOCK, n_threads, work)
    return float(n**2 / math.fsum(squares))
