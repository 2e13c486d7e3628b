"""The mini-batch loop: many updates in one launch, on a grid that waits for itself.

A batch is cut into parts, whose number depends on the problem alone; blocks take parts, all blocks wait, neighbouring
threads add up a coordinate of the parts, one of them updates it, all blocks wait. So neither the number of blocks nor
the way an epoch is cut into launches shows in the bits. What does not depend on data is there before: the order of the
rows from `name_rows`, the numbers of each update from the host.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import float64

from fastgd.kernels._jit import kernel_factory
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.ahead import make_ahead
from fastgd.kernels.cuda.coordinates import NUMBERS, Held, begin, deal, end, read_batch, size_of, take, update
from fastgd.kernels.cuda.layout import FLUSH_TILES, ROWS, Layout
from fastgd.kernels.cuda.reduce import block_barrier, first_grid_barrier, grid_barrier, group_barrier
from fastgd.kernels.cuda.stages import make_stages
from fastgd.kernels.cuda.tiles import HELD, TYPES, Tile, clear, group_of, lane_of, make_flush, split, split_pair
from fastgd.kernels.records import Memory
from fastgd.kernels.rules import MOST_SLOTS
from fastgd.kernels.shuffle import row_at


class Work(NamedTuple):
    """Scratch memory of a mini-batch loop on the device, and constants."""

    #: Where the gradient is taken, raw: its w (1, K, d + 1) is written by the kernel, of blocks that make the whole
    #: update that of each, (blocks, K, d + 1).
    point: Any
    #: (rows of the launch,) the numbers of the rows of its batches, int64.
    order: Any
    #: (batches of the launch, 4) the rule's factors of each update, and the product of momenta after it.
    numbers: Any
    #: Rows of the data, and of a part of a batch.
    rows: int
    part_rows: int
    #: (1, parts x (K (d + 1) + K)) each part's sums, float64; where there are two of them, which batches take in turn,
    #: each block makes the whole update, and there is room for a multiple of `AT_ONCE` parts. (blocks, numbers) of
    #: gradients too large for shared memory.
    parts: Any
    spilled: Any
    #: (1, 1 + slots or more, K, d + 1) theta and the rule's memory in the course of a launch; likewise of each block.
    states: Any
    #: (1,) arrivals at barriers, int64.
    counter: Any
    #: (K, d + 1) sum of the gradients, and of rows x penalty before the update; (K,) sum of rows x mean loss before it.
    total: Any
    penalties: Any
    seen: Any
    #: 1 / s_mean; 1.0 with an intercept, else 0.0; whether the point's offset is not 0 anywhere, 1 or 0.
    factor: float
    intercept: float
    centred: int


@kernel_factory
def make_name_rows() -> Any:
    """The kernel `name_rows(n, start, batches, out)`: the rows at positions from `start` on of an epoch of n rows."""

    @cuda_kernel("name_rows")
    def name_rows(n: Any, start: Any, batches: Any, out: Any) -> None:
        begin, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        for i in range(begin, out.size, threads):
            position = start + i
            out[i] = row_at(position, n, batches.seed, batches.epoch) if batches.shuffle else position

    return name_rows


@cuda_device
def replace_derivatives(tile: Any, layout: Any, room: Any, table: Any) -> None:
    """Keep the tile's loss derivatives in the table (SAGA), and leave in the room what they changed by."""
    pair = lane_of(layout)
    while pair < layout.outputs * ROWS:
        k, i = split_pair(pair)
        i += group_of(layout) * ROWS
        if tile.at + i < tile.stop:
            to = k * layout.groups * ROWS + i
            now = room.r[to]
            room.r[to] = now - table[k, tile.rows[i]]
            table[k, tile.rows[i]] = now
        pair += layout.width


class Part(NamedTuple):
    """A part of a batch."""

    #: Numbers of the rows of the launch, and (K (d + 1) + K,) the part's sums.
    rows: Any
    sums: Any
    #: Where it starts and stops among the rows of the launch, and where that does which the block works on then.
    span: Any
    then: Any
    #: Whether rows at neighbouring positions are neighbours.
    neighbours: Any


@cuda_device
def span_of(number: Any, part: Any, size: Any, work: Any) -> Any:
    """Where a part of batch `number` starts and stops among the rows of the launch; nowhere where there is none."""
    start = number * size + part * work.part_rows
    return start, min(start + work.part_rows, min((number + 1) * size, work.order.size))


