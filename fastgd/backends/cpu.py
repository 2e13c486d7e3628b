"""The CPU: chunks of blocks on a thread pool, combined in the fixed tree."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.kernels import records
from fastgd.kernels._jit import compile_seconds as compile_seconds
from fastgd.kernels.cpu.epoch import make_epoch
from fastgd.kernels.cpu.gradient import make_gradient
from fastgd.kernels.cpu.moments import fold_moments, make_moments
from fastgd.kernels.cpu.norms import make_largest_norm
from fastgd.kernels.cpu.tree import fold
from fastgd.kernels.cpu.update import update
from fastgd.kernels.rules import RULES
from fastgd.kernels.shuffle import RUN, WINDOW
from fastgd.scaling import Array, Moments, Scaling

#: A chunk is one call of a kernel: long enough to hide its cost, short enough to answer Ctrl-C (0.1 s at 5 GB/s).
_CHUNK_BYTES = (1 << 18, 1 << 29)
#: Chunks a thread, so that threads end together.
_CHUNKS_PER_THREAD = 16
_LEVELS = 48


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view: read-only and writable arrays are different Numba signatures, so kernels see one kind."""
    view = array.view()
    view.flags.writeable = False
    return view


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
        #: Rows that passes and epochs have read so far.
        self.rows_read = 0
        weights = np.ones(1, X.dtype) if s is None else s
        self.data = records.Data(
            read_only(X if self.order == "C" else X.T), read_only(y), read_only(weights), 0 if s is None else 1
        )
        self.weight = float(self.n) if s is None else float(np.sum(s, dtype=np.float64))

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
        self.rows_read += self.n
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

    def largest_norm(self, scaling: Scaling) -> float:
        """Largest weighted squared norm of a row in working coordinates, relative to the mean weight. One pass."""
        kernel = make_largest_norm(self.dtype, self.order)
        coordinates = _coordinates(scaling, np.zeros((1, 1)), np.zeros((1, 1)))
        rows, _, per_chunk = self._blocks
        step = rows * per_chunk
        chunks = -(-self.n // step)
        largest = np.zeros(chunks)

        def work(slot: int, number: int) -> None:
            largest[number] = kernel(self.data, coordinates, number * step, min((number + 1) * step, self.n))

        threads.run(chunks, self.n_threads, work)
        self.rows_read += self.n
        return float(largest.max()) * self.n / self.weight

    def epochs(self, loss: str, problem: "EpochProblem") -> "CpuEpochs":
        """A mini-batch loop over this data set."""
        return CpuEpochs(self, loss, problem)


@dataclass(frozen=True)
class EpochProblem:
    """What a mini-batch loop needs besides the data."""

    scaling: Scaling
    shift: Array
    l1: Array
    l2: Array
    p: float
    fit_intercept: bool
    batch_size: int
    seed: int
    shuffle: bool


class CpuEpochs:
    """Runs batches of an epoch; all that moves is in the state that the caller holds."""

    def __init__(self, data: CpuData, loss: str, problem: EpochProblem) -> None:
        self._data = data
        self._problem = problem
        self._kernel = make_epoch(loss, data.dtype, data.order, bool(np.any(problem.shift)))
        self._coordinates = _coordinates(problem.scaling, problem.l1, problem.l2)
        self._work: records.Work | None = None
        self._epoch = -1

    def run(self, epoch: int, first: int, last: int, rates: Array, rule: "RuleState") -> Array:
        """Run batches [first, last) of an epoch; the sum of rows x (mean loss before the update + penalty), (K,)."""
        problem = self._problem
        if self._work is None:
            self._work = self._new_work(rule.theta.shape[0])
        if epoch != self._epoch:
            self._work.schedule.filled[:] = -1
            self._epoch = epoch
        batches = records.Batches(problem.batch_size, problem.seed, epoch, problem.shuffle)
        self._work.seen[:] = 0.0
        self._kernel(
            self._data.data, batches, first, last, rule.record(rates), rule.state, self._coordinates, self._work
        )
        stop = min(last * problem.batch_size, self._data.n)
        self._data.rows_read += stop - first * problem.batch_size
        return self._work.seen.copy()

    def _new_work(self, outputs: int) -> records.Work:
        data, problem = self._data, self._problem
        d, kind = data.d, data.data.X.dtype
        rows = records.tile_rows(d * kind.itemsize)
        while rows > problem.batch_size:
            rows = rows // 2 if rows > 8 else problem.batch_size
        window = min(WINDOW, data.n) if problem.shuffle else 1
        gathered = (rows, d) if data.order == "F" else (1, 1)
        shift = problem.shift.astype(kind)
        return records.Work(
            tile=records.new_tile(d, outputs, data.data.y.shape[0], kind, rows),
            point=records.Point(np.zeros((outputs, d), kind), np.zeros(outputs, kind), shift, kind.type(problem.p)),
            schedule=records.Schedule(
                np.zeros((2, window), np.int64), np.zeros(-(-window // RUN), np.int64), np.full(2, -1, np.int64)
            ),
            sums=np.zeros((outputs, d)),
            derivatives=np.zeros(outputs),
            g=np.zeros((outputs, d + 1)),
            lost=np.zeros(outputs),
            seen=np.zeros(outputs),
            offset=problem.scaling.center - problem.shift,
            gathered=np.zeros(gathered, kind),
            # Twice, since the second half is what a tile prefetches.
            consecutive=np.tile(np.arange(rows, dtype=np.uint64), 2),
            ahead=rows if rows >= 8 else 2 * RUN,
            factor=data.n / data.weight,
            intercept=1.0 if problem.fit_intercept else 0.0,
        )


class RuleState:
    """An update rule with its memory: theta (K, d + 1), float64, updated in place."""

    def __init__(self, rule: str, numbers: tuple[float, float, float], theta: Array) -> None:
        code, slots = RULES[rule]
        # An integer among them would be another signature, and compile again.
        self._code, self._numbers = code, tuple(float(number) for number in numbers)
        self.theta = theta
        self.state = records.State(theta, np.zeros((slots, *theta.shape)), np.zeros(1, np.int64))

    def record(self, rates: Array) -> records.Rule:
        """The rule as kernels take it, with one rate an update."""
        return records.Rule(self._code, read_only(rates), *self._numbers)

    def update(self, g: Array, rate: float, l1: Array) -> None:
        """One update with gradient g (K, d + 1) and L1 weights l1 (K, d + 1)."""
        update(self.state, read_only(g), self.record(np.array([rate])), read_only(l1))


def _coordinates(scaling: Scaling, l1: Array, l2: Array) -> records.Coordinates:
    return records.Coordinates(*(read_only(a) for a in (scaling.center, scaling.inv_scale, l1, l2)))
