"""Data sets and samples held on the GPU."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.backends.cuda import columns, device
from fastgd.backends.cuda.design import CudaDesign, CudaLeastSquares
from fastgd.backends.cuda.device import Grid, guarded
from fastgd.backends.cuda.epochs import CudaEpochs
from fastgd.backends.cuda.gradient import GradientPass
from fastgd.backends.cuda.rows import Chunk, ChunkedRows, Held, Targets
from fastgd.backends.cuda.transfer import by_rows, is_device_array, send
from fastgd.backends.design import HostDesign
from fastgd.kernels import records
from fastgd.kernels.cuda.rows import make_gather
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import Design, EpochProblem, Epochs, Piece, Runs, Sums
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KernelRule, Recipe


class CudaRows(ChunkedRows):
    """Passes over rows of a data set: all of them or a sample."""

    def __init__(self, shape: tuple[int, int], kind: Any, order: str, targets: Targets, n_threads: int) -> None:
        super().__init__(shape, kind, order, targets, n_threads)
        self._passes: dict[tuple[str, int, bool], GradientPass] = {}

    @guarded()
    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient at margins (x - shift) . coef + intercept; coef (K, d). One pass."""
        self.count_rows(self.n)
        return self._pass_at(loss, coef, shift)(self, coef, intercept, shift, p)

    @guarded()
    def queued_gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Callable[[], None]:
        """Return a function that queues the kernels of `gradient` without waiting, for benchmarks."""
        found = self._pass_at(loss, coef, shift)
        point = found.send(coef, intercept, shift, p)
        return lambda: found.queue(self, point)

    def _pass_at(self, loss: str, coef: Array, shift: Array) -> GradientPass:
        key = (loss, len(coef), bool(np.any(shift)))
        if key not in self._passes:
            self._passes[key] = GradientPass(self, *key)
        return self._passes[key]

    @guarded()
    def squared_norms(self, scaling: Scaling) -> Array:
        """Return the weighted squared norms (n,) of rows in working coordinates, on the host. One pass."""
        self.count_rows(self.n)
        return columns.squared_norms(self, scaling)

    @guarded()
    def moments(self) -> Moments:
        """Return weighted mean and sd of each column; not finite if the data are not. One pass."""
        self.count_rows(self.n)
        node = columns.moments(self)
        return Moments(node[0], node[1 : self.d + 1].copy(), np.sqrt(node[self.d + 1 :] / node[0]))

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> Design:
        """Return the rows in working coordinates."""
        if keep:
            # The host keeps few rows, so that its steps take no pass.
            return HostDesign(self, scaling, intercept, keep, rough)
        return CudaDesign(self, scaling, intercept, rough)

    def least_squares(self, scaling: Scaling, intercept: bool) -> CudaLeastSquares:
        """Return the sums of a squared loss in working coordinates."""
        return CudaLeastSquares(self, scaling, intercept)


#: Threads per block that gathers rows, and such blocks per multiprocessor.
_GATHER_THREADS, _GATHER_BLOCKS = 256, 8


class CudaSet(CudaRows):
    """A data set with passes on the GPU and rows there or on the host."""

    @abstractmethod
    def gathered(self, numbers: NDArray[Any]) -> Held:
        """Return a copy of the rows with these indices on the device."""

    @abstractmethod
    def _with_columns(self, X: Any) -> "CudaData":
        """Return a data set with other columns (n, any) on the device and the same targets and weights."""

    @abstractmethod
    def without_targets(self) -> "CudaSet":
        """Return the data set with a single target of 0."""

    @abstractmethod
    def epochs(self, loss: str, problem: EpochProblem) -> Epochs:
        """Return a mini-batch loop over this data set."""

    def sample(self, runs: Runs) -> "CudaSample":
        """Return a sample of the rows, gathered."""
        return CudaSample(self, runs.rows)

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "CudaData":
        """Return a copy of the rows with these indices, with these weights or none."""
        return CudaData(self.gathered(rows), np.ascontiguousarray(self.y[:, rows]), weights, self.n_threads)

    @guarded()
    def line(self, coef: Array, intercept: Array, shift: Array) -> "CudaData":
        """Return a data set with the margins (x - shift) . coef + intercept (n, K) as columns. One pass."""
        found = columns.margins(self, coef, intercept, shift)
        self.count_rows(self.n)
        return self._with_columns(found)

    def check_rule(self, rule: KernelRule) -> None:
        """Accept every rule."""

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """Return a new rule at theta (K, d + 1), which it updates in place; SAGA's table is on the device."""
        return RuleState(recipe, theta, 1, self.kind)


