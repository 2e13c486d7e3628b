"""The GPU's memory full of NaN before it is used, so that what is read and was never written shows."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import cuda

from fastgd.kernels.cuda._target import SIMULATED

#: Every byte of it: NaN as float32 and float64, -1 as integers.
_BYTE = 0xFF


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """While this lasts, arrays that are allocated on the GPU, and pinned ones on the host, hold NaN."""
    allocate, pin = cuda.device_array, cuda.pinned_array

    def device_array(*args: Any, **options: Any) -> Any:
        array = allocate(*args, **options)
        if array.size:
            fill(array, options.get("stream", 0))
        return array

    def pinned_array(*args: Any, **options: Any) -> Any:
        array = pin(*args, **options)
        if array.size:
            _bytes_of(array)[...] = _BYTE
        return array

    cuda.device_array, cuda.pinned_array = device_array, pinned_array
    try:
        yield
    finally:
        cuda.device_array, cuda.pinned_array = allocate, pin


def fill(array: Any, stream: Any = 0) -> None:
    """Fill an array on the GPU with NaN, in the order of a stream."""
    if SIMULATED:
        _bytes_of(array._ary)[...] = _BYTE
        return
    from numba.cuda.cudadrv.driver import device_memset

    device_memset(array, _BYTE, array.nbytes, stream)


def _bytes_of(array: Any) -> Any:
    """The bytes of an array on the host, in either order."""
    return (array if array.flags.c_contiguous else array.T).view(np.uint8)
