"""Data sets of sparse rows on the GPU.

The device has a copy of the matrix, which passes over all rows read. The host keeps the matrix as it was given: it
serves curvatures, Gram matrices and reads of single rows, on the CPU's threads.
"""

from collections.abc import Callable
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.backends.csr.data import CsrData, NormFactors, moments_of, refuse_shift
from fastgd.backends.csr.least_squares import CsrLeastSquares
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.cuda import device
from fastgd.backends.cuda.data import CudaData
from fastgd.backends.cuda.device import Grid, guarded
from fastgd.backends.cuda.driver import NO_SPARSE_BATCHES
from fastgd.backends.cuda.gradient import Cut, add_up
from fastgd.backends.cuda.rows import Targets
from fastgd.backends.cuda.transfer import PinnedArrays, send, send_arrays
from fastgd.backends.design import HostDesign
from fastgd.backends.weights import WeightedRows
from fastgd.kernels import records
from fastgd.kernels.cuda import exact
from fastgd.kernels.cuda._target import WARP
from fastgd.kernels.cuda.csr import (
    Lanes,
    Range,
    make_csr_largest,
    make_csr_margins,
    make_csr_norms,
    make_csr_products,
    make_csr_residuals,
    plan_lanes,
    shared_numbers,
)
from fastgd.kernels.cuda.layout import SHARED_BYTES
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import EpochProblem, Epochs, Piece, Runs, SparsePiece, Sums, Transferred
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KernelRule, Recipe

#: Threads per block, and blocks per multiprocessor of kernels that take any number of them.
_THREADS, _BLOCKS = 256, 8
#: Bytes of the derivatives of a chunk of rows at most, or their share of the matrix.
_CHUNK_BYTES, _CHUNK_SHARE = 1 << 26, 16
#: The magnitude of 1, the largest number of weights that count rows.
_ONE = np.ones(1).view(np.int64)


