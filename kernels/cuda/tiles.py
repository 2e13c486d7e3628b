"""A group's rows: loaded into registers once, their margins, and what they add to the gradient.

Thread `lane` of a group holds columns first + lane + c width of `ROWS` rows, c < COLUMNS. Column-major rows are staged
in shared memory first, so that a warp reads neighbouring rows of a column.
"""

from typing import Any, NamedTuple

from numba import float32, float64

from fastgd.kernels._jit import unsigned
from fastgd.kernels.cuda._target import WARP, cuda, cuda_device
from fastgd.kernels.cuda.layout import COLUMNS, ROWS
from fastgd.kernels.cuda.reduce import block_barrier, row_sums

#: Numbers that a thread holds.
HELD = ROWS * COLUMNS
#: Numbers that a thread stages at a time.
_AT_ONCE = HELD // 2
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

    #: Margins by (output, group, warp, row), derivatives by (output, group, row), and losses alike.
    z: Any
    r: Any
    lost: Any
    #: Gradient by (output, piece, column of a thread, thread).
    g: Any
    #: Staged rows.
    staged: Any


@cuda_device
def split(room: Any, layout: Any, spilled: Any) -> Any:
    """The parts of shared memory; of a gradient too large for it, those in `spilled`."""
    a = layout.margins
    b = a + layout.derivatives
    c = b + layout.derivatives
    z, r, lost = room[:a], room[a:b], room[b:c]
    if spilled.size == 0:
        e = c + layout.gradient
        return Room(z, r, lost, room[c:e], room[e:])
    return Room(z, r, lost, spilled, room[c:])


@cuda_device
def clear(numbers: Any) -> None:
    """Set to 0, by all threads of a block."""
    for i in range(cuda.threadIdx.x, numbers.size, cuda.blockDim.x):
        numbers[i] = 0


@cuda_device
def group_of(layout: Any) -> Any:
    """The number of this thread's group."""
    return cuda.threadIdx.x >> layout.bits


@cuda_device
def lane_of(layout: Any) -> Any:
    """The number of this thread in its group."""
    return cuda.threadIdx.x & (layout.width - 1)


def make_load(order: str, shift: bool, named: bool) -> Any:
    """Factory of `load(X, point, tile, piece, layout, room, x)`: a group's part of a tile into registers x.

    order: "C" for X (n, d), "F" for its transpose (d, n). shift: whether `point.shift` is subtracted. named: whether
    the tile names its rows, else they are those at its positions. In the place of rows past its end stands the last
    one, whose derivative there is 0: so loads are not branched around, and are under way together.
    """

    @cuda_device
    def number(tile: Any, i: Any) -> Any:
        there = min(i, tile.stop - tile.at - 1)
        return unsigned(tile.rows[unsigned(there)] if named else tile.at + there)

    return _make_direct(number, shift) if order == "C" else _make_staged(number, shift)


def _make_direct(number: Any, shift: bool) -> Any:
    """Row-major rows: a warp reads neighbouring columns."""

    @cuda_device
    def load(X: Any, point: Any, tile: Any, piece: Any, layout: Any, room: Any, x: Any) -> None:
        d, first, start = X.shape[1], group_of(layout) * ROWS, piece * layout.width * COLUMNS + lane_of(layout)
        # All loads are under way before the first is waited for, without branches around them.
        for i in range(ROWS):
            row = number(tile, first + i)
            for c in range(COLUMNS):
                x[i * COLUMNS + c] = X[row, unsigned(min(start + c * layout.width, d - 1))]
        for c in range(COLUMNS):
            j = start + c * layout.width
            if j >= d:
                for i in range(ROWS):
                    x[i * COLUMNS + c] = j == d
            elif shift:
                for i in range(ROWS):
                    x[i * COLUMNS + c] -= point.shift[unsigned(j)]

    return load


def _make_staged(number: Any, shift: bool) -> Any:
    """Column-major rows: a warp reads neighbouring rows, by way of shared memory."""

    @cuda_device
    def load(X: Any, point: Any, tile: Any, piece: Any, layout: Any, room: Any, x: Any) -> None:
        d, thread, stride = X.shape[0], cuda.threadIdx.x, layout.width // ROWS
        i, q = thread & (layout.groups * ROWS - 1), thread >> layout.row_bits
        row, start = number(tile, i), piece * layout.width * COLUMNS + q
        zero, one = room.staged.dtype.type(0), room.staged.dtype.type(1)
        block_barrier()
        # As above, but half of the loads at a time: with all of them registers would be left for two blocks alone.
        for first in range(0, HELD, _AT_ONCE):
            for m in range(_AT_ONCE):
                x[m] = X[unsigned(min(start + (first + m) * stride, d - 1)), row]
            for m in range(_AT_ONCE):
                j, value = start + (first + m) * stride, x[m]
                if j >= d:
                    value = one if j == d else zero
                elif shift:
                    value -= point.shift[unsigned(j)]
                room.staged[unsigned(i * layout.pitch + q + (first + m) * stride)] = value
        block_barrier()
        at = group_of(layout) * ROWS * layout.pitch + lane_of(layout)
        for i in range(ROWS):
            for c in range(COLUMNS):
                x[i * COLUMNS + c] = room.staged[unsigned(at + i * layout.pitch + c * layout.width)]

    return load


def make_margins(dtype: str) -> Any:
    """Factory of `add_margins(x, point, piece, layout, room)`: margins of a piece's columns, added to room.z."""
    kind = TYPES[dtype]

    @cuda_device
    def add_margins(x: Any, point: Any, piece: Any, layout: Any, room: Any) -> None:
        part = cuda.local.array(ROWS, kind)
        group, lane = group_of(layout), lane_of(layout)
        start = piece * layout.width * COLUMNS + lane
        for k in range(layout.outputs):
            far = kind(0)
            for c in range(COLUMNS):
                j = start + c * layout.width
                if j < point.w.shape[1]:
                    far -= point.w[unsigned(k), unsigned(j)] * point.offset[unsigned(j)]
            for i in range(ROWS):
                part[i] = far
            for c in range(COLUMNS):
                j = start + c * layout.width
                if j < point.w.shape[1]:
                    v = point.w[unsigned(k), unsigned(j)]
                    for i in range(ROWS):
                        part[i] += x[i * COLUMNS + c] * v
            total = row_sums(part, lane, layout.width)
            if lane % WARP < ROWS:
                to = unsigned(((k * layout.groups + group) * layout.warps + lane // WARP) * ROWS + lane % ROWS)
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
    """Factory of `flush(layout, room, columns, out)`: the block's sums go on in float64 out (K columns + K,)."""
    zero = TYPES[dtype](0)

    @cuda_device
    def flush(layout: Any, room: Any, columns: Any, out: Any) -> None:
        threads, span = layout.groups * layout.width, layout.width * COLUMNS
        block_barrier()
        for at in range(cuda.threadIdx.x, layout.outputs * columns, threads):
            k, j = at // columns, at % columns
            piece, within = j // span, j % span
            start = ((k * layout.pieces + piece) * COLUMNS + within // layout.width) * threads + within % layout.width
            total = 0.0
            for group in range(layout.groups):
                total += room.g[start + group * layout.width]
                room.g[start + group * layout.width] = zero
            out[at] += total
        for k in range(cuda.threadIdx.x, layout.outputs, threads):
            total = 0.0
            for i in range(k * layout.groups * ROWS, (k + 1) * layout.groups * ROWS):
                total += room.lost[i]
                room.lost[i] = zero
            out[layout.outputs * columns + k] += total
        block_barrier()

    return flush
