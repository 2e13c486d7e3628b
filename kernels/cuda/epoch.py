"""The mini-batch loop: many updates in one launch, on a grid that waits for itself.

A batch is cut into parts, whose number depends on the problem alone; blocks take parts, all blocks wait, neighbouring
threads add up a coordinate of the parts, one of them updates it, all blocks wait. So neither the number of blocks nor
the way an epoch is cut into launches shows in the bits. What does not depend on data is there before: the order of the
rows from `name_rows`, the numbers of each update from the host.
"""

from typing import Any, NamedTuple

import numpy as np

from fastgd.kernels import rules
from fastgd.kernels._jit import kernel_factory
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.ahead import make_ahead
from fastgd.kernels.cuda.layout import FLUSH_TILES, ROWS, Layout
from fastgd.kernels.cuda.reduce import LANES, first_grid_barrier, grid_barrier, group_barrier, lane_sum
from fastgd.kernels.cuda.stages import make_stages
from fastgd.kernels.cuda.tiles import HELD, TYPES, Tile, clear, group_of, lane_of, make_flush, split, split_pair
from fastgd.kernels.cuda.update import apply_rule
from fastgd.kernels.penalties import elastic_net_value
from fastgd.kernels.shuffle import row_at


class Work(NamedTuple):
    """Scratch memory of a mini-batch loop on the device, and constants."""

    #: Where the gradient is taken, raw: its w is written by the kernel.
    point: Any
    #: (rows of the launch,) the numbers of the rows of its batches, int64.
    order: Any
    #: (batches of the launch, 4) own, mean and second of each update, and the product after it, as
    #: `steps.adam_numbers` has them.
    numbers: Any
    #: Rows of the data, and of a part of a batch.
    rows: int
    part_rows: int
    #: (parts, K (d + 1) + K) each part's sums, float64; (blocks, numbers) of gradients too large for shared memory.
    parts: Any
    spilled: Any
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
def take_point(k: Any, j: Any, memory: Any, rule: Any, coordinates: Any, point: Any) -> None:
    """Write where the gradient is taken, raw and in the dtype of X, into point.w[k, j]."""
    at = memory.theta[k, j]
    if rule.ahead != 0.0:
        at += rule.ahead * memory.slots[0, k, j]
    point.w[k, j] = at * coordinates.inv_scale[j] if j < coordinates.inv_scale.size else at


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


@cuda_device
def add_up(parts: Any, count: Any, at: Any, lane: Any) -> Any:
    """The sum of a number of parts over those that are this lane's of LANES."""
    total = 0.0
    for part in range(lane, count, LANES):
        total += parts[part, at]
    return total


