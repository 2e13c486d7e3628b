"""Rows on the CPU, all of a data set's or some: what is alike for both, sums above all."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.backends.cpu_design import CpuDesign
from fastgd.backends.rule_state import read_only
from fastgd.backends.verbs import Piece, Sums
from fastgd.backends.weights import effective, total
from fastgd.kernels import records
from fastgd.kernels.cpu.gradient import make_gradient
from fastgd.kernels.cpu.moments import fold_moments, make_moments
from fastgd.kernels.cpu.tree import fold
from fastgd.scaling import Array, Moments, Scaling

#: Nodes of the tree of sums that are open at a time, at most.
LEVELS = 48


class CpuRows(ABC):
    """Rows of a data set: all of them or a sample.

    Parameters
    ----------
    data : Data
        The whole data set, as kernels take it.
    order : {"C", "F"}
        Of X.
    n : int
        How many rows these are.
    n_threads : int
    """

    def __init__(self, data: records.Data, order: str, n: int, n_threads: int) -> None:
        self.data, self.order, self.n, self.n_threads = data, order, n, n_threads
        self.d = data.X.shape[1 if order == "C" else 0]
        self.dtype = "f4" if data.X.dtype == np.float32 else "f8"
        self.nbytes = n * self.d * data.X.itemsize

    @property
    @abstractmethod
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,) of these rows, or None where all rows weigh the same."""

    @cached_property
    def weight(self) -> float:
        """Sum of the sample weights."""
        return total(self.n, self.weights)

    @cached_property
    def effective_rows(self) -> float:
        """Rows of equal weights that would tell as much."""
        return effective(self.n, self.weights, self.n_threads)

    @abstractmethod
    def count(self, rows: int) -> None:
        """Note that so many rows were read."""

    @abstractmethod
    def piece(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Rows [start, stop) of these; `out` is scratch for X, for who needs any."""

    @abstractmethod
    def _reduce(self, kernel: Any, combine: Any, size: int) -> Array:
        """Run `kernel(first, last, rows, stack, out, slot)` over blocks of rows and combine their nodes."""

    @property
    def _block_rows(self) -> int:
        """Rows a block."""
        return records.BLOCK_ROWS if self.order == "C" else records.column_block_rows(self.d, self.data.X.itemsize)

    def moments(self) -> Moments:
        """Weighted mean and sd of each column; not finite where the data are not. One pass."""
        kernel = make_moments(self.dtype, self.order)

        def run(first: int, last: int, rows: int, stack: Array, out: Array, slot: int) -> None:
            kernel(self.data, first, last, rows, stack, out)

        node = self._reduce(run, fold_moments, 2 * self.d + 1)
        return Moments(node[0], node[1 : self.d + 1].copy(), np.sqrt(node[self.d + 1 :] / node[0]))

    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Sums of loss and gradient at margins (x - shift) . coef + intercept; coef (K, d). One pass."""
        outputs = coef.shape[0]
        kernel = make_gradient(loss, self.dtype, self.order, bool(np.any(shift)))
        point = self._point(coef, intercept, shift, p)
        rows = records.tile_rows(self.d * point.w.itemsize) if self.order == "C" else self._block_rows
        tiles: dict[int, records.Tile] = {}

        def run(first: int, last: int, block_rows: int, stack: Array, out: Array, slot: int) -> None:
            if slot not in tiles:
                tiles[slot] = records.new_tile(self.d, outputs, self.data.y.shape[0], point.w.dtype, rows)
            kernel(self.data, point, first, last, block_rows, tiles[slot], stack, out)

        node = self._reduce(run, fold, outputs * (self.d + 2))
        cut = outputs * self.d
        return Sums(node[:cut].reshape(outputs, self.d), node[cut : cut + outputs], node[cut + outputs :])

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> CpuDesign:
        """The rows in working coordinates."""
        return CpuDesign(self, scaling, intercept, keep, rough)

    def _point(self, coef: Array, intercept: Array, shift: Array, p: float) -> records.Point:
        kind = self.data.X.dtype
        return records.Point(
            read_only(coef.astype(kind)), read_only(intercept.astype(kind)), read_only(shift.astype(kind)), kind.type(p)
        )
