"""The mini-batch loop over rows that are read from a source."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cpu.epochs import CpuEpochs
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.kernels.shuffle import make_key, mix, permute
from fastgd.objective.dataset import BatchSums, EpochProblem
from fastgd.objective.rule_state import RuleState

if TYPE_CHECKING:
    from fastgd.backends.stream.data import StreamData

#: About the bytes of a window, within which rows are shuffled: a function of the shape alone.
_WINDOW_BYTES = 1 << 25
#: A level of the shuffle's keys that permutes parts of a source.
_PARTS = 0xFFFFFFFE


class _Rows(NamedTuple):
    """Rows X (m, d) with these numbers (m,)."""

    X: NDArray[Any]
    numbers: NDArray[np.int64]


class StreamEpochs:
    """A mini-batch loop: parts of the source in a new order every epoch, and rows shuffled within windows of them.

    A source without parts is read in its order. State belongs to the caller.
    """

    whole = False

    def __init__(self, data: "StreamData", matrix: StreamMatrix, loss: str, problem: EpochProblem) -> None:
        self._data, self._matrix, self._loss, self._problem = data, matrix, loss, problem
        #: Batches of a window.
        self.unit = max(1, _WINDOW_BYTES // (matrix.nbytes // len(matrix)) // problem.batch_size)
        self._position = (-1, 0)
        self._windows: Iterator[_Rows] = iter(())

    def run(
        self, epoch: int, first: int, last: int, rates: Array, rule: RuleState, before: BatchSums | None = None
    ) -> BatchSums:
        """Run batches [first, last) of an epoch and add to the sums of the batches before."""
        if self._position != (epoch, first):
            self._windows = self._read(epoch)
            for _ in range(first // self.unit):
                next(self._windows)
        size, at = self._problem.batch_size, first
        while at < last:
            window = next(self._windows)
            stop = min(at + -(-len(window.X) // size), last)
            loop = self._loop_over(window, at // self.unit)
            before = loop.run(epoch, 0, stop - at, rates[at - first : stop - first], rule, before)
            at = stop
        assert before is not None
        if last * size >= self._data.n:
            # To the end of the source, which must not have more rows than before.
            next(self._windows, None)
        self._data.count_rows(min(last * size, self._data.n) - first * size)
        self._position = (epoch, last)
        return before

    def _loop_over(self, window: _Rows, number: int) -> CpuEpochs:
        whole, s = self._data, self._data.weights
        weights = None if s is None else np.ascontiguousarray(s[window.numbers])
        rows = CpuData(window.X, np.ascontiguousarray(whole.targets_of(window.numbers)), weights, whole.n_threads)
        # The mean weight is that of all rows.
        rows.weight = whole.weight / whole.n * rows.n
        problem = replace(self._problem, seed=int(mix(mix(self._problem.seed) ^ number)))
        return CpuEpochs(rows, rows.data, self._loss, problem)

    def _read(self, epoch: int) -> Iterator[_Rows]:
        """Iterate over the rows of an epoch by windows of whole batches; the last may be shorter."""
        capacity, (n, d) = self.unit * self._problem.batch_size, self._matrix.shape
        held, seen = 0, 0
        X, numbers = np.empty((min(capacity, n), d), self._matrix.dtype), np.empty(min(capacity, n), np.int64)
        for start, rows, block in self._matrix.blocks(self._order(epoch)):
            self._matrix.count_scan(rows)
            if (seen := seen + rows) > n:
                break
            at = 0
            while at < rows:
                count = min(rows - at, len(X) - held)
                X[held : held + count] = block[at : at + count]
                numbers[held : held + count] = np.arange(start + at, start + at + count)
                held, at = held + count, at + count
                if held == len(X):
                    yield _Rows(X, numbers)
                    held = 0
        self._matrix.check_rows(seen)
        if held:
            yield _Rows(X[:held], numbers[:held])

    def _order(self, epoch: int) -> list[int] | None:
        """Return the order of the source's parts; None for that of the source."""
        starts = self._matrix.source.starts
        if starts is None or not self._problem.shuffle:
            return None
        parts, key = len(starts) - 1, make_key(self._problem.seed, epoch, _PARTS)
        return [int(permute(part, parts, key)) for part in range(parts)]
