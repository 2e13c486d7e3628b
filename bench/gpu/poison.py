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
    """While this lasts, arrays that are allocated on the GPU hold NaN."""
    allocate = cuda.device_array

    def device_array(*args: Any, **options: Any) -> Any:
        array = allocate(*args, **options)
        if array.size:
            fill(array, options.get("stream", 0))
        return array

    cuda.device_array = device_array
    try:
        yield
    finally:
        cuda.device_array = allocate


def fill(array: Any, stream: Any = 0) -> None:
    """Fill an array on the GPU with NaN, in the order of a stream."""
    if SIMULATED:
        held = array._ary
        (held if held.flags.c_contiguous else held.T).view(np.uint8)[...] = _BYTE
        return
    from numba.cuda.cudadrv.driver import device_memset

    device_memset(array, _BYTE, array.nbytes, stream)