class CudaCsr(WeightedRows):
    """A data set of sparse rows on the GPU, which is copied there when it is first read.

    Parameters
    ----------
    X : CsrMatrix
    y : ndarray of shape (K, n) and the dtype of X
        Targets; labels in {-1, +1} or class numbers, then K = 1.
    s : ndarray of shape (n,) and the dtype of X, or None
        Sample weights.
    n_threads : int
        Threads of the host.
    """

    is_sparse = True
    device, order = "cuda", "C"

    def __init__(self, X: CsrMatrix, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        self.rows, self.y, self.n_threads = X, y, n_threads
        self._weights = s
        self.n, self.d = X.shape
        self.kind, self.nbytes, self.targets = X.dtype, X.nbytes, len(y)
        self.dtype = "f4" if self.kind == np.float32 else "f8"
        self.transferred = Transferred()
        #: Rows that passes have read so far, and those that samples have.
        self.rows_read = self.rows_sampled = 0
        self._passes: dict[tuple[str, int], CsrGradientPass] = {}

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,) on the host, or None if all weights are equal."""
        return self._weights

    def count_rows(self, rows: int) -> None:
        """Add to the number of rows read."""
        self.rows_read += rows

    @cached_property
    def stream(self) -> Any:
        """The stream of all work."""
        return cuda.stream()

    @cached_property
    def data(self) -> records.Data:
        """The rows on the device, as kernels take them.

        Raises
        ------
        MemoryError
            If the GPU has no room for them.
        """
        X, weights = self.rows, np.ones(1, self.kind) if self.weights is None else self.weights
        its = X.data, X.indices, X.indptr, self.y, weights
        device.require(sum(part.nbytes for part in its), "sparse X, which is not streamed (device='cpu' needs no room)")
        numbers, indices, starts, y, s = (send(part, self.stream, self.n_threads, self.transferred) for part in its)
        arrays: Any = records.Csr(numbers, indices, starts)
        return records.Data(arrays, y, s, 0 if self.weights is None else 1)

    @cached_property
    def magnitudes(self) -> Any:
        """The largest magnitude of a number of each column (d,), on the device."""
        found = cuda.to_device(np.zeros(self.d, np.int64), stream=self.stream)
        device.launch(make_csr_largest(self.rows.kind), grid_of(self.rows.nnz), self.stream, self.data.X, found)
        return found

    @cached_property
    def host(self) -> CsrData:
        """The rows on the host, whose passes count as this data set's."""
        return _HostRows(self)

    def lanes(self, outputs: int) -> Lanes:
        """Return the threads that share a row."""
        return plan_lanes(self.rows.nnz / self.n, outputs, threads_of_block())

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) with their zeros."""
        return self.host.rows_on_host(start, stop, out)

    def sparse_rows_on_host(self, start: int, stop: int) -> SparsePiece:
        """Return rows [start, stop) without their zeros."""
        return self.host.sparse_rows_on_host(start, stop)

    @guarded()
    def moments(self) -> Moments:
        """Return weighted mean and sd of each column; not finite if the data are not. Five passes over the numbers."""
        return moments_of(self)

    def stored_sums(self) -> Array:
        """Return sums over the stored numbers of columns of s x, of s, and of 1 for s > 0, (3, d)."""
        self.count_rows(self.n)
        sums, ones = ColumnSums(self), cuda.to_device(np.repeat(_ONE, self.d), stream=self.stream)
        stored = sums.of("stored", self.magnitudes), sums.of("one", ones)
        if self.weights is None:
            return np.stack([*stored, stored[1]])
        return np.stack([*stored, ColumnSums(self, (self.weights > 0).astype(self.kind)).of("one", ones)])

    def deviation_sums(self, center: Array) -> Array:
        """Return sums over the stored numbers of s (x - center) and of s (x - center)^2, (2, d)."""
        self.count_rows(self.n)
        sums = ColumnSums(self)
        largest = np.abs(center) + fetch(self.magnitudes, self.stream).view(np.float64)
        parts = {"deviation": largest, "square": largest**2}
        its = {part: cuda.to_device(bound.view(np.int64), stream=self.stream) for part, bound in parts.items()}
        there = cuda.to_device(center, stream=self.stream)
        return np.stack([sums.of(part, bound, there) for part, bound in its.items()])

    @guarded()
    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient at margins x . coef + intercept; coef (K, d), shift 0. One pass."""
        refuse_shift(shift)
        self.count_rows(self.n)
        return self._pass_of(loss, len(coef))(coef, intercept, p)

    @guarded()
    def queued_gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Callable[[], None]:
        """Return a function that queues the kernels of `gradient` without waiting, for benchmarks."""
        found = self._pass_of(loss, len(coef))
        point = found.send(coef, intercept, p)
        return lambda: found.queue(point)

    def _pass_of(self, loss: str, outputs: int) -> "CsrGradientPass":
        key = loss, outputs
        if key not in self._passes:
            self._passes[key] = CsrGradientPass(self, *key)
        return self._passes[key]

    @guarded()
    def squared_norms(self, scaling: Scaling) -> Array:
        """Return the weighted squared norms (n,) of rows in working coordinates, on the host. One pass."""
        self.count_rows(self.n)
        squares, products, constant = NormFactors.of(scaling)
        pinned = send_arrays(self.stream, np.float64, squares=squares, products=products)
        lanes, out = self.lanes(1), cuda.device_array(self.n, stream=self.stream)
        its = self.data, *pinned.device.values(), constant, lanes
        self._launch_rows(make_csr_norms(self.rows.kind), lanes, *its, out=out)
        return fetch(out, self.stream)

    @guarded()
    def line(self, coef: Array, intercept: Array, shift: Array) -> CudaData:
        """Return a dense data set with the margins (n, K) as columns. One pass."""
        refuse_shift(shift)
        self.count_rows(self.n)
        pinned = send_arrays(self.stream, np.float64, w=coef.T, b=intercept)
        lanes, out = self.lanes(len(coef)), cuda.device_array((self.n, len(coef)), self.kind, stream=self.stream)
        its = self.data.X, *pinned.device.values(), lanes
        self._launch_rows(make_csr_margins(self.rows.kind), lanes, *its, out=out)
        self.stream.synchronize()
        return CudaData.beside(out, self.data, Targets(self.y, self.weights), self.n_threads)

    def _launch_rows(self, kernel: Any, lanes: Lanes, *args: Any, out: Any) -> None:
        """Queue a kernel that writes numbers for each row."""
        threads = threads_of_block()
        blocks = device.blocks_in_turn(kernel, threads, 0, *args, Range(0, self.n, 1), out)
        cut = cut_rows(self.n, blocks, lanes)
        its = Range(0, self.n, cut.rows)
        device.launch(kernel, Grid(cut.blocks(self.n), threads), self.stream, *args, its, out)

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> HostDesign:
        """Return the rows in working coordinates, on the host."""
        return HostDesign(self.host, scaling, intercept, keep, rough)

    def least_squares(self, scaling: Scaling, intercept: bool) -> CsrLeastSquares:
        """Return the sums of a squared loss in working coordinates, on the host."""
        return self.host.least_squares(scaling, intercept)

    def sample(self, runs: Runs) -> "CudaCsrSample":
        """Return a sample of the rows, a copy."""
        return CudaCsrSample(self, runs)

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "CudaCsr":
        """Return a copy of rows with these weights or none."""
        return CudaCsr(self.rows.take(rows), np.ascontiguousarray(self.y[:, rows]), weights, self.n_threads)

    def without_targets(self) -> "CudaCsr":
        """Return the data set with a single target of 0."""
        found = CudaCsr(self.rows, np.zeros((1, self.n), self.kind), self.weights, self.n_threads)
        found.data = self.data._replace(y=send(found.y, self.stream, self.n_threads, self.transferred))
        return found

    def check_rule(self, rule: KernelRule) -> None:
        """Accept every rule on the full batch."""

    def epochs(self, loss: str, problem: EpochProblem) -> Epochs:
        """Raise a ValueError: there is no mini-batch loop."""
        raise ValueError(NO_SPARSE_BATCHES)

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """Return a new rule at theta (K, d + 1), which it updates in place."""
        return RuleState(recipe, theta, self.n, self.kind)


