"""Entries of a cache on disk: bytes under a key, each in a file of its own that is whole and of this key, or a miss."""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

try:
    import filelock as filelock  # for the folder of the cache as well
except ImportError:  # in a checkout that was never installed
    filelock = None  # type: ignore[assignment]

logger = logging.getLogger("fastgd")

Found = TypeVar("Found")

#: Bytes of a digest.
_DIGEST = 32
#: Seconds of waiting for another process that compiles the same kernel: before a warning, and in all.
NOTICE_SECONDS, PATIENCE_SECONDS = 4.0, 20.0


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
            If the file held something else, and has been removed: half an entry, damaged bytes, those of another key.
        OSError
            If it cannot be read.
        """
        path = self.path(name, key)
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            return None
        data = memoryview(found)[_DIGEST:]
        if found[:_DIGEST] != _digest(key, data):
            path.unlink(missing_ok=True)
            raise ValueError(f"{path.name} does not hold what was saved under this name")
        return bytes(data)

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


def _digest(key: str, data: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(hashlib.sha256(key.encode()).digest())
    digest.update(data)
    return digest.digest()


class CompileLocks:
    """The locks that a kernel's compilations hold, so that other processes wait for them and load the result."""

    def __init__(self) -> None:
        self._locks: dict[str, Any] = {}

    def load(self, entries: Entries, name: str, key: str, load: Callable[[], Found | None]) -> Found | None:
        """Load an entry; where there is none hold its lock, so that this process compiles, until `release`.

        Parameters
        ----------
        entries : Entries
        name, key : str
            Of the entry.
        load : callable
            Returns what the entry holds, or None.
        """
        found = load()
        if found is not None:
            return found
        lock = self._locks.setdefault(key, entries.lock(name, key))
        # Without a lock this process compiles for itself, and saves what it has compiled.
        with contextlib.suppress(OSError):
            if not self._wait(lock, name):
                return None
        return load()

    def _wait(self, lock: Any, name: str) -> bool:
        """Acquire a lock; False where its holder, which may be a stopped process, does not release it in time."""
        for seconds, message in (
            (NOTICE_SECONDS, "waiting for another process, which compiles %s and holds %s"),
            (
                PATIENCE_SECONDS - NOTICE_SECONDS,
                "compiling %s without waiting longer for the process that holds %s",
            ),
        ):
            with contextlib.suppress(filelock.Timeout):
                lock.acquire(timeout=seconds)
                return True
            logger.warning(message, name, lock.lock_file)
        return False

    def compile(self, dispatcher_compile: Callable[[Any], Any], sig: Any) -> Any:
        """Compile or load, then release the locks whatever happens: an interrupt must lock no other process out."""
        try:
            try:
                return dispatcher_compile(sig)
            finally:
                self.release()
        finally:
            # An interrupt may have ended the first call.
            self.release()

    def release(self) -> None:
        """Release every lock that is held."""
        for lock in list(self._locks.values()):
            lock.release(force=True)
