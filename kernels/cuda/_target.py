"""What kernels see of CUDA: the module itself, or in the simulator the context of the running kernel.

The simulator exchanges the name `cuda` in a kernel's module only, and puts it back when the first of its threads is
done; what a kernel calls from other modules would see the wrong one.
"""

import inspect
import sys
from typing import Any

import numpy as np
from numba import config
from numba import cuda as _cuda

from fastgd.kernels._intrinsics import floor
from fastgd.kernels.cuda._cache import cached

#: Whether kernels are run by Python threads (NUMBA_ENABLE_CUDASIM=1): no warps, no types, one block at a time.
SIMULATED = bool(config.ENABLE_CUDASIM)

#: Threads of a warp.
WARP = 32


class _Shared:
    """Shared memory as the running kernel sees it: by the line that asks for it, as the simulator's own.

    Which, however, gives two threads that ask at the same time an array each.
    """

    def array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
        from numba.cuda.simulator.kernel import _get_kernel_context

        its = _get_kernel_context().shared
        if shape == 0:
            return its.array(shape, dtype)
        asking = sys._getframe(1)
        place = asking.f_code.co_filename, asking.f_lineno
        return its._allocations.setdefault(place, np.empty(shape, np.dtype(str(dtype))))


class _Simulated:
    """The CUDA module as the running kernel sees it."""

    shared = _Shared()

    def __getattr__(self, name: str) -> Any:
        from numba.cuda.simulator.kernel import _get_kernel_context

        return getattr(_get_kernel_context() or _cuda, name)


cuda: Any = _Simulated() if SIMULATED else _cuda

#: Device functions are to be inlined; releases of numba-cuda that cannot be told so leave it to NVVM, which does.
_INLINED = {"forceinline": True} if "forceinline" in inspect.signature(_cuda.jit).parameters else {}


_kernels: list[Any] = []


def compiled_kernels() -> dict[str, list[str]]:
    """Names of the kernels that this process has "compiled" and "loaded", one entry a signature."""
    its = {"compiled": "cache_misses", "loaded": "cache_hits"}
    return {
        how: [kernel.__name__ for kernel in _kernels for count in getattr(kernel.stats, its[how]).values() if count]
        for how in its
        if not SIMULATED
    }


def cuda_kernel(name: str, max_registers: int | None = None) -> Any:
    """Compile a loop for the GPU under `name`, or load it from disk, where it lies by all ingredients of its factory.

    Without fast-math, whose flags on CUDA are all or none: checks for NaN and overflow must survive. Products are
    contracted all the same, and loops are written in the order in which they sum.
    """

    def wrap(function: Any) -> Any:
        function.__name__ = function.__qualname__ = name
        limits = {} if SIMULATED or max_registers is None else {"max_registers": max_registers}
        kernel = _cuda.jit(**limits)(function)
        _kernels.append(kernel)
        return kernel if SIMULATED else cached(kernel)

    return wrap


def cuda_device(function: Any) -> Any:
    """Mark a function as callable from kernels; it may use `cuda`."""
    return function if SIMULATED else _cuda.jit(device=True, **_INLINED)(function)


if not SIMULATED:
    from numba.cuda import libdevice, types
    from numba.cuda.extending import overload

    @overload(floor, target="cuda", strict=False)
    def _overload_floor(x: Any) -> Any:
        if x == types.float32:
            return lambda x: libdevice.floorf(x)
        return lambda x: libdevice.floor(x)
