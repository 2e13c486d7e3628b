"""Arrays and memory maps as a source of row blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.data.blocks import ArrayBlock, rows_per_block
from fastgd.data.files import as_matrix, load_npy
from fastgd.data.source import FileStamp, Source, Workspace, fingerprint_of
from fastgd.exceptions import TableError
from fastgd.fingerprint import fingerprint

#: Most bytes of a part.
_PART_BYTES = 1 << 26


class ArraysSource:
    """Rows of arrays, one array after the other; see `RowSource`. The columns are ``column_1``, ``column_2``, ...

    A part is at most 64 MiB of one array.

    Parameters
    ----------
    arrays : sequence of ndarray of shape (rows, n_columns)
        Of numbers.
    titles : sequence of str or None, default=None
        Of each array, for messages.
    stamps : sequence of FileStamp, default=()
        The files of memory maps.

    Raises
    ------
    TableError
        An array does not hold numbers, is empty, or has another number of columns than the first one.
    """

    is_sparse = False
    default_target: str | None = None
    n_rows: int | None
    nbytes: int | None
    starts: NDArray[np.int64] | None

    def __init__(
        self,
        arrays: Sequence[NDArray[Any]],
        titles: Sequence[str] | None = None,
        stamps: Sequence[FileStamp] = (),
        workspace: Workspace | None = None,
    ) -> None:
        self._workspace = workspace
        self._titles = [f"array {k}" for k in range(len(arrays))] if titles is None else list(titles)
        self._arrays = [as_matrix(title, array, "its array") for title, array in zip(self._titles, arrays, strict=True)]
        self._stamps = list(stamps)
        width = self._arrays[0].shape[1]
        for title, array in zip(self._titles, self._arrays, strict=True):
            if array.shape[1] != width:
                raise TableError(f"{title} has {array.shape[1]} columns, but {self._titles[0]} has {width}")
        self.name = self._titles[0] if len(arrays) == 1 else f"{len(arrays):,} arrays"
        self.names = tuple(f"column_{j + 1}" for j in range(width))
        self._positions = {name: j for j, name in enumerate(self.names)}
        self.dtypes = dict.fromkeys(self.names, np.result_type(*(array.dtype for array in self._arrays)))
        self.nbytes = sum(array.nbytes for array in self._arrays)
        self._parts = [
            (k, slice(start, min(start + rows, len(array))))
            for k, array in enumerate(self._arrays)
            for rows in [max(1, _PART_BYTES // (width * array.itemsize))]
            for start in range(0, len(array), rows)
        ]
        self.starts = starts = np.cumsum([0, *(rows.stop - rows.start for _, rows in self._parts)], dtype=np.int64)
        self.n_rows = int(starts[-1])

    @classmethod
    def of_files(cls, sources: Sequence[Source], workspace: Workspace | None = None) -> ArraysSource:
        """Return the source of ``.npy`` files, as memory maps."""
        stamps = [FileStamp.of(source) for source in sources]
        titles = [source.name for source in sources]
        return cls([load_npy(source.path, source.name) for source in sources], titles, stamps, workspace)

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[ArrayBlock]:
        """See `RowSource.blocks`."""
        rows = rows_per_block(list(self.dtypes.values()))
        for p in range(len(self._parts)) if parts is None else parts:
            k, part = self._parts[p]
            if self._stamps:  # to read a memory map beyond the end of its file would end the process
                self._stamps[k].check()
            for start in range(part.start, part.stop, rows):
                stop = min(start + rows, part.stop)
                place = f"{self._titles[k]}, rows {start:,} to {stop - 1:,}"
                yield ArrayBlock(self._arrays[k][start:stop], self._positions, place)

    def fingerprint(self) -> str:
        """See `RowSource.fingerprint`; arrays in memory are read for it."""
        if self._stamps:
            return fingerprint_of(self._stamps)
        return " ".join(map(fingerprint, self._arrays))
