"""Reduce the partial sums of a batch and update the coordinates; each thread owns fixed coordinates.

The numbers of a batch, K (d + 1) coordinates and K losses, belong to the same threads in all batches: a thread loads
the state of its first coordinate before it waits for the grid, and after that only the partial sums. If a batch has few
parts, every block replicates the whole update on its own copy of the state, and blocks wait for each other once per
batch. Otherwise blocks share the coordinates, and LANES threads the parts of one. Both give the same bits: parts are
added up in LANES sums, which are combined in the tree of `lane_sum`.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import float64
from numpy.typing import NDArray

from fastgd.kernels._jit import jitable, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device
from fastgd.kernels.cuda.layout import Point
from fastgd.kernels.cuda.reduce import LANES, fold_lanes, lane_sum
from fastgd.kernels.penalties import elastic_net_value
from fastgd.kernels.records import Memory
from fastgd.kernels.rules import MOST_SLOTS, STEPS, Update, reduce_variance, update_of

#: Numbers of a coordinate besides its memory, by their places.
NUMBERS = 6
_SCALE, _OFFSET, _L1, _L2, TOTAL, _PENALTY = range(NUMBERS)
#: Loads of parts in flight together, a multiple of twice LANES; half of them if no more are needed. For replicated
#: updates the buffer of sums has a multiple of so many parts.
AT_ONCE = 16


class ThreadSlice(NamedTuple):
    """The coordinates and losses that a thread owns, and the state that it updates."""

    #: The point and the state: those of all blocks, or copies of the block.
    point: Point
    memory: Memory
    #: Number of coordinates, of coordinates per output, and of coordinates and losses, which come last.
    inner: int
    columns: int
    size: int
    #: First number of the block in the first turn, numbers per turn of all blocks, this thread's place in a turn, and
    #: the first part that it adds up.
    first: int
    step: int
    place: int
    lane: int
    #: Whether every block computes the whole update; whether this block records it.
    replicated: bool
    recorded: bool


class CoordinateState(NamedTuple):
    """The state of one coordinate in registers; all indices are constants."""

    #: theta (1, 1) and slots (MOST_SLOTS, 1, 1).
    memory: Memory
    #: (NUMBERS,)
    numbers: NDArray[np.float64]


class BatchSize(NamedTuple):
    """Numbers that follow from the rows of a batch by divisions; they differ only for the last batch."""

    rows: float
    parts: int
    #: Share of all rows, and the factor from sums over the batch to gradients.
    share: float
    factor: float


class Batch(NamedTuple):
    """The numbers of a batch that its update needs."""

    size: BatchSize
    update: Update


@jitable
def _poison(memory, g, l1, inner, step, update):
    """Set theta to NaN, since kernels cannot raise."""
    memory.theta[0, 0] = math.nan


def _make_step(other, code: int):
    """Factory of `run(memory, g, l1, inner, code, update)`: the step with this code, or `other` for other codes."""
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
def partition(memory, layout, work):
    """Return the slice of this thread."""
    block, thread, replicated = np.int64(cuda.blockIdx.x), np.int64(cuda.threadIdx.x), work.parts.shape[0] > 1
    first, step, place, lane = np.int64(0), np.int64(cuda.blockDim.x), thread, np.int64(0)
    if not replicated:
        groups = step // LANES
        first, step, place, lane = block * groups, cuda.gridDim.x * groups, thread // LANES, thread % LANES
    copy, point = block if replicated else np.int64(0), work.point
    w, state = point.w[copy], work.states[copy]
    inner, columns = layout.outputs * w.shape[1], w.shape[1]
    here = Point(w, point.shift, point.offset, point.p)
    there = Memory(state[0], state[1 : 1 + memory.slots.shape[0]], memory.step, memory.product)
    size, recorded = inner + layout.outputs, not replicated or block == 0
    return ThreadSlice(here, there, inner, columns, size, first, step, place, lane, replicated, recorded)


@cuda_device
def batch_size_of(rows, work):
    """Return the numbers of a batch of so many rows."""
    parts = (rows + work.part_rows - 1) // work.part_rows
    return BatchSize(float(rows), parts, rows / work.rows, work.factor / rows)


@cuda_device
def read_batch(number, size, rule, work):
    """Return the numbers of batch `number` of the launch that do not depend on its gradient."""
    factors = work.numbers[number, 0], work.numbers[number, 1], work.numbers[number, 2]
    return Batch(size, update_of(rule, rule.rates[number], factors))


@cuda_device
def locate(at, owned):
    """Return output and column of a coordinate by a division of 32 bits, or by none for one output."""
    if owned.inner == owned.columns:
        return unsigned(0), unsigned(at)
    k = np.uint32(at) // np.uint32(owned.columns)
    return unsigned(k), unsigned(at - k * owned.columns)


@cuda_device
def load_coordinate(at, memory, current, owned, coordinates, work):
    """Load the state of number `at` if this thread owns it; no load depends on another."""
    numbers = current.numbers
    # The offset of losses.
    numbers[_OFFSET] = 0.0
    if at < owned.inner:
        k, j = locate(at, owned)
        numbers[_OFFSET] = owned.point.offset[j]
        if owned.lane == 0:
            current.memory.theta[0, 0] = memory.theta[k, j]
            for slot in range(MOST_SLOTS):
                if slot < memory.slots.shape[0]:
                    current.memory.slots[slot, 0, 0] = memory.slots[slot, k, j]
            numbers[_SCALE] = coordinates.inv_scale[j] if j < owned.columns - 1 else 1.0
            numbers[_L1], numbers[_L2] = coordinates.l1[k, j], coordinates.l2[k, j]
            if owned.recorded:
                numbers[TOTAL], numbers[_PENALTY] = work.total[k, j], work.penalties[k, j]
    elif at < owned.size and owned.lane == 0 and owned.recorded:
        numbers[TOTAL] = work.seen[at - owned.inner]


@cuda_device
def write_point(k, j, current, owned, rule):
    """Write the raw coefficient at which the gradient is taken, in the dtype of X, into the point's w[k, j]."""
    at = current.memory.theta[0, 0]
    if rule.ahead != 0.0:
        at += rule.ahead * current.memory.slots[0, 0, 0]
    owned.point.w[k, j] = at * current.numbers[_SCALE]


