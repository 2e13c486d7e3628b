"""Transfers to the GPU: large arrays in pieces through pinned memory, small ones together in one copy."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd import threads
from fastgd.backends.cuda.device import new_event, wait
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.objective.dataset import Transferred

#: Bytes of each of two pinned buffers, which are kept for later copies; bytes that a thread copies at a time.
BUFFER_BYTES = 1 << 25
_COPY_BYTES = 1 << 21
#: Bytes below which a direct copy takes less time than one through pinned memory.
_SMALL_BYTES = 1 << 20

_kept: list["_Buffers"] = []
_keeping = threading.Lock()


class _Buffers:
    """Two pinned buffers: one is filled while the other is copied."""

    def __init__(self) -> None:
        self.memory = [cuda.pinned_array(BUFFER_BYTES, np.uint8) for _ in range(2)]
        self.gone = [new_event(), new_event()]


def is_device_array(X: Any) -> bool:
    """Whether an array is on a GPU."""
    return bool(getattr(X, "__cuda_ndarray__", False)) or hasattr(X, "__cuda_array_interface__")


def by_rows(X: Any) -> tuple[Any, str]:
    """Return X (n, d), or its transpose (d, n) if column-major, as a row-major view, and the order of X.

    On the host or the device, where `X.T` would copy.
    """
    if not is_device_array(X):
        return (X, "C") if X.flags.c_contiguous else (X.T, "F")
    array = X if getattr(X, "__cuda_ndarray__", False) else cuda.as_cuda_array(X)
    if array.is_c_contiguous():
        return array, "C"
    if not array.is_f_contiguous():
        raise ValueError("X on the GPU must be contiguous, in C or F order: copy it first")
    n, d = array.shape
    return array.ravel(order="F").reshape((d, n)), "F"


def to_device(source: NDArray[Any], stream: Any, n_threads: int = 1) -> Any:
    """Return a copy of a row-major array on the device, complete when the call returns."""
    out = cuda.device_array(source.shape, source.dtype, stream=stream)
    if source.nbytes < _SMALL_BYTES or is_pinned(source):
        if source.size:
            out.copy_to_device(source, stream=stream)
    else:
        _copy_in_pieces(source.reshape(-1), out.ravel(), stream, n_threads)
    stream.synchronize()
    return out


def send(source: NDArray[Any], stream: Any, n_threads: int, transferred: Transferred) -> Any:
    """Return a copy on the device, complete when the call returns, and count its bytes and seconds."""
    began = time.perf_counter()
    there = to_device(np.ascontiguousarray(source), stream, n_threads)
    transferred.add(source.nbytes, began)
    return there


def _copy_in_pieces(source: NDArray[Any], out: Any, stream: Any, n_threads: int) -> None:
    with _keeping:
        buffers = _kept.pop() if _kept else _Buffers()
    size = BUFFER_BYTES // source.itemsize
    for number, start in enumerate(range(0, source.size, size)):
        piece, slot = source[start : start + size], number % 2
        if number > 1:
            wait(buffers.gone[slot])
        pinned = buffers.memory[slot][: piece.nbytes].view(source.dtype)
        copy(piece, pinned, n_threads)
        out[start : start + piece.size].copy_to_device(pinned, stream=stream)
        buffers.gone[slot].record(stream)
    stream.synchronize()
    with _keeping:
        _kept.append(buffers)


def copy(source: NDArray[Any], out: NDArray[Any], n_threads: int) -> None:
    """Copy a one-dimensional array on the host, on threads if it is large."""
    step = max(1, _COPY_BYTES // source.itemsize)

    def work(slot: int, number: int) -> None:
        np.copyto(out[number * step : (number + 1) * step], source[number * step : (number + 1) * step])

    threads.run(-(-source.size // step), n_threads, work)


def is_pinned(array: NDArray[Any]) -> bool:
    """Whether memory is pinned, so that it is copied at full speed."""
    if SIMULATED:
        return False
    from cuda.bindings import driver  # type: ignore[import-untyped]

    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE
    error, kind = driver.cuPointerGetAttribute(attribute, driver.CUdeviceptr(array.ctypes.data))
    return error == driver.CUresult.CUDA_SUCCESS and int(kind) == int(driver.CUmemorytype.CU_MEMORYTYPE_HOST)


def send_arrays(stream: Any, dtype: Any, **arrays: NDArray[Any]) -> "PinnedArrays":
    """Queue the copy of arrays to the device in a dtype; keep the result until the stream has done it."""
    pinned = PinnedArrays(stream, dtype, {name: array.shape for name, array in arrays.items()})
    for name, array in arrays.items():
        pinned.host[name][...] = array
    pinned.send()
    return pinned


class PinnedArrays:
    """Arrays of a dtype that are copied together: pinned on the host, with counterparts on the device.

    Parameters
    ----------
    stream : Stream
    dtype : dtype
    shapes : mapping of str to tuple of int
    """

    def __init__(self, stream: Any, dtype: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        total = sum(int(np.prod(shape)) for shape in shapes.values())
        self._stream = stream
        self._pinned = cuda.pinned_array(total, dtype)
        self._there = cuda.device_array(total, dtype, stream=stream)
        self.host: dict[str, NDArray[Any]] = {}
        self.device: dict[str, Any] = {}
        start = 0
        for name, shape in shapes.items():
            stop = start + int(np.prod(shape))
            self.host[name] = self._pinned[start:stop].reshape(shape)
            if stop > start:
                self.device[name] = self._there[start:stop].reshape(shape)
            else:
                self.device[name] = cuda.device_array(shape, dtype, stream=stream)
            start = stop

    def send(self) -> None:
        """Queue the copy to the device; the host's arrays must not change until the stream has done it."""
        self._there.copy_to_device(self._pinned, stream=self._stream)

    def fetch(self) -> dict[str, NDArray[Any]]:
        """Copy back to the host and wait for the stream."""
        self._there.copy_to_host(self._pinned, stream=self._stream)
        self._stream.synchronize()
        return self.host
