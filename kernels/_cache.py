"""Compiled kernels on disk: in which folder, with a lock around each, and what becomes of folders of other versions.

Numba's own cache does not see edits in other files (numba#1833): here the folder's name has a hash of all sources. It
trusts its files, and a flipped bit crashes the process: here every entry has a digest. It distinguishes kernels of one
name by pickles of what they capture, which differ between a process that reads sources and one that reads byte code:
here by names and byte code.
"""

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import numba
from numba.core import event
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from fastgd.kernels._entries import CompileLocks, Entries
from fastgd.kernels._entries import filelock as filelock

logger = logging.getLogger("fastgd")

#: Numba's kind of event for what the cache does, waiting for another process included.
CACHE_EVENT = "fastgd:cache"
#: Folders of kernels, and how long one that no process has started with is kept.
_NAME, _KEPT_SECONDS = re.compile(r"fastgd-[0-9a-f]{16}"), 30 * 86400.0


def source_stamp(device: str = "cpu") -> str:
    """Hash of every source file of a device's kernels, "cpu" or "cuda": an edit in any of them misses the cache."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent
    other = "cuda" if device == "cpu" else "cpu"
    for path in sorted(root.rglob("*.py")):
        if other not in path.relative_to(root).parts:
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


STAMP = source_stamp()


def user_folder() -> Path:
    """The user's folder for what can be made again, as the system has it."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "fastgd/Cache"
    own = os.environ.get("XDG_CACHE_HOME")
    if own and os.path.isabs(own):
        return Path(own) / "fastgd"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "fastgd"


def cache_folder(stamp: str | None = None) -> Path | None:
    """The first writable folder of: ``NUMBA_CACHE_DIR``, the user's cache, a private temporary one; else None.

    Parameters
    ----------
    stamp : str, optional
        Of the sources whose kernels lie there, else of the CPU's.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    candidates = [os.environ.get("NUMBA_CACHE_DIR")]
    with contextlib.suppress(RuntimeError):  # raised where the user has no home
        candidates.append(str(user_folder()))
    with contextlib.suppress(OSError):  # raised where no temporary folder can be written to
        candidates.append(os.path.join(tempfile.gettempdir(), f"fastgd-{user}"))
    roots = [Path(candidate) for candidate in candidates if candidate]
    for root in roots:
        folder = root / f"fastgd-{stamp or STAMP}"
        with contextlib.suppress(OSError):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            is_new = not folder.exists()
            folder.mkdir(exist_ok=True, mode=0o700)
            # What lies in a folder that another user made, or can exchange, may be foreign machine code.
            if not (_is_own(folder) and (_is_own(root) or root != roots[-1])):
                continue
            with tempfile.TemporaryFile(dir=folder):
                os.utime(folder)
            if is_new:
                _remove_unused(root)
            return folder
    return None


def _remove_unused(root: Path) -> None:
    """Remove one's own folders of other sources that no process has started with for a month.

    Who starts with one of them at that moment finds kernels gone, at worst, and compiles them anew: whichever of a
    kernel's files is missing, lock included.
    """
    with contextlib.suppress(OSError):
        for folder in root.iterdir():
            if _NAME.fullmatch(folder.name) and _is_unused(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_unused(folder: Path) -> bool:
    """Whether this is a folder of one's own, no link, which `cache_folder` has touched last a month ago."""
    with contextlib.suppress(OSError):
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and _is_own(folder) and time.time() - found.st_mtime > _KEPT_SECONDS
    return False


def _is_own(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()


#: Without locks processes would read what others are writing: each compiles for itself then.
FOLDER = cache_folder() if filelock else None


def _identity(ingredient: Any) -> str:
    """What a kernel or what it captures is, alike in every process."""
    if not isinstance(ingredient, FunctionType):
        return repr(ingredient)
    captured = [_identity(cell.cell_contents) for cell in ingredient.__closure__ or ()]
    return f"{ingredient.__module__}.{ingredient.__qualname__} {ingredient.__code__.co_code.hex()} {captured}"


class KernelCache:
    """A cache of Numba's kind for one kernel, with no error that could stop a fit.

    Parameters
    ----------
    function : callable
        The kernel's Python function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        assert FOLDER is not None
        self._function = function
        self._entries, self.locks = Entries(FOLDER), CompileLocks()

    @property
    def cache_path(self) -> str:
        """The folder, which the dispatcher reports."""
        return str(self._entries.folder)

    def key(self, sig: Any, codegen: Any) -> str:
        """All that the machine code of a signature depends on, besides the sources, whose hash the folder has."""
        versions = numba.__version__, llvmlite.__version__, sys.version_info[:3]
        return repr((_identity(self._function), sig, codegen.magic_tuple(), versions))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel of a signature; None where it must be compiled, by the process that has its lock now."""
        target_context.refresh()
        name, key = self._function.__name__, self.key(sig, target_context.codegen())

        def load() -> Any:
            try:
                found = self._entries.load(name, key)
                return None if found is None else CompileResult._rebuild(target_context, *pickle.loads(found))
            except Exception as error:  # whatever unpickling raises
                logger.warning("ignored an unreadable cached kernel in %s (%s)", self.cache_path, error)
                return None

        with event.trigger_event(CACHE_EVENT):
            return self.locks.load(self._entries, name, key, load)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel, unless it holds addresses of this process."""
        if data.library.has_dynamic_globals:
            return
        with event.trigger_event(CACHE_EVENT):
            try:
                self._entries.save(self._function.__name__, self.key(sig, data.codegen), dumps(data._reduce()))
            except Exception as error:
                logger.warning("could not cache a compiled kernel in %s (%s)", self.cache_path, error)

    def enable(self) -> None:
        """Nothing: a kernel without a folder has no cache."""

    disable = flush = enable


def cached(kernel: Any) -> Any:
    """Let a dispatcher of Numba load its kernels from disk and save them there, where there is a folder for them."""
    if FOLDER is not None and hasattr(kernel, "enable_caching"):
        cache = KernelCache(kernel.py_func)
        kernel._cache, kernel.compile = cache, functools.partial(cache.locks.compile, kernel.compile)
    return kernel
