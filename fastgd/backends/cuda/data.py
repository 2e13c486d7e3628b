"""Data sets on the GPU: rows held there, all of a data set's or some."""

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
from fastgd.backends.cuda.transfer import by_rows, is_device_array, to_device
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
        """Sums of loss and gradient at margins (x - shift) . coef + intercept; coef (K, d). One pass."""
        self.count_rows(self.n)
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
        self.count_rows(self.n)
        return columns.largest_norm(self, scaling) * self.n / self.weight

    @guarded()
    def moments(self) -> Moments:
        """Weighted mean and sd of each column; not finite where the data are not. One pass."""
        self.count_rows(self.n)
        node = columns.moments(self)
        return Moments(node[0], node[1 : self.d + 1].copy(), np.sqrt(node[self.d + 1 :] / node[0]))

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> Design:
        """The rows in working coordinates."""
        if keep:
            # Few rows: held by the host, whose steps on them take no pass.
            return HostDesign(self, scaling, intercept, keep, rough)
        return CudaDesign(self, scaling, intercept, rough)

    def least_squares(self, scaling: Scaling, intercept: bool) -> CudaLeastSquares:
        """Sums of a squared loss, in working coordinates."""
        return CudaLeastSquares(self, scaling, intercept)


#: Threads of a block that gathers rows, and such blocks a multiprocessor.
_GATHER_THREADS, _GATHER_BLOCKS = 256, 8


class CudaSet(CudaRows):
    """A data set, wherever its rows lie, whose passes are the GPU's."""

    @abstractmethod
    def gathered(self, numbers: NDArray[Any]) -> Held:
        """A copy of the rows of these numbers on the device."""

    @abstractmethod
    def _with_columns(self, X: Any) -> "CudaData":
        """Other columns (n, any) on the device, in the order of X, beside the same targets and weights."""

    @abstractmethod
    def without_targets(self) -> "CudaSet":
        """The same rows and weights, one target of 0."""

    @abstractmethod
    def epochs(self, loss: str, problem: EpochProblem) -> Epochs:
        """A mini-batch loop over this data set."""

    def sample(self, runs: Runs) -> "CudaSample":
        """Some of the rows, gathered."""
        return CudaSample(self, runs.rows)

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "CudaData":
        """A copy of the rows of these numbers, with these weights or none."""
        return CudaData(self.gathered(rows), np.ascontiguousarray(self.y[:, rows]), weights, self.n_threads)

    @guarded()
    def line(self, coef: Array, intercept: Array, shift: Array) -> "CudaData":
        """The margins (x - shift) . coef + intercept (n, K) in place of the columns. One pass."""
        found = columns.margins(self, coef, intercept, shift)
        self.count_rows(self.n)
        return self._with_columns(found)

    def check_rule(self, rule: KernelRule) -> None:
        """All rules run."""

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """A rule at the start, at theta (K, d + 1), which it updates in place; SAGA's table is the device's."""
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
        For what the host does.

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
            # Whatever is still writing to it.
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

    def _with_columns(self, X: Any) -> "CudaData":
        """Other columns (n, any) on the device, in the order of X, beside the same targets and weights."""
        rows, order = by_rows(X)
        found = CudaData.__new__(CudaData)
        found._name(rows, order, Targets(self.y, self.weights), self.n_threads)
        found.data = self.data._replace(X=rows)
        return found

    def _sent(self, array: Any) -> Any:
        """An array on the device."""
        if is_device_array(array):
            return array
        began = time.perf_counter()
        there = to_device(np.ascontiguousarray(array), self.stream, self.n_threads)
        self.transferred.add(array.nbytes, began)
        return there

    @property
    def chunk_rows(self) -> int:
        """All."""
        return self.n

    @property
    def example_rows(self) -> records.Data:
        """Some rows on the device, for whose types kernels are compiled."""
        return self.data

    def chunks(self) -> Iterator[Chunk]:
        """All rows at once."""
        yield Chunk(0, self.data)

    @guarded()
    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Rows [start, stop), on the host; `out` is scratch for X, for who needs any."""
        stop = min(stop, self.n)
        s = None if self.weights is None else self.weights[start:stop]
        return self._fetched(start, stop, out), self.y[:, start:stop], s

    def _fetched(self, start: int, stop: int, out: NDArray[Any] | None) -> NDArray[Any]:
        """Rows of X."""
        rows, by_row = stop - start, self.order == "C"
        if rows == self.n:
            there: Any = self.data.X
        else:
            # Strided rows would be copied with all that lies between them.
            there = self.data.X[start:stop] if by_row else self.gathered(np.arange(start, stop)).X
        began = time.perf_counter()
        fits = out is not None and by_row and out.dtype == self.kind and out.flags.c_contiguous
        here = there.copy_to_host(out[:rows] if out is not None and fits else None, stream=self.stream)
        self.stream.synchronize()
        self.transferred.add(here.nbytes, began)
        return here if by_row else here.T

    def without_targets(self) -> "CudaData":
        """The same rows and weights, one target of 0."""
        zeros = np.zeros((1, self.n), self.kind)
        return CudaData(Held(self.data.X, self.order), zeros, self.weights, self.n_threads)

    @guarded()
    def epochs(self, loss: str, problem: EpochProblem) -> CudaEpochs:
        """A mini-batch loop over this data set."""
        return CudaEpochs(self, loss, problem)

    @guarded()
    def gathered(self, numbers: NDArray[Any]) -> Held:
        """A copy of the rows of these numbers on the device."""
        shape = (len(numbers), self.d) if self.order == "C" else (self.d, len(numbers))
        out = cuda.device_array(shape, self.kind, stream=self.stream)
        there = cuda.to_device(np.ascontiguousarray(numbers, np.int64), stream=self.stream)
        threads = device.THREADS or _GATHER_THREADS
        blocks = min(-(-out.size // threads), _GATHER_BLOCKS * device.multiprocessors())
        device.launch(make_gather(self.dtype, self.order), Grid(blocks, threads), self.stream, self.data.X, there, out)
        self.stream.synchronize()
        return Held(out, self.order)


class CudaSample(CudaData):
    """Rows of a data set, gathered: the device copies them faster than its kernels would pick them.

    Parameters
    ----------
    whole : CudaSet
    numbers : ndarray of int
        Of the rows.
    """

    def __init__(self, whole: CudaSet, numbers: NDArray[Any]) -> None:
        self._whole = whole
        s = None if whole.weights is None else whole.weights[numbers]
        super().__init__(whole.gathered(numbers), np.ascontiguousarray(whole.y[:, numbers]), s, whole.n_threads)

    def count_rows(self, rows: int) -> None:
        """Note that so many rows were read, in the whole data's books."""
        self._whole.rows_sampled += rows
