"""Bandwidth of a device: read or transfer an array once, the lower bound of a pass in benchmarks."""

import functools
from typing import Any

import numpy as np

#: Bytes to copy to the GPU at a time.
_COPY_BYTES = 1 << 28


class GpuReader:
    """Reads X, row-major on the GPU.

    Parameters
    ----------
    X : DeviceNDArray
    """

    def __init__(self, X: Any) -> None:
        from numba import cuda

        from fastgd.backends.cuda import device
        from fastgd.kernels.cuda._target import SIMULATED
        from fastgd.kernels.cuda.rows import make_read

        flat = X.reshape(X.size)
        per_block, blocks = (8, 2) if SIMULATED else (256, 8 * device.multiprocessors())
        self._sums = cuda.device_array(blocks * per_block, flat.dtype)
        self._stream = cuda.default_stream()
        its = make_read(f"f{flat.dtype.itemsize}"), device.Grid(blocks, per_block), self._stream, flat, self._sums
        # Without a reference to the reader: a cycle would keep X on the GPU.
        self._launch = functools.partial(device.launch, *its)

    def queue(self) -> None:
        """Queue the reading on the default stream."""
        self._launch()

    def __call__(self) -> None:
        """Read X and wait for the end."""
        self._launch()
        self._stream.synchronize()

    def total(self) -> float:
        """Return the sum of all numbers, which shows that each is read once."""
        self._launch()
        return float(np.sum(self._sums.copy_to_host(), dtype=np.float64))


class HostToGpu:
    """Copies from the host's pinned memory to the GPU.

    Parameters
    ----------
    nbytes : int
        Bytes of a copy; limited to 256 MiB and to a share of the GPU's free memory.
    """

    def __init__(self, nbytes: int) -> None:
        from numba import cuda

        from fastgd.backends.cuda import device

        with device.guarded():
            #: Bytes of a copy.
            self.nbytes = max(1, min(nbytes, _COPY_BYTES, device.available_bytes() // 4))
            self._here, self._stream = cuda.pinned_array(self.nbytes, np.uint8), cuda.stream()
            self.there = cuda.device_array(self.nbytes, np.uint8)
        self._here[:] = 1

    def __call__(self) -> None:
        """Copy and wait for the end."""
        self.there.copy_to_device(self._here, stream=self._stream)
        self._stream.synchronize()
