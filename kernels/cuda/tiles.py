"""A group's rows: loaded into registers once, their margins, and what they add to the gradient.

Thread `lane` of a group holds columns first + lane + c width of `ROWS` rows, c < COLUMNS. Column-major rows are staged
in shared memory first, so that a warp reads neighbouring rows of a column.
"""

from typing import Any, NamedTuple

from numba import float32, float64

from fastgd.kernels.cuda._target import WARP, cuda, cuda_device
from fastgd.kernels.cuda.layout import COLUMNS, ROWS
from fastgd.kernels.cuda.reduce import block_barrier, row_sums

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
def first_of_group(layout: Any) -> Any:
    """The number of this thread's first row in the tile."""
    return cuda.threadIdx.x // layout.width * ROWS


def make_load(order: str, shift: bool, named: bool) -> Any:
    """Factory of `load(X, point, tile, piece, layout, room, x)`: a group's part of a tile into registers x.

    order: "C" for X (n, d), "F" for its transpose (d, n). shift: whether `point.shift` is subtracted. named: whether
    the tile names its rows, else they are those at its positions. Rows past its end are zeros.
    """
    number = _named if named else _consecutive

    @cuda_device
    def element(X: Any, shifts: Any, row: Any, j: Any) -> Any:
        value = X[row, j] if order == "C" else X[j, row]
        return value - shifts[j] if shift else value

    return _make_direct(number, element) if order == "C" else _make_staged(number, element)


def _make_direct(number: Any, element: Any) -> Any:
    """Row-major rows: a warp reads neighbouring columns."""

    @cuda_device
    def load(X: Any, point: Any, tile: Any, piece: Any, layout: Any, room: Any, x: Any) -> None:
        d, lane = X.shape[1], cuda.threadIdx.x % layout.width
        first, start = first_of_group(layout), piece * layout.width * COLUMNS + lane
        zero, one = X.dtype.type(0), X.dtype.type(1)
        for i in range(ROWS):
            live = tile.at + first + i < tile.stop
            row = number(tile, first + i, live)
            for c in range(COLUMNS):
                j = start + c * layout.width
                value = zero
                if live and j < d:
                    value = element(X, point.shift, row, j)
                elif live and j == d:
                    value = one
                x[i * COLUMNS + c] = value

    return load


def _make_staged(number: Any, element: Any) -> Any:
    """Column-major rows: a warp reads neighbouring rows, by way of shared memory."""

    @cuda_device
    def load(X: Any, point: Any, tile: Any, piece: Any, layout: Any, room: Any, x: Any) -> None:
        d, span, thread = X.shape[0], layout.width * COLUMNS, cuda.threadIdx.x
        count = layout.groups * ROWS
        i, zero, one = thread % count, X.dtype.type(0), X.dtype.type(1)
        live = tile.at + i < tile.stop
        row = number(tile, i, live)
        block_barrier()
        for q in range(thread // count, span, layout.width // ROWS):
            j = piece * span + q
            value = zero
            if live and j < d:
                value = element(X, point.shift, row, j)
            elif live and j == d:
                value = one
            room.staged[i * layout.pitch + q] = value
        block_barrier()
        first, lane = first_of_group(layout), thread % layout.width
        for i in range(ROWS):
            for c in range(COLUMNS):
                x[i * COLUMNS + c] = room.staged[(first + i) * layout.pitch + c * layout.width + lane]

    return load


@cuda_device
def _consecutive(tile: Any, i: Any, live: Any) -> Any:
    return tile.at + i if live else tile.at


@cuda_device
def _named(tile: Any, i: Any, live: Any) -> Any:
    return tile.rows[i] if live else 0


def make_margins(dtype: str) -> Any:
    """Factory of `add_margins(x, point, piece, layout, room)`: margins of a piece's columns, added to room.z."""
    kind = TYPES[dtype]

    @cuda_device
    def add_margins(x: Any, point: Any, piece: Any, layout: Any, room: Any) -> None:
        part = cuda.local.array(ROWS, kind)
        thread = cuda.threadIdx.x
        group, lane = thread // layout.width, thread % layout.width
        start = piece * layout.width * COLUMNS + lane
        for k in range(layout.outputs):
            for i in range(ROWS):
                part[i] = 0
            for c in range(COLUMNS):
                j = start + c * layout.width
                if j < point.w.shape[1]:
                    v = point.w[k, j]
                    far = -v * point.offset[j]
                    for i in range(ROWS):
                        part[i] += x[i * COLUMNS + c] * v + far
            total = row_sums(part, lane, layout.width)
            if lane % WARP < ROWS:
                to = ((k * layout.groups + group) * layout.warps + lane // WARP) * ROWS + lane % ROWS
                room.z[to] = total if piece == 0 else room.z[to] + total

    return add_margins


def make_accumulate(dtype: str) -> Any:
    """Factory of `accumulate(x, piece, layout, room)`: what a piece's columns add to the gradient, into room.g."""
    kind = TYPES[dtype]

    @cuda_device
    def accumulate(x: Any, piece: Any, layout: Any, room: Any) -> None:
        r = cuda.local.array(ROWS, kind)
        thread = cuda.threadIdx.x
        group, threads = thread // layout.width, layout.groups * layout.width
        for k in range(layout.outputs):
            for i in range(ROWS):
                r[i] = room.r[(k * layout.groups + group) * ROWS + i]
            for c in range(COLUMNS):
                total = kind(0)
                for i in range(ROWS):
                    total += r[i] * x[i * COLUMNS + c]
                room.g[((k * layout.pieces + piece) * COLUMNS + c) * threads + thread] += total

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
