"""A group's rows in registers: their margins, and their contributions to the gradient.

Thread `lane` of a group holds columns first + lane + c width of `ROWS` rows, c < COLUMNS.
"""

from typing import NamedTuple

import numpy as np
from numba import float32, float64
from numpy.typing import NDArray

from fastgd.kernels._jit import unsigned
from fastgd.kernels.cuda._target import WARP, cuda, cuda_device
from fastgd.kernels.cuda.layout import COLUMN_BITS, COLUMNS, ROW_BITS, ROWS
from fastgd.kernels.cuda.reduce import LANES, block_barrier, lane_sum, row_sums

#: Numbers that a thread holds.
HELD = ROWS * COLUMNS
#: Numba's types by dtype.
TYPES = {"f4": float32, "f8": float64}


class Tile(NamedTuple):
    """The rows that a block works on: those at positions [at, stop)."""

    #: Row numbers at these positions, if rows are indexed.
    rows: NDArray[np.int64]
    at: int
    stop: int


class SharedBuffers(NamedTuple):
    """Shared memory of a block, in the dtype of X."""

    #: Margins by (warp, output, group, row); derivatives and losses by (output, group, row).
    z: NDArray[np.floating]
    r: NDArray[np.floating]
    loss_sums: NDArray[np.floating]
    #: Gradient by (output, piece, column of a thread, thread).
    g: NDArray[np.floating]
    #: Staged rows.
    staged: NDArray[np.floating]


@cuda_device
def split(buffers, layout, spilled):
    """Split shared memory into its buffers; a gradient too large for it lies in `spilled`."""
    a = layout.margins
    b = a + layout.derivatives
    c = b + layout.derivatives
    z, r, loss_sums = buffers[:a], buffers[a:b], buffers[b:c]
    if layout.spilled:
        return SharedBuffers(z, r, loss_sums, spilled, buffers[c:])
    e = c + layout.gradient
    return SharedBuffers(z, r, loss_sums, buffers[c:e], buffers[e:])


@cuda_device
def clear(numbers):
    """Set an array to 0, by all threads of a block."""
    # While loops, here and below: the number of turns of a range with a step costs a 64-bit division.
    i = cuda.threadIdx.x
    while i < numbers.size:
        numbers[i] = 0
        i += cuda.blockDim.x


@cuda_device
def group_of(layout):
    """Return the number of this thread's group."""
    return cuda.threadIdx.x >> layout.bits


@cuda_device
def lane_of(layout):
    """Return the number of this thread in its group."""
    return cuda.threadIdx.x & (layout.width - 1)


@cuda_device
def split_pair(pair):
    """Return output and row of the `pair`-th of a group's pairs; neighbouring threads have neighbouring rows."""
    return pair >> ROW_BITS, pair & (ROWS - 1)


def make_margins(dtype: str, offset: bool):
    """Factory of `add_margins(x, point, piece, layout, buffers)`: add the margins of a piece's columns to buffers.z.

    offset: whether `point.offset` is subtracted from columns, which is 0 otherwise.
    """
    kind = TYPES[dtype]

    @cuda_device
    def add_margins(x, point, piece, layout, buffers):
        part, v = cuda.local.array(ROWS, kind), cuda.local.array(COLUMNS, kind)
        group, lane, last = group_of(layout), lane_of(layout), point.w.shape[1] - 1
        start = piece * layout.width * COLUMNS + lane
        for k in range(layout.outputs):
            far = kind(0)
            for c in range(COLUMNS):
                # No branch, at which the loads of a tile would stop.
                j = start + c * layout.width
                there = unsigned(j if c < layout.sure else min(j, last))
                w = point.w[unsigned(k), there]
                v[c] = w if c < layout.sure or j <= last else kind(0)
                if offset:
                    far -= v[c] * point.offset[there]
            for i in range(ROWS):
                part[i] = far
            for c in range(COLUMNS):
                for i in range(ROWS):
                    part[i] += x[i * COLUMNS + c] * v[c]
            total = row_sums(part, lane, layout.width)
            if lane % WARP < ROWS:
                to = unsigned(((lane // WARP * layout.outputs + k) * layout.groups + group) * ROWS + lane % ROWS)
                buffers.z[to] = total if piece == 0 else buffers.z[to] + total

    return add_margins


def make_accumulate(dtype: str):
    """Factory of `accumulate(x, piece, layout, buffers)`: add a piece's columns of the gradient to buffers.g."""
    kind = TYPES[dtype]

    @cuda_device
    def accumulate(x, piece, layout, buffers):
        r = cuda.local.array(ROWS, kind)
        group, threads = group_of(layout), layout.groups * layout.width
        for k in range(layout.outputs):
            for i in range(ROWS):
                r[i] = buffers.r[unsigned((k * layout.groups + group) * ROWS + i)]
            for c in range(COLUMNS):
                total = kind(0)
                for i in range(ROWS):
                    total += r[i] * x[i * COLUMNS + c]
                buffers.g[unsigned(((k * layout.pieces + piece) * COLUMNS + c) * threads + cuda.threadIdx.x)] += total

    return accumulate


def make_flush(dtype: str):
    """Factory of `flush(layout, buffers, columns, out, first)`: add the block's sums to float64 out (K columns + K,).

    first: whether `out` has not been written yet.
    """
    flush_gradient, flush_losses = make_flush_gradient(dtype), make_flush_losses(dtype)

    @cuda_device
    def flush(layout, buffers, columns, out, first):
        flush_gradient(layout, buffers, columns, out, first)
        flush_losses(layout, buffers, columns, out, first)

    return flush


def make_flush_gradient(dtype: str):
    """Factory of the part of `flush` for sums of columns."""
    zero = TYPES[dtype](0)

    @cuda_device
    def flush_gradient(layout, buffers, columns, out, first):
        threads, span = layout.groups * layout.width, layout.width * COLUMNS
        block_barrier()
        for k in range(layout.outputs):
            j = cuda.threadIdx.x
            while j < columns:
                # Shifts: dividing a number that may be negative by a power of two takes many more instructions.
                piece, within = j >> (layout.bits + COLUMN_BITS), j & (span - 1)
                start = ((k * layout.pieces + piece) * COLUMNS + (within >> layout.bits)) * threads
                start += within & (layout.width - 1)
                total = 0.0
                for group in range(layout.groups):
                    at = unsigned(start + group * layout.width)
                    total += buffers.g[at]
                    buffers.g[at] = zero
                at = unsigned(k * columns + j)
                out[at] = total if first else out[at] + total
                j += threads

    return flush_gradient


def make_flush_losses(dtype: str):
    """Factory of the part of `flush` for losses."""
    zero = TYPES[dtype](0)

    @cuda_device
    def flush_losses(layout, buffers, columns, out, first):
        threads = layout.groups * layout.width
        share, i = cuda.threadIdx.x >> ROW_BITS, cuda.threadIdx.x & (ROWS - 1)
        # All threads take equally many turns: LANES of them, one per row of a group, add up an output's losses.
        for turn in range(-(-layout.outputs * LANES // threads)):
            k, total = turn * (threads // LANES) + share, 0.0
            if k < layout.outputs:
                for group in range(layout.groups):
                    at = unsigned((k * layout.groups + group) * ROWS + i)
                    total += buffers.loss_sums[at]
                    buffers.loss_sums[at] = zero
            total = lane_sum(total)
            if k < layout.outputs and i == 0:
                to = unsigned(layout.outputs * columns + k)
                out[to] = total if first else out[to] + total
        block_barrier()

    return flush_losses
