"""Stores of sparse rows: in memory up to a limit, then in files."""

from pathlib import Path
from typing import Any

import numpy as np

from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.data.store import RowStore


class CsrStore:
    """Sparse rows of `width` columns that are appended block by block, as `RowStore` keeps dense ones.

    Parameters
    ----------
    width : int
    dtype : dtype
    memory : int
        Most bytes in memory; more go to files.
    path : Path or None, default=None
        The files to write from the first row on are PATH_data, PATH_indices and PATH_indptr; None for temporary ones.
    """

    def __init__(self, width: int, dtype: Any, memory: int, path: Path | None = None) -> None:
        kind = np.int32 if width <= np.iinfo(np.int32).max else np.int64
        self._width = width
        self._data, self._indices, self._ends = (
            RowStore(None, each, memory // 3, path and path.with_name(f"{path.name}_{name}"))
            for name, each in (("data", dtype), ("indices", kind), ("indptr", np.int64))
        )
        self._ends.append(np.zeros(1, np.int64))

    @property
    def is_on_disk(self) -> bool:
        """Whether rows are in files."""
        return any(store.is_on_disk for store in (self._data, self._indices, self._ends))

    def append(self, rows: Any) -> None:
        """Append rows with data, indices and indptr of CSR, canonical."""
        self._ends.append(rows.indptr[1:].astype(np.int64) + self._data.rows)
        self._data.append(rows.data.astype(self._data.dtype, copy=False))
        self._indices.append(rows.indices.astype(self._indices.dtype, copy=False))

    def finish(self, writeable: bool = False) -> CsrMatrix:
        """Return all rows, whose values are read-only unless asked otherwise."""
        n = self._ends.rows - 1
        return CsrMatrix(self._data.finish(writeable), self._indices.finish(), self._ends.finish(), (n, self._width))

    def close(self) -> None:
        """Free memory and files of an unfinished store."""
        for store in (self._data, self._indices, self._ends):
            store.close()
