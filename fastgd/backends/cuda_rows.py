"""Rows on the GPU, all of a data set's or some, held there or streamed: what is alike for all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd.backends import cuda_columns as columns
from fastgd.backends.cpu_design import CpuDesign
from fastgd.backends.cuda_design import CudaDesign
from fastgd.backends.cuda_device import guarded
from fastgd.backends.cuda_least_squares import CudaLeastSquares
from fastgd.backends.cuda_pass import GradientPass
from fastgd.backends.verbs import Design, Piece, Sums, Transferred
from fastgd.backends.weights import effective, total
from fastgd.kernels import records
from fastgd.scaling import Array, Moments, Scaling


class Chunk(NamedTuple):
    """Rows that are on the device, and the number of the first."""

    first: int
    data: records.Data

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.data.y.shape[1])


class Targets(NamedTuple):
    """Targets (K, n) and weights (n,) or None, on the host."""

    y: NDArray[Any]
    s: NDArray[Any] | None


class Held(NamedTuple):
    """X on the device: (n, d), or (d, n) where its order is "F"."""

    X: Any
    order: str


class CudaRows(ABC):
    """Rows of a data set: all of them or a sample.

    Parameters
    ----------
    shape : tuple of int
        n rows, d columns.
    kind : dtype
        Of X.
    order : {"C", "F"}
        Of X.
    targets : Targets
    n_threads : int
        For what the host does.
    """

    device = "cuda"
    #: All rows, as kernels take them where they lie.
    data: records.Data

    def __init__(self, shape: tuple[int, int], kind: Any, order: str, targets: Targets, n_threads: int) -> None:
        self.n, self.d = shape
        self.kind, self.order, self.n_threads = np.dtype(kind), order, n_threads
        self.dtype = "f4" if self.kind == np.float32 else "f8"
        self.nbytes = self.n * self.d * self.kind.itemsize
        #: On the host: targets (K, n), and weights (n,) or None where all rows weigh the same.
        self.y, self.weights = targets
        self.stream = cuda.stream()
        self.transferred = Transferred()
        #: Rows that passes and epochs have read so far, and those that samples have.
        self.rows_read = self.rows_sampled = 0
        self._passes: dict[tuple[str, int, bool], GradientPass] = {}

    @property
    @abstractmethod
    def chunk_rows(self) -> int:
        """Rows of a chunk; the last may have fewer."""

    @property
    @abstractmethod
    def specimen(self) -> records.Data:
        """Some rows on the device, for whose types kernels are compiled."""

    @property
    def chunk_count(self) -> int:
        """How many chunks there are."""
        return -(-self.n // self.chunk_rows)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of X."""
        return self.d * self.kind.itemsize

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """All rows, chunk after chunk, each on the device until the next is asked for."""

    @abstractmethod
    def piece(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Rows [start, stop), on the host; `out` is scratch for X, for who needs any."""

    @cached_property
    def weight(self) -> float:
        """Sum of the sample weights."""
        return total(self.n, self.weights)

    @cached_property
    def effective_rows(self) -> float:
        """Rows of equal weights that would tell as much."""
        return effective(self.n, self.weights, self.n_threads)

    def count(self, rows: int) -> None:
        """Note that so many rows were read."""
        self.rows_read += rows

    @guarded()
    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Sums of loss and gradient at margins (x - shift) . coef + intercept; coef (K, d). One pass."""
        self.count(self.n)
        return self._pass_at(loss, coef, shift)(self, coef, intercept, shift, p)

    @guarded()
    def queued_gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Callable[[], None]:
        """What queues the kernels of `gradient` and waits for nothing: for benchmarks."""
        found = self._pass_at(loss, coef, shift)
        point = found.send(coef, intercept, shift, p)
        return lambda: found.queue(self, point)

    def _pass_at(self, loss: str, coef: Array, shift: Array) -> GradientPass:
        key = (loss, len(coef), bool(np.any(shift)))
        if key not in self._passes:
            self._passes[key] = GradientPass(self, *key)
        return self._passes[key]

    @guarded()
    def largest_norm(self, scaling: Scaling) -> float:
        """Largest weighted squared norm of a row in working coordinates, relative to the mean weight. One pass."""
        self.count(self.n)
        return columns.largest_norm(self, scaling) * self.n / self.weight

    @guarded()
    def moments(self) -> Moments:
        """Weighted mean and sd of each column; not finite where the data are not. One pass."""
        self.count(self.n)
        node = columns.moments(self)
        return Moments(node[0], node[1 : self.d + 1].copy(), np.sqrt(node[self.d + 1 :] / node[0]))

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> Design:
        """The rows in working coordinates."""
        if keep:
            # Few rows: held by the host, whose steps on them take no pass.
            return CpuDesign(self, scaling, intercept, keep, rough)
        return CudaDesign(self, scaling, intercept, rough)

    def least_squares(self, scaling: Scaling, intercept: bool) -> CudaLeastSquares:
        """Sums of a squared loss, in working coordinates."""
        return CudaLeastSquares(self, scaling, intercept)
