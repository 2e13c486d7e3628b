"""Loads of a group's rows into registers, all in flight together.

Column-major rows are staged in shared memory first, so that a warp reads neighbouring rows of a column.
"""

import numpy as np

from fastgd.kernels._jit import unsigned
from fastgd.kernels.cuda._ptx import address, number_near
from fastgd.kernels.cuda._target import SIMULATED, WARP, cuda, cuda_device
from fastgd.kernels.cuda.layout import COLUMNS, ROWS
from fastgd.kernels.cuda.reduce import block_barrier, group_barrier
from fastgd.kernels.cuda.tiles import HELD, group_of, lane_of

#: Numbers that a thread stages at a time.
_AT_ONCE = HELD // 2


def make_number(indexed: bool):
    """Factory of `number(tile, i)`: the number of the i-th row of a tile, and past its end that of the last row.

    indexed: whether rows are given by `tile.rows`; otherwise they are those at the tile's positions.
    """

    @cuda_device
    def number(tile, i):
        there = min(i, tile.stop - 1 - tile.at)
        return unsigned(tile.rows[unsigned(there)] if indexed else tile.at + there)

    return number


def make_load(order: str, shift: bool, indexed: bool):
    """Factory of `load(X, point, tile, piece, layout, buffers, x)`: a group's part of a tile into registers x.

    order: "C" for X (n, d), "F" for its transpose (d, n). shift: whether `point.shift` is subtracted. indexed: as in
    `make_number`. Rows past the tile's end repeat the last one, with derivative 0: without branches all loads are in
    flight together.
    """
    return _make_direct(shift, indexed) if order == "C" else _make_staged(shift, indexed)


def _make_direct(shift: bool, indexed: bool):
    """Row-major rows: a warp reads neighbouring columns."""
    read = _make_read(indexed)

    @cuda_device
    def load(X, point, tile, piece, layout, buffers, x):
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


def _make_read(indexed: bool):
    """Factory of `read(X, tile, start, layout, x)`: columns start + c width, and past the last one that."""
    number = make_number(indexed)

    @cuda_device
    def read(X, tile, start, layout, x):
        # Without branches, so that all loads are in flight before the first is needed.
        first, end = group_of(layout) * ROWS, X.shape[1] - 1
        # A group past the tile's end starts at the tile's last row.
        base, last = min(tile.at + first, tile.stop - 1), np.int32(min(tile.stop - 1 - tile.at - first, ROWS - 1))
        d, last = np.int32(X.shape[1]), max(last, np.int32(0))
        for i in range(ROWS):
            row = number(tile, first + i) if indexed else base
            ahead = np.int32(0) if indexed else min(np.int32(i), last)
            here = address(X, row, start)
            for c in range(COLUMNS):
                far = c * layout.width
                if c < layout.sure:
                    x[i * COLUMNS + c] = number_near(X, here, ahead, d, far)
                else:
                    x[i * COLUMNS + c] = number_near(X, address(X, row, min(start + far, end)), ahead, d, 0)

    return read


def _either(X, there, j, row):
    """Return X[j, row] if j exists, else X's first number: no address of a column is kept from tile to tile."""
    at = j * X.shape[1] + row
    return X[unsigned(0), unsigned(at if there else 0)]


def _either_twin(X, there, j, row):
    """Return the same within the bounds, which the simulator checks."""
    return X[j, row] if there else X[0, 0]


either = cuda_device(_either_twin if SIMULATED else _either)


def _make_staged(shift: bool, indexed: bool):
    """Column-major rows: a warp reads neighbouring rows into shared memory."""
    number, stage = make_number(indexed), _make_stage(shift)

    @cuda_device
    def load(X, point, tile, piece, layout, buffers, x):
        i, q = cuda.threadIdx.x & (layout.groups * ROWS - 1), cuda.threadIdx.x >> layout.row_bits
        row, place = number(tile, i), (piece * layout.width * COLUMNS + q, i * layout.pitch + q)
        block_barrier()
        stage(X, point, row, place, 0, layout, buffers, x)
        # A barrier across which the compiler moves no load.
        group_barrier(WARP)
        stage(X, point, row, place, _AT_ONCE, layout, buffers, x)
        block_barrier()
        at = group_of(layout) * ROWS * layout.pitch + lane_of(layout)
        for i in range(ROWS):
            for c in range(COLUMNS):
                x[i * COLUMNS + c] = buffers.staged[unsigned(at + i * layout.pitch + c * layout.width)]

    return load


def _make_stage(shift: bool):
    """Factory of `stage(X, point, row, place, first, layout, buffers, x)`: stage half of a thread's numbers.

    place: the thread's first column and its place in shared memory. first: how many numbers have been staged, a
    constant.
    """

    @cuda_device
    def stage(X, point, row, place, first, layout, buffers, x):
        (start, to), d, stride, sure = place, X.shape[0], layout.width // ROWS, layout.sure * ROWS
        zero, one = buffers.staged.dtype.type(0), buffers.staged.dtype.type(1)
        # Half of the loads at a time: with all of them only two blocks would have enough registers.
        for m in range(_AT_ONCE):
            j = start + (first + m) * stride
            x[m] = X[unsigned(j), row] if first + m < sure else either(X, j < d, j, row)
        for m in range(_AT_ONCE):
            j, value = start + (first + m) * stride, x[m]
            if first + m >= sure and j >= d:
                value = one if j == d else zero
            elif shift:
                value -= point.shift[unsigned(j)]
            # Write nothing past a pitch smaller than the threads' columns; both are constants.
            if layout.pitch > layout.width * COLUMNS or first + m < sure or j < layout.pitch:
                buffers.staged[unsigned(to + (first + m) * stride)] = value

    return stage


def make_fill(order: str, shift: bool):
    """Factory of `fill(X, point, tile, first, layout, buffers, x)`: a tile into buffers.staged, from row `first` on.

    x: registers of a thread, scratch.
    """
    return _make_fill_by_row(shift) if order == "C" else _make_fill_by_column(shift)


def _make_fill_by_row(shift: bool):
    load = _make_direct(shift, False)

    @cuda_device
    def fill(X, point, tile, first, layout, buffers, x):
        load(X, point, tile, 0, layout, buffers, x)
        start, lane = (first + group_of(layout) * ROWS) * layout.pitch, lane_of(layout)
        for c in range(COLUMNS):
            j = lane + c * layout.width
            if c < layout.sure or j < layout.pitch:
                for i in range(ROWS):
                    buffers.staged[unsigned(start + i * layout.pitch + j)] = x[i * COLUMNS + c]

    return fill


def _make_fill_by_column(shift: bool):
    number, stage = make_number(False), _make_stage(shift)

    @cuda_device
    def fill(X, point, tile, first, layout, buffers, x):
        i, q = cuda.threadIdx.x & (layout.groups * ROWS - 1), cuda.threadIdx.x >> layout.row_bits
        row, place = number(tile, i), (q, (first + i) * layout.pitch + q)
        stage(X, point, row, place, 0, layout, buffers, x)
        # A barrier across which the compiler moves no load.
        group_barrier(WARP)
        stage(X, point, row, place, _AT_ONCE, layout, buffers, x)

    return fill
