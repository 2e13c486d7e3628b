"""Stores of decoded rows: in memory up to a limit, then in a file that no name refers to, or in a named file."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

#: Where decoded rows are kept: in memory, on the disk, nowhere (None), the first of these that has room, or a folder.
Cache = Literal["auto", "memory", "disk"] | Path | None
CACHES = ("auto", "memory", "disk", None)
#: Bytes of a file before its rows, with the header of .npy.
_HEADER_BYTES = 128
#: Bytes that stay free on a disk.
_SPARE_BYTES = 1 << 30


class RowStore:
    """Rows (m, width), or values (m,) without a width, that are appended block by block.

    Parameters
    ----------
    width : int or None
    dtype : dtype
    memory : int
        Most bytes in memory; more go to a file.
    path : Path or None, default=None
        The file to write from the first row on, without its ending .npy; None for a temporary one that ends with the
        process.
    """

    def __init__(self, width: int | None, dtype: Any, memory: int, path: Path | None = None) -> None:
        self._shape = () if width is None else (width,)
        self.dtype = np.dtype(dtype)
        self._memory = memory
        self._blocks: list[NDArray[Any]] = []
        self._file: IO[bytes] | None = None
        self._path = path and path.with_name(f"{path.name}.npy")
        self.rows = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.rows * int(np.prod(self._shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def is_on_disk(self) -> bool:
        """Whether the rows are in a file."""
        return self._file is not None

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows, which the store may keep; an OSError if the disk is full."""
        self.rows += len(rows)
        if self._file is None and (self._path is not None or self.nbytes > self._memory):
            self._file = self._open()
            for block in self._blocks:
                self._write(self._file, block)
            self._blocks.clear()
        if self._file is None:
            self._blocks.append(rows)
        else:
            self._write(self._file, rows)

    def finish(self, writeable: bool = False) -> NDArray[Any]:
        """Return all rows, read-only unless asked otherwise: an array, or a map of the file."""
        shape = (self.rows, *self._shape)
        if self._file is None:
            whole = np.concatenate(self._blocks) if self._blocks else np.empty(shape, self.dtype)
            self._blocks.clear()
        else:
            self._file.flush()
            self._file.seek(0)
            self._file.write(_header(shape, self.dtype))
            self._file.flush()
            # Kernels and checks take arrays of NumPy's own class; the map lives as long as this view of it.
            whole = (
                np.memmap(self._file, self.dtype, "r+" if writeable else "r", _HEADER_BYTES, shape).view(np.ndarray)
                if self.nbytes
                else np.empty(shape, self.dtype)
            )
            self._file.close()
        whole.flags.writeable = writeable
        return whole

    def close(self) -> None:
        """Free memory and file of an unfinished store."""
        self._blocks.clear()
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[bytes]:
        file: IO[bytes]
        if self._path is None:
            file = tempfile.TemporaryFile(dir=cache_folder(), prefix="fastgd-")  # noqa: SIM115 - open until `finish`
        else:
            file = self._path.open("w+b")
        file.write(b"\0" * _HEADER_BYTES)
        return file

    def _write(self, file: IO[bytes], rows: NDArray[Any]) -> None:
        try:
            file.write(np.ascontiguousarray(rows, self.dtype).data)
        except OSError as error:
            file.close()
            if error.errno != errno.ENOSPC:
                raise
            folder = cache_folder() if self._path is None else self._path.parent
            raise OSError(
                errno.ENOSPC,
                f"the disk is full after {self.nbytes:,} bytes of decoded rows in {folder}: free space there, set "
                "TMPDIR to another disk, or use cache=None, which reads the source in every pass",
            ) from error


def cache_folder() -> Path:
    """Return the folder of temporary files of decoded rows: TMPDIR if set, else one that is on a disk if possible."""
    usual = Path("/var/tmp")
    if "TMPDIR" not in os.environ and usual.is_dir() and os.access(usual, os.W_OK):
        return usual
    return Path(tempfile.gettempdir())


def free_disk_bytes() -> int:
    """Return the bytes that decoded rows may take on the disk of the cache folder."""
    return max(0, shutil.disk_usage(cache_folder()).free - _SPARE_BYTES)


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return the header of a .npy file of version 1.0, padded to its place."""
    text = repr({"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}).encode("latin1")
    prefix = npy.magic(1, 0)
    length = _HEADER_BYTES - len(prefix) - 2
    return prefix + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"
