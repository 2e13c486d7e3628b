"""Describe arrays of other libraries on a GPU (CuPy, PyTorch, JAX, Numba) without importing CUDA."""

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: DLPack's numbers for memory of a GPU, and for memory that host and GPU share.
_CUDA, _MANAGED = 2, 13
#: DLPack's letters for kinds of numbers.
_KINDS = {0: "i", 1: "u", 2: "f"}
#: The stream on which DLPack's producer finishes its work: CUDA's legacy default.
_STREAM = 1


@dataclass(frozen=True)
class GpuArray:
    """An array on a GPU, in place.

    given: the user's array, kept alive by this one. strides: in bytes. gpu: number of the GPU, or None if unknown.
    """

    given: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    pointer: int
    gpu: int | None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def order(self) -> str | None:
        """C or F for contiguous arrays, else None."""
        if self.strides == _packed(self.shape, self.dtype.itemsize):
            return "C"
        return "F" if self.strides == _packed(self.shape[::-1], self.dtype.itemsize)[::-1] else None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        given = {} if _is_numba(self.given) else _interface(self.given) or {}
        ours = {"shape": self.shape, "typestr": self.dtype.str, "data": (self.pointer, True), "strides": self.strides}
        return {"version": 3, "stream": given.get("stream"), **ours}

    def on_device(self) -> Any:
        """Return the array as one of Numba's, on the same memory."""
        from numba import cuda

        return self.given if _is_numba(self.given) else cuda.as_cuda_array(self)

    def to_host(self) -> NDArray[Any]:
        """Return a copy on the host."""
        copy: NDArray[Any] = self.on_device().copy_to_host()
        return copy


def gpu_array(value: Any) -> GpuArray | None:
    """Return the description of an array on a GPU; None for anything else.

    Raises
    ------
    TypeError
        If its library does not export its memory; the message is the library's.
    """
    if value is None or isinstance(value, GpuArray | np.ndarray | list | tuple):
        return value if isinstance(value, GpuArray) else None
    if _is_numba(value):
        return GpuArray(value, tuple(value.shape), value.dtype, _strides(value), 0, None)
    shown = _interface(value)
    if shown is None:
        return _by_dlpack(value) if _device(value)[0] in (_CUDA, _MANAGED) else None
    if shown.get("mask") is not None:
        raise TypeError("masked arrays on the GPU cannot be used: fill in values, or leave out those rows")
    dtype, shape = np.dtype(shown["typestr"]), tuple(shown["shape"])
    strides = shown.get("strides") or _packed(shape, dtype.itemsize)
    return GpuArray(value, shape, dtype, _normal(shape, strides, dtype.itemsize), shown["data"][0], _device(value)[1])


def _is_numba(value: Any) -> bool:
    return getattr(value, "__cuda_ndarray__", False) is True


def _interface(value: Any) -> dict[str, Any] | None:
    """Return an array's CUDA array interface; None if it has no memory on a GPU."""
    try:
        shown: dict[str, Any] | None = getattr(value, "__cuda_array_interface__", None)
    except (RuntimeError, TypeError, ValueError) as error:
        if _device(value)[0] in (_CUDA, _MANAGED):
            # Such as PyTorch's error for a tensor that requires a gradient, or of a dtype that NumPy lacks.
            raise TypeError(str(error)) from error
        return None
    return shown if isinstance(shown, dict) else None


def _device(value: Any) -> tuple[int | None, int | None]:
    """Return DLPack's kind and number of an array's device."""
    ask = getattr(value, "__dlpack_device__", None)
    if ask is None or isinstance(value, type):
        return None, None
    try:
        kind, number = ask()
    except Exception:  # an unrelated method of that name: not an array on a known GPU
        return None, None
    return int(kind), int(number) if int(kind) == _CUDA else None


def _packed(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the strides of a contiguous array in C order."""
    strides = [itemsize]
    for length in shape[:0:-1]:
        strides.append(strides[-1] * length)
    return tuple(strides[: len(shape)][::-1])


def _normal(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the strides of a contiguous array if they differ in axes of length 1 alone, else the given strides."""
    packed = _packed(shape, itemsize)
    of_columns = _packed(shape[::-1], itemsize)[::-1]
    for wanted in (packed, of_columns):
        if all(length == 1 or has == want for length, has, want in zip(shape, strides, wanted, strict=True)):
            return wanted
    return tuple(strides)


def _strides(value: Any) -> tuple[int, ...]:
    return _normal(tuple(value.shape), tuple(value.strides), value.dtype.itemsize)


class _Tensor(ctypes.Structure):
    """DLTensor of dlpack.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def _by_dlpack(value: Any) -> GpuArray:
    """Return the description of an array that exports its memory by DLPack alone.

    The capsule is kept, not consumed: it releases the memory when it is deleted.
    """
    capsule = value.__dlpack__(stream=_STREAM)
    read = ctypes.pythonapi.PyCapsule_GetPointer
    read.restype, read.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = ctypes.cast(read(capsule, b"dltensor"), ctypes.POINTER(_Tensor)).contents
    if tensor.code not in _KINDS or tensor.lanes != 1:
        raise TypeError(f"numbers of DLPack's kind {tensor.code} cannot be used: convert to float32 or float64")
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = _packed(shape, dtype.itemsize)
    if tensor.strides:
        strides = tuple(step * dtype.itemsize for step in tensor.strides[: tensor.ndim])
    pointer = (tensor.data or 0) + tensor.byte_offset
    strides = _normal(shape, strides, dtype.itemsize)
    return GpuArray((value, capsule), shape, dtype, strides, pointer, _device(value)[1])
