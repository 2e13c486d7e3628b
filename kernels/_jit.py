"""Every Numba decorator of the project, and what had to be learned about each.

Scalar functions are marked `jitable` (they stay plain Python and serve the reference tests, the CPU and the GPU);
loops are made by factories and marked `cpu_kernel`. The traps, once:

- Passing or capturing an ``@njit`` function defeats ``cache=True`` (numba#6264); capturing a `jitable` one does not.
- A shared ``@njit`` helper takes the fast-math flags of whichever caller compiles it first (numba#7168); a `jitable`
  one is compiled into each caller.
- Kernels that share a name share one cache index, so the ingredients stand in the name.
- A scalar function that LLVM does not inline keeps its loop from vectorising (the logistic loss: 13 ns a row instead
  of 1), hence ``forceinline``.
- A slice inside a loop costs an atomic reference count (about 5 ns), a signed index a wrap-around check: row numbers
  are `unsigned`.
- Without ``error_model="numpy"`` every division carries a branch and loops do not vectorise.
"""

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import types
from numba.core import event
from numba.extending import overload, register_jitable

from fastgd.kernels._cache import CACHE_EVENT, STAMP, cached
from fastgd.kernels._inlined import INLINED

Function = TypeVar("Function", bound=Callable[..., Any])

#: Never ``nnan`` or ``ninf``: checks for NaN and overflow must survive.
FASTMATH = frozenset({"reassoc", "contract", "nsz", "arcp", "afn"})


class _CompileClock(event.Listener):
    """Adds up the seconds that go into compiling kernels, loading them from the cache and saving them there."""

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
for _kind in ("numba:compile", CACHE_EVENT):
    event.register(_kind, _clock)

_kernels: list[Any] = []


def compile_seconds() -> float:
    """Seconds that this process has spent compiling and loading kernels since its start."""
    return _clock.seconds


def compiled_kernels() -> list[str]:
    """Names of the kernels that this process has compiled or loaded, one entry a signature."""
    return [kernel.__name__ for kernel in _kernels for _ in getattr(kernel, "signatures", ())]


def jitable(function: Function) -> Function:
    """Mark a scalar function as usable inside kernels; it stays plain Python."""
    register_jitable(**INLINED)(function)
    return function


def kernel_factory(make: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what a factory makes, by its ingredients; threads that ask at once get one and the same kernel.

    What is made can tell what of: `made_of`, by which kernels for the GPU are found on disk.
    """
    made: dict[tuple[Any, ...], Any] = {}

    @functools.wraps(make)
    def factory(*ingredients: Any) -> Any:
        kernel = made.get(ingredients)
        if kernel is None:
            kernel = make(*ingredients)
            kernel.made_of = f"{make.__module__}.{make.__qualname__}{ingredients}"
        # setdefault is atomic: no lock that a forked child could find held.
        return made.setdefault(ingredients, kernel)

    return factory


@jitable
def unsigned(i: Any) -> Any:
    """A row number that is known not to be negative: without the wrap-around check of signed ones loops vectorise."""
    return np.uint64(i)


def by_dtype(single: Callable[..., Any], double: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make a scalar function that calls `single` on float32 and `double` on everything else."""

    def wrap(function: Function) -> Function:
        @overload(function, strict=False, jit_options=INLINED)
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
        _kernels.append(kernel)
        return cached(kernel)

    return wrap
