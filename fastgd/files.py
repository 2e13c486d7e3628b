"""Write files atomically, and into devices and pipes directly."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

#: Temporary files of this process, to remove if it must end at once.
unfinished: set[str] = set()

#: Longest ending in bytes that a temporary file keeps, since writers choose the format by it.
_ENDING_BYTES = 16


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give an empty temporary file with the ending of `path`, which replaces `path` unless an error is raised.

    A regular file is replaced at once, so that no reader sees half of it, and keeps its permissions; symbolic links
    are followed. The content is copied into a device, a pipe or standard output.
    """
    if is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / f"content{_ending(path)}"
            temporary.touch()
            yield temporary
            _copy_into(temporary, path)
    else:
        with _beside(Path(os.path.realpath(path))) as temporary:
            yield temporary


def is_stream(path: str | Path) -> bool:
    """Return whether `path` is a device, a pipe or standard output, which content goes into and nothing replaces."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)) or _is_stdout(found)


def _is_stdout(found: os.stat_result) -> bool:
    try:
        return os.path.samestat(found, os.fstat(1))
    except OSError:  # closed
        return False


def _copy_into(source: Path, path: str | Path) -> None:
    if _is_stdout(os.stat(path)):
        # Opened again it would be written from its start, over earlier output.
        sys.stdout.flush()
        handle = os.dup(1)
    else:
        handle = os.open(path, os.O_WRONLY)
    with source.open("rb") as reader, os.fdopen(handle, "wb") as writer:
        shutil.copyfileobj(reader, writer)


def _ending(path: str | Path) -> str:
    ending = Path(path).suffix
    return ending if len(os.fsencode(ending)) <= _ENDING_BYTES else ""


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    temporary, handle = _create_beside(target)
    unfinished.add(str(temporary))
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # content before the name, so that no crash leaves an empty file
        _copy_permissions(target, temporary)
        os.replace(temporary, target)
    finally:
        # Once replaced, its name is free, and may be that of another writer's file by now unless it is random.
        if handle is None or _is_at(handle, temporary):
            temporary.unlink(missing_ok=True)
        unfinished.discard(str(temporary))
        if handle is not None:
            os.close(handle)


class _Temporary(NamedTuple):
    path: Path
    #: Open and locked; None on systems without locks, where an open file could not be renamed either.
    handle: int | None


def _create_beside(target: Path) -> _Temporary:
    """Create a file in the folder of `target`, locked where the system has locks.

    Its name depends on the target alone, so that a later writer of the same target finds and removes the file of one
    that was killed; it is random while another writer has that name, and without locks.
    """
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    first = target.with_name(f".fastgd-{name}{_ending(target)}")
    other = target.with_name(f".fastgd-{name}-{secrets.token_hex(8)}{_ending(target)}")
    if not fcntl:
        os.close(_create(other))
        return _Temporary(other, None)
    _remove_abandoned(first)
    with contextlib.suppress(FileExistsError, BlockingIOError):
        return _Temporary(first, _locked(_create(first), first))
    return _Temporary(other, _locked(_create(other), other))


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def _locked(handle: int, path: Path) -> int:
    """Lock the open file at `path` until it is closed; only the holder of the lock renames or removes a temporary file.

    Close it and raise BlockingIOError if another writer has locked it, or renamed or removed it before.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(handle, path):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_at(handle: int, path: Path) -> bool:
    """Return whether `path` is still the name of an open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _remove_abandoned(path: Path) -> None:
    """Remove a temporary file that no process writes any more."""
    with contextlib.suppress(OSError):
        handle = _locked(os.open(path, os.O_WRONLY), path)
        try:
            path.unlink()
        finally:
            os.close(handle)


def _copy_permissions(target: Path, temporary: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        found = target.stat()
        if hasattr(os, "chown"):
            with contextlib.suppress(OSError):  # only root may give files away
                os.chown(temporary, found.st_uid, found.st_gid)
        temporary.chmod(stat.S_IMODE(found.st_mode))
