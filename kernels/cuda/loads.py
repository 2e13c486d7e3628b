"""Loads of a group's rows into registers, all under way together.

Column-major rows are staged in shared memory first, so that a warp reads neighbouring rows of a column.
"""

from typing import Any

import numpy as np

from fastgd.kernels._jit import unsigned
from fastgd.kernels.cuda._target import SIMULATED, WARP, cuda, cuda_device
from fastgd.kernels.cuda.layout import COLUMNS, ROWS
from fastgd.kernels.cuda.pointers import address, number_near
from fastgd.kernels.cuda.reduce import block_barrier, group_barrier
from fastgd.kernels.cuda.tiles import HELD, group_of, lane_of

#: Numbers that a thread stages at a time.
_AT_ONCE = HELD // 2


def make_number(named: bool) -> Any:
    """Factory of `number(tile, i)`: the number of the i-th row of a tile, past its end that of its last.

    named: whether the tile names its rows, else they are those at its positions.
    """

    @cuda_device
    def number(tile: Any, i: Any) -> Any:
        there = min(i, tile.stop - 1 - tile.at)
        return unsigned(tile.rows[unsigned(there)] if named else tile.at + there)

    return number


def make_load(order: str, shift: bool, named: bool) -> Any:
    """Factory of `load(X, point, tile, piece, layout, room, x)`: a group's part of a tile into registers x.

    order: "C" for X (n, d), "F" for its transpose (d, n). shift: whether `point.shift` is subtracted. named: as in
    `make_number`. In the place of rows past the tile's end stands the last one, whose derivative there is 0: so loads
    are not branched around, and are under way together.
    """
    return _make_direct(shift, named) if order == "C" else _make_staged(shift, named)


def _make_direct(shift: bool, named: bool) -> Any:
    """Row-major rows: a warp reads neighbouring columns."""
    read = _make_read(named)

    @cuda_device
    def load(X: Any, point: Any, tile: Any, piece: Any, layout: Any, room: Any, x: Any) -> None:
        d, start = X.shape[1], piece * layout.width * COLUMNS + lane_of(layout)
        read(X, tile, start, layout, x)
        for c in range(COLUMNS):
            j = start + c * layout.width
            if c >= layout.sure and j >= d:
                for i in range(ROWS):
                    x[i * COLUMNS + c] = j == d
            elif shift:
                for i in range(ROWS):
                    x[i * COLUMNS + c] -= point.shift[unsigned(j)]

    return load


def _make_read(named: bool) -> Any:
    """Factory of `read(X, tile, start, layout, x)`, which reads columns start + c width; past the last one, that."""
    number = make_number(named)

    @cuda_device
    def read(X: Any, tile: Any, start: Any, layout: Any, x: Any) -> None:
        # All loads are under way before the first is waited for, without branches around them.
        first, end = group_of(layout) * ROWS, X.shape[1] - 1
        # A group past the tile's end begins before it: at the tile's last row.
        base, last = min(tile.at + first, tile.stop - 1), np.int32(min(tile.stop - 1 - tile.at - first, ROWS - 1))
        d, last = np.int32(X.shape[1]), max(last, np.int32(0))
        for i in range(ROWS):
            row = number(tile, first + i) if named else base
            ahead = np.int32(0) if named else min(np.int32(i), last)
            here = address(X, row, start)
            for c in range(COLUMNS):
                far = c * layout.width
                if c < layout.sure:
                    x[i * COLUMNS + c] = number_near(X, here, ahead, d, far)
                else:
                    x[i * COLUMNS + c] = number_near(X, address(X, row, min(start + far, end)), ahead, d, 0)

    return read


def _either(X: Any, there: Any, j: Any, row: Any) -> Any:
    """X[j, row] where that is there, else X's first number: no address of a column is kept from tile to tile."""
    at = j * X.shape[1] + row
    return X[unsigned(0), unsigned(at if there else 0)]


def _either_twin(X: Any, there: Any, j: Any, row: Any) -> Any:
    """The same within the bounds, which the simulator checks."""
    return X[j, row] if there else X[0, 0]


