"""The largest squared norm of a row in working coordinates: what bounds the step of a single-row update.

`largest_norm(data, coordinates, width, per_block, out)`: block b writes out[b], float64, the largest s_i |x~_i|^2 of
rows [b per_block, (b + 1) per_block), NaN where one is. Launch: blocks of at most 256 threads; of row-major data
`width` threads share a row, a power of two from 8 to 32; of column-major data each thread has rows of its own.
"""

from typing import Any

import numpy as np
from numba import float64

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.layout import ROWS
from fastgd.kernels.cuda.reduce import block_barrier, block_largest, larger, row_sums
from fastgd.kernels.cuda.residual import weight


@cuda_device
def _square(x: Any, j: Any, coordinates: Any) -> Any:
    """The square of an element of column j in working coordinates."""
    t = (np.float64(x) - coordinates.center[j]) * coordinates.inv_scale[j]
    return t * t


@cuda_device
def _by_rows(data: Any, coordinates: Any, width: Any, start: Any, stop: Any) -> Any:
    """The largest of this thread's rows, row-major."""
    part, lane = cuda.local.array(ROWS, float64), cuda.threadIdx.x % width
    first, groups, largest = cuda.threadIdx.x // width * ROWS, cuda.blockDim.x // width, 0.0
    for at in range(start, stop, groups * ROWS):
        for i in range(ROWS):
            part[i] = 0.0
        for j in range(lane, data.X.shape[1], width):
            column = unsigned(j)
            for i in range(ROWS):
                part[i] += _square(data.X[unsigned(min(at + first + i, stop - 1)), column], column, coordinates)
        norm, row = row_sums(part, lane, width), at + first + lane % ROWS
        if row < stop:
            largest = larger(largest, norm * weight(data, row))
    return largest


@cuda_device
def _by_columns(data: Any, coordinates: Any, width: Any, start: Any, stop: Any) -> Any:
    """The largest of this thread's rows, column-major."""
    largest = 0.0
    for row in range(start + cuda.threadIdx.x, stop, cuda.blockDim.x):
        norm = 0.0
        for j in range(data.X.shape[0]):
            column = unsigned(j)
            norm += _square(data.X[column, unsigned(row)], column, coordinates)
        largest = larger(largest, norm * weight(data, row))
    return largest


@kernel_factory
def make_largest_norm(dtype: str, order: str) -> Any:
    """The kernel for a dtype ("f4", "f8") and an order ("C", "F") of X."""
    look = _by_rows if order == "C" else _by_columns

    @cuda_kernel(f"largest_norm_{dtype}_{order}")
    def largest_norm(data: Any, coordinates: Any, width: Any, per_block: Any, out: Any) -> None:
        start = cuda.blockIdx.x * per_block
        found = look(data, coordinates, width, start, min(start + per_block, data.y.shape[1]))
        block_barrier()
        found = block_largest(found)
        if cuda.threadIdx.x == 0:
            out[cuda.blockIdx.x] = found

    return largest_norm