def _make_add_part(loss: str, dtype: str, order: str, shift: bool) -> Any:
    """Factory of `add_part(data, point, part, rule, table, layout, room)`."""
    kind, flush = TYPES[dtype], make_flush(dtype)
    derive, add = make_stages(loss, dtype, order, shift, True)
    row_ahead, fetch = make_ahead(dtype, order)

    @cuda_device
    def add_part(data: Any, point: Any, part: Any, rule: Any, table: Any, layout: Any, room: Any) -> None:
        x = cuda.local.array(HELD, kind)
        columns, tiles, first = point.w.shape[1], 0, True
        at, stop = part.span
        while at < stop:
            tile, next_at = Tile(part.rows[at:], at, stop), at + layout.groups * ROWS
            following = (next_at, stop) if next_at < stop else part.then
            row = row_ahead(part.rows, following, layout)
            derive(data, point, tile, layout, room, x)
            if rule.keeps_rows:
                replace_derivatives(tile, layout, room, table)
                group_barrier(layout.width)
            add(data, point, tile, layout, room, x)
            fetch(data, row, part.neighbours, layout)
            tiles += 1
            if tiles == FLUSH_TILES:
                flush(layout, room, columns, part.sums, first)
                tiles, first = 0, False
            at = next_at
        flush(layout, room, columns, part.sums, first)

    return add_part


@kernel_factory
def make_epoch(loss: str, dtype: str, order: str, shift: bool, layout: Layout) -> Any:
    """The mini-batch kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F"), shifted columns or not, a layout.

    `epoch(data, batches, span, rule, state, coordinates, work)` runs batches [span[0], span[1]) of an epoch, as
    the CPU's does. Written: `state`, and sums in `work`.
    """
    kind, add_part = TYPES[dtype], _make_add_part(loss, dtype, order, shift)

    @cuda_kernel(f"epoch_{loss}_{dtype}_{order}{'_shift' if shift else ''}")
    def epoch(data: Any, batches: Any, span: Any, rule: Any, state: Any, coordinates: Any, work: Any) -> None:
        room = split(cuda.shared.array(0, kind), layout, work.spilled[cuda.blockIdx.x])
        clear(room.g)
        clear(room.lost)
        memory, mine = state.memory, deal(state.memory, layout, work)
        theta, slots = cuda.local.array((1, 1), float64), cuda.local.array((MOST_SLOTS, 1, 1), float64)
        held = Held(Memory(theta, slots, memory.step, memory.product), cuda.local.array(NUMBERS, float64))
        count, size, block, blocks = memory.step[0], batches.size, np.int64(cuda.blockIdx.x), np.int64(cuda.gridDim.x)
        waits, its_size = 1 if mine.alone else 2, size_of(size, work)
        begin(held, mine, memory, rule, coordinates, work)
        first_grid_barrier(work.counter)
        for number in range(span[1] - span[0]):
            rows, sums = work.order.size - number * size, work.parts[number & (work.parts.shape[0] - 1)]
            if rows < size:
                its_size = size_of(rows, work)
            part = block
            while part < its_size.parts:
                after = part + blocks
                then = (number, after) if after < its_size.parts else (number + 1, block)
                here, there = span_of(number, part, size, work), span_of(*then, size, work)
                its = Part(
                    work.order, sums[part * mine.size : (part + 1) * mine.size], here, there, not batches.shuffle
                )
                add_part(data, mine.point, its, rule, state.table, layout, room)
                part = after
            count += 1
            batch = read_batch(number, its_size, rule, work)
            take(mine.first + mine.place, mine.memory, held, mine, coordinates, work)
            grid_barrier(work.counter, waits * number + 1)
            update(sums, batch, rule, held, mine, coordinates, work)
            if mine.alone:
                # Who is ahead writes its next part's sums elsewhere, and those after it when all are done with these.
                block_barrier()
            else:
                grid_barrier(work.counter, waits * number + 2)
        end(held, mine, memory, coordinates, work)
        if block == 0 and cuda.threadIdx.x == 0:
            memory.step[0], memory.product[0] = count, work.numbers[span[1] - span[0] - 1, 3]

    return epoch
