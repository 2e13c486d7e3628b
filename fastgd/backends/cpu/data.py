"""Data sets and samples on the CPU, with sums over rows on a thread pool, combined in a fixed tree."""

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.arrays import Array, read_only
from fastgd.backends.cpu.epochs import CpuEpochs, coordinates_of
from fastgd.backends.cpu.least_squares import CpuLeastSquares
from fastgd.backends.cpu.nodes import LEVELS
from fastgd.backends.design import HostDesign
from fastgd.backends.weights import WeightedRows
from fastgd.kernels import records
from fastgd.kernels._jit import compile_seconds as compile_seconds
from fastgd.kernels.cpu.gradient import make_gradient
from fastgd.kernels.cpu.moments import fold_moments, make_moments, make_norms
from fastgd.kernels.cpu.tree import fold
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import EpochProblem, Piece, Runs, Sums, Transferred
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KernelRule, Recipe

#: Bytes of rows below which threads cost more than they save: to wake one can take as long as to read them.
_FEW_BYTES = 1 << 21


class CpuRows(WeightedRows):
    """Rows of a data set: all of them or a sample.

    Parameters
    ----------
    data : Data
        The whole data set, as kernels take it.
    order : {"C", "F"}
        Of X, or of the dense rows on the host.
    shape : tuple of int
        Numbers of these rows and of columns.
    nbytes : int
        Bytes of these rows.
    n_threads : int
    """

    def __init__(self, data: records.Data, order: str, shape: tuple[int, int], nbytes: int, n_threads: int) -> None:
        self.data, self.order, self.nbytes, self.n_threads = data, order, nbytes, n_threads
        self.n, self.d = shape
        self.targets = data.y.shape[0]
        self.dtype = "f4" if data.y.dtype == np.float32 else "f8"

    @abstractmethod
    def count_rows(self, rows: int) -> None:
        """Add to the number of rows read."""

    @abstractmethod
    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) of these; `out` is an optional buffer for X."""

    @abstractmethod
    def _reduce(self, kernel: Any, combine: Any, size: int) -> Array:
        """Run `kernel(first, last, rows, stack, out, slot)` over blocks of rows and combine their nodes."""

    @property
    def _threads(self) -> int:
        """Number of threads for a pass."""
        return self.n_threads if self.nbytes >= _FEW_BYTES else 1

    @property
    def _block_rows(self) -> int:
        """Rows per block."""
        return records.BLOCK_ROWS if self.order == "C" else records.column_block_rows(self.d, self.data.X.itemsize)

    def moments(self) -> Moments:
        """Return weighted mean and sd of each column; not finite if the data are not. One pass."""
        kernel = make_moments(self.dtype, self.order)

        def run(first: int, last: int, rows: int, stack: Array, out: Array, slot: int) -> None:
            kernel(self.data, first, last, rows, stack, out)

        node = self._reduce(run, fold_moments, 2 * self.d + 1)
        return Moments(node[0], node[1 : self.d + 1].copy(), np.sqrt(node[self.d + 1 :] / node[0]))

    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient at margins (x - shift) . coef + intercept; coef (K, d). One pass."""
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

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> HostDesign:
        """Return the rows in working coordinates."""
        return HostDesign(self, scaling, intercept, keep, rough)

    def _point(self, coef: Array, intercept: Array, shift: Array, p: float) -> records.Point:
        kind = self.data.y.dtype
        # Arrays in another order would compile the kernel again.
        w, b, moved = (read_only(part.astype(kind, order="C")) for part in (coef, intercept, shift))
        return records.Point(w, b, moved, kind.type(p))


#: Runs per call of a thread.
_RUNS_A_CHUNK = 8


