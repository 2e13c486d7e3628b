"""Entries of a cache on disk: bytes under a key, in one file each, which is complete and of this key, or a miss."""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

try:
    import filelock as filelock  # for the folder of the cache as well
except ImportError:  # in a checkout that was never installed
    filelock = None  # type: ignore[assignment]

logger = logging.getLogger("fastgd")

Found = TypeVar("Found")

#: Bytes of a digest.
_DIGEST = 32
#: Seconds of waiting for another process that compiles the same kernel: before a warning, and in total.
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
        """Return the file of an entry: `name` is for human readers, the key decides."""
        return self.folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:_DIGEST]}.entry"

    def lock(self, name: str, key: str):
        """Return the lock that a process holds from a miss until the entry is saved, not acquired yet."""
        return filelock.FileLock(f"{self.path(name, key)}.lock")

    def load(self, name: str, key: str) -> bytes | None:
        """Return the bytes under a key, or None if there are none.

        Raises
        ------
        ValueError
            If the file holds half an entry, damaged bytes or those of another key; it has been removed.
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
        """Save bytes under a key; a concurrent reader finds the previous bytes, or these."""
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(key, data) + data)
            os.replace(temporary, self.path(name, key))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def rebuild(self, name: str, key: str, build: Callable[[bytes], Found]) -> Found | None:
        """Build a kernel from the bytes under a key; None, on a miss, with a warning if they are unreadable."""
        try:
            found = self.load(name, key)
            return None if found is None else build(found)
        except Exception as error:  # whatever unpickling raises
            logger.warning("ignored an unreadable cached kernel in %s (%s)", self.folder, error)
            return None

    def try_save(self, name: str, key: str, dump: Callable[[], bytes]) -> None:
        """Save a kernel's bytes, or warn."""
        try:
            self.save(name, key, dump())
        except Exception as error:
            logger.warning("could not cache a compiled kernel in %s (%s)", self.folder, error)


def _digest(key: str, data: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(hashlib.sha256(key.encode()).digest())
    digest.update(data)
    return digest.digest()


class CompileLocks:
    """The locks of a kernel's compilations, for which other processes wait to load the result."""

    def __init__(self) -> None:
        self._locks: dict[str, filelock.BaseFileLock] = {}

    def load(self, entries: Entries, name: str, key: str, load: Callable[[], Found | None]) -> Found | None:
        """Load an entry; on a miss hold its lock until `release`, so that this process compiles.

        Parameters
        ----------
        entries : Entries
        name, key : str
            Of the entry.
        load : callable
            Returns the content of the entry, or None.
        """
        found = load()
        if found is not None:
            return found
        lock = self._locks.setdefault(key, entries.lock(name, key))
        # Without a lock this process compiles for itself, and saves the result.
        with contextlib.suppress(OSError):
            if not self._wait(lock, name):
                return None
        return load()

    def _wait(self, lock, name: str) -> bool:
        """Acquire a lock; False if its holder, perhaps a stopped process, does not release it in time."""
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

    def compile(self, dispatcher_compile, sig):
        """Compile or load, then release the locks in any case: an interrupt must not lock out other processes."""
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