either = cuda_device(_either_twin if SIMULATED else _either)


def _make_staged(shift: bool, named: bool) -> Any:
    """Column-major rows: a warp reads neighbouring rows, by way of shared memory."""
    number, stage = make_number(named), _make_stage(shift)

    @cuda_device
    def load(X: Any, point: Any, tile: Any, piece: Any, layout: Any, room: Any, x: Any) -> None:
        i, q = cuda.threadIdx.x & (layout.groups * ROWS - 1), cuda.threadIdx.x >> layout.row_bits
        row, place = number(tile, i), (piece * layout.width * COLUMNS + q, i * layout.pitch + q)
        block_barrier()
        stage(X, point, row, place, 0, layout, room, x)
        # Which no load is moved across.
        group_barrier(WARP)
        stage(X, point, row, place, _AT_ONCE, layout, room, x)
        block_barrier()
        at = group_of(layout) * ROWS * layout.pitch + lane_of(layout)
        for i in range(ROWS):
            for c in range(COLUMNS):
                x[i * COLUMNS + c] = room.staged[unsigned(at + i * layout.pitch + c * layout.width)]

    return load


def _make_stage(shift: bool) -> Any:
    """Factory of `stage(X, point, row, place, first, layout, room, x)`: some of a thread's numbers into shared memory.

    place: the thread's first column, and where it lies. first: how many numbers have been staged, a constant.
    """

    @cuda_device
    def stage(X: Any, point: Any, row: Any, place: Any, first: Any, layout: Any, room: Any, x: Any) -> None:
        (start, to), d, stride, sure = place, X.shape[0], layout.width // ROWS, layout.sure * ROWS
        zero, one = room.staged.dtype.type(0), room.staged.dtype.type(1)
        # As above, but half of the loads at a time: with all of them registers would be left for two blocks alone.
        for m in range(_AT_ONCE):
            j = start + (first + m) * stride
            x[m] = X[unsigned(j), row] if first + m < sure else either(X, j < d, j, row)
        for m in range(_AT_ONCE):
            j, value = start + (first + m) * stride, x[m]
            if first + m >= sure and j >= d:
                value = one if j == d else zero
            elif shift:
                value -= point.shift[unsigned(j)]
            # Of a pitch less than what threads hold, which is a constant, nothing is written past it.
            if layout.pitch > layout.width * COLUMNS or first + m < sure or j < layout.pitch:
                room.staged[unsigned(to + (first + m) * stride)] = value

    return stage


def make_fill(order: str, shift: bool) -> Any:
    """Factory of `fill(X, point, tile, first, layout, room, x)`: a tile into room.staged, from its row `first` on.

    x: registers of a thread, which are left with anything.
    """
    return _make_fill_by_row(shift) if order == "C" else _make_fill_by_column(shift)


def _make_fill_by_row(shift: bool) -> Any:
    load = _make_direct(shift, False)

    @cuda_device
    def fill(X: Any, point: Any, tile: Any, first: Any, layout: Any, room: Any, x: Any) -> None:
        load(X, point, tile, 0, layout, room, x)
        start, lane = (first + group_of(layout) * ROWS) * layout.pitch, lane_of(layout)
        for c in range(COLUMNS):
            j = lane + c * layout.width
            if c < layout.sure or j < layout.pitch:
                for i in range(ROWS):
                    room.staged[unsigned(start + i * layout.pitch + j)] = x[i * COLUMNS + c]

    return fill


def _make_fill_by_column(shift: bool) -> Any:
    number, stage = make_number(False), _make_stage(shift)

    @cuda_device
    def fill(X: Any, point: Any, tile: Any, first: Any, layout: Any, room: Any, x: Any) -> None:
        i, q = cuda.threadIdx.x & (layout.groups * ROWS - 1), cuda.threadIdx.x >> layout.row_bits
        row, place = number(tile, i), (q, (first + i) * layout.pitch + q)
        stage(X, point, row, place, 0, layout, room, x)
        # Which no load is moved across.
        group_barrier(WARP)
        stage(X, point, row, place, _AT_ONCE, layout, room, x)

    return fill
