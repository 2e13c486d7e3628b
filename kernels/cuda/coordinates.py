"""What follows a batch's parts: their sums, and the update of each coordinate by the thread that it belongs to.

Numbers of a batch, K (d + 1) coordinates and K losses, are dealt to threads alike in all batches, so that a thread
reads what it knows of the first of its own before it waits for the grid, and after that its parts' sums alone. Where
parts are few each block makes the whole update by itself, on a copy of the state: blocks then wait for each other once
a batch. Else blocks share the coordinates, and LANES threads the parts. Bits are the same: parts are added up in LANES
sums, whose tree is that of `lane_sum`.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numba import float64

from fastgd.kernels._jit import jitable, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device
from fastgd.kernels.cuda.layout import Point
from fastgd.kernels.cuda.reduce import LANES, fold_lanes, lane_sum
from fastgd.kernels.penalties import elastic_net_value
from fastgd.kernels.records import Memory
from fastgd.kernels.rules import MOST_SLOTS, STEPS, reduce_variance, update_of

#: Numbers of a coordinate besides its memory, by their places.
NUMBERS = 6
_SCALE, _OFFSET, _L1, _L2, _TOTAL, _PENALTY = range(NUMBERS)
#: Loads of parts that are under way together, a multiple of twice LANES: if more than half are needed. Where blocks
#: update alone there is room for a multiple of so many parts.
AT_ONCE = 16


class Mine(NamedTuple):
    """What belongs to a thread's block, and which numbers belong to the thread."""

    #: Where the gradient is taken, and the state that updates go on from: of all blocks, or the block's own.
    point: Any
    memory: Any
    #: Coordinates, columns of which make an output's, and all numbers: losses come last.
    inner: Any
    columns: Any
    size: Any
    #: The first number of the block and how many come before its next turn; the thread's place in a turn, the first
    #: part that it adds up.
    first: Any
    step: Any
    place: Any
    lane: Any
    #: Whether each block makes the whole update; whether this one's is recorded.
    alone: Any
    recorded: Any


class Held(NamedTuple):
    """What a thread knows of a coordinate, in registers: every place is a constant."""

    #: Of one coordinate: theta (1, 1), slots (MOST_SLOTS, 1, 1).
    memory: Any
    numbers: Any


class Size(NamedTuple):
    """What follows from the rows of a batch, by divisions: all batches but the last have as many."""

    rows: Any
    parts: Any
    #: Of the rows of the data; and what turns sums over the batch into gradients.
    share: Any
    factor: Any


class Batch(NamedTuple):
    """What an update needs to know of its batch."""

    size: Any
    #: A `rules.Update`.
    update: Any


@jitable
def _poison(memory, g, l1, inner, step, update):
    """Set theta to NaN, which no fit can miss: kernels cannot raise."""
    memory.theta[0, 0] = math.nan


def _make_step(other: Any, code: int) -> Any:
    """Factory of `run(memory, g, l1, inner, code, update)`: the step with this code; `other` for others."""
    step = STEPS[code]

    @jitable
    def run(memory, g, l1, inner, found, update):
        if found == code:
            step(memory.theta, memory.slots, 0, 0, g, l1, inner, update)
        else:
            other(memory, g, l1, inner, found, update)

    return run


_run_step = functools.reduce(_make_step, range(len(STEPS)), _poison)


@cuda_device
def deal(memory: Any, layout: Any, work: Any) -> Any:
    """What belongs to this thread and its block."""
    block, thread, alone = np.int64(cuda.blockIdx.x), np.int64(cuda.threadIdx.x), work.parts.shape[0] > 1
    first, step, place, lane = np.int64(0), np.int64(cuda.blockDim.x), thread, np.int64(0)
    if not alone:
        groups = step // LANES
        first, step, place, lane = block * groups, cuda.gridDim.x * groups, thread // LANES, thread % LANES
    copy, point = block if alone else np.int64(0), work.point
    w, its = point.w[copy], work.states[copy]
    inner, columns = layout.outputs * w.shape[1], w.shape[1]
    here = Point(w, point.shift, point.offset, point.p)
    there = Memory(its[0], its[1 : 1 + memory.slots.shape[0]], memory.step, memory.product)
    size, recorded = inner + layout.outputs, not alone or block == 0
    return Mine(here, there, inner, columns, size, first, step, place, lane, alone, recorded)


@cuda_device
def size_of(rows: Any, work: Any) -> Any:
    """The size of a batch of so many rows."""
    parts = (rows + work.part_rows - 1) // work.part_rows
    return Size(float(rows), parts, rows / work.rows, work.factor / rows)


