"""Every Numba decorator of the project, and what had to be learned about each.

Scalar functions are marked `jitable` (they stay plain Python and serve the reference tests, the CPU and the GPU);
loops are made by factories and marked `cpu_kernel`. The traps, once:

- Passing or capturing an ``@njit`` function defeats ``cache=True`` (numba#6264); capturing a `jitable` one does not.
- A shared ``@njit`` helper takes the fast-math flags of whichever caller compiles it first (numba#7168); a `jitable`
  one is compiled into each caller.
- Kernels that share a name share one cache index, so the ingredients stand in the name.
- Numba's cache does not see edits in other files (numba#1833), so the cache folder carries a hash of all sources.
- A scalar function that LLVM does not inline keeps its loop from vectorising (the logistic loss: 13 ns a row instead
  of 1), hence ``forceinline``.
- A slice inside a loop costs an atomic reference count (about 5 ns), a signed index a wrap-around check: row numbers
  are `unsigned`.
- Without ``error_model="numpy"`` every division carries a branch and loops do not vectorise.
"""

import contextlib
import functools
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import filelock
import numba
import numpy as np
import platformdirs
from numba import types
from numba.core import event
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.extending import overload, register_jitable

logger = logging.getLogger("fastgd")

Function = TypeVar("Function", bound=Callable[..., Any])

#: Never ``nnan`` or ``ninf``: checks for NaN and overflow must survive.
FASTMATH = frozenset({"reassoc", "contract", "nsz", "arcp", "afn"})

_LOCK_SECONDS = 120.0


def source_stamp() -> str:
    """Hash of every source file of the kernels: an edit in any of them misses the cache."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


STAMP = source_stamp()


def cache_folder() -> Path | None:
    """The first writable folder of: ``NUMBA_CACHE_DIR``, the user's cache, a private temporary one; else None."""
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    candidates = [os.environ.get("NUMBA_CACHE_DIR"), platformdirs.user_cache_dir("fastgd", appauthor=False)]
    with contextlib.suppress(OSError):  # raised where no temporary folder can be written to
        candidates.append(os.path.join(tempfile.gettempdir(), f"fastgd-{user}"))
    for root in filter(None, candidates):
        folder = Path(root) / f"fastgd-{STAMP}"
        with contextlib.suppress(OSError):
            Path(root).mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(exist_ok=True, mode=0o700)
            # What lies in a folder that another user made, or can exchange, may be foreign machine code.
            if not (_is_own(folder) and (_is_own(Path(root)) or root != candidates[-1])):
                continue
            with tempfile.TemporaryFile(dir=folder):
                return folder
    return None


def _is_own(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()


_CACHE_FOLDER = cache_folder()


class _Locator(_CacheLocator):
    """Tells Numba where a kernel is cached; freshness is in the folder's name."""

    def get_cache_path(self) -> str:
        return str(_CACHE_FOLDER)

    def get_source_stamp(self) -> str:
        return STAMP

    def get_disambiguator(self) -> str:
        return "cpu"

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":
        return cls()


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes: ClassVar = [_Locator]


class _KernelCache(FunctionCache):
    """Numba's disk cache, with a file lock from a miss to its save, and no error that could stop a fit."""

    _impl_class = _CacheImpl

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        self._lock = filelock.FileLock(f"{_CACHE_FOLDER}/{self._impl.filename_base}.lock", timeout=_LOCK_SECONDS)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = self._load(sig, target_context)
        if found is None:
            # `compile` releases it. Who waits for another process in vain compiles without.
            with contextlib.suppress(OSError, filelock.Timeout):
                self._lock.acquire()
                found = self._load(sig, target_context)
        return found

    def compile(self, dispatcher_compile: Callable[[Any], Any], sig: Any) -> Any:
        """Compile or load, and let go of the lock whatever happens: Ctrl-C while compiling must lock nobody out."""
        try:
            return dispatcher_compile(sig)
        finally:
            self._lock.release(force=True)

    def _load(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a torn or foreign file is a miss, whatever unpickling it raises
            logger.warning("ignored an unreadable cached kernel in %s (%s)", self.cache_path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            try:
                super().save_overload(sig, data)
            except OSError:
                raise
            except Exception:  # a torn index raises whatever unpickling it raises: start a new one
                self.flush()
                super().save_overload(sig, data)
        except Exception as error:
            logger.warning("could not cache a compiled kernel in %s (%s)", self.cache_path, error)


class _CompileClock(event.Listener):
    """Adds up the seconds that Numba spends compiling (cache hits cost none)."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._local = threading.local()

    def on_start(self, event: Any) -> None:
        self._local.depth = getattr(self._local, "depth", 0) + 1
        if self._local.depth == 1:
            self._local.start = time.perf_counter()

    def on_end(self, event: Any) -> None:
        self._local.depth -= 1
        if self._local.depth == 0:
            self.seconds += time.perf_counter() - self._local.start


_clock = _CompileClock()
event.register("numba:compile", _clock)

_kernels: list[Any] = []


def compile_seconds() -> float:
    """Seconds that this process has spent compiling since its start."""
    return _clock.seconds


def compiled_kernels() -> list[str]:
    """Names of the kernels that this process has compiled or loaded, one entry a signature."""
    return [kernel.__name__ for kernel in _kernels for _ in getattr(kernel, "signatures", ())]


def jitable(function: Function) -> Function:
    """Mark a scalar function as usable inside kernels; it stays plain Python."""
    register_jitable(forceinline=True)(function)
    return function


def kernel_factory(make: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what a factory makes, by its ingredients; threads that ask at once get one and the same kernel."""
    made: dict[tuple[Any, ...], Any] = {}

    @functools.wraps(make)
    def factory(*ingredients: Any) -> Any:
        kernel = made.get(ingredients)
        # setdefault is atomic: no lock that a forked child could find held.
        return made.setdefault(ingredients, make(*ingredients)) if kernel is None else kernel

    return factory


@jitable
def unsigned(i: Any) -> Any:
    """A row number that is known not to be negative: without the wrap-around check of signed ones loops vectorise."""
    return np.uint64(i)


def by_dtype(single: Callable[..., Any], double: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make a scalar function that calls `single` on float32 and `double` on everything else."""

    def wrap(function: Function) -> Function:
        @overload(function, strict=False, jit_options={"forceinline": True})
        def choose(x: Any) -> Callable[..., Any]:
            return single if x == types.float32 else double

        return function

    return wrap


def cpu_kernel(name: str, *, fastmath: bool = True) -> Callable[[Function], Function]:
    """Compile a loop for the CPU, cached on disk under `name`, which holds the ingredients of its factory."""

    def wrap(function: Function) -> Function:
        function.__name__ = name
        function.__qualname__ = f"{name}-{STAMP}"
        # Without reference counts: kernels allocate nothing, and a branch in a loop makes Numba keep counts that cost
        # half as much again as the loop.
        flags = set(FASTMATH) if fastmath else False
        kernel = numba.njit(nogil=True, _nrt=False, error_model="numpy", fastmath=flags)(function)
        if _CACHE_FOLDER is not None and hasattr(kernel, "enable_caching"):
            cache = _KernelCache(function)
            kernel._cache, kernel.compile = cache, functools.partial(cache.compile, kernel.compile)
        _kernels.append(kernel)
        return kernel

    return wrap
