"""Reading an array once, as fast as a device can: the yardstick of benchmarks, since no pass over X can beat it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads

#: Numbers that a thread of the CPU reads at a time.
_CHUNK = 1 << 20


def reader_on_cpu(X: NDArray[Any], n_threads: int) -> Callable[[], float]:
    """What reads X (contiguous, in C or F order) with so many threads, and returns the largest of its bit patterns.

    The maximum of integers is what NumPy reads fastest: sums of floats wait for additions.
    """
    flat = (X if X.flags.c_contiguous else X.T).reshape(-1).view(f"i{X.itemsize}")
    chunks = -(-flat.size // _CHUNK)
    found = np.empty(chunks, flat.dtype)

    def work(slot: int, number: int) -> None:
        found[number] = flat[number * _CHUNK : (number + 1) * _CHUNK].max()

    def read() -> float:
        threads.run(chunks, n_threads, work)
        return float(found.max())

    return read


def reader_on_gpu(X: Any) -> Callable[[], float]:
    """What reads X, row-major on the GPU, and returns the sum of its numbers once they are read."""
    from numba import cuda

    from fastgd.backends import cuda_device as device
    from fastgd.kernels.cuda._target import SIMULATED
    from fastgd.kernels.cuda.reads import make_read

    flat = X.reshape(X.size)
    kernel = make_read(f"f{flat.dtype.itemsize}")
    per_block, blocks = (8, 2) if SIMULATED else (256, 8 * device.multiprocessors())
    sums = cuda.device_array(blocks * per_block, flat.dtype)
    stream = cuda.default_stream()

    def read() -> float:
        device.launch(kernel, device.Grid(blocks, per_block), stream, flat, sums)
        return float(np.sum(sums.copy_to_host(), dtype=np.float64))

    return read
