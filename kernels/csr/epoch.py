"""The mini-batch loop over sparse rows: threads share the rows of a batch, then its columns.

A batch has two stages with a barrier after each. First threads compute the loss derivatives of tiles of rows. Then
each thread adds up the products of its own columns, in the order of the rows, and takes the rule's step in them: sums
need no memory per thread, and results do not depend on threads. Steps take a block of columns through a few short
loops, so that intermediate numbers stay in the first-level cache.

Margins are sums in float64 of products in the dtype of X; gradients are summed in float64. Columns are centred by
arithmetic on those sums. Cost: 16 or 24 bytes read from a cache and 4 K flops per non-zero; K (d + 1) steps of the rule
per batch, each of about ten numbers of memory.

Where columns that a batch lacks rest (`UpdateRule.rest`, no centred column), threads list the columns of a batch, and
take steps in these alone: a batch costs its non-zeros. With a penalty, listed columns first take all steps since their
last batch at once, and at the end of a window of batches all columns do. Iterates are those of steps in all columns, to
rounding, and to the bit without a penalty. The recorded losses and gradients take coefficients in between from a
straight line.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels import records
from fastgd.kernels._intrinsics import lowest_bit, prefetch_row
from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.epoch import barrier, load_batch_targets, replace_derivatives
from fastgd.kernels.cpu.order import write_rows
from fastgd.kernels.cpu.residual import make_residual
from fastgd.kernels.cpu.update import count_update, numbers_of, run_steps
from fastgd.kernels.penalties import elastic_net_value
from fastgd.kernels.rules import RULES, STEPS, Span, reduce_variance, sum_rates

#: Columns of a block, whose numbers are in the first-level cache.
COLUMNS = 256
#: Rows of a tile.
TILE_ROWS = 32
#: Rows by which non-zeros are prefetched.
_AHEAD = 3


class CsrTeam(NamedTuple):
    """The threads that share the batches of a call, and the memory that they share."""

    #: This thread's number, and how many there are.
    member: int
    members: int
    #: This thread's columns [start, stop) of theta: whole blocks, the last of which has the intercept.
    start: int
    stop: int
    #: As `records.Team.reached`.
    reached: NDArray[np.int64]
    #: (K, d) coefficients of raw columns, in the dtype of X, and sums of products over the batch.
    w: NDArray[np.floating]
    sums: NDArray[np.float64]
    #: (K, B) loss derivatives of the batch's rows, in the dtype of X.
    r: NDArray[np.floating]
    #: (tiles * K,) sums of losses.
    loss_sums: NDArray[np.float64]
    #: (K, blocks) sums of w . offset and of the penalty.
    moved: NDArray[np.float64]
    penalties: NDArray[np.float64]
    #: (K, blocks) what columns that rested change in the sum of rows x penalty of batches before.
    late: NDArray[np.float64]
    #: As in `records.Work`.
    seen: NDArray[np.float64]
    total: NDArray[np.float64]
    #: (d + members,) columns of the batch, each thread's from start + member on; a bit per column, 0 between batches;
    #: (d,) the last batch of each column. Empty where all columns take a step.
    touched: NDArray[np.int64]
    marks: NDArray[np.uint64]
    batch: NDArray[np.int64]


class CsrWork(NamedTuple):
    """Scratch memory of one thread, and constants, of a mini-batch loop; names as in `records.Work`."""

    team: CsrTeam
    tile: records.Tile
    schedule: records.Schedule
    #: (B,) rows of the batch.
    rows: NDArray[np.uint64]
    #: (K, COLUMNS) point of the gradient, and gradient, of a block.
    at: NDArray[np.float64]
    g: NDArray[np.float64]
    #: (K,) intercepts of raw columns, in the dtype of X, and sums of derivatives.
    b: NDArray[np.floating]
    derivatives: NDArray[np.float64]
    #: (d,) center.
    offset: NDArray[np.float64]
    #: (window + 1, POWERS + 1) sums of rates, see `rules.Span`; a single row if columns do not rest with a penalty.
    rate_sums: NDArray[np.float64]
    p: float | np.floating
    factor: float
    intercept: float


@jitable
def prefetch_row_of(X, row):
    """Prefetch the non-zeros of a row."""
    first, end = X.indptr[row], X.indptr[row + unsigned(1)]
    prefetch_row(X.data, first, 0, (end - first) * X.data.itemsize)
    prefetch_row(X.indices, first, 0, (end - first) * X.indices.itemsize)


@jitable
def margin_of(X, w, k, row):
    """Return x_row . w_k, in four sums that do not wait for one another."""
    first, end = unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])
    whole = first + (end - first) // unsigned(4) * unsigned(4)
    p = q = u = v = 0.0
    for at in range(first, whole, unsigned(4)):
        b, c, e = at + unsigned(1), at + unsigned(2), at + unsigned(3)
        p += np.float64(X.data[at] * w[k, unsigned(X.indices[at])])
        q += np.float64(X.data[b] * w[k, unsigned(X.indices[b])])
        u += np.float64(X.data[c] * w[k, unsigned(X.indices[c])])
        v += np.float64(X.data[e] * w[k, unsigned(X.indices[e])])
    for at in range(whole, end):
        p += np.float64(X.data[at] * w[k, unsigned(X.indices[at])])
    return (p + q) + (u + v)


@jitable
def first_from(X, column, first, end):
    """Return the first place in [first, end) of a row whose column is at least `column`, else `end`."""
    while first < end:
        middle = first + (end - first) // 2
        if X.indices[unsigned(middle)] < column:
            first = middle + 1
        else:
            end = middle
    return first


@jitable
def range_of(X, row, team):
    """Return the places of the first non-zero of a row in this thread's columns, and of the one after its last."""
    first, end = X.indptr[row], X.indptr[row + unsigned(1)]
    if team.members > 1:
        first = first_from(X, team.start, first, end)
        end = first_from(X, team.stop, first, end)
    return unsigned(first), unsigned(end)


