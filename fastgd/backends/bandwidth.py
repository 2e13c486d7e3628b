"""Reading an array once, as fast as a device can: the yardstick of benchmarks, since no pass over X can beat it.

Of data that stream through the GPU it is the way there.
"""

import functools
from typing import Any

import numpy as np

#: Bytes that are copied to the GPU at a time.
_COPY_BYTES = 1 << 28


class GpuReader:
    """What reads X, row-major on the GPU.

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
        # Nothing of the reader's own, which in a cycle with it would keep X on the GPU.
        self._launch = functools.partial(device.launch, *its)

    def queue(self) -> None:
        """Queue the reading on the default stream, and nothing else."""
        self._launch()

    def __call__(self) -> None:
        """Read and wait for the end."""
        self._launch()
        self._stream.synchronize()

    def total(self) -> float:
        """Read, and give the sum of all numbers: what shows that each was read once."""
        self._launch()
        return float(np.sum(self._sums.copy_to_host(), dtype=np.float64))


class HostToGpu:
    """What copies from the host's pinned memory to the GPU.

    Parameters
    ----------
    nbytes : int
        Of a copy; fewer of more than 256 MiB, or than the GPU has room for.
    """

    def __init__(self, nbytes: int) -> None:
        from numba import cuda

        from fastgd.backends.cuda import device

        with device.guarded():
            #: Of a copy.
            self.nbytes = max(1, min(nbytes, _COPY_BYTES, device.available_bytes() // 4))
            self._here, self._stream = cuda.pinned_array(self.nbytes, np.uint8), cuda.stream()
            self.there = cuda.device_array(self.nbytes, np.uint8)
        self._here[:] = 1

    def __call__(self) -> None:
        """Copy and wait for the end."""
        self.there.copy_to_device(self._here, stream=self._stream)
        self._stream.synchronize()
