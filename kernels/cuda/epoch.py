"""The mini-batch loop: many updates per launch, on a grid that synchronises itself.

A batch is cut into parts, whose number depends on the problem alone. Blocks compute the sums of parts, all blocks wait,
neighbouring threads add up the parts of a coordinate, one of them updates it, all blocks wait. Hence neither the number
of blocks nor the cut of an epoch into launches changes the bits. The order of the rows comes from the kernel
`row_order`, and the numbers of each update from the host.

While a block waits, the rows that it works on next are prefetched into the L2 cache: the rows of a batch are scattered,
and one takes about as long from device memory as the wait. Row-major rows are prefetched by sectors, four addresses per
thread for a tile of float32. In column-major data each number has a sector of its own, so that prefetching would keep
the memory as busy as reading. There, rows are prefetched only if they are consecutive and share sectors; otherwise a
window of the shuffle, whose runs fill cache lines, stays in the L2 cache by itself.
"""

from typing import NamedTuple

import numpy as np
from numba import float64
from numpy.typing import NDArray

from fastgd.kernels._jit import kernel_factory
from fastgd.kernels.cuda._ptx import prefetch
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.coordinates import (
    NUMBERS,
    CoordinateState,
    batch_size_of,
    finish_launch,
    load_coordinate,
    partition,
    read_batch,
    start_launch,
    update_coordinates,
)
from fastgd.kernels.cuda.layout import FLUSH_TILES, ROW_BITS, ROWS, Layout, Point
from fastgd.kernels.cuda.reduce import block_barrier, first_grid_barrier, grid_barrier, group_barrier
from fastgd.kernels.cuda.stages import make_stages
from fastgd.kernels.cuda.tiles import HELD, TYPES, Tile, clear, group_of, lane_of, make_flush, split, split_pair
from fastgd.kernels.records import Memory
from fastgd.kernels.rules import MOST_SLOTS
from fastgd.kernels.shuffle import row_at

#: Bytes in which memory is read.
SECTOR = 32


