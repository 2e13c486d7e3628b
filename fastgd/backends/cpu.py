"""The CPU: chunks of blocks on a thread pool, combined in the fixed tree."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.backends.cpu_epochs import CpuEpochs, coordinates_of
from fastgd.backends.cpu_least_squares import CpuLeastSquares
from fastgd.backends.cpu_rows import LEVELS, CpuRows
from fastgd.backends.cpu_sample import CpuSample
from fastgd.backends.rule_state import RuleState, read_only
from fastgd.backends.verbs import EpochProblem, Piece, Transferred
from fastgd.kernels import records
from fastgd.kernels._jit import compile_seconds as compile_seconds
from fastgd.kernels.cpu.norms import make_largest_norm
from fastgd.optimizers import KernelRule, Recipe
from fastgd.sample import Runs
from fastgd.scaling import Array, Scaling

#: A chunk is one call of a kernel: long enough to hide its cost, short enough to answer Ctrl-C (0.1 s at 5 GB/s).
_CHUNK_BYTES = (1 << 18, 1 << 29)
#: Chunks a thread, so that threads end together.
_CHUNKS_PER_THREAD = 16
#: Numbers of X that are held in float64 at a time for margins.
_MARGIN_NUMBERS = 1 << 18


class CpuData(CpuRows):
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
        order = "C" if X.flags.c_contiguous else "F"
        rows, step = (X if order == "C" else X.T), (0 if s is None else 1)
        weights = np.ones(1, X.dtype) if s is None else s
        data = records.Data(read_only(rows), read_only(y), read_only(weights), step)
        super().__init__(data, order, X.shape[0], n_threads)
        #: Rows that passes and epochs have read so far, and those that samples have.
        self.rows_read = self.rows_sampled = 0
        self.transferred = Transferred()

    @property
    def rows(self) -> NDArray[Any]:
        """X (n, d), read-only."""
        X: NDArray[Any] = self.data.X
        return X if self.order == "C" else X.T

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,), read-only, or None where all rows weigh the same."""
        return self.data.s if self.data.weight_step else None

    def piece(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Rows [start, stop), as views."""
        s = self.weights
        return self.rows[start:stop], self.data.y[:, start:stop], None if s is None else s[start:stop]

    def count(self, rows: int) -> None:
        """Note that so many rows were read."""
        self.rows_read += rows

    def sample(self, runs: Runs) -> CpuSample:
        """Some of the rows, in place."""
        return CpuSample(self, runs)

    @cached_property
    def _blocks(self) -> tuple[int, int, int]:
        """Rows a block, number of blocks, blocks a chunk (a power of two)."""
        rows = self._block_rows
        wanted = self.nbytes / (self.n_threads * _CHUNKS_PER_THREAD)
        chunk_bytes = min(max(wanted, _CHUNK_BYTES[0]), _CHUNK_BYTES[1])
        size = 1
        while 2 * size * rows * self.d * self.data.X.itemsize <= chunk_bytes:
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

        threads.run(chunks, self.n_threads, work)
        self.count(self.n)
        if chunks == 1:
            return nodes[0]
        out = np.empty(size)
        combine(nodes, np.empty((LEVELS, size)), out)
        return out

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "CpuData":
        """A copy of the rows of these numbers, with these weights or none; in the order of X, for the same kernels."""
        laid_out = np.ascontiguousarray if self.order == "C" else np.asfortranarray
        y = np.ascontiguousarray(self.data.y[:, rows])
        return CpuData(laid_out(self.rows[rows]), y, weights, self.n_threads)

    def without_targets(self) -> "CpuData":
        """The same rows and weights, one target of 0."""
        return CpuData(self.rows, np.zeros((1, self.n), self.data.X.dtype), self.weights, self.n_threads)

    def beside(self, X: NDArray[Any], y: NDArray[Any], s: NDArray[Any] | None) -> "CpuData":
        """Other rows."""
        return CpuData(X, y, s, self.n_threads)

    def line(self, coef: Array, intercept: Array, shift: Array) -> "CpuData":
        """The margins (n, K) in place of the columns, in the order of X, which needs no other kernel. One pass."""
        margins = self._margins(coef, intercept, shift)
        columns = margins if self.order == "C" else np.asfortranarray(margins)
        return CpuData(columns, self.data.y, self.weights, self.n_threads)

    def _margins(self, coef: Array, intercept: Array, shift: Array) -> NDArray[Any]:
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

    def least_squares(self, scaling: Scaling, intercept: bool) -> CpuLeastSquares:
        """Sums of a squared loss, in working coordinates."""
        return CpuLeastSquares(self, scaling, intercept)

    def epochs(self, loss: str, problem: EpochProblem) -> CpuEpochs:
        """A mini-batch loop over this data set."""
        return CpuEpochs(self, loss, problem)

    def check_rule(self, rule: KernelRule) -> None:
        """All rules run."""

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """A rule at the start, at theta (K, d + 1), which it updates in place."""
        return RuleState(recipe, theta, self.n, self.data.X.dtype)