@cuda_device
def sum_at(at: Any, count: Any, lane: Any, work: Any) -> Any:
    """Number `at` of a batch's sums over so many parts, by LANES threads that call together; all of them get it.

    Of coordinates the sum of r (x - center); sums of r are read anew for each, beside its own.
    """
    parts, columns, last = work.parts, work.point.w.shape[1], work.point.w.shape[0] - 1
    total = add_up(parts, count, at, lane)
    if work.centred != 0:
        k, j = min(at // columns, last), at % columns
        # Losses, which lie past all coordinates, are not corrected.
        offset = work.point.offset[j] if at < (last + 1) * columns else work.point.offset[columns - 1]
        total -= offset * add_up(parts, count, k * columns + columns - 1, lane)
    return lane_sum(total)


class Batch(NamedTuple):
    """What an update needs to know of its batch."""

    rows: Any
    rate: Any
    #: Of `apply_rule`.
    numbers: Any


@cuda_device
def read_batch(number: Any, rows: Any, count: Any, rule: Any, work: Any) -> Any:
    """What is known of batch `number` of the launch before its gradient is; count: updates with this one."""
    numbers = work.numbers
    known = float(count), numbers[number, 0], numbers[number, 1], numbers[number, 2]
    return Batch(float(rows), rule.rates[number], known)


@cuda_device
def update_coordinate(at: Any, total: Any, batch: Any, rule: Any, state: Any, coordinates: Any, work: Any) -> None:
    """Gradient, rule and prox of one coordinate; what it adds to the sums; the next batch's point."""
    memory, columns = state.memory, work.point.w.shape[1]
    k, j = at // columns, at % columns
    share = batch.rows / work.rows
    total *= coordinates.inv_scale[j] if j < columns - 1 else work.intercept
    change = total * (work.factor / batch.rows)
    theta = memory.theta[k, j]
    if rule.ahead != 0.0:
        theta += rule.ahead * memory.slots[0, k, j]
    g = change + coordinates.l2[k, j] * theta
    if rule.code == rules.SAGA:
        g += memory.slots[0, k, j]
        memory.slots[0, k, j] += share * change
    work.total[k, j] += g
    work.penalties[k, j] += batch.rows * elastic_net_value(theta, coordinates.l1[k, j], coordinates.l2[k, j])
    apply_rule(memory, k, j, g, rule, batch.rate, coordinates.l1[k, j], batch.numbers)
    take_point(k, j, memory, rule, coordinates, work.point)


@cuda_device
def update(parts: Any, batch: Any, rule: Any, state: Any, coordinates: Any, work: Any) -> None:
    """What follows a batch's parts, so many: its update, and its loss in `work.seen`; LANES threads a number."""
    groups, group, lane = cuda.blockDim.x // LANES, cuda.threadIdx.x // LANES, cuda.threadIdx.x % LANES
    size, outputs = work.parts.shape[1], work.seen.size
    # All threads of a block take as many turns, since those of a warp add up together.
    for first in range(cuda.blockIdx.x * groups, size, cuda.gridDim.x * groups):
        at = first + group
        total = sum_at(min(at, size - 1), parts, lane, work)
        if lane == 0 and at < size - outputs:
            update_coordinate(at, total, batch, rule, state, coordinates, work)
        elif lane == 0 and at < size:
            work.seen[at - (size - outputs)] += work.factor * total


class Part(NamedTuple):
    """A part of a batch."""

    number: Any
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
    """Factory of `add_part(data, part, rule, table, layout, room, work)`."""
    kind, flush = TYPES[dtype], make_flush(dtype)
    derive, add = make_stages(loss, dtype, order, shift, True)
    row_ahead, fetch = make_ahead(dtype, order)

    @cuda_device
    def add_part(data: Any, part: Any, rule: Any, table: Any, layout: Any, room: Any, work: Any) -> None:
        x = cuda.local.array(HELD, kind)
        sums, columns, tiles, first = work.parts[part.number], work.point.w.shape[1], 0, True
        at, stop = part.span
        while at < stop:
            tile, next_at = Tile(work.order[at:], at, stop), at + layout.groups * ROWS
            row = row_ahead(work.order, (next_at, stop) if next_at < stop else part.then, layout)
            derive(data, work.point, tile, layout, room, x)
            if rule.code == rules.SAGA:
                replace_derivatives(tile, layout, room, table)
                group_barrier(layout.width)
            add(data, work.point, tile, layout, room, x)
            fetch(data, row, part.neighbours, layout)
            tiles += 1
            if tiles == FLUSH_TILES:
                flush(layout, room, columns, sums, first)
                tiles, first = 0, False
            at = next_at
        flush(layout, room, columns, sums, first)

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
        memory, columns = state.memory, work.point.w.shape[1]
        begin, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        count, size = memory.step[0], batches.size
        block, blocks = np.int64(cuda.blockIdx.x), np.int64(cuda.gridDim.x)
        for at in range(begin, layout.outputs * columns, threads):
            take_point(at // columns, at % columns, memory, rule, coordinates, work.point)
        first_grid_barrier(work.counter)
        for number in range(span[1] - span[0]):
            rows = min(size, work.order.size - number * size)
            parts = (rows + work.part_rows - 1) // work.part_rows
            part = block
            while part < parts:
                after = part + blocks
                then = (number, after) if after < parts else (number + 1, block)
                here, there = span_of(number, part, size, work), span_of(*then, size, work)
                add_part(data, Part(part, here, there, not batches.shuffle), rule, state.table, layout, room, work)
                part = after
            count += 1
            batch = read_batch(number, rows, count, rule, work)
            grid_barrier(work.counter, 2 * number + 1)
            update(parts, batch, rule, state, coordinates, work)
            grid_barrier(work.counter, 2 * number + 2)
        if begin == 0:
            memory.step[0], memory.product[0] = count, work.numbers[span[1] - span[0] - 1, 3]

    return epoch
