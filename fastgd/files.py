"""Write files whole or not at all, and into devices and pipes as they are."""

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

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

#: Temporary files of this process, which one that must end at once removes.
unfinished: set[str] = set()

#: Bytes of an ending up to which a temporary file has it, since writers choose the format by it.
_ENDING_BYTES = 16


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary file, whose content is at `path` afterwards; after an error `path` is as before.

    A regular file is replaced at once, so that no reader sees half of it, and keeps its permissions; symbolic links
    are followed. Into a device, a pipe or standard output the content is copied.

    Parameters
    ----------
    path : str or Path
        Where the content is to be.

    Yields
    ------
    Path
        An empty file to write to, with the ending of `path`.

    Raises
    ------
    OSError
        If `path` is a folder, or cannot be written.
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
    """Whether `path` is a device, a pipe or standard output: content goes into it, and nothing can replace it."""
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
        # Opened anew it would be written from its start, over what has been printed.
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
        _flush(temporary)
        _copy_permissions(target, temporary)
        os.replace(temporary, target)
    finally:
        # Once replaced, its name is free, and may be that of another writer's file by now.
        if _is_at(handle, temporary):
            temporary.unlink()
        unfinished.discard(str(temporary))
        os.close(handle)


def _create_beside(target: Path) -> tuple[Path, int]:
    """Create a locked file in the folder of `target`; its name is that of a writer that was killed, if there was one.

    The name depends on the target alone, so that a later writer of the same target finds and removes what is left.
    """
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    first = target.with_name(f".fastgd-{name}{_ending(target)}")
    _remove_abandoned(first)
    with contextlib.suppress(FileExistsError, BlockingIOError):
        return first, _create(first)
    other = target.with_name(f".fastgd-{name}-{secrets.token_hex(8)}{_ending(target)}")
    return other, _create(other)


def _create(path: Path) -> int:
    return _locked(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), path)


def _locked(handle: int, path: Path) -> int:
    """Lock the open file at `path` until it is closed; whoever renames or removes a temporary file holds its lock.

    Raises
    ------
    BlockingIOError
        If another writer has locked it, or renamed or removed it before it was locked here; it is closed then.
    """
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(handle, path):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_at(handle: int, path: Path) -> bool:
    """Whether `path` is still the name of an open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _remove_abandoned(path: Path) -> None:
    """Remove a temporary file that no process is writing any longer."""
    with contextlib.suppress(OSError):
        handle = _locked(os.open(path, os.O_WRONLY), path)
        try:
            path.unlink()
        finally:
            os.close(handle)


def _flush(path: Path) -> None:
    """Have the content on the disk before the name, so that no crash leaves an empty file."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _copy_permissions(target: Path, temporary: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        found = target.stat()
        if hasattr(os, "chown"):
            with contextlib.suppress(OSError):  # only root may give files away
                os.chown(temporary, found.st_uid, found.st_gid)
        temporary.chmod(stat.S_IMODE(found.st_mode))
