"""Entries of a cache on disk: bytes under a key, each in a file of its own that is whole and of this key, or a miss."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from fastgd.kernels._cache import filelock

#: Bytes of a digest.
_DIGEST = 32


class Entries:
    """Bytes by key in a folder that processes share.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str, key: str) -> Path:
        """The file of an entry: `name` is for the eye, the key decides."""
        return self.folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:_DIGEST]}.entry"

    def lock(self, name: str, key: str) -> Any:
        """What one process holds from a miss to the entry's save; not held yet."""
        return filelock.FileLock(f"{self.path(name, key)}.lock")

    def load(self, name: str, key: str) -> bytes | None:
        """The bytes under a key, None where there are none.

        Raises
        ------
        ValueError
            If the file holds something else: half an entry, damaged bytes, those of another key.
        OSError
            If it cannot be read.
        """
        path = self.path(name, key)
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            return None
        if found[:_DIGEST] != _digest(key, found[_DIGEST:]):
            raise ValueError(f"{path.name} does not hold what was saved under this name")
        return found[_DIGEST:]

    def save(self, name: str, key: str, data: bytes) -> None:
        """Put bytes under a key; who reads meanwhile finds what was there before, or these."""
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(key, data) + data)
            os.replace(temporary, self.path(name, key))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def _digest(key: str, data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(key.encode()).digest() + data).digest()