class CudaData(CudaSet):
    """A data set on the GPU, and the kernels over it.

    Parameters
    ----------
    X : array of shape (n, d), C or F order, float32 or float64
        One on the GPU (anything with ``__cuda_array_interface__``) is used in place and never written to, a NumPy array
        is copied there.
    y : ndarray of shape (K, n) and the dtype of X
        Targets; labels in {-1, +1} or class numbers, then K = 1. Copied to the GPU, as are weights.
    s : ndarray of shape (n,) and the dtype of X, or None
        Sample weights.
    n_threads : int
        Threads of the host.

    Raises
    ------
    MemoryError
        If the GPU has no room for them.
    """

    @guarded()
    def __init__(self, X: Any, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        rows, order = X if isinstance(X, Held) else by_rows(X)
        self._name(rows, order, Targets(y, s), n_threads)
        if is_device_array(rows):
            # Wait for kernels that still write to it.
            cuda.synchronize()
        weights = np.ones(1, self.kind) if s is None else s
        parts = rows, y, weights
        device.require(sum(part.nbytes for part in parts if not is_device_array(part)), "the data")
        its_x, its_y, its_s = (self._sent(part) for part in parts)
        #: As kernels take them.
        self.data = records.Data(its_x, its_y, its_s, 0 if s is None else 1)

    def _name(self, rows: Any, order: str, targets: Targets, n_threads: int) -> None:
        n, d = rows.shape if order == "C" else rows.shape[::-1]
        super().__init__((n, d), rows.dtype, order, targets, n_threads)

    @classmethod
    def beside(cls, X: Any, data: records.Data, targets: Targets, n_threads: int) -> "CudaData":
        """Return a data set of columns X on the device with targets and weights that are there already."""
        rows, order = by_rows(X)
        found = cls.__new__(cls)
        found._name(rows, order, targets, n_threads)
        found.data = data._replace(X=rows)
        return found

    def _with_columns(self, X: Any) -> "CudaData":
        """Return a data set with other columns (n, any) on the device and the same targets and weights."""
        return CudaData.beside(X, self.data, Targets(self.y, self.weights), self.n_threads)

    def _sent(self, array: Any) -> Any:
        """Return an array on the device, copied if it is on the host."""
        return array if is_device_array(array) else send(array, self.stream, self.n_threads, self.transferred)

    @property
    def chunk_rows(self) -> int:
        """Number of all rows."""
        return self.n

    @property
    def example_rows(self) -> records.Data:
        """Rows on the device, as examples of types to compile kernels for."""
        return self.data

    def chunks(self) -> Iterator[Chunk]:
        """Iterate over a single chunk of all rows."""
        yield Chunk(0, self.data)

    @guarded()
    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) on the host; `out` is an optional buffer for X."""
        stop = min(stop, self.n)
        s = None if self.weights is None else self.weights[start:stop]
        return self._fetched(start, stop, out), self.y[:, start:stop], s

    def _fetched(self, start: int, stop: int, out: NDArray[Any] | None) -> NDArray[Any]:
        """Return rows of X on the host."""
        rows, by_row = stop - start, self.order == "C"
        if rows == self.n:
            there: Any = self.data.X
        else:
            # A copy of strided rows would include everything between them.
            there = self.data.X[start:stop] if by_row else self.gathered(np.arange(start, stop)).X
        began = time.perf_counter()
        fits = out is not None and by_row and out.dtype == self.kind and out.flags.c_contiguous
        here = there.copy_to_host(out[:rows] if out is not None and fits else None, stream=self.stream)
        self.stream.synchronize()
        self.transferred.add(here.nbytes, began)
        return here if by_row else here.T

    def without_targets(self) -> "CudaData":
        """Return the data set with a single target of 0."""
        zeros = np.zeros((1, self.n), self.kind)
        return CudaData(Held(self.data.X, self.order), zeros, self.weights, self.n_threads)

    @guarded()
    def epochs(self, loss: str, problem: EpochProblem) -> CudaEpochs:
        """Return a mini-batch loop over this data set."""
        return CudaEpochs(self, loss, problem)

    @guarded()
    def gathered(self, numbers: NDArray[Any]) -> Held:
        """Return a copy of the rows with these indices on the device."""
        shape = (len(numbers), self.d) if self.order == "C" else (self.d, len(numbers))
        out = cuda.device_array(shape, self.kind, stream=self.stream)
        there = cuda.to_device(np.ascontiguousarray(numbers, np.int64), stream=self.stream)
        threads = device.THREADS or _GATHER_THREADS
        blocks = min(-(-out.size // threads), _GATHER_BLOCKS * device.multiprocessors())
        device.launch(make_gather(self.dtype, self.order), Grid(blocks, threads), self.stream, self.data.X, there, out)
        self.stream.synchronize()
        return Held(out, self.order)


class CudaSample(CudaData):
    """Rows of a data set, gathered: a copy takes less time than passes over scattered rows.

    Parameters
    ----------
    whole : CudaSet
    numbers : ndarray of int
        Indices of the rows.
    """

    def __init__(self, whole: CudaSet, numbers: NDArray[Any]) -> None:
        self._whole = whole
        s = None if whole.weights is None else whole.weights[numbers]
        super().__init__(whole.gathered(numbers), np.ascontiguousarray(whole.y[:, numbers]), s, whole.n_threads)

    def count_rows(self, rows: int) -> None:
        """Add to the number of sampled rows of the whole data set."""
        self._whole.rows_sampled += rows
