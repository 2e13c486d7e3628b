"""NVIDIA GPUs: where data are to lie. Imported when a fit asks for a GPU; needs numba-cuda."""

from typing import Any

from numpy.typing import NDArray

from fastgd.backends import cuda_device as device
from fastgd.backends.cuda_data import CudaData, CudaSet
from fastgd.backends.cuda_device import guarded
from fastgd.backends.cuda_stream import CudaStream
from fastgd.backends.cuda_transfer import is_device_array

__all__ = ["CudaData", "CudaSet", "CudaStream", "place"]


def place(X: Any, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> CudaSet:
    """The data set on the GPU: held there where there is room, else streamed through it; parameters of `CudaData`."""
    with guarded():
        held = is_device_array(X) or X.nbytes + y.nbytes <= device.room()
    return CudaData(X, y, s, n_threads) if held else CudaStream(X, y, s, n_threads)