@cuda_device
def read_batch(number: Any, size: Any, rule: Any, work: Any) -> Any:
    """What is known of batch `number` of the launch before its gradient is."""
    factors = work.numbers[number, 0], work.numbers[number, 1], work.numbers[number, 2]
    return Batch(size, update_of(rule, rule.rates[number], factors))


@cuda_device
def find(at: Any, mine: Any) -> Any:
    """Output and column of a coordinate, by a division of 32 bits; of one output by none."""
    if mine.inner == mine.columns:
        return unsigned(0), unsigned(at)
    k = np.uint32(at) // np.uint32(mine.columns)
    return unsigned(k), unsigned(at - k * mine.columns)


@cuda_device
def take(at: Any, memory: Any, held: Any, mine: Any, coordinates: Any, work: Any) -> None:
    """Read what is known of number `at` from a memory, if it belongs to this thread: no load waits for another."""
    numbers = held.numbers
    # Of losses.
    numbers[_OFFSET] = 0.0
    if at < mine.inner:
        k, j = find(at, mine)
        numbers[_OFFSET] = mine.point.offset[j]
        if mine.lane == 0:
            held.memory.theta[0, 0] = memory.theta[k, j]
            for slot in range(MOST_SLOTS):
                if slot < memory.slots.shape[0]:
                    held.memory.slots[slot, 0, 0] = memory.slots[slot, k, j]
            numbers[_SCALE] = coordinates.inv_scale[j] if j < mine.columns - 1 else 1.0
            numbers[_L1], numbers[_L2] = coordinates.l1[k, j], coordinates.l2[k, j]
            if mine.recorded:
                numbers[_TOTAL], numbers[_PENALTY] = work.total[k, j], work.penalties[k, j]
    elif at < mine.size and mine.lane == 0 and mine.recorded:
        numbers[_TOTAL] = work.seen[at - mine.inner]


@cuda_device
def aim(k: Any, j: Any, held: Any, mine: Any, rule: Any) -> None:
    """Write where the gradient is taken, raw and in the dtype of X, into the point's w[k, j]."""
    at = held.memory.theta[0, 0]
    if rule.ahead != 0.0:
        at += rule.ahead * held.memory.slots[0, 0, 0]
    mine.point.w[k, j] = at * held.numbers[_SCALE]


@cuda_device
def put(k: Any, j: Any, held: Any, memory: Any) -> None:
    """Write a coordinate's state to a memory."""
    memory.theta[k, j] = held.memory.theta[0, 0]
    for slot in range(MOST_SLOTS):
        if slot < memory.slots.shape[0]:
            memory.slots[slot, k, j] = held.memory.slots[slot, 0, 0]


@cuda_device
def begin(held: Any, mine: Any, memory: Any, rule: Any, coordinates: Any, work: Any) -> None:
    """The first point, and the state that updates go on from, as the launch found it."""
    at = mine.first + mine.place
    while at < mine.inner:
        take(at, memory, held, mine, coordinates, work)
        if mine.lane == 0:
            k, j = find(at, mine)
            aim(k, j, held, mine, rule)
            put(k, j, held, mine.memory)
        at += mine.step


@cuda_device
def end(held: Any, mine: Any, memory: Any, coordinates: Any, work: Any) -> None:
    """The state of all, from that of the last update."""
    at = mine.first + mine.place
    while at < mine.inner:
        take(at, mine.memory, held, mine, coordinates, work)
        if mine.lane == 0 and mine.recorded:
            k, j = find(at, mine)
            put(k, j, held, memory)
        at += mine.step


