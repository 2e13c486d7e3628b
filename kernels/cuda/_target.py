"""The name `cuda` as kernels see it: the module itself, or in the simulator the context of the running kernel.

The simulator replaces the name `cuda` only in a kernel's own module, and restores it when the first of its threads
ends; functions of other modules would see the wrong one.
"""

import inspect
import sys
from typing import Any

import numpy as np
from numba import config
from numba import cuda as _cuda

from fastgd.kernels._intrinsics import floor
from fastgd.kernels.cuda._cache import cached

#: Whether Python threads run kernels (NUMBA_ENABLE_CUDASIM=1): no warps, no types, one block at a time.
SIMULATED = bool(config.ENABLE_CUDASIM)

#: Threads of a warp.
WARP = 32


class _Shared:
    """Shared memory of the running kernel, by the line that allocates it, as in the simulator.

    The simulator's own gives two threads that allocate at the same time an array each.
    """

    def array(self, shape, dtype, alignment: int | None = None):
        from numba.cuda.simulator.kernel import _get_kernel_context

        shared = _get_kernel_context().shared
        if shape == 0:
            return shared.array(shape, dtype)
        caller = sys._getframe(1)
        place = caller.f_code.co_filename, caller.f_lineno
        return shared._allocations.setdefault(place, np.empty(shape, np.dtype(str(dtype))))


class _Simulated:
    """The CUDA module as the running kernel sees it."""

    shared = _Shared()

    def __getattr__(self, name: str):
        from numba.cuda.simulator.kernel import _get_kernel_context

        return getattr(_get_kernel_context() or _cuda, name)


cuda = _Simulated() if SIMULATED else _cuda

#: Device functions are inlined; releases of numba-cuda without the option leave it to NVVM, which does so.
_INLINED = {"forceinline": True} if "forceinline" in inspect.signature(_cuda.jit).parameters else {}


_kernels: list[Any] = []


def compiled_kernels() -> dict[str, list[str]]:
    """Return the names of the kernels that this process has "compiled" and "loaded", one per signature."""
    if SIMULATED:
        return {}
    counts = {"compiled": "cache_misses", "loaded": "cache_hits"}
    return {
        how: [kernel.__name__ for kernel in _kernels for count in getattr(kernel.stats, name).values() if count]
        for how, name in counts.items()
    }


def cuda_kernel(name: str, max_registers: int | None = None):
    """Compile a loop for the GPU under `name`, or load it from disk by the ingredients of its factory.

    Without fast-math, whose flags on CUDA are all or none: checks for NaN and overflow must survive. Products are
    contracted all the same, and loops are written in the order in which they sum.
    """

    def wrap(function):
        function.__name__ = function.__qualname__ = name
        limits = {} if SIMULATED or max_registers is None else {"max_registers": max_registers}
        kernel = _cuda.jit(**limits)(function)
        _kernels.append(kernel)
        return kernel if SIMULATED else cached(kernel)

    return wrap


def cuda_device(function):
    """Mark a function as callable from kernels; it may use `cuda`."""
    return function if SIMULATED else _cuda.jit(device=True, **_INLINED)(function)


if not SIMULATED:
    from numba.cuda import libdevice, types
    from numba.cuda.extending import overload

    @overload(floor, target="cuda", strict=False)
    def _overload_floor(x):
        if x == types.float32:
            return lambda x: libdevice.floorf(x)
        return lambda x: libdevice.floor(x)
