"""The mini-batch loop: many updates in one launch, on a grid that waits for itself.

A batch is cut into parts, whose number depends on the problem alone; blocks take parts, all blocks wait, the threads of
the grid add up the parts and update a coordinate each, all blocks wait. So neither the number of blocks nor the way an
epoch is cut into launches shows in the bits.
"""

from typing import Any, NamedTuple

from numba import int64

from fastgd.kernels import rules
from fastgd.kernels._jit import kernel_factory
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.layout import FLUSH_TILES, MOST_THREADS, ROWS, Layout
from fastgd.kernels.cuda.reduce import block_barrier, grid_barrier, group_barrier
from fastgd.kernels.cuda.stages import make_stages
from fastgd.kernels.cuda.tiles import HELD, TYPES, Tile, clear, group_of, lane_of, make_flush, split, split_pair
from fastgd.kernels.cuda.update import apply_rule
from fastgd.kernels.penalties import elastic_net_value
from fastgd.kernels.shuffle import row_at


class Work(NamedTuple):
    """Scratch memory of a mini-batch loop on the device, and constants."""

    #: Where the gradient is taken, raw: its w is written by the kernel.
    point: Any
    #: Rows of the data, and of a part of a batch.
    rows: int
    part_rows: int
    #: (parts, K (d + 1) + K) each part's sums, float64; (blocks, numbers) of gradients too large for shared memory.
    parts: Any
    spilled: Any
    #: (K, d + 1) sum of the gradients, and of rows x penalty before the update; (K,) sum of rows x mean loss before it.
    total: Any
    penalties: Any
    seen: Any
    #: 1 / s_mean; 1.0 with an intercept, else 0.0.
    factor: float
    intercept: float


@cuda_device
def name_rows(tile: Any, n: Any, batches: Any, layout: Any) -> None:
    """Write the numbers of the rows that a tile works on."""
    i = cuda.threadIdx.x
    position = tile.at + i
    block_barrier()
    if i < layout.groups * ROWS:
        # Past the end the last row's, so that loads need not look where it is.
        position = min(position, tile.stop - 1)
        tile.rows[i] = row_at(position, n, batches.seed, batches.epoch) if batches.shuffle else position
    block_barrier()


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
def add_up(parts: Any, count: Any, at: Any) -> Any:
    """The sum over parts of one of their numbers."""
    total = 0.0
    for part in range(count):
        total += parts[part, at]
    return total


@cuda_device
def gradient_at(k: Any, j: Any, parts: Any, coordinates: Any, work: Any) -> Any:
    """Sum over a batch's rows of dloss/dtheta[k, j]; parts: how many there are."""
    columns = work.point.w.shape[1]
    total = add_up(work.parts, parts, k * columns + j)
    if j == columns - 1:
        return total * work.intercept
    offset = work.point.offset[j]
    if offset != 0.0:
        total -= offset * add_up(work.parts, parts, k * columns + columns - 1)
    return total * coordinates.inv_scale[j]


class Batch(NamedTuple):
    """What an update needs to know of its batch."""

    #: Of its rate, in this launch.
    number: Any
    rows: Any
    parts: Any
    #: Updates with this one, and the product of Nadam's momenta up to it.
    count: Any
    product: Any


@cuda_device
def update_coordinate(k: Any, j: Any, batch: Any, rule: Any, state: Any, coordinates: Any, work: Any) -> None:
    """Gradient, rule and prox of one coordinate; what it adds to the sums; the next batch's point."""
    memory, columns = state.memory, work.point.w.shape[1]
    share = batch.rows / work.rows
    change = gradient_at(k, j, batch.parts, coordinates, work) * (work.factor / batch.rows)
    at = memory.theta[k, j]
    if rule.ahead != 0.0:
        at += rule.ahead * memory.slots[0, k, j]
    g = change + coordinates.l2[k, j] * at
    if rule.code == rules.SAGA:
        g += memory.slots[0, k, j]
        memory.slots[0, k, j] += share * change
    work.total[k, j] += g
    work.penalties[k, j] += batch.rows * elastic_net_value(at, coordinates.l1[k, j], coordinates.l2[k, j])
    if j == 0:
        work.seen[k] += work.factor * add_up(work.parts, batch.parts, work.seen.size * columns + k)
    rate = rule.rates[batch.number]
    apply_rule(memory, k, j, g, rule, rate, coordinates.l1[k, j], (batch.count, batch.product))
    take_point(k, j, memory, rule, coordinates, work.point)


def _make_add_part(loss: str, dtype: str, order: str, shift: bool) -> Any:
    """Factory of `add_part(data, batches, part, rule, table, layout, room, work)`; part: number, start and stop."""
    kind, flush = TYPES[dtype], make_flush(dtype)
    derive, add = make_stages(loss, dtype, order, shift, True)

    @cuda_device
    def add_part(data: Any, batches: Any, part: Any, rule: Any, table: Any, layout: Any, room: Any, work: Any) -> None:
        x, rows = cuda.local.array(HELD, kind), cuda.shared.array(MOST_THREADS, int64)
        number, start, stop = part
        sums, columns, tiles = work.parts[number], work.point.w.shape[1], 0
        clear(sums)
        block_barrier()
        for at in range(start, stop, layout.groups * ROWS):
            tile = Tile(rows, at, stop)
            name_rows(tile, work.rows, batches, layout)
            derive(data, work.point, tile, layout, room, x)
            if rule.code == rules.SAGA:
                replace_derivatives(tile, layout, room, table)
                group_barrier(layout.width)
            add(data, work.point, tile, layout, room, x)
            tiles += 1
            if tiles == FLUSH_TILES:
                flush(layout, room, columns, sums)
                tiles = 0
        flush(layout, room, columns, sums)

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
        count, product = memory.step[0], memory.product[0]
        for at in range(begin, layout.outputs * columns, threads):
            take_point(at // columns, at % columns, memory, rule, coordinates, work.point)
        grid_barrier()
        for number in range(span[0], span[1]):
            start = number * batches.size
            stop = min(start + batches.size, work.rows)
            parts = (stop - start + work.part_rows - 1) // work.part_rows
            for part in range(cuda.blockIdx.x, parts, cuda.gridDim.x):
                first = start + part * work.part_rows
                its = (part, first, min(first + work.part_rows, stop))
                add_part(data, batches, its, rule, state.table, layout, room, work)
            grid_barrier()
            count += 1
            if rule.code == rules.NADAM:
                product *= rules.nadam_momentum(float(count), rule.h1, rule.h4)
            batch = Batch(number - span[0], float(stop - start), parts, float(count), product)
            for at in range(begin, layout.outputs * columns, threads):
                update_coordinate(at // columns, at % columns, batch, rule, state, coordinates, work)
            grid_barrier()
        if begin == 0:
            memory.step[0], memory.product[0] = count, product

    return epoch
