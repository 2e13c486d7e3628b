"""Data sets whose rows are read from a source in every pass; targets and weights are in memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array, read_only
from fastgd.backends.cpu.data import CpuData, CpuRows
from fastgd.backends.cpu.least_squares import CpuLeastSquares
from fastgd.backends.cpu.nodes import LEVELS, Node, NodeTree, sum_runs
from fastgd.backends.stream.epochs import StreamEpochs
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.backends.stream.sample import HeldRows, StreamSample, rows_of_samples
from fastgd.kernels import records
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import EpochProblem, Piece, Runs, Transferred
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KernelRule, Recipe

#: Blocks of rows per call of a kernel, a power of two.
_RUN_BLOCKS = 8


class StreamData(CpuRows):
    """Rows of a source, which the CPU reads block by block in every pass.

    Blocks are cut again at multiples of rows that depend on the shape alone, so that sums have the same bits as those
    of an array with these rows.

    Parameters
    ----------
    X : StreamMatrix of shape (n, d)
    y : ndarray of shape (K, n) and the dtype of X
        Targets; labels in {-1, +1} or class numbers, then K = 1.
    s : ndarray of shape (n,) and the dtype of X, or None
        Sample weights.
    n_threads : int
    """

    device = "cpu"

    def __init__(self, X: StreamMatrix, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        self._matrix, self._y, self._s = X, y, s
        self._window = slice(0, 0)
        super().__init__(self._data_of(np.empty((0, X.shape[1]), X.dtype)), "C", X.shape, X.nbytes, n_threads)
        self.targets = y.shape[0]
        #: Rows that passes and epochs have read so far, and those that samples have.
        self.rows_read = self.rows_sampled = 0
        self.transferred = Transferred()
        #: Number of the first block, and whether the last one is the end, where these rows are a part of others.
        self.first_block, self.is_end = 0, True
        #: Rows that were read for samples.
        self._held: HeldRows | None = None
        #: Nodes of the last sums.
        self.nodes: list[Node] = []

    def _data_of(self, X: NDArray[Any]) -> records.Data:
        """Return the rows of the current window as kernels take them."""
        weights = np.ones(1, X.dtype) if self._s is None else self._s[self._window]
        # Targets of another layout would compile kernels again.
        y = np.ascontiguousarray(self._y[:, self._window])
        return records.Data(read_only(X), read_only(y), read_only(weights), 0 if self._s is None else 1)

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,), or None if all weights are equal."""
        return self._s

    def count_rows(self, rows: int) -> None:
        """Add to the number of rows read."""
        self.rows_read += rows

    def windows(self, multiple: int) -> Iterator[slice]:
        """Iterate over the rows by ranges of multiples of rows, each in memory until the next. One scan."""
        try:
            for window in self._matrix.windows(multiple):
                self._window = window.rows
                self.data = self._data_of(window.X)
                yield window.rows
        finally:
            self._window = slice(0, 0)
            self.data = self._data_of(np.empty((0, self.d), self._matrix.dtype))

    def _reduce(self, kernel: Any, combine: Any, size: int) -> Array:
        """Call the kernel for runs of blocks in each window and combine their nodes."""
        tree = NodeTree(combine, size, self.first_block)
        stacks = {0: np.empty((LEVELS, size))}
        for window in self.windows(records.BLOCK_ROWS):
            first, count = window.start // records.BLOCK_ROWS, -(-(window.stop - window.start) // records.BLOCK_ROWS)
            for node in sum_runs(kernel, (self.first_block + first, count, _RUN_BLOCKS), self._threads, stacks):
                tree.push(node)
        if self.is_end:
            tree.close()
        self.count_rows(self.n)
        self.nodes = tree.nodes
        return tree.total()

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop): views of the current window, or a copy that takes a scan."""
        its, s = slice(start, stop), self._s
        if self._window.start <= start and stop <= self._window.stop:
            X = self.data.X[start - self._window.start : stop - self._window.start]
        else:
            X = self._matrix.take(np.arange(start, stop))
        return X, self._y[:, its], None if s is None else s[its]

    def expect_samples(self, sizes: Callable[[], Sequence[int]]) -> None:
        """Read the rows of samples of these sizes together, in one scan, if they are few."""
        rows = rows_of_samples(self.n, self.nbytes // self.n, sizes())
        self._held = None if rows is None else HeldRows(rows, self._matrix.take(rows))

    def _take(self, rows: NDArray[Any]) -> NDArray[Any]:
        held = None if self._held is None else self._held.take(rows)
        return self._matrix.take(rows) if held is None else held

    def sample(self, runs: Runs) -> "StreamSample":
        """Return a copy of a sample of the rows."""
        return StreamSample(self.part(runs.rows, self._weights_of(runs.rows)), runs, self)

    def _weights_of(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        return None if self._s is None else self._s[rows]

    def targets_of(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the targets (K, m) of rows with these indices."""
        return self._y[:, rows]

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> CpuData:
        """Return a copy of rows with these weights or none. A scan at most."""
        return CpuData(self._take(rows), np.ascontiguousarray(self._y[:, rows]), weights, self.n_threads)

    def reweighted(self, weights: NDArray[Any]) -> "StreamData":
        """Return the same rows with other weights (n,), of the dtype of X."""
        return StreamData(self._matrix, self._y, weights, self.n_threads)

    def without_targets(self) -> "StreamData":
        """Return the data set with a single target of 0."""
        zeros = np.broadcast_to(np.zeros(1, self._matrix.dtype), (1, self.n))
        return StreamData(self._matrix, zeros, self._s, self.n_threads)

    def line(self, coef: Array, intercept: Array, shift: Array) -> CpuData:
        """Return a data set with the margins (n, K) as columns, in memory. One pass."""
        margins = np.empty((self.n, len(coef)), self._matrix.dtype)
        for window in self.windows(1):
            rows = CpuData(self.data.X, self.data.y, None, self.n_threads)
            margins[window] = rows.line(coef, intercept, shift).rows
        self.count_rows(self.n)
        return CpuData(margins, self._y, self._s, self.n_threads)

    def squared_norms(self, scaling: Scaling) -> Array:
        """Return the weighted squared norms (n,) of rows in working coordinates. One pass."""
        norms = np.empty(self.n)
        for window in self.windows(1):
            weights = self.data.s if self.data.weight_step else None
            norms[window] = CpuData(self.data.X, self.data.y, weights, self.n_threads).squared_norms(scaling)
        self.count_rows(self.n)
        return norms

    def least_squares(self, scaling: Scaling, intercept: bool) -> CpuLeastSquares:
        """Return the sums of a squared loss in working coordinates."""
        return CpuLeastSquares(self, scaling, intercept)

    def check_rule(self, rule: KernelRule) -> None:
        """Raise a ValueError for SAGA, which keeps a number per row."""
        if rule.keeps_rows:
            raise ValueError(
                "optimizer='saga' keeps a number for each row, which a stream without cache does not number: use "
                "cache='disk', or another optimizer"
            )

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """Return a new rule at theta (K, d + 1), which it updates in place."""
        return RuleState(recipe, theta, self.n, self._matrix.dtype)

    def epochs(self, loss: str, problem: EpochProblem) -> StreamEpochs:
        """Return a mini-batch loop over this data set."""
        return StreamEpochs(self, self._matrix, loss, problem)
