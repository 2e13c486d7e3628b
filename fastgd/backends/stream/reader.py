"""Read the blocks of a source ahead of their use, on threads, in order and in bounded memory."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastgd.data.rows import RowBlock, RowSource

T = TypeVar("T")

#: Seconds between two looks of a waiting thread at whether the reader was closed.
_POLL = 0.05
#: Least blocks that wait for their use, per thread.
_LEAST_BLOCKS = 2


class Converted(NamedTuple, Generic[T]):
    """A block of rows [start, start + rows), converted on the thread that has read it."""

    start: int
    rows: int
    value: T


class _End:
    """The end of a part, or of all parts of a thread."""


class _Failure(NamedTuple):
    error: BaseException


def read_ahead(
    source: RowSource,
    names: Sequence[str],
    convert: Callable[[RowBlock], T],
    *,
    n_threads: int,
    blocks: int,
    parts: Sequence[int] | None = None,
) -> Generator[Converted[T], None, None]:
    """Iterate over a source's blocks in order, read and converted on threads meanwhile.

    Parameters
    ----------
    source : RowSource
        With parts, each thread reads its own; else one thread reads all.
    names : sequence of str
        The columns to read.
    convert : function
        Of a `RowBlock`; called on the thread that has read it.
    n_threads : int
    blocks : int
        Most blocks that wait for their use.
    parts : sequence of int or None, default=None
        The parts to read, in this order; None for all.
    """
    starts = source.starts
    order: Sequence[int | None] = [None] if starts is None else range(len(starts) - 1) if parts is None else parts
    size = max(1, min(n_threads, len(order)))
    closed = threading.Event()
    queues: list[queue.Queue[Any]] = [queue.Queue(max(_LEAST_BLOCKS, blocks // size)) for _ in range(size)]
    threads = [
        threading.Thread(target=_read, args=(source, names, convert, order[k::size], queues[k], closed), daemon=True)
        for k in range(size)
    ]
    for thread in threads:
        thread.start()
    try:
        at = 0
        for number, part in enumerate(order):
            if part is not None and starts is not None:
                at = int(starts[part])
            while not isinstance(item := queues[number % size].get(), _End):
                if isinstance(item, _Failure):
                    raise item.error
                rows, value = item
                yield Converted(at, rows, value)
                at += rows
    finally:
        closed.set()
        for thread in threads:
            thread.join()


def _read(
    source: RowSource,
    names: Sequence[str],
    convert: Callable[[RowBlock], Any],
    parts: Sequence[int | None],
    out: "queue.Queue[Any]",
    closed: threading.Event,
) -> None:
    """Put the converted blocks of parts, and an end after each part, into a queue."""
    with np.errstate(all="ignore"):
        try:
            for part in parts:
                for block in source.blocks(names, None if part is None else [part]):
                    if not _put(out, (block.rows, convert(block)), closed):
                        return
                if not _put(out, _End(), closed):
                    return
        except BaseException as error:
            _put(out, _Failure(error), closed)


def _put(out: "queue.Queue[Any]", item: Any, closed: threading.Event) -> bool:
    """Put an item into a queue; return False if the reader was closed."""
    while not closed.is_set():
        try:
            out.put(item, timeout=_POLL)
        except queue.Full:
            continue
        return True
    return False


class Window(NamedTuple):
    """Rows X (m, d) from number `start`, valid until the next window."""

    start: int
    X: NDArray[Any]

    @property
    def rows(self) -> slice:
        """The range of rows."""
        return slice(self.start, self.start + len(self.X))


def cut_windows(blocks: Iterator[Converted[NDArray[Any]]], multiple: int) -> Iterator[Window]:
    """Cut consecutive blocks of rows, from row 0, into windows of multiples of rows; the last may be shorter.

    Rows are copied only where a multiple lies in two blocks or more.
    """
    seam: NDArray[Any] | None = None
    held = 0
    end = 0
    for start, rows, X in blocks:
        at = 0
        if held and seam is not None:
            at = min(multiple - held, rows)
            seam[held : held + at] = X[:at]
            held += at
            if held == multiple:
                yield Window(start + at - multiple, seam)
                held = 0
        whole = (rows - at) // multiple * multiple
        if whole:
            yield Window(start + at, X[at : at + whole])
        if at + whole < rows:
            if seam is None:
                seam = np.empty((multiple, X.shape[1]), X.dtype)
            held = rows - at - whole
            seam[:held] = X[at + whole :]
        end = start + rows
    if held and seam is not None:
        yield Window(end - held, seam[:held])
