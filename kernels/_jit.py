"""Every Numba decorator of the project, and the traps that each avoids.

Scalar functions are marked `jitable` (they stay plain Python and serve the reference tests, the CPU and the GPU); loops
are made by factories and marked `cpu_kernel`.

- Passing or capturing an ``@njit`` function defeats ``cache=True`` (numba#6264); capturing a `jitable` one does not.
- A shared ``@njit`` helper takes the fast-math flags of whichever caller compiles it first (numba#7168); a `jitable`
  one is compiled into each caller.
- Kernels that share a name share one cache index, so that names contain the ingredients.
- A scalar function that LLVM does not inline keeps its loop from vectorising (the logistic loss: 13 ns per row instead
  of 1), hence ``forceinline``.
- A slice inside a loop costs an atomic reference count (about 5 ns), a signed index a wrap-around check: row numbers
  are `unsigned`.
- Without ``error_model="numpy"`` every division carries a branch and loops do not vectorise.
- Numba compiles every function that a kernel calls as if it were called from Python as well: it optimises it, with all
  functions that it calls, and translates it. A mini-batch kernel calls about ninety functions, five deep: the three
  kernels of a first mini-batch fit took 44 seconds that way. `INLINED` functions are compiled without machine code of
  their own: 24 seconds, for kernels that are as fast.
"""

import functools
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np
from numba import types
from numba.core import event
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.dispatcher import Dispatcher
from numba.extending import overload, register_jitable

from fastgd.kernels._cache import CACHE_EVENT, STAMP, cached

Function = TypeVar("Function", bound=Callable[..., object])

#: Never ``nnan`` or ``ninf``: checks for NaN and overflow must survive.
FASTMATH = frozenset({"reassoc", "contract", "nsz", "arcp", "afn"})


class _Codegen:
    """Numba's code generator without the addresses that it writes into each function's machine code."""

    def __init__(self, codegen):
        self._codegen = codegen

    def __getattr__(self, name: str):
        return getattr(self._codegen, name)

    def set_env(self, name: str, env) -> None:
        """Write no address: functions without objects neither need one nor have a place for it."""


class _InlinedLibrary(JITCodeLibrary):
    """The LLVM code of a function, which is optimised in the callers that link it."""

    @property
    def codegen(self):
        return _Codegen(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class _InlinedCompiler(Compiler):
    def _compile_core(self):
        if self.state.library is None:
            self.state.library = _InlinedLibrary(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super()._compile_core()


#: Options of Numba's `overload` and `register_jitable` for functions that are only ever inlined into kernels.
INLINED = {"forceinline": True, "no_cfunc_wrapper": True, "pipeline_class": _InlinedCompiler}


class _CompileClock(event.Listener):
    """Adds up the seconds of compiling kernels, loading them from the cache and saving them there."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._local = threading.local()

    def on_start(self, event):
        self._local.depth = getattr(self._local, "depth", 0) + 1
        if self._local.depth == 1:
            self._local.start = time.perf_counter()

    def on_end(self, event):
        self._local.depth -= 1
        if self._local.depth == 0:
            self.seconds += time.perf_counter() - self._local.start


_clock = _CompileClock()
for _kind in ("numba:compile", CACHE_EVENT):
    event.register(_kind, _clock)

_kernels: list[Dispatcher] = []


def compile_seconds() -> float:
    """Return the seconds that this process has spent compiling and loading kernels since its start."""
    return _clock.seconds


def compiled_kernels() -> list[str]:
    """Return the names of the kernels that this process has compiled or loaded, one per signature."""
    return [kernel.py_func.__name__ for kernel in _kernels for _ in getattr(kernel, "signatures", ())]


def jitable(function: Function) -> Function:
    """Mark a scalar function as usable inside kernels; it stays plain Python."""
    register_jitable(**INLINED)(function)
    return function


def kernel_factory(make):
    """Cache the kernels of a factory by its ingredients; concurrent threads get one and the same kernel.

    A kernel's `made_of` names factory and ingredients, by which kernels for the GPU are found on disk.
    """
    made = {}

    @functools.wraps(make)
    def factory(*ingredients):
        kernel = made.get(ingredients)
        if kernel is None:
            kernel = make(*ingredients)
            kernel.made_of = f"{make.__module__}.{make.__qualname__}{ingredients}"
        # setdefault is atomic: no lock that a forked child could find held.
        return made.setdefault(ingredients, kernel)

    return factory


@jitable
def unsigned(i):
    """Return a row number as unsigned: without the wrap-around check of signed ones loops vectorise."""
    return np.uint64(i)


def by_dtype(single: Function, double: Function) -> Callable[[Function], Function]:
    """Make a scalar function that calls `single` on float32 and `double` on everything else."""

    def wrap(function: Function) -> Function:
        @overload(function, strict=False, jit_options=INLINED)
        def choose(x):
            return single if x == types.float32 else double

        return function

    return wrap


def cpu_kernel(name: str, *, fastmath: bool = True) -> Callable[[Function], Function]:
    """Compile a loop for the CPU, cached on disk under `name`, which contains the ingredients of its factory."""

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
