"""Data sets that stream through the GPU in chunks, and the choice between streams and rows held there."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd import threads
from fastgd.arrays import Array, read_only
from fastgd.backends.cuda import device
from fastgd.backends.cuda.data import CudaData, CudaSet
from fastgd.backends.cuda.device import guarded, new_event, wait
from fastgd.backends.cuda.epochs import Batches, EpochLoop
from fastgd.backends.cuda.rows import Chunk, Held, Targets
from fastgd.backends.cuda.transfer import by_rows, is_device_array, is_pinned, to_device
from fastgd.kernels import records
from fastgd.kernels.cpu.order import make_order
from fastgd.kernels.shuffle import RUN, WINDOW
from fastgd.objective.dataset import BatchSums, EpochProblem, Piece
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KernelRule

#: Most bytes of a buffer, and its largest share of free memory, inverted.
CHUNK_BYTES, _SHARE = 1 << 26, 4
#: Bytes of X that a thread copies at a time, and least rows per copy by columns, to avoid short copies.
_COPY_BYTES, _COPY_ROWS = 1 << 20, 4096
#: Most seconds between two polls of a buffer, which delay the next copy.
_PAUSE = 5e-5

#: Indices of rows, as an array or a slice.
Numbers = NDArray[np.int64] | slice


class Buffer:
    """A transfer buffer: pinned memory on the host and as much on the device, for X, y and s one after another.

    Parameters
    ----------
    rows : int
        Capacity in rows.
    row : int
        Numbers per row, with targets and weight.
    kind : dtype
    """

    def __init__(self, rows: int, row: int, kind: Any) -> None:
        self.host = cuda.pinned_array(rows * row, kind)
        self.there = cuda.device_array(rows * row, kind)
        self._sent, self._used = new_event(), new_event()

    def free(self) -> None:
        """Wait until the memory of the host may be overwritten."""
        wait(self._sent, _PAUSE)

    def send(self, numbers: int, streams: tuple[Any, Any], head: NDArray[Any]) -> Any:
        """Queue the copy of `numbers` numbers on the copying stream; the working stream waits for it.

        The copy waits for earlier work on the buffer. head: the first numbers, if they are in pinned memory of their
        own; else empty.
        """
        copying, working = streams
        self._used.wait(copying)
        there = self.there[:numbers]
        if head.size:
            there[: head.size].copy_to_device(head, stream=copying)
        if head.size < numbers:
            there[head.size :].copy_to_device(self.host[head.size : numbers], stream=copying)
        self._sent.record(copying)
        self._sent.wait(working)
        return there

    def release(self, working: Any) -> None:
        """Mark the end of the queued work on these rows."""
        self._used.record(working)


class CudaStream(CudaSet):
    """A data set on the host that streams through the GPU.

    Sums of chunks are added in order: results depend on the size of chunks alone, to rounding.

    Parameters
    ----------
    X : ndarray of shape (n, d), C or F order, float32 or float64
        Used in place; memory maps as well.
    y, s, n_threads
        As for `CudaData`.
    """

    @guarded()
    def __init__(self, X: NDArray[Any], y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        rows, order = by_rows(X)
        super().__init__(X.shape, X.dtype, order, Targets(y, s), n_threads)
        weights = np.ones(1, self.kind) if s is None else s
        #: The data on the host.
        self.data = records.Data(read_only(rows), read_only(y), read_only(weights), 0 if s is None else 1)
        #: X itself if it is pinned and can be copied directly, for which Numba needs it writable.
        self._direct = rows if order == "C" and rows.flags.writeable and is_pinned(rows) else None
        self._copying = cuda.stream()
        self._one = to_device(np.ones(1, self.kind), self.stream)
        #: Numbers per row, with targets and weight.
        self._row = self.d + len(y) + (s is not None)
        bytes_ = min(CHUNK_BYTES, device.available_bytes() // _SHARE)
        self._chunk_rows = min(self.n, max(1, bytes_ // (self._row * self.kind.itemsize)))
        self._buffers: list[Buffer] = []
        self._capacity = 0

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk; the last may have fewer."""
        return self._chunk_rows

    @property
    def example_rows(self) -> records.Data:
        """Rows on the device, as examples of types to compile kernels for."""
        self.reserve(self._chunk_rows)
        return self._as_data(self._buffers[0].there, 1)

    def chunks(self) -> Iterator[Chunk]:
        """Iterate over all rows by chunks, each on the device until the next one."""
        starts = range(0, self.n, self._chunk_rows)
        return self.send_parts(slice(start, min(start + self._chunk_rows, self.n)) for start in starts)

    def reserve(self, rows: int) -> None:
        """Allocate buffers for so many rows at a time.

        Raises
        ------
        MemoryError
            If the GPU has too little free memory.
        """
        if rows <= self._capacity:
            return
        self._buffers.clear()
        device.require(2 * rows * self._row * self.kind.itemsize, f"twice {rows:,} rows")
        self._buffers += [Buffer(rows, self._row, self.kind) for _ in range(2)]
        self._capacity = rows

    def send_parts(self, parts: Iterator[Numbers]) -> Iterator[Chunk]:
        """Iterate over parts of rows, each on the device until the next one, which is copied meanwhile."""
        self.reserve(self._chunk_rows)
        first = 0
        for number, part in enumerate(parts):
            buffer = self._buffers[number % 2]
            buffer.free()
            began = time.perf_counter()
            rows = part.stop - part.start if isinstance(part, slice) else len(part)
            head = self._head(part)
            self._fill(buffer.host, rows, part, with_x=head.size == 0)
            there = buffer.send(rows * self._row, (self._copying, self.stream), head)
            self.transferred.add(rows * self._row * self.kind.itemsize, began)
            try:
                yield Chunk(first, self._as_data(there, rows))
            finally:
                buffer.release(self.stream)
            first += rows

    def _head(self, part: Numbers) -> NDArray[Any]:
        """Return X of these rows, one-dimensional, if it can be copied directly; else an empty array."""
        if self._direct is None or not isinstance(part, slice):
            return np.empty(0, self.kind)
        return self._direct[part].reshape(-1)

    def _views(self, flat: Any, rows: int) -> tuple[Any, Any, Any]:
        """Return views of X, y and s of so many rows in a buffer, on the host or the device."""
        of_x, of_y = rows * self.d, rows * len(self.y)
        shape = (rows, self.d) if self.order == "C" else (self.d, rows)
        y = flat[of_x : of_x + of_y].reshape((len(self.y), rows))
        return flat[:of_x].reshape(shape), y, None if self.weights is None else flat[of_x + of_y : rows * self._row]

    def _as_data(self, there: Any, rows: int) -> records.Data:
        X, y, s = self._views(there, rows)
        return records.Data(X, y, self._one if s is None else s, self.data.weight_step)

    def _fill(self, host: NDArray[Any], rows: int, part: Numbers, with_x: bool) -> None:
        """Copy targets, weights and, with `with_x`, rows of X to a buffer on the host, on threads."""
        X, y, s = self._views(host, rows)
        source, by_row = self.data.X, self.order == "C"
        step = max(_COPY_BYTES // self.row_bytes, 1 if by_row and with_x else _COPY_ROWS)

        def work(slot: int, number: int) -> None:
            at = slice(number * step, min((number + 1) * step, rows))
            its = slice(part.start + at.start, part.start + at.stop) if isinstance(part, slice) else part[at]
            if with_x:
                _take(source, its, X[at] if by_row else X[:, at], 0 if by_row else 1)
            _take(self.y, its, y[:, at], 1)
            if s is not None:
                _take(self.data.s, its, s[at], 0)

        threads.run(-(-rows // step), self.n_threads, work)

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) as views."""
        X = self.data.X[start:stop] if self.order == "C" else self.data.X[:, start:stop].T
        return X, self.y[:, start:stop], None if self.weights is None else self.weights[start:stop]

    def _with_columns(self, X: Any) -> CudaData:
        """Return a data set with other columns (n, any) on the device and the same targets and weights."""
        return CudaData(X, self.y, self.weights, self.n_threads)

    def without_targets(self) -> "CudaStream":
        """Return the data set with a single target of 0."""
        X = self.data.X if self.order == "C" else self.data.X.T
        return CudaStream(X, np.zeros((1, self.n), self.kind), self.weights, self.n_threads)

    @guarded()
    def gathered(self, numbers: NDArray[Any]) -> Held:
        """Return a copy of the rows with these indices on the device."""
        rows = np.take(self.data.X, numbers, axis=0 if self.order == "C" else 1)
        return Held(to_device(rows, self.stream, self.n_threads), self.order)

    def check_rule(self, rule: KernelRule) -> None:
        """Raise a ValueError for SAGA, which keeps a number per row."""
        if rule.keeps_rows:
            raise ValueError(
                f"optimizer='saga' needs all rows on the GPU, and {self.nbytes:,} bytes have no room there: "
                "choose another optimizer, or device='cpu'"
            )

    @guarded()
    def epochs(self, loss: str, problem: EpochProblem) -> "StreamEpochs":
        """Return a mini-batch loop over this data set."""
        return StreamEpochs(self, loss, problem)

    def order_of(self, first: int, last: int, batches: records.Batches) -> Numbers:
        """Return the rows at positions [first, last) of an epoch."""
        if not batches.shuffle:
            return slice(first, last)
        kernel, begin, end = make_order(), first // WINDOW, -(-last // WINDOW)
        order = np.empty((end - begin) * WINDOW, np.int64)

        def work(slot: int, number: int) -> None:
            out, runs = order[number * WINDOW : (number + 1) * WINDOW], np.empty(WINDOW // RUN, np.int64)
            kernel(begin + number, self.n, batches, out, runs)

        threads.run(end - begin, self.n_threads, work)
        return order[first - begin * WINDOW : last - begin * WINDOW]


def _take(source: NDArray[Any], its: Numbers, out: NDArray[Any], axis: int) -> None:
    """Copy rows along an axis."""
    if isinstance(its, slice):
        np.copyto(out, source[its] if axis == 0 else source[:, its])
    elif axis == 0:
        # A mode other than "raise" writes to `out` itself.
        np.take(source, its, axis=0, out=out, mode="clip")
    else:
        for line, row in zip(source, out, strict=True):
            np.take(line, its, out=row, mode="clip")


class StreamEpochs:
    """A mini-batch loop over a stream: the host gathers rows in the epoch's order and the device runs their batches."""

    whole = True
    unit = 1

    def __init__(self, data: CudaStream, loss: str, problem: EpochProblem) -> None:
        size = min(problem.batch_size, data.n)
        data.reserve(max(size, data.chunk_rows))
        self._data, self._problem = data, problem
        self._loop = EpochLoop(data, loss, problem)
        #: Batches are never split.
        self._step = max(1, data.chunk_rows // size)

    @guarded()
    def run(
        self, epoch: int, first: int, last: int, rates: Array, rule: RuleState, before: BatchSums | None = None
    ) -> BatchSums:
        """Run batches [first, last) of an epoch and add to the sums of the batches before."""
        self._data.check_rule(rule.recipe.rule)
        size, data, loop = self._problem.batch_size, self._data, self._loop
        starts = range(first, last, self._step)
        its = records.Batches(size, self._problem.seed, epoch, self._problem.shuffle)

        def parts() -> Iterator[Numbers]:
            for start in starts:
                stop = min(min(start + self._step, last) * size, data.n)
                yield data.order_of(start * size, stop, its)

        loop.load(rule, rates, before)
        try:
            for start, chunk in zip(starts, data.send_parts(parts()), strict=True):
                count = min(start + self._step, last) - start
                loop.queue(Batches(chunk.data, chunk.rows, its._replace(shuffle=False), 0, count))
        finally:
            sums = loop.unload(rule)
        data.count_rows(min(last * size, data.n) - first * size)
        return sums


def place(X: Any, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> CudaSet:
    """Return a data set, held on the GPU if it fits, else streamed through it; parameters of `CudaData`."""
    with guarded():
        held = is_device_array(X) or X.nbytes + y.nbytes <= device.available_bytes()
    return CudaData(X, y, s, n_threads) if held else CudaStream(X, y, s, n_threads)