class CudaCsrSample(CudaCsr):
    """A copy of runs of a data set's rows.

    Parameters
    ----------
    whole : CudaCsr
    runs : Runs
    """

    def __init__(self, whole: CudaCsr, runs: Runs) -> None:
        self._whole, numbers = whole, runs.rows
        weights = None if whole.weights is None else whole.weights[numbers]
        super().__init__(whole.rows.take(numbers), np.ascontiguousarray(whole.y[:, numbers]), weights, whole.n_threads)
        self.transferred = whole.transferred

    def count_rows(self, rows: int) -> None:
        """Add to the number of sampled rows of the whole data set."""
        self._whole.rows_sampled += rows


class _HostRows(CsrData):
    """The rows of a data set on the GPU, read by the CPU's threads."""

    def __init__(self, whole: CudaCsr) -> None:
        super().__init__(whole.rows, whole.y, whole.weights, whole.n_threads)
        self._whole = whole

    def count_rows(self, rows: int) -> None:
        self._whole.count_rows(rows)


def fetch(there: Any, stream: Any) -> NDArray[Any]:
    """Return a copy of an array on the host."""
    here: NDArray[Any] = there.copy_to_host(stream=stream)
    stream.synchronize()
    return here


def threads_of_block() -> int:
    """Return the threads of a block."""
    return device.THREADS or _THREADS


