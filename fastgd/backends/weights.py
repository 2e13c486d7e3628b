"""Sums of sample weights, which are on the host whatever the device of the rows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.objective.dataset import Data, ExclusiveColumns, RowSpace, SparsePiece
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


class WeightedRows(ABC):
    """The sums of weights that rows on every device have: n rows, on a host of n_threads."""

    #: Whether rows are kept without their zeros.
    is_sparse = False
    #: Whether `columns` copies columns.
    gives_columns = False

    n: int
    n_threads: int

    @property
    @abstractmethod
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,) of these rows, on the host, or None if all weights are equal."""

    def sparse_rows_on_host(self, start: int, stop: int) -> SparsePiece:
        """Raise a TypeError: these rows are stored with their zeros."""
        raise TypeError("dense rows are not stored without their zeros")

    def columns(self, numbers: NDArray[Any]) -> Data:
        """Raise a TypeError: columns of these rows are not copied."""
        raise TypeError("columns are copied on the CPU only")

    def row_space(self, center: Array) -> RowSpace | None:
        """Return None: combinations of dense rows cost as much as their columns."""
        return None

    def exclusive_columns(self) -> ExclusiveColumns | None:
        """Return None: zeros of these rows are not looked for."""
        return None

    def windows(self, multiple: int) -> Iterator[slice]:
        """Iterate over the rows by ranges of multiples of rows: all at once, as they are in memory."""
        yield slice(0, self.n)

    def expect_samples(self, sizes: Callable[[], Sequence[int]]) -> None:  # noqa: B027 - only streams prepare
        """Do nothing: samples of rows in memory cost little."""

    @cached_property
    def weight(self) -> float:
        """Sum of the sample weights."""
        return total(self.n, self.weights)

    def count_weights_as_given(self) -> None:
        """Set `weight` to the number of rows."""
        self.weight = float(self.n)

    @cached_property
    def effective_rows(self) -> float:
        """Number of rows of equal weight that are as informative."""
        return effective(self.n, self.weights, self.n_threads)