@cuda_device
def store(k, j, current, memory):
    """Write the state of a coordinate into a memory."""
    memory.theta[k, j] = current.memory.theta[0, 0]
    for slot in range(MOST_SLOTS):
        if slot < memory.slots.shape[0]:
            memory.slots[slot, k, j] = current.memory.slots[slot, 0, 0]


@cuda_device
def start_launch(current, owned, memory, rule, coordinates, work):
    """Write the first point, and copy the state from which updates start."""
    at = owned.first + owned.place
    while at < owned.inner:
        load_coordinate(at, memory, current, owned, coordinates, work)
        if owned.lane == 0:
            k, j = locate(at, owned)
            write_point(k, j, current, owned, rule)
            store(k, j, current, owned.memory)
        at += owned.step


@cuda_device
def finish_launch(current, owned, memory, coordinates, work):
    """Copy the state after the last update to the caller's memory."""
    at = owned.first + owned.place
    while at < owned.inner:
        load_coordinate(at, owned.memory, current, owned, coordinates, work)
        if owned.lane == 0 and owned.recorded:
            k, j = locate(at, owned)
            store(k, j, current, memory)
        at += owned.step


def _make_load(step: int):
    """Factory of `load(sums, size, parts, part, first, at, found)`: AT_ONCE / 2 values, one of every step-th part.

    Past the last part it reads the memory that follows if step is 1, and otherwise repeats the last part.
    """

    @cuda_device
    def load(sums, size, parts, part, first, at, found):
        for m in range(first, first + AT_ONCE // 2):
            number = part + m * step
            found[m] = sums[unsigned((number if step == 1 else min(number, parts - 1)) * size + at)]

    return load


def _make_add_up(count: int):
    """Factory of `add_up(sums, size, parts, at, lane, totals)`: the sum of number `at` over all parts, (count,) totals.

    sums: the parts, `size` numbers each. There are LANES sums, of every LANES-th part; count: all of them, or 1 for the
    sum of a lane.
    """
    step, half = LANES // count, AT_ONCE // 2
    load = _make_load(step)

    @cuda_device
    def add(found, first, ahead, totals):
        for m in range(first, first + half):
            totals[m % count] += found[m] if m * step < ahead else 0.0

    @cuda_device
    def add_up(sums, size, parts, at, lane, totals):
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
def derivative_sum_of(at, owned):
    """Return the place of the derivative sum of the output of number `at`; of any output for a loss."""
    return (locate(min(at, owned.inner - 1), owned)[0] + 1) * owned.columns - 1


@cuda_device
def sum_replicated(sums, parts, at, current, owned, work):
    """Return the sum of number `at` over the parts; for coordinates the sum of r (x - center)."""
    totals, others = cuda.local.array(LANES, float64), cuda.local.array(LANES, float64)
    _add_all(sums, owned.size, parts, at, 0, totals)
    if work.centred != 0:
        _add_all(sums, owned.size, parts, derivative_sum_of(at, owned), 0, others)
        for lane in range(LANES):
            totals[lane] -= current.numbers[_OFFSET] * others[lane]
    return fold_lanes(totals)


@cuda_device
def sum_shared(sums, parts, at, current, owned, work):
    """Return the same sum, computed by LANES threads that call together."""
    total, other = cuda.local.array(1, float64), cuda.local.array(1, float64)
    _add_lane(sums, owned.size, parts, at, owned.lane, total)
    if work.centred != 0:
        _add_lane(sums, owned.size, parts, derivative_sum_of(at, owned), owned.lane, other)
        total[0] -= current.numbers[_OFFSET] * other[0]
    return lane_sum(total[0])


@cuda_device
def update_coordinate(at, total, batch, rule, current, owned, work):
    """Compute gradient, rule and prox of coordinate `at`; update the sums and the next batch's point."""
    memory, numbers = current.memory, current.numbers
    k, j = locate(at, owned)
    inner = j < owned.columns - 1
    scale = numbers[_SCALE] if inner else work.intercept
    change = total * scale * batch.size.factor
    theta = memory.theta[0, 0]
    if rule.ahead != 0.0:
        theta += rule.ahead * memory.slots[0, 0, 0]
    g = change + numbers[_L2] * theta
    if rule.keeps_rows:
        g += reduce_variance(memory.slots, 0, 0, change, batch.size.share)
    numbers[TOTAL] += g
    numbers[_PENALTY] += batch.size.rows * elastic_net_value(theta, numbers[_L1], numbers[_L2])
    _run_step(memory, g, numbers[_L1], inner, rule.step, batch.update)
    write_point(k, j, current, owned, rule)
    store(k, j, current, owned.memory)
    if owned.recorded:
        work.total[k, j], work.penalties[k, j] = numbers[TOTAL], numbers[_PENALTY]


@cuda_device
def update_coordinates(sums, batch, rule, current, owned, coordinates, work):
    """Update all coordinates of this thread and add the batch's losses to `work.seen`."""
    first, parts = owned.first, batch.size.parts
    # All threads of a block take equally many turns, since those of a warp add up together.
    while first < owned.size:
        at = first + owned.place
        # Numbers past the last are read as the last one, and are not stored.
        there = min(at, owned.size - 1)
        if owned.replicated:
            total = sum_replicated(sums, parts, there, current, owned, work)
        else:
            total = sum_shared(sums, parts, there, current, owned, work)
        if owned.lane == 0 and at < owned.inner:
            update_coordinate(at, total, batch, rule, current, owned, work)
        elif owned.lane == 0 and at < owned.size and owned.recorded:
            work.seen[at - owned.inner] = current.numbers[TOTAL] + work.factor * total
        first += owned.step
        if first < owned.size:
            load_coordinate(first + owned.place, owned.memory, current, owned, coordinates, work)