def _make_load(step: int) -> Any:
    """Factory of `load(sums, size, parts, part, first, at, found)`: AT_ONCE / 2 of every step-th part's, from `first`.

    Past the last part: where all are read, what lies in memory there; else the last one's once more.
    """

    @cuda_device
    def load(sums: Any, size: Any, parts: Any, part: Any, first: Any, at: Any, found: Any) -> None:
        for m in range(first, first + AT_ONCE // 2):
            its = part + m * step
            found[m] = sums[unsigned((its if step == 1 else min(its, parts - 1)) * size + at)]

    return load


def _make_add_up(count: int) -> Any:
    """Factory of `add_up(sums, size, parts, at, lane, totals)`: number `at` of so many parts, into totals (count,).

    sums: parts of `size` numbers, one after the other. Of LANES sums of every LANES-th part: all, or that of a lane.
    """
    step, half = LANES // count, AT_ONCE // 2
    load = _make_load(step)

    @cuda_device
    def add(found: Any, first: Any, ahead: Any, totals: Any) -> None:
        for m in range(first, first + half):
            totals[m % count] += found[m] if m * step < ahead else 0.0

    @cuda_device
    def add_up(sums: Any, size: Any, parts: Any, at: Any, lane: Any, totals: Any) -> None:
        found, part = cuda.local.array(AT_ONCE, float64), lane
        for m in range(count):
            totals[m] = 0.0
        while part < parts:
            ahead = np.int32(parts - part)
            load(sums, size, parts, part, 0, at, found)
            if half * step < ahead:
                load(sums, size, parts, part, half, at, found)
            add(found, 0, ahead, totals)
            if half * step < ahead:
                add(found, half, ahead, totals)
            part += AT_ONCE * step

    return add_up


_add_all, _add_lane = _make_add_up(LANES), _make_add_up(1)


@cuda_device
def of_r(at: Any, mine: Any) -> Any:
    """Where the sum of r stands that belongs to number `at`, of a loss any."""
    return (find(min(at, mine.inner - 1), mine)[0] + 1) * mine.columns - 1


@cuda_device
def sum_alone(sums: Any, parts: Any, at: Any, held: Any, mine: Any, work: Any) -> Any:
    """Number `at` of a batch's sums over its parts; of coordinates the sum of r (x - center)."""
    totals, others = cuda.local.array(LANES, float64), cuda.local.array(LANES, float64)
    _add_all(sums, mine.size, parts, at, 0, totals)
    if work.centred != 0:
        _add_all(sums, mine.size, parts, of_r(at, mine), 0, others)
        for lane in range(LANES):
            totals[lane] -= held.numbers[_OFFSET] * others[lane]
    return fold_lanes(totals)


@cuda_device
def sum_together(sums: Any, parts: Any, at: Any, held: Any, mine: Any, work: Any) -> Any:
    """The same by LANES threads that call together; all of them get it."""
    total, other = cuda.local.array(1, float64), cuda.local.array(1, float64)
    _add_lane(sums, mine.size, parts, at, mine.lane, total)
    if work.centred != 0:
        _add_lane(sums, mine.size, parts, of_r(at, mine), mine.lane, other)
        total[0] -= held.numbers[_OFFSET] * other[0]
    return lane_sum(total[0])


@cuda_device
def move(at: Any, total: Any, batch: Any, rule: Any, held: Any, mine: Any, work: Any) -> None:
    """Gradient, rule and prox of coordinate `at`; what it adds to the sums; the next batch's point."""
    memory, numbers = held.memory, held.numbers
    k, j = find(at, mine)
    inner = j < mine.columns - 1
    scale = numbers[_SCALE] if inner else work.intercept
    change = total * scale * batch.size.factor
    theta = memory.theta[0, 0]
    if rule.ahead != 0.0:
        theta += rule.ahead * memory.slots[0, 0, 0]
    g = change + numbers[_L2] * theta
    if rule.keeps_rows:
        g += reduce_variance(memory.slots, 0, 0, change, batch.size.share)
    numbers[_TOTAL] += g
    numbers[_PENALTY] += batch.size.rows * elastic_net_value(theta, numbers[_L1], numbers[_L2])
    _run_step(memory, g, numbers[_L1], inner, rule.step, batch.update)
    aim(k, j, held, mine, rule)
    put(k, j, held, mine.memory)
    if mine.recorded:
        work.total[k, j], work.penalties[k, j] = numbers[_TOTAL], numbers[_PENALTY]


@cuda_device
def update(sums: Any, batch: Any, rule: Any, held: Any, mine: Any, coordinates: Any, work: Any) -> None:
    """What follows a batch's parts: its update, and its loss in `work.seen`; `held`: the first turn's."""
    first, parts = mine.first, batch.size.parts
    # All threads of a block take as many turns, since those of a warp add up together.
    while first < mine.size:
        at = first + mine.place
        # A number past the last is read as that, and is nobody's.
        there = min(at, mine.size - 1)
        if mine.alone:
            total = sum_alone(sums, parts, there, held, mine, work)
        else:
            total = sum_together(sums, parts, there, held, mine, work)
        if mine.lane == 0 and at < mine.inner:
            move(at, total, batch, rule, held, mine, work)
        elif mine.lane == 0 and at < mine.size and mine.recorded:
            work.seen[at - mine.inner] = held.numbers[_TOTAL] + work.factor * total
        first += mine.step
        if first < mine.size:
            take(first + mine.place, mine.memory, held, mine, coordinates, work)
