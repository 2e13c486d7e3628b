"""Compiled kernels on disk: the folder, a lock per kernel, and removal of folders of other versions.

Numba's own cache does not see edits in other files (numba#1833): here the folder's name contains a hash of all sources.
It trusts its files, and a flipped bit crashes the process: here every entry has a digest. It distinguishes kernels of
one name by pickles of their captured values, which differ between a process that reads sources and one that reads byte
code: here by names and byte code.
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

import llvmlite
import numba
from numba.core import event
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from fastgd.kernels._entries import CompileLocks, Entries
from fastgd.kernels._entries import filelock as filelock

logger = logging.getLogger("fastgd")

#: Kind of Numba event for work of the cache, including waits for another process.
CACHE_EVENT = "fastgd:cache"
#: Names of folders of kernels, and seconds for which unused ones are kept.
_NAME, _KEPT_SECONDS = re.compile(r"fastgd-[0-9a-f]{16}"), 30 * 86400.0


def source_stamp(device: str = "cpu") -> str:
    """Return the hash of every source file of a device's kernels, "cpu" or "cuda": an edit in any misses the cache."""
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
    """Return the user's cache folder of the operating system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "fastgd/Cache"
    own = os.environ.get("XDG_CACHE_HOME")
    if own and os.path.isabs(own):
        return Path(own) / "fastgd"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "fastgd"


def cache_folder(stamp: str | None = None) -> Path | None:
    """Return the first writable folder of `NUMBA_CACHE_DIR`, the user's cache and a private temporary one; else None.

    Parameters
    ----------
    stamp : str, optional
        Hash of the sources of the kernels, by default those of the CPU.
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
            # A folder that another user made, or can exchange, may hold foreign machine code.
            if not (_is_own(folder) and (_is_own(root) or root != roots[-1])):
                continue
            with tempfile.TemporaryFile(dir=folder):
                os.utime(folder)
            if is_new:
                _remove_unused(root)
            return folder
    return None


def _remove_unused(root: Path) -> None:
    """Remove one's own folders of other sources with which no process has started for a month.

    A process that starts with one of them meanwhile recompiles, at worst, whichever of a kernel's files is missing.
    """
    with contextlib.suppress(OSError):
        for folder in root.iterdir():
            if _NAME.fullmatch(folder.name) and _is_unused(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_unused(folder: Path) -> bool:
    """Whether this is one's own folder, no link, which `cache_folder` last touched a month ago."""
    with contextlib.suppress(OSError):
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and _is_own(folder) and time.time() - found.st_mtime > _KEPT_SECONDS
    return False


def _is_own(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()


#: None without locks, since processes would read files that others are writing.
FOLDER = cache_folder() if filelock else None


def _identity(ingredient):
    """Describe a kernel or a value that it captures, alike in every process."""
    if not isinstance(ingredient, FunctionType):
        return repr(ingredient)
    captured = [_identity(cell.cell_contents) for cell in ingredient.__closure__ or ()]
    return f"{ingredient.__module__}.{ingredient.__qualname__} {ingredient.__code__.co_code.hex()} {captured}"


class KernelCache:
    """A cache of Numba's kind for one kernel, whose errors never stop a fit.

    Parameters
    ----------
    function : callable
        The kernel's Python function.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        assert FOLDER is not None
        self._function = function
        self._entries, self.locks = Entries(FOLDER), CompileLocks()

    @property
    def cache_path(self) -> str:
        """The folder, which the dispatcher reports."""
        return str(self._entries.folder)

    def key(self, sig, codegen):
        """Return everything on which the machine code of a signature depends, except the sources."""
        versions = numba.__version__, llvmlite.__version__, sys.version_info[:3]
        return repr((_identity(self._function), sig, codegen.magic_tuple(), versions))

    def load_overload(self, sig, target_context):
        """Return the kernel of a signature, or None if this process, which then holds its lock, must compile it."""
        target_context.refresh()
        name, key = self._function.__name__, self.key(sig, target_context.codegen())

        def build(found):
            return CompileResult._rebuild(target_context, *pickle.loads(found))

        with event.trigger_event(CACHE_EVENT):
            return self.locks.load(self._entries, name, key, lambda: self._entries.rebuild(name, key, build))

    def save_overload(self, sig, data):
        """Save a compiled kernel, unless it holds addresses of this process."""
        if data.library.has_dynamic_globals:
            return
        with event.trigger_event(CACHE_EVENT):
            name, key = self._function.__name__, self.key(sig, data.codegen)
            self._entries.try_save(name, key, lambda: dumps(data._reduce()))

    def enable(self) -> None:
        """Do nothing: a kernel without a folder has no cache."""

    disable = flush = enable


def cached(kernel):
    """Let a dispatcher of Numba load kernels from disk and save them there, if there is a folder."""
    if FOLDER is not None and hasattr(kernel, "enable_caching"):
        cache = KernelCache(kernel.py_func)
        kernel._cache, kernel.compile = cache, functools.partial(cache.locks.compile, kernel.compile)
    return kernel