def make_ahead(dtype: str, order: str):
    """Factory of `row_ahead(rows, span, layout)` and `fetch(data, row, neighbours, layout)` for a block's tile.

    row_ahead: the number of the row that this thread prefetches, of those at positions [span[0], span[1]) in `rows`, or
    -1. It is read long before `fetch` needs it for an address. neighbours: whether consecutive positions are
    consecutive rows.
    """

    @cuda_device
    def share(layout):
        """Return the row and its part that this thread prefetches; addresses of a warp are neighbours."""
        thread = cuda.threadIdx.x
        if order == "C":
            return thread >> (layout.bits - ROW_BITS), thread & (layout.width // ROWS - 1)
        return thread & (layout.groups * ROWS - 1), thread >> layout.row_bits

    @cuda_device
    def row_ahead(rows, span, layout):
        at = span[0] + share(layout)[0]
        return rows[at] if at < span[1] else -1

    fetch_x = _make_fetch_row(SECTOR // int(dtype[1:])) if order == "C" else _fetch_column_wise

    @cuda_device
    def fetch(data, row, neighbours, layout):
        if row >= 0:
            q, step = share(layout)[1], layout.width // ROWS
            fetch_x(data.X, row, q, step, neighbours)
            k = q
            while k < data.y.shape[0]:
                prefetch(data.y, k * data.y.shape[1] + row)
                k += step
            if q == 0 and data.weight_step != 0:
                prefetch(data.s, row)

    return row_ahead, fetch


def _make_fetch_row(numbers: int):
    """Factory of `fetch_x` for row-major data; numbers: in a sector."""

    @cuda_device
    def fetch_row(X, row, q, step, neighbours):
        """Prefetch every step-th sector of a row of X (n, d) from the q-th on, the last number's included."""
        last, j = X.shape[1] - 1, q * numbers
        while j < last + numbers:
            prefetch(X, row * X.shape[1] + min(j, last))
            j += step * numbers

    return fetch_row


@cuda_device
def _fetch_column_wise(X, row, q, step, neighbours):
    """Prefetch every step-th number of a row of X (d, n) from the q-th on, if rows are neighbours."""
    j = q
    while neighbours and j < X.shape[0]:
        prefetch(X, j * X.shape[1] + row)
        j += step


class Work(NamedTuple):
    """Scratch memory and constants of a mini-batch loop on the device."""

    #: Where the gradient is taken; the kernel writes w, (1, K, d + 1), for replicated updates (blocks, K, d + 1).
    point: Point
    #: (rows of the launch,) row numbers of its batches.
    order: NDArray[np.int64]
    #: (batches of the launch, 4) the rule's factors of each update, and the product of momenta after it.
    numbers: NDArray[np.float64]
    #: Rows of the data, and of a part of a batch.
    rows: int
    part_rows: int
    #: (1, parts x (K (d + 1) + K)) sums of each part; for replicated updates (2, ...), which batches use in turn, of a
    #: multiple of `AT_ONCE` parts.
    parts: NDArray[np.float64]
    #: (blocks, numbers) gradients too large for shared memory, in the dtype of X.
    spilled: NDArray[np.floating]
    #: (1, 1 + slots or more, K, d + 1) theta and the rule's memory during a launch; for replicated updates per block.
    states: NDArray[np.float64]
    #: (1,) arrivals at barriers.
    counter: NDArray[np.int64]
    #: (K, d + 1) sum of the gradients, and of rows x penalty before the update; (K,) sum of rows x mean loss before it.
    total: NDArray[np.float64]
    penalties: NDArray[np.float64]
    seen: NDArray[np.float64]
    #: 1 / s_mean; 1.0 with an intercept, else 0.0; 1 if any of the point's offset is not 0, else 0.
    factor: float
    intercept: float
    centred: int


@kernel_factory
def make_row_order():
    """Make the kernel `row_order(n, start, batches, out)`: the rows of an epoch from position `start` on."""

    @cuda_kernel("row_order")
    def row_order(n, start, batches, out):
        begin, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        for i in range(begin, out.size, threads):
            position = start + i
            out[i] = row_at(position, n, batches.seed, batches.epoch) if batches.shuffle else position

    return row_order


@cuda_device
def replace_derivatives(tile, layout, buffers, table):
    """Store the tile's loss derivatives in the table (SAGA), and keep their changes in the buffers."""
    pair = lane_of(layout)
    while pair < layout.outputs * ROWS:
        k, i = split_pair(pair)
        i += group_of(layout) * ROWS
        if tile.at + i < tile.stop:
            to = k * layout.groups * ROWS + i
            now = buffers.r[to]
            buffers.r[to] = now - table[k, tile.rows[i]]
            table[k, tile.rows[i]] = now
        pair += layout.width


class Part(NamedTuple):
    """A part of a batch."""

    #: Row numbers of the launch, and (K (d + 1) + K,) the part's sums.
    rows: NDArray[np.int64]
    sums: NDArray[np.float64]
    #: Start and stop in the rows of the launch, of this part and of the part that the block works on next.
    span: tuple[int, int]
    next_span: tuple[int, int]
    #: Whether consecutive positions are consecutive rows.
    neighbours: bool


@cuda_device
def span_of(number, part, size, work):
    """Return start and stop of a part of batch `number` in the launch's rows, an empty span past the last part."""
    start = number * size + part * work.part_rows
    return start, min(start + work.part_rows, min((number + 1) * size, work.order.size))


def _make_add_part(loss: str, dtype: str, order: str, shift: bool):
    """Factory of `add_part(data, point, part, rule, table, layout, buffers)`: write the sums of a part."""
    kind, flush = TYPES[dtype], make_flush(dtype)
    derive, add = make_stages(loss, dtype, order, shift, True)
    row_ahead, fetch = make_ahead(dtype, order)

    @cuda_device
    def add_part(data, point, part, rule, table, layout, buffers):
        x = cuda.local.array(HELD, kind)
        columns, tiles, first = point.w.shape[1], 0, True
        at, stop = part.span
        while at < stop:
            tile, next_at = Tile(part.rows[at:], at, stop), at + layout.groups * ROWS
            following = (next_at, stop) if next_at < stop else part.next_span
            row = row_ahead(part.rows, following, layout)
            derive(data, point, tile, layout, buffers, x)
            if rule.keeps_rows:
                replace_derivatives(tile, layout, buffers, table)
                group_barrier(layout.width)
            add(data, point, tile, layout, buffers, x)
            fetch(data, row, part.neighbours, layout)
            tiles += 1
            if tiles == FLUSH_TILES:
                flush(layout, buffers, columns, part.sums, first)
                tiles, first = 0, False
            at = next_at
        flush(layout, buffers, columns, part.sums, first)

    return add_part


@kernel_factory
def make_epoch(loss: str, dtype: str, order: str, shift: bool, layout: Layout):
    """Make the mini-batch kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F"), a shift or none, and a layout.

    `epoch(data, batches, span, rule, state, coordinates, work)` runs batches [span[0], span[1]) of an epoch as the
    CPU's kernel does. Written: `state`, and sums in `work`.
    """
    kind, add_part = TYPES[dtype], _make_add_part(loss, dtype, order, shift)

    @cuda_kernel(f"epoch_{loss}_{dtype}_{order}{'_shift' if shift else ''}")
    def epoch(data, batches, span, rule, state, coordinates, work):
        buffers = split(cuda.shared.array(0, kind), layout, work.spilled[cuda.blockIdx.x])
        clear(buffers.g)
        clear(buffers.loss_sums)
        memory, owned = state.memory, partition(state.memory, layout, work)
        theta, slots = cuda.local.array((1, 1), float64), cuda.local.array((MOST_SLOTS, 1, 1), float64)
        current = CoordinateState(Memory(theta, slots, memory.step, memory.product), cuda.local.array(NUMBERS, float64))
        count, size, block, blocks = memory.step[0], batches.size, np.int64(cuda.blockIdx.x), np.int64(cuda.gridDim.x)
        waits, batch_size = 1 if owned.replicated else 2, batch_size_of(size, work)
        start_launch(current, owned, memory, rule, coordinates, work)
        first_grid_barrier(work.counter)
        for number in range(span[1] - span[0]):
            rows, sums = work.order.size - number * size, work.parts[number & (work.parts.shape[0] - 1)]
            if rows < size:
                batch_size = batch_size_of(rows, work)
            part = block
            while part < batch_size.parts:
                after = part + blocks
                following = (number, after) if after < batch_size.parts else (number + 1, block)
                here, there = span_of(number, part, size, work), span_of(*following, size, work)
                this = Part(
                    work.order, sums[part * owned.size : (part + 1) * owned.size], here, there, not batches.shuffle
                )
                add_part(data, owned.point, this, rule, state.table, layout, buffers)
                part = after
            count += 1
            batch = read_batch(number, batch_size, rule, work)
            load_coordinate(owned.first + owned.place, owned.memory, current, owned, coordinates, work)
            grid_barrier(work.counter, waits * number + 1)
            update_coordinates(sums, batch, rule, current, owned, coordinates, work)
            if owned.replicated:
                # A block that is ahead writes its next sums elsewhere, and reuses these after all have read them.
                block_barrier()
            else:
                grid_barrier(work.counter, waits * number + 2)
        finish_launch(current, owned, memory, coordinates, work)
        if block == 0 and cuda.threadIdx.x == 0:
            memory.step[0], memory.product[0] = count, work.numbers[span[1] - span[0] - 1, 3]

    return epoch
