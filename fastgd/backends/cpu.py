"""The CPU: chunks of blocks on a thread pool, combined in the fixed tree."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.backends.cpu_epochs import CpuEpochs, EpochProblem, RuleState, coordinates_of, read_only
from fastgd.kernels import records
from fastgd.kernels._jit import compile_seconds as compile_seconds
from fastgd.kernels.cpu.gradient import make_gradient
from fastgd.kernels.cpu.moments import fold_moments, make_moments
from fastgd.kernels.cpu.norms import make_largest_norm
from fastgd.kernels.cpu.tree import fold
from fastgd.optimizers import Recipe
from fastgd.sample import Runs
from fastgd.scaling import Array, Moments, Scaling

#: A chunk is one call of a kernel: long enough to hide its cost, short enough to answer Ctrl-C (0.1 s at 5 GB/s).
_CHUNK_BYTES = (1 << 18, 1 << 29)
#: Chunks a thread, so that threads end together.
_CHUNKS_PER_THREAD = 16
_LEVELS = 48
#: Numbers of X that are held in float64 at a time for margins.
_MARGIN_NUMBERS = 1 << 18


@dataclass(frozen=True)
class Sums:
    """Sums over all rows: loss derivatives times shifted columns (K, d), loss derivatives (K,), and losses (K,)."""

    products: Array
    derivatives: Array
    losses: Array


class CpuData:
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

    device = "cpu"

    def __init__(self, X: NDArray[Any], y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        self.n, self.d = X.shape
        self.order = "C" if X.flags.c_contiguous else "F"
        self.dtype = "f4" if X.dtype == np.float32 else "f8"
        self.nbytes = X.nbytes
        self.n_threads = n_threads
        #: Rows that passes and epochs have read so far, and those that samples have.
        self.rows_read = self.rows_sampled = 0
        weights = np.ones(1, X.dtype) if s is None else s
        self.data = records.Data(
            read_only(X if self.order == "C" else X.T), read_only(y), read_only(weights), 0 if s is None else 1
        )
        self.weight = float(self.n) if s is None else float(np.sum(s, dtype=np.float64))

    @property
    def rows(self) -> NDArray[Any]:
        """X (n, d), read-only."""
        X: NDArray[Any] = self.data.X
        return X if self.order == "C" else X.T

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,), read-only, or None where all rows weigh the same."""
        return self.data.s if self.data.weight_step else None

    def piece(
        self, start: int, stop: int, out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        """X (m, d), y (K, m) and weights (m,) or None of rows [start, stop); views. `out` is scratch for X, if any."""
        return (
            self.rows[start:stop],
            self.data.y[:, start:stop],
            self.data.s[start:stop] if self.data.weight_step else None,
        )

    def count(self, rows: int) -> None:
        """Note that so many rows were read."""
        self.rows_read += rows

    def sample(self, runs: Runs) -> "CpuSample":
        """Some of the rows, in place."""
        return CpuSample(self, runs)

    @cached_property
    def _blocks(self) -> tuple[int, int, int]:
        """Rows a block, number of blocks, blocks a chunk (a power of two)."""
        itemsize = self.data.X.itemsize
        rows = records.BLOCK_ROWS if self.order == "C" else records.column_block_rows(self.d, itemsize)
        count = -(-self.n // rows)
        wanted = self.nbytes / (self.n_threads * _CHUNKS_PER_THREAD)
        chunk_bytes = min(max(wanted, _CHUNK_BYTES[0]), _CHUNK_BYTES[1])
        size = 1
        while 2 * size * rows * self.d * itemsize <= chunk_bytes:
            size *= 2
        return rows, count, size

    def _reduce(self, kernel: Any, combine: Any, size: int) -> Array:
        """Run `kernel(first, last, rows, stack, out, slot)` over all chunks and combine their nodes."""
        rows, count, per_chunk = self._blocks
        chunks = -(-count // per_chunk)
        nodes = np.empty((chunks, size))
        stacks: dict[int, Array] = {}

        def work(slot: int, number: int) -> None:
            if slot not in stacks:
                stacks[slot] = np.empty((_LEVELS, size))
            first = number * per_chunk
            kernel(first, min(first + per_chunk, count), rows, stacks[slot], nodes[number], slot)

        threads.run(chunks, self.n_threads, work)
        self.count(self.n)
        if chunks == 1:
            return nodes[0]
        out = np.empty(size)
        combine(nodes, np.empty((_LEVELS, size)), out)
        return out

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
        rows = records.tile_rows(self.d * point.w.itemsize) if self.order == "C" else self._blocks[0]
        tiles: dict[int, records.Tile] = {}

        def run(first: int, last: int, block_rows: int, stack: Array, out: Array, slot: int) -> None:
            if slot not in tiles:
                tiles[slot] = records.new_tile(self.d, outputs, self.data.y.shape[0], point.w.dtype, rows)
            kernel(self.data, point, first, last, block_rows, tiles[slot], stack, out)

        node = self._reduce(run, fold, outputs * (self.d + 2))
        cut = outputs * self.d
        return Sums(node[:cut].reshape(outputs, self.d), node[cut : cut + outputs], node[cut + outputs :])

    def _point(self, coef: Array, intercept: Array, shift: Array, p: float) -> records.Point:
        kind = self.data.X.dtype
        return records.Point(
            read_only(coef.astype(kind)), read_only(intercept.astype(kind)), read_only(shift.astype(kind)), kind.type(p)
        )

    def margins(self, coef: Array, intercept: Array, shift: Array) -> NDArray[Any]:
        """Margins (x - shift) . coef + intercept, (n, K) in the dtype of X, by blocks. One pass."""
        X = self.rows
        margins = np.empty((self.n, coef.shape[0]), X.dtype)
        step = max(1, _MARGIN_NUMBERS // self.d)
        for start in range(0, self.n, step):
            block = X[start : start + step].astype(np.float64)
            block -= shift
            margins[start : start + step] = block @ coef.T + intercept
        self.count(self.n)
        return margins

    def largest_norm(self, scaling: Scaling) -> float:
        """Largest weighted squared norm of a row in working coordinates, relative to the mean weight. One pass."""
        kernel = make_largest_norm(self.dtype, self.order)
        coordinates = coordinates_of(scaling, np.zeros((1, 1)), np.zeros((1, 1)))
        rows, _, per_chunk = self._blocks
        step = rows * per_chunk
        chunks = -(-self.n // step)
        largest = np.zeros(chunks)

        def work(slot: int, number: int) -> None:
            largest[number] = kernel(self.data, coordinates, number * step, min((number + 1) * step, self.n))

        threads.run(chunks, self.n_threads, work)
        self.count(self.n)
        return float(largest.max()) * self.n / self.weight

    def epochs(self, loss: str, problem: EpochProblem) -> CpuEpochs:
        """A mini-batch loop over this data set."""
        return CpuEpochs(self, loss, problem)

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """A rule at the start, at theta (K, d + 1), which it updates in place."""
        return RuleState(recipe, theta, self.n, self.data.X.dtype)


#: Runs that a thread takes at a time.
_RUNS_A_CHUNK = 8


class CpuSample(CpuData):
    """Runs of a data set's rows, in place: fresh memory for a copy would cost more than what is done with it.

    Parameters
    ----------
    whole : CpuData
    runs : Runs
    """

    def __init__(self, whole: CpuData, runs: Runs) -> None:
        super().__init__(whole.rows, whole.data.y, whole.weights, whole.n_threads)
        self._whole, self._runs = whole, runs
        self._numbers = runs.rows
        self.n = self._numbers.size
        self.nbytes = self.n * (whole.nbytes // whole.n)
        self.weight = float(self.n) if self.weights is None else float(np.sum(self.weights[self._numbers], dtype=float))

    def count(self, rows: int) -> None:
        """Note that so many rows were read, in the whole data's books."""
        self._whole.rows_sampled += rows

    def piece(
        self, start: int, stop: int, out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        """X (m, d), in `out` where given, y (K, m) and weights (m,) or None of the sample's rows [start, stop)."""
        rows = self._numbers[start:stop]
        held = None if out is None else out[: rows.size]
        # A mode other than "raise" writes to `out` itself.
        by_row = self.order == "C"
        # Of column-major data along their own rows: NumPy would copy the whole otherwise.
        X = np.take(self.rows, rows, axis=0, out=held, mode="clip") if by_row else self.data.X[:, rows].T
        return X, self.data.y[:, rows], self.data.s[rows] if self.data.weight_step else None

    def _reduce(self, kernel: Any, combine: Any, size: int) -> Array:
        """Run the kernel over every run and combine the nodes."""
        length, numbers = self._runs
        nodes = np.empty((numbers.size, size))
        stacks: dict[int, Array] = {}

        def work(slot: int, chunk: int) -> None:
            if slot not in stacks:
                stacks[slot] = np.empty((1, size))
            for i in range(chunk * _RUNS_A_CHUNK, min((chunk + 1) * _RUNS_A_CHUNK, numbers.size)):
                number = int(numbers[i])
                kernel(number, number + 1, length, stacks[slot], nodes[i], slot)

        threads.run(-(-numbers.size // _RUNS_A_CHUNK), self.n_threads, work)
        self.count(self.n)
        out = np.empty(size)
        combine(nodes, np.empty((_LEVELS, size)), out)
        return out