@jitable
def list_columns(X, m, work):
    """List this thread's columns of the m rows of the batch in ascending order; return how many."""
    team, place, end = work.team, work.team.start + work.team.member, unsigned((work.team.stop + 63) // 64)
    for i in range(m):
        prefetch_row_of(X, unsigned(work.rows[unsigned(min(i + _AHEAD, m - 1))]))
        first, stop = range_of(X, unsigned(work.rows[i]), team)
        for at in range(first, stop):
            j = unsigned(X.indices[at])
            team.marks[j >> unsigned(6)] |= unsigned(1) << (j & unsigned(63))
    here = unsigned(place)
    for q in range(unsigned(team.start // 64), end):
        marks = team.marks[q]
        team.marks[q] = unsigned(0)
        while marks != unsigned(0):
            team.touched[here] = np.int64((q << unsigned(6)) + lowest_bit(marks))
            marks &= marks - unsigned(1)
            here += unsigned(1)
    return np.int64(here) - place


@jitable
def add_products(X, m, work):
    """Add r_ik x_i of the m rows of the batch to the sums of this thread's columns."""
    team = work.team
    for i in range(m):
        first, end = range_of(X, unsigned(work.rows[i]), team)
        for k in range(team.r.shape[0]):
            r = np.float64(team.r[k, i])
            for at in range(first, end):
                team.sums[k, unsigned(X.indices[at])] += r * np.float64(X.data[at])


@jitable
def load_point(memory, rule, at, start, columns):
    """Write the point of the gradient in columns from `start` on to `at`."""
    for k in range(at.shape[0]):
        for q in range(columns):
            at[k, q] = memory.theta[k, unsigned(start + q)]
        if rule.ahead != 0.0:
            for q in range(columns):
                at[k, q] += rule.ahead * memory.slots[0, k, unsigned(start + q)]


@jitable
def write_block(state, rule, coordinates, work, start, stop):
    """Write the point of a block of columns, raw, to team.w, and its sums."""
    team, at = work.team, work.at
    columns = min(stop, team.w.shape[1]) - start
    load_point(state.memory, rule, at, start, columns)
    for k in range(team.w.shape[0]):
        moved = penalty = 0.0
        for q in range(columns):
            j = unsigned(start + q)
            raw = at[k, q] * coordinates.inv_scale[j]
            team.w[k, j] = raw
            moved += raw * work.offset[j]
            penalty += elastic_net_value(at[k, q], coordinates.l1[k, j], coordinates.l2[k, j])
        team.moved[k, unsigned(start // COLUMNS)] = moved
        team.penalties[k, unsigned(start // COLUMNS)] = penalty


@jitable
def write_gradient(state, rule, coordinates, work, start, stop, rows, n):
    """Write the gradient in a block of columns to work.g, and clear their sums; rows: of the batch, of n."""
    team, at, g, factor, share = work.team, work.at, work.g, work.factor / rows, rows / n
    d = team.w.shape[1]
    columns, inner = stop - start, min(stop, d) - start
    load_point(state.memory, rule, at, start, columns)
    for k in range(team.w.shape[0]):
        derivatives = work.derivatives[k]
        for q in range(inner):
            j = unsigned(start + q)
            g[k, q] = factor * ((team.sums[k, j] - work.offset[j] * derivatives) * coordinates.inv_scale[j])
            team.sums[k, j] = 0.0
        if inner < columns:
            g[k, inner] = factor * derivatives * work.intercept
        if rule.keeps_rows:
            for q in range(columns):
                change = g[k, q]
                g[k, q] = change + reduce_variance(state.memory.slots, k, unsigned(start + q), change, share)
        for q in range(columns):
            j = unsigned(start + q)
            whole = g[k, q] + coordinates.l2[k, j] * at[k, q]
            g[k, q] = whole
            team.total[k, j] += whole


@jitable
def begin_batch(rows, state, rule, work):
    """Write the intercepts; the first thread counts the update and records the penalty."""
    team, memory = work.team, state.memory
    d = team.w.shape[1]
    for k in range(team.w.shape[0]):
        b = memory.theta[k, d]
        if rule.ahead != 0.0:
            b += rule.ahead * memory.slots[0, k, d]
        for block in range(team.moved.shape[1]):
            b -= team.moved[k, block]
        work.b[k] = b
    if team.member == 0:
        count_update(memory, rule)
        for k in range(team.w.shape[0]):
            penalty = 0.0
            late = 0.0
            for block in range(team.penalties.shape[1]):
                penalty += team.penalties[k, block]
                late += team.late[k, block]
            team.seen[k] += late + rows * penalty


@jitable
def add_derivatives(rows, work):
    """Add up the derivatives of the batch; the first thread records the losses."""
    team = work.team
    outputs = team.r.shape[0]
    for k in range(outputs):
        total = 0.0
        for i in range(rows):
            total += np.float64(team.r[k, i])
        work.derivatives[k] = total
        if team.member == 0:
            losses = 0.0
            for tile in range((rows + TILE_ROWS - 1) // TILE_ROWS):
                losses += team.loss_sums[tile * outputs + k]
            team.seen[k] += losses * work.factor


@jitable
def load_tile(data, start, m, work):
    """Load rows, targets and weights at places [start, start + m) of the batch, and write their margins."""
    tile, team = work.tile, work.team
    for k in range(team.r.shape[0]):
        team.loss_sums[start // TILE_ROWS * team.r.shape[0] + k] = 0.0
    for i in range(m):
        tile.rows[i] = work.rows[unsigned(start + i)]
    load_batch_targets(data, m, tile)
    last = work.rows.size - 1
    for i in range(m):
        prefetch_row_of(data.X, unsigned(work.rows[unsigned(min(start + i + _AHEAD, last))]))
        for k in range(team.r.shape[0]):
            tile.z[k, i] = margin_of(data.X, team.w, k, unsigned(tile.rows[i])) + np.float64(work.b[k])


@jitable
def store_derivatives(tile, start, m, r):
    """Copy the tile's derivatives to places [start, start + m) of the batch."""
    for k in range(r.shape[0]):
        for i in range(m):
            r[k, unsigned(start + i)] = tile.r[k, i]


@jitable
def _poison_rest(column, span, rule, memory, coordinates, work):
    """Set theta to NaN, as for unknown rules in all columns."""
    memory.theta[0, 0] = math.nan


@jitable
def _poison_touched(count, factor, rule, memory, coordinates, work, update):
    memory.theta[0, 0] = math.nan


def _make_rest(other, name):
    """Factory of `rest_column`: all steps of a column in a span by the rule with this name; `other` for others."""
    code, rest = STEPS.index(RULES[name].step), RULES[name].rest
    slots = RULES[name].slots

    @jitable
    def rest_column(j, span, rule, memory, coordinates, work):
        if rule.step != code:
            other(j, span, rule, memory, coordinates, work)
            return
        team, updates = work.team, span.stop - span.first
        # Of points on a straight line between both ends, without the last one.
        mean = 0.5 * (updates - 1.0) / updates
        for k in range(team.w.shape[0]):
            w, l1, l2 = memory.theta[k, j], coordinates.l1[k, j], coordinates.l2[k, j]
            if w != 0.0:
                square = memory.slots[0, k, j] if slots > 0 else 0.0
                end, square = rest(w, square, l1, l2, rule.h1, span)
                memory.theta[k, j] = end
                if slots > 0:
                    memory.slots[0, k, j] = square
                team.w[k, j] = end * coordinates.inv_scale[j]
                team.total[k, j] += updates * l2 * (w + mean * (end - w))
                change = add_penalty(k, j, w, end, coordinates, team)
                team.late[k, j // unsigned(COLUMNS)] += span.rows * mean * change

    return rest_column


@jitable
def add_penalty(k, j, before, after, coordinates, team):
    """Add the change of a column's penalty to that of its block, and return it."""
    l1, l2 = coordinates.l1[k, j], coordinates.l2[k, j]
    change = elastic_net_value(after, l1, l2) - elastic_net_value(before, l1, l2)
    team.penalties[k, j // unsigned(COLUMNS)] += change
    return change


def _make_touched(other, name):
    """Factory of `step_touched`: the step of the rule with this name in the columns that a thread lists."""
    code, step = STEPS.index(RULES[name].step), RULES[name].step

    @jitable
    def step_touched(count, factor, rule, memory, coordinates, work, update):
        if rule.step != code:
            other(count, factor, rule, memory, coordinates, work, update)
            return
        team = work.team
        place = team.start + team.member
        for k in range(team.w.shape[0]):
            for q in range(count):
                j = unsigned(team.touched[unsigned(place + q)])
                w = memory.theta[k, j]
                g = factor * (team.sums[k, j] * coordinates.inv_scale[j]) + coordinates.l2[k, j] * w
                team.sums[k, j] = 0.0
                team.total[k, j] += g
                step(memory.theta, memory.slots, k, j, g, coordinates.l1[k, j], True, update)
                team.w[k, j] = memory.theta[k, j] * coordinates.inv_scale[j]
                add_penalty(k, j, w, memory.theta[k, j], coordinates, team)

    return step_touched


_RESTING = [name for name, rule in RULES.items() if rule.rest is not None]
step_touched = functools.reduce(_make_touched, _RESTING, _poison_touched)
rest_column = functools.reduce(_make_rest, _RESTING, _poison_rest)


class Window(NamedTuple):
    """Batches at the end of which all columns have taken all steps."""

    #: The first batch, and that of the call.
    start: int
    offset: int
    batch_size: int
    n: int


@jitable
def window_of(number, first, batches, n, work):
    """Return the window of batch `number` in a call that begins with batch `first`."""
    length = max(work.rate_sums.shape[0] - 1, 1)
    return Window(max(number // length * length, first), first, batches.size, n)


@jitable
def span_of(first, stop, window, rule, work):
    """Return the updates of batches [first, stop) of a window."""
    start = window.start
    rows = min(stop * window.batch_size, window.n) - first * window.batch_size
    return Span(rule.rates, start - window.offset, work.rate_sums, first - start, stop - start, rows)


@jitable
def begin_steps(X, number, rows, window, rule, memory, coordinates, work):
    """List this thread's columns of a batch, return how many, and take their steps since their last batches."""
    team, offset = work.team, window.start - window.offset
    if team.touched.size == 0:
        return 0
    count, place = list_columns(X, rows, work), team.start + team.member
    if work.rate_sums.shape[0] == 1:
        return count
    if number == window.start:
        sum_rates(rule.rates, offset, min(work.rate_sums.shape[0] - 1, rule.rates.size - offset), work.rate_sums)
    for q in range(count):
        j = unsigned(team.touched[unsigned(place + q)])
        before = team.batch[j]
        team.batch[j] = number
        if before + 1 < number:
            rest_column(j, span_of(before + 1, number, window, rule, work), rule, memory, coordinates, work)
    return count


@jitable
def rest_all(number, window, rule, state, coordinates, work):
    """Take the steps of all columns up to batch `number`, the last one of a window."""
    team = work.team
    for column in range(team.start, min(team.stop, team.w.shape[1])):
        j = unsigned(column)
        if team.batch[j] < number:
            span = span_of(team.batch[j] + 1, number + 1, window, rule, work)
            rest_column(j, span, rule, state.memory, coordinates, work)
            team.batch[j] = number
    write_blocks(state, rule, coordinates, work)


@jitable
def write_blocks(state, rule, coordinates, work):
    """Write the points of this thread's blocks of columns, and their sums."""
    team = work.team
    for start in range(team.start, team.stop, COLUMNS):
        write_block(state, rule, coordinates, work, start, min(start + COLUMNS, team.stop))


@jitable
def begin_call(first, rule, state, coordinates, work):
    """Prepare for batches from `first` on, before which all columns have taken all steps."""
    team = work.team
    for j in range(team.start, min(team.stop, team.batch.size)):
        team.batch[unsigned(j)] = first - 1
    clear_late(team)
    write_blocks(state, rule, coordinates, work)


@jitable
def end_batch(number, last, window, rule, state, coordinates, work):
    """End a window with its last batch, or the last one of the call; return False if all threads must stop."""
    team, length = work.team, work.rate_sums.shape[0] - 1
    if length == 0:
        return True
    clear_late(team)
    if number < last - 1 and (number + 1) % length > 0:
        return True
    rest_all(number, window, rule, state, coordinates, work)
    if not barrier(team):
        return False
    add_late(team)
    goes_on = barrier(team)
    clear_late(team)
    return goes_on


@jitable
def add_late(team):
    """Record what all columns change at the end of a window, on the first thread."""
    if team.member == 0:
        for k in range(team.late.shape[0]):
            late = 0.0
            for block in range(team.late.shape[1]):
                late += team.late[k, block]
            team.seen[k] += late


@jitable
def clear_late(team):
    """Clear the sums of this thread's blocks."""
    for k in range(team.late.shape[0]):
        for block in range(team.start // COLUMNS, (team.stop + COLUMNS - 1) // COLUMNS):
            team.late[k, unsigned(block)] = 0.0


@jitable
def step_columns(count, rows, n, rate, rule, state, coordinates, work):
    """Take the rule's step in this thread's columns: in `count` listed ones and the intercept, or in all."""
    team, memory = work.team, state.memory
    update = numbers_of(memory, rule, rate)
    first = team.start
    if team.touched.size > 0:
        step_touched(count, work.factor / rows, rule, memory, coordinates, work, update)
        first = max(first, team.w.shape[1])
    for start in range(first, team.stop, COLUMNS):
        stop = min(start + COLUMNS, team.stop)
        write_gradient(state, rule, coordinates, work, start, stop, rows, n)
        run_steps(memory.theta, memory.slots, work.g, coordinates.l1, rule.step, update, start, stop)
        if team.touched.size == 0:
            write_block(state, rule, coordinates, work, start, stop)


@kernel_factory
def make_csr_epoch(loss: str, kind: str):
    """Make the mini-batch kernel for a loss and a `kind` of sparse rows.

    `epoch(data, batches, first, last, rule, state, coordinates, work)` as of `fastgd.kernels.cpu.epoch.make_epoch`,
    with a `CsrWork`; sums are those of the team.
    """
    residual = make_residual(loss)

    @jitable
    def run_tiles(data, rows, rule, state, work):
        """Write the loss derivatives of this thread's tiles."""
        tile, team = work.tile, work.team
        outputs = team.r.shape[0]
        for number in range(team.member, (rows + TILE_ROWS - 1) // TILE_ROWS, team.members):
            start = number * TILE_ROWS
            m = min(TILE_ROWS, rows - start)
            load_tile(data, start, m, work)
            residual(tile.z, tile.y, tile.s, m, work.p, tile.r, team.loss_sums, number * outputs)
            if rule.keeps_rows:
                replace_derivatives(tile, m, state.table)
            store_derivatives(tile, start, m, team.r)

    @cpu_kernel(f"csr_epoch[{loss},{kind}]")
    def epoch(data, batches, first, last, rule, state, coordinates, work):
        n, team = data.y.shape[1], work.team
        begin_call(first, rule, state, coordinates, work)
        for number in range(first, last):
            start = number * batches.size
            rows = min(batches.size, n - start)
            write_rows(start, rows, n, batches, work.schedule, work.rows, 0)
            window = window_of(number, first, batches, n, work)
            count = begin_steps(data.X, number, rows, window, rule, state.memory, coordinates, work)
            if not barrier(team):
                return
            begin_batch(rows, state, rule, work)
            run_tiles(data, rows, rule, state, work)
            if not barrier(team):
                return
            add_products(data.X, rows, work)
            add_derivatives(rows, work)
            step_columns(count, rows, n, rule.rates[number - first], rule, state, coordinates, work)
            if not end_batch(number, last, window, rule, state, coordinates, work):
                return

    return epoch