def grid_of(numbers: int) -> Grid:
    """Return the grid of a kernel that takes any, for so many numbers."""
    threads = threads_of_block()
    return Grid(max(1, min(-(-numbers // threads), _BLOCKS * device.multiprocessors())), threads)


def cut_rows(rows: int, blocks: int, lanes: Lanes, threads: int | None = None) -> Cut:
    """Divide rows into about `blocks` blocks of whole groups of threads."""
    groups = (threads or threads_of_block()) >> lanes.bits
    return Cut(-(-rows // (blocks * groups)) * groups)


def new_words(shape: tuple[int, int, int], stream: Any) -> tuple[Any, Any]:
    """Return memory for sums in fixed point, one-dimensional and in shape."""
    flat = cuda.device_array(shape[0] * shape[1] * shape[2], np.int64, stream=stream)
    return flat, flat.reshape(shape)


class ColumnSums:
    """Weighted sums of the columns of all rows, in two words.

    Parameters
    ----------
    rows : CudaCsr
    weights : ndarray of shape (n,) and the dtype of X, or None
        None stands for the sample weights.
    """

    def __init__(self, rows: CudaCsr, weights: NDArray[Any] | None = None) -> None:
        self._rows, given = rows, rows.weights if weights is None else weights
        s = rows.data.s if weights is None else cuda.to_device(weights, stream=rows.stream)
        self._s, self._step = s.reshape((s.size, 1)), 0 if given is None else 1
        largest = _ONE if given is None else np.array([given.max()], np.float64).view(np.int64)
        self._largest = cuda.to_device(largest, stream=rows.stream)
        self._flat, self._words = new_words((2, rows.d, 1), rows.stream)
        self._none = cuda.device_array(0, np.int64, stream=rows.stream)

    def of(self, value: str, magnitudes: Any, center: Any = None) -> Array:
        """Return the sums (d,) of a function of the stored numbers, whose magnitudes have these bounds (d,)."""
        rows, lanes = self._rows, self._rows.lanes(1)
        if center is None:
            center = cuda.device_array(1, stream=rows.stream)
        sums = exact.Sums(self._words, magnitudes, self._largest, exact.scale_of(rows.n))
        out = cuda.device_array(rows.d, stream=rows.stream)
        grid = grid_of(rows.n << lanes.bits)
        cut = cut_rows(rows.n, grid.blocks, lanes)
        device.launch(exact.make_clear(), grid_of(rows.d), rows.stream, self._flat, self._none)
        its = rows.data.X, self._s, self._step, center, lanes, Range(0, rows.n, cut.rows), sums
        grid = grid._replace(blocks=cut.blocks(rows.n))
        device.launch(make_csr_products(value, rows.rows.kind), grid, rows.stream, *its)
        device.launch(exact.make_total(), grid_of(rows.d), rows.stream, sums, False, out)
        return fetch(out, rows.stream)


class _Chunk(NamedTuple):
    """Rows whose derivatives are in memory at a time, and the nodes of their blocks."""

    start: int
    stop: int
    nodes: Any


class CsrGradientPass:
    """Passes for loss and gradient over sparse rows, at one point after another.

    Parameters
    ----------
    rows : CudaCsr
    loss : str
    outputs : int
        K.
    """

    def __init__(self, rows: CudaCsr, loss: str, outputs: int) -> None:
        self._rows, self._outputs, stream, d = rows, outputs, rows.stream, rows.d
        kind, itemsize = rows.rows.kind, rows.kind.itemsize
        self._residuals, self._products = make_csr_residuals(loss, kind), make_csr_products("stored", kind)
        self._grid, self._lanes = self._block_of(outputs)
        most = max(_CHUNK_BYTES, rows.nbytes // _CHUNK_SHARE) // (outputs * itemsize)
        self._chunk_rows = min(rows.n, max(1, most))
        count = exact.WORDS[rows.dtype]
        needed = self._chunk_rows * outputs * itemsize + d * outputs * (8 * (count + 1) + itemsize)
        device.require(needed, "the derivatives of rows and the sums of columns")
        self._r = cuda.device_array((self._chunk_rows, outputs), rows.kind, stream=stream)
        self._flat, words = new_words((count, d, outputs), stream)
        largest = cuda.device_array(outputs, np.int64, stream=stream)
        self._sums = exact.Sums(words, rows.magnitudes, largest, exact.scale_of(self._chunk_rows))
        self._point = PinnedArrays(stream, rows.kind, {"w": (d, outputs), "b": (outputs,), "shift": (0,)})
        self._total = PinnedArrays(stream, np.float64, {"products": (outputs * d,), "others": (2 * outputs,)})
        self._center = cuda.device_array(1, stream=stream)
        blocks = device.blocks_in_turn(self._residuals, self._grid.threads, self._grid.shared, *self._example())
        self._cut = cut_rows(self._chunk_rows, blocks, self._lanes, self._grid.threads)
        self._nodes, self._chunks = self._new_nodes()

    def _example(self) -> tuple[Any, ...]:
        """Return arguments of the kernel of derivatives, to compile it for."""
        nodes = cuda.device_array((1, 2 * self._outputs), stream=self._rows.stream)
        span = self._lanes, Range(0, self._rows.n, 1)
        return self._rows.data, self._point_with(0.0), *span, self._r, self._sums.rows, nodes

    def _block_of(self, outputs: int) -> tuple[Grid, Lanes]:
        """Return a block of threads, which are fewer for many outputs, and how they share rows."""
        threads, numbers = threads_of_block(), self._rows.rows.nnz / self._rows.n
        while True:
            lanes = plan_lanes(numbers, outputs, threads)
            shared = 8 * shared_numbers(lanes, threads, outputs)
            if shared <= SHARED_BYTES:
                return Grid(1, threads, shared), lanes
            if threads <= WARP:
                raise ValueError(f"{outputs} outputs are more than the GPU's kernels have room for: use device='cpu'")
            threads //= 2

    def _new_nodes(self) -> tuple[Any, list[_Chunk]]:
        """Return memory for the results of all blocks, and the chunks with theirs."""
        n, size = self._rows.n, self._chunk_rows
        spans = [(start, min(start + size, n)) for start in range(0, n, size)]
        ends = list(accumulate((self._cut.blocks(stop - start) for start, stop in spans), initial=0))
        nodes = cuda.device_array((ends[-1], 2 * self._outputs), stream=self._rows.stream)
        return nodes, [_Chunk(*span, nodes[ends[i] : ends[i + 1]]) for i, span in enumerate(spans)]

    def __call__(self, coef: Array, intercept: Array, p: float) -> Sums:
        """Return sums at margins x . coef + intercept, coef (K, d)."""
        self.queue(self.send(coef, intercept, p))
        K, found = self._outputs, self._total.fetch()
        products, others = found["products"].reshape(K, -1).copy(), found["others"].copy()
        return Sums(products, others[:K], others[K:])

    def send(self, coef: Array, intercept: Array, p: float) -> records.Point:
        """Queue the copy of a point to the device, after the work on the previous one."""
        self._point.host["w"][...], self._point.host["b"][:] = coef.T, intercept
        self._point.send()
        return self._point_with(p)

    def _point_with(self, p: float) -> records.Point:
        return records.Point(p=self._rows.kind.type(p), **self._point.device)

    def queue(self, point: records.Point) -> None:
        """Queue the kernels of a pass."""
        rows, stream, numbers = self._rows, self._rows.stream, grid_of(self._rows.d * self._outputs)
        for chunk in self._chunks:
            device.launch(exact.make_clear(), numbers, stream, self._flat, self._sums.rows)
            blocks = len(chunk.nodes)
            span = self._lanes, Range(chunk.start, chunk.stop, self._cut.rows)
            its = rows.data, point, *span, self._r, self._sums.rows, chunk.nodes
            device.launch(self._residuals, self._grid._replace(blocks=blocks), stream, *its)
            grid = Grid(blocks, self._grid.threads)
            device.launch(self._products, grid, stream, rows.data.X, self._r, 1, self._center, *span, self._sums)
            add, out = chunk.start > 0, self._total.device["products"]
            device.launch(exact.make_total(), numbers, stream, self._sums, add, out)
        add_up(stream, self._nodes, self._total.device["others"], True)


def place(X: CsrMatrix, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> CudaCsr:
    """Return a data set that has been copied to the GPU; parameters of `CudaCsr`."""
    found = CudaCsr(X, y, s, n_threads)
    with guarded():
        assert found.data.X is not None
    return found