class CpuSample(CpuRows):
    """Runs of a data set's rows, in place: a copy would cost more than the passes over it.

    Parameters
    ----------
    whole : CpuData
    runs : Runs
    """

    def __init__(self, whole: "CpuData", runs: Runs) -> None:
        self._whole, self._runs = whole, runs
        self._numbers = runs.rows
        n = self._numbers.size
        super().__init__(whole.data, whole.order, (n, whole.d), whole.nbytes // whole.n * n, whole.n_threads)

    @cached_property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,) of these rows, or None if all weights are equal."""
        return self.data.s[self._numbers] if self.data.weight_step else None

    def count_rows(self, rows: int) -> None:
        """Add to the number of sampled rows of the whole data set."""
        self._whole.rows_sampled += rows

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) of the sample, with X in `out` if given."""
        rows = self._numbers[start:stop]
        held = None if out is None else out[: rows.size]
        # Column-major data are indexed by columns, since NumPy would copy all data otherwise. A mode other than "raise"
        # writes to `out` itself.
        by_row = self.order == "C"
        X = np.take(self.data.X, rows, axis=0, out=held, mode="clip") if by_row else self.data.X[:, rows].T
        return X, self.data.y[:, rows], None if self.weights is None else self.weights[start:stop]

    def _reduce(self, kernel: Any, combine: Any, size: int) -> Array:
        """Call the kernel for every run and combine the nodes."""
        length, numbers = self._runs
        nodes = np.empty((numbers.size, size))
        stacks: dict[int, Array] = {}

        def work(slot: int, chunk: int) -> None:
            if slot not in stacks:
                stacks[slot] = np.empty((1, size))
            for i in range(chunk * _RUNS_A_CHUNK, min((chunk + 1) * _RUNS_A_CHUNK, numbers.size)):
                number = int(numbers[i])
                kernel(number, number + 1, length, stacks[slot], nodes[i], slot)

        threads.run(-(-numbers.size // _RUNS_A_CHUNK), self._threads, work)
        self.count_rows(self.n)
        out = np.empty(size)
        combine(nodes, np.empty((LEVELS, size)), out)
        return out


#: A chunk is one call of a kernel: long enough to hide its cost, short enough to answer Ctrl-C (0.1 s at 5 GB/s).
_CHUNK_BYTES = (1 << 20, 1 << 29)
#: Chunks per thread, so that threads end together.
_CHUNKS_PER_THREAD = 16
#: Numbers of X to convert to float64 at a time for margins.
_MARGIN_NUMBERS = 1 << 18


class CpuSet(CpuRows):
    """All rows of a data set in memory."""

    device = "cpu"

    def __init__(self, data: records.Data, order: str, shape: tuple[int, int], nbytes: int, n_threads: int) -> None:
        super().__init__(data, order, shape, nbytes, n_threads)
        #: Rows that passes and epochs have read so far, and those that samples have.
        self.rows_read = self.rows_sampled = 0
        self.transferred = Transferred()

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,), read-only, or None if all weights are equal."""
        return self.data.s if self.data.weight_step else None

    def count_rows(self, rows: int) -> None:
        """Add to the number of rows read."""
        self.rows_read += rows

    @cached_property
    def _blocks(self) -> tuple[int, int, int]:
        """Rows per block, number of blocks, and blocks per chunk (a power of two)."""
        rows = self._block_rows
        wanted = self.nbytes / (self.n_threads * _CHUNKS_PER_THREAD)
        chunk_bytes = min(max(wanted, _CHUNK_BYTES[0]), _CHUNK_BYTES[1])
        size = 1
        while 2 * size * rows * self.nbytes // self.n <= chunk_bytes:
            size *= 2
        return rows, -(-self.n // rows), size

    def _reduce(self, kernel: Any, combine: Any, size: int) -> Array:
        """Run `kernel(first, last, rows, stack, out, slot)` over all chunks and combine their nodes."""
        rows, count, per_chunk = self._blocks
        chunks = -(-count // per_chunk)
        nodes = np.empty((chunks, size))
        stacks: dict[int, Array] = {}

        def work(slot: int, number: int) -> None:
            if slot not in stacks:
                stacks[slot] = np.empty((LEVELS, size))
            first = number * per_chunk
            kernel(first, min(first + per_chunk, count), rows, stacks[slot], nodes[number], slot)

        threads.run(chunks, self._threads, work)
        self.count_rows(self.n)
        if chunks == 1:
            return nodes[0]
        out = np.empty(size)
        combine(nodes, np.empty((LEVELS, size)), out)
        return out

    def check_rule(self, rule: KernelRule) -> None:
        """Accept every rule."""

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """Return a new rule at theta (K, d + 1), which it updates in place."""
        return RuleState(recipe, theta, self.n, self.data.y.dtype)


class CpuData(CpuSet):
    """A data set on the CPU, and the kernels over it. X is used in place.

    Parameters
    ----------
    X : ndarray of shape (n, d), C or F order, float32 or float64
    y : ndarray of shape (K, n) and the dtype of X
        Targets; labels in {-1, +1} or class numbers, then K = 1.
    s : ndarray of shape (n,) and the dtype of X, or None
        Sample weights.
    n_threads : int
    """

    gives_columns = True

    def __init__(self, X: NDArray[Any], y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        order = "C" if X.flags.c_contiguous else "F"
        rows, step = (X if order == "C" else X.T), (0 if s is None else 1)
        weights = np.ones(1, X.dtype) if s is None else s
        data = records.Data(read_only(rows), read_only(y), read_only(weights), step)
        super().__init__(data, order, X.shape, X.nbytes, n_threads)

    @property
    def rows(self) -> NDArray[Any]:
        """X (n, d), read-only."""
        X: NDArray[Any] = self.data.X
        return X if self.order == "C" else X.T

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) as views."""
        s = self.weights
        return self.rows[start:stop], self.data.y[:, start:stop], None if s is None else s[start:stop]

    def sample(self, runs: Runs) -> CpuSample:
        """Return a sample of the rows, in place."""
        return CpuSample(self, runs)

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "CpuData":
        """Return a copy of rows with these weights or none, in the order of X, for the same kernels."""
        laid_out = np.ascontiguousarray if self.order == "C" else np.asfortranarray
        y = np.ascontiguousarray(self.data.y[:, rows])
        return CpuData(laid_out(self.rows[rows]), y, weights, self.n_threads)

    def columns(self, numbers: NDArray[Any]) -> "CpuData":
        """Return a copy of the columns with these ascending numbers, in the order of X for the same kernels."""
        laid_out = np.ascontiguousarray if self.order == "C" else np.asfortranarray
        self.count_rows(self.n)
        return CpuData(laid_out(self.rows[:, numbers]), self.data.y, self.weights, self.n_threads)

    def without_targets(self) -> "CpuData":
        """Return the data set with a single target of 0."""
        return CpuData(self.rows, np.zeros((1, self.n), self.data.X.dtype), self.weights, self.n_threads)

    def line(self, coef: Array, intercept: Array, shift: Array) -> "CpuData":
        """Return a data set with the margins (n, K) as columns, in the order of X for the same kernels. One pass."""
        margins = self._margins(coef, intercept, shift)
        columns = margins if self.order == "C" else np.asfortranarray(margins)
        return CpuData(columns, self.data.y, self.weights, self.n_threads)

    def _margins(self, coef: Array, intercept: Array, shift: Array) -> NDArray[Any]:
        """Return margins (x - shift) . coef + intercept, (n, K) in the dtype of X, by blocks. One pass."""
        X = self.rows
        margins = np.empty((self.n, coef.shape[0]), X.dtype)
        step = max(1, _MARGIN_NUMBERS // self.d)
        for start in range(0, self.n, step):
            block = X[start : start + step].astype(np.float64)
            block -= shift
            margins[start : start + step] = block @ coef.T + intercept
        self.count_rows(self.n)
        return margins

    def squared_norms(self, scaling: Scaling) -> Array:
        """Return the weighted squared norms (n,) of rows in working coordinates. One pass."""
        kernel = make_norms(self.dtype, self.order)
        coordinates = coordinates_of(scaling, np.zeros((1, 1)), np.zeros((1, 1)))
        rows, _, per_chunk = self._blocks
        step, norms = rows * per_chunk, np.empty(self.n)

        def work(slot: int, number: int) -> None:
            kernel(self.data, coordinates, number * step, min((number + 1) * step, self.n), norms)

        threads.run(-(-self.n // step), self._threads, work)
        self.count_rows(self.n)
        return norms

    def least_squares(self, scaling: Scaling, intercept: bool) -> CpuLeastSquares:
        """Return the sums of a squared loss in working coordinates."""
        return CpuLeastSquares(self, scaling, intercept)

    def epochs(self, loss: str, problem: EpochProblem) -> CpuEpochs:
        """Return a mini-batch loop over this data set."""
        return CpuEpochs(self, self.data, loss, problem)
