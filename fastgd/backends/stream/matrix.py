"""Columns of a source as a matrix that is read block by block."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.backends.stream.reader import Converted, Window, cut_windows, read_ahead
from fastgd.data.rows import RowBlock, RowSource
from fastgd.exceptions import TableError

#: About the bytes of a block, which a source keeps to.
BLOCK_BYTES = 1 << 23


class StreamMatrix:
    """Columns of numbers of a source as a matrix (n, d) in C order, read in every pass.

    Parameters
    ----------
    source : RowSource
    names : sequence of str
        The columns.
    n : int
        Number of rows.
    dtype : dtype
        float32 or float64.
    n_threads : int
        Threads that read.
    memory_limit : int
        Bytes for rows that have been read and wait for their use.
    check : function or None, default=None
        Of rows, the names of their columns and their place, called for each block until all rows were read once.
    """

    def __init__(
        self,
        source: RowSource,
        names: Sequence[str],
        n: int,
        dtype: np.dtype[Any],
        n_threads: int,
        memory_limit: int,
        check: Callable[[NDArray[Any], Sequence[str], str], None] | None = None,
    ) -> None:
        self.source, self.names = source, tuple(names)
        self.shape, self.dtype = (n, len(self.names)), np.dtype(dtype)
        self.n_threads, self._check = n_threads, check
        # A thread has one block at hand, and the source another.
        self._blocks = max(2, memory_limit // BLOCK_BYTES // 2)
        #: Passes over all rows of the source so far, parts of passes included.
        self.scans = 0.0

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def count_scan(self, rows: int) -> None:
        """Add to the rows that the source has read."""
        self.scans += rows / len(self)

    def windows(self, multiple: int) -> Iterator[Window]:
        """Iterate over all rows by windows of multiples of rows, each valid until the next. One scan.

        Raises
        ------
        TableError
            If the source has another number of rows than before.
        """
        end = 0
        for window in cut_windows(self.blocks(None), multiple):
            end = window.rows.stop
            if end > len(self):
                break
            yield window
        self.count_scan(end)
        self._check = None
        self.check_rows(end)

    def check_rows(self, rows: int) -> None:
        """Raise a TableError unless a pass over all rows has read as many as the first one."""
        if rows != len(self):
            raise TableError(
                f"{self.source.name} has {'more' if rows > len(self) else 'fewer'} than the {len(self):,} rows of its "
                "first pass: it must not change during a fit"
            )

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return a copy of the rows with these ascending indices; reads the parts that hold them."""
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        starts, parts = self.source.starts, None
        if starts is not None:
            found = np.searchsorted(starts, rows, side="right") - 1
            parts = np.unique(found).tolist()
        last = end = 0
        for start, count, X in self.blocks(parts):
            first, last = np.searchsorted(rows, (start, end := start + count))
            np.take(X, rows[first:last] - start, axis=0, out=out[first:last], mode="clip")
            self.count_scan(count)
            # After the last row the source ends, or has more rows than before.
            if last == len(rows) and end != len(self):
                break
        if last < len(rows) or end > len(self):
            self.check_rows(end)
        return out

    def blocks(self, parts: Sequence[int] | None) -> Iterator[Converted[NDArray[Any]]]:
        """Iterate over the blocks of parts in this order; None for all rows in order."""

        def convert(block: RowBlock) -> NDArray[Any]:
            X = np.empty((block.rows, self.shape[1]), self.dtype)
            block.numbers(self.names, X)
            if self._check is not None:
                self._check(X, self.names, block.place)
            return X

        options: Any = {"n_threads": self.n_threads, "blocks": self._blocks, "parts": parts}
        return read_ahead(self.source, self.names, convert, **options)
