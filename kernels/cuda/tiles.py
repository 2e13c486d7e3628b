"""A group's rows in registers: their margins, and what they add to the gradient.

Thread `lane` of a group holds columns first + lane + c width of `ROWS` rows, c < COLUMNS.
"""

from typing import Any, NamedTuple

from numba import float32, float64

from fastgd.kernels._jit import unsigned
from fastgd.kernels.cuda._target import WARP, cuda, cuda_device
from fastgd.kernels.cuda.layout import COLUMN_BITS, COLUMNS, ROW_BITS, ROWS
from fastgd.kernels.cuda.reduce import LANES, block_barrier, lane_sum, row_sums

#: Numbers that a thread holds.
HELD = ROWS * COLUMNS
#: Numba's types by dtype.
TYPES = {"f4": float32, "f8": float64}


class Tile(NamedTuple):
    """The rows that a block works on: those at positions from `at` on, up to `stop`."""

    #: Numbers of the rows at these positions, where they are named.
    rows: Any
    at: Any
    stop: Any


class Room(NamedTuple):
    """Shared memory of a block, of the dtype of X."""

    #: Margins by (warp, output, group, row), derivatives by (output, group, row), and losses alike.
    z: Any
    r: Any
    lost: Any
    #: Gradient by (output, piece, column of a thread, thread).
    g: Any
    #: Staged rows.
    staged: Any


@cuda_device
def split(room: Any, layout: Any, spilled: Any) -> Any:
    """The parts of shared memory; of a gradient too large for it, `spilled`."""
    a = layout.margins
    b = a + layout.derivatives
    c = b + layout.derivatives
    z, r, lost = room[:a], room[a:b], room[b:c]
    if layout.spilled:
        return Room(z, r, lost, spilled, room[c:])
    e = c + layout.gradient
    return Room(z, r, lost, room[c:e], room[e:])


@cuda_device
def clear(numbers: Any) -> None:
    """Set to 0, by all threads of a block."""
    # No range, here and below: how often one with a step runs takes a division of 64 bits.
    i = cuda.threadIdx.x
    while i < numbers.size:
        numbers[i] = 0
        i += cuda.blockDim.x


@cuda_device
def group_of(layout: Any) -> Any:
    """The number of this thread's group."""
    return cuda.threadIdx.x >> layout.bits


@cuda_device
def lane_of(layout: Any) -> Any:
    """The number of this thread in its group."""
    return cuda.threadIdx.x & (layout.width - 1)


@cuda_device
def split_pair(pair: Any) -> Any:
    """Output and row of a group of the `pair`-th of both: threads next to each other have rows next to each other."""
    return pair >> ROW_BITS, pair & (ROWS - 1)


def make_margins(dtype: str, offset: bool) -> Any:
    """Factory of `add_margins(x, point, piece, layout, room)`: margins of a piece's columns, added to room.z.

    offset: whether `point.offset` is subtracted from columns, else it is 0.
    """
    kind = TYPES[dtype]

    @cuda_device
    def add_margins(x: Any, point: Any, piece: Any, layout: Any, room: Any) -> None:
        part, v = cuda.local.array(ROWS, kind), cuda.local.array(COLUMNS, kind)
        group, lane, last = group_of(layout), lane_of(layout), point.w.shape[1] - 1
        start = piece * layout.width * COLUMNS + lane
        for k in range(layout.outputs):
            far = kind(0)
            for c in range(COLUMNS):
                # No branch, which the loads of a tile would stop at.
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
                room.z[to] = total if piece == 0 else room.z[to] + total

    return add_margins


def make_accumulate(dtype: str) -> Any:
    """Factory of `accumulate(x, piece, layout, room)`: what a piece's columns add to the gradient, into room.g."""
    kind = TYPES[dtype]

    @cuda_device
    def accumulate(x: Any, piece: Any, layout: Any, room: Any) -> None:
        r = cuda.local.array(ROWS, kind)
        group, threads = group_of(layout), layout.groups * layout.width
        for k in range(layout.outputs):
            for i in range(ROWS):
                r[i] = room.r[unsigned((k * layout.groups + group) * ROWS + i)]
            for c in range(COLUMNS):
                total = kind(0)
                for i in range(ROWS):
                    total += r[i] * x[i * COLUMNS + c]
                room.g[unsigned(((k * layout.pieces + piece) * COLUMNS + c) * threads + cuda.threadIdx.x)] += total

    return accumulate


def make_flush(dtype: str) -> Any:
    """Factory of `flush(layout, room, columns, out, first)`: the block's sums go on in float64 out (K columns + K,).

    first: whether nothing has been written to `out` yet.
    """
    flush_gradient, flush_losses = make_flush_gradient(dtype), make_flush_losses(dtype)

    @cuda_device
    def flush(layout: Any, room: Any, columns: Any, out: Any, first: Any) -> None:
        flush_gradient(layout, room, columns, out, first)
        flush_losses(layout, room, columns, out, first)

    return flush


def make_flush_gradient(dtype: str) -> Any:
    """The first part of the same, of sums of columns alone."""
    zero = TYPES[dtype](0)

    @cuda_device
    def flush_gradient(layout: Any, room: Any, columns: Any, out: Any, first: Any) -> None:
        threads, span = layout.groups * layout.width, layout.width * COLUMNS
        block_barrier()
        for k in range(layout.outputs):
            j = cuda.threadIdx.x
            while j < columns:
                # Shifts: of numbers that may be negative a division by a power of two takes many more instructions.
                piece, within = j >> (layout.bits + COLUMN_BITS), j & (span - 1)
                start = ((k * layout.pieces + piece) * COLUMNS + (within >> layout.bits)) * threads
                start += within & (layout.width - 1)
                total = 0.0
                for group in range(layout.groups):
                    at = unsigned(start + group * layout.width)
                    total += room.g[at]
                    room.g[at] = zero
                at = unsigned(k * columns + j)
                out[at] = total if first else out[at] + total
                j += threads

    return flush_gradient


def make_flush_losses(dtype: str) -> Any:
    """The second part, of losses."""
    zero = TYPES[dtype](0)

    @cuda_device
    def flush_losses(layout: Any, room: Any, columns: Any, out: Any, first: Any) -> None:
        threads = layout.groups * layout.width
        share, i = cuda.threadIdx.x >> ROW_BITS, cuda.threadIdx.x & (ROWS - 1)
        # All threads take as many turns: LANES of them, one a row of a group, add up an output's losses together.
        for turn in range(-(-layout.outputs * LANES // threads)):
            k, total = turn * (threads // LANES) + share, 0.0
            if k < layout.outputs:
                for group in range(layout.groups):
                    at = unsigned((k * layout.groups + group) * ROWS + i)
                    total += room.lost[at]
                    room.lost[at] = zero
            total = lane_sum(total)
            if k < layout.outputs and i == 0:
                to = unsigned(layout.outputs * columns + k)
                out[to] = total if first else out[to] + total
        block_barrier()

    return flush_losses
