"""Fast launches of kernels: converted arguments are cached on the arrays.

Numba inspects the type of every argument and unpacks every tuple of arrays at each launch, which takes the host longer
than a short pass takes the GPU. Here an array keeps its part of the argument list, as made by Numba, and the types of
the list select the compiled kernel. The first list of each kind is compared with Numba's; unknown or different ones are
launched by Numba.
"""

import ctypes
import functools
import logging
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastgd.kernels.cuda._target import SIMULATED

if not SIMULATED:
    # cuda-core's, under the names by which numba-cuda calls it.
    from numba.cuda.cudadrv.devicearray import DeviceNDArray
    from numba.cuda.dispatcher import LaunchConfig, _Kernel
    from numba.cuda.dispatcher import launch as launch_by_driver

logger = logging.getLogger("fastgd")

#: Types that numbers are passed as.
_NUMBERS: dict[type, Any] = {
    bool: bool,
    int: ctypes.c_int64,
    float: ctypes.c_double,
    np.float64: ctypes.c_double,
    np.float32: ctypes.c_float,
}
#: Most bits of an integer that Numba passes as int64.
_INTEGER_BITS = 63
#: Errors of releases of numba-cuda that have moved the internals used here.
_MOVED = AttributeError, TypeError
#: Attribute of an array with its type's code and converted arguments.
_KEPT = "_fastgd_passed_as"
#: Compiled kernels by kernel and types of arguments; None for those that Numba launches.
_ready: dict[tuple[Any, ...], Any] = {}
#: Launches of this process so far: fast ones of all kernels, and by name those left to Numba.
fast_launches = {"all": 0}
numba_launches: Counter[str] = Counter()


class _UnknownError(Exception):
    """Raised for an argument that Numba has to pass."""


def launch(kernel: Any, configured: Any, args: tuple[Any, ...]) -> None:
    """Queue a kernel.

    Parameters
    ----------
    kernel : CUDADispatcher
    configured : _LaunchConfiguration
        The kernel with its grid and stream.
    args : tuple
    """
    kinds: list[Any] = [kernel]
    passed: list[Any] = []
    try:
        _take_apart(args, kinds, passed)
    except _UnknownError:
        return _by_numba(kernel, configured, args)
    key = tuple(kinds)
    if key not in _ready:
        _ready[key] = _compiled(kernel, args, passed)
    compiled = _ready[key]
    if compiled is None:
        return _by_numba(kernel, configured, args)
    fast_launches["all"] += 1
    its = _config(configured.griddim, configured.blockdim, configured.sharedmem, compiled.cooperative)
    return launch_by_driver(configured.stream, its, compiled.library.get_cufunc().kernel, *passed)


def _by_numba(kernel: Any, configured: Any, args: tuple[Any, ...]) -> None:
    """Launch by Numba, which takes longer; log it once per kernel."""
    name = kernel.__name__
    if name not in numba_launches:
        logger.info("launches of the kernel %s are left to Numba, which takes longer", name)
    numba_launches[name] += 1
    configured(*args)


def _take_apart(args: tuple[Any, ...], kinds: list[Any], passed: list[Any]) -> None:
    """Append the types of arguments and their converted values."""
    for arg in args:
        kind = type(arg)
        if kind is DeviceNDArray:
            number, its = arg.__dict__.get(_KEPT) or _keep(arg)
            kinds.append(number)
            passed += its
        elif kind in _NUMBERS:
            if kind is int and arg.bit_length() > _INTEGER_BITS:
                raise _UnknownError
            kinds.append(kind)
            passed.append(_NUMBERS[kind](arg))
        elif isinstance(arg, tuple):
            kinds += (kind, len(arg))
            _take_apart(arg, kinds, passed)
        else:
            raise _UnknownError


def _keep(array: Any) -> tuple[int, tuple[Any, ...]]:
    """Cache the converted arguments on an array, whose address and shape never change."""
    passed: list[Any] = []
    try:
        _Kernel._prepare_args(SimpleNamespace(extensions=()), array._numba_type_, array, 0, [], passed)
        kept = array._numba_type_._code, tuple(passed)
    except _MOVED as error:
        raise _UnknownError from error
    setattr(array, _KEPT, kept)
    return kept


def _compiled(kernel: Any, args: tuple[Any, ...], passed: list[Any]) -> Any:
    """Return the kernel compiled for arguments; None if Numba would pass them differently."""
    compiled = kernel.compile(tuple(kernel.typeof_pyval(arg) for arg in args))
    its: list[Any] = []
    try:
        for kind, arg in zip(compiled.argument_types, args, strict=True):
            compiled._prepare_args(kind, arg, 0, [], its)
        plain = not (compiled.debug or compiled.launch_config_sensitive) and hasattr(compiled, "library")
    except _MOVED:
        return None
    return compiled if plain and [_comparable(one) for one in its] == [_comparable(one) for one in passed] else None


def _comparable(one: Any) -> tuple[type, Any]:
    """Return a comparable form of a converted argument; NaN by its bits."""
    return type(one), bytes(one) if hasattr(one, "value") else one


@functools.lru_cache(256)
def _config(griddim: tuple[int, ...], blockdim: tuple[int, ...], shared: int, cooperative: bool) -> Any:
    its = {"grid": griddim, "block": blockdim, "shmem_size": shared}
    try:
        return LaunchConfig(**its, is_cooperative=cooperative)
    except TypeError:  # releases of cuda-core before 1.0
        return LaunchConfig(**its, cooperative_launch=cooperative)
