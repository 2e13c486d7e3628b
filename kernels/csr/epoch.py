"""The mini-batch loop over sparse rows: threads share the rows of a batch, then its columns.

A batch has two stages with a barrier after each. First threads compute the loss derivatives of tiles of rows. Then
each thread adds up the products of its own columns, in the order of the rows, and takes the rule's step in them: sums
need no memory per thread, and results do not depend on threads. Steps take a block of columns through a few short
loops, so that intermediate numbers stay in the first-level cache.

Margins are sums in float64 of products in the dtype of X; gradients are summed in float64. Columns are centred by
arithmetic on those sums. Cost: 16 or 24 bytes read from a cache and 4 K flops per non-zero; K (d + 1) steps of the rule
per batch, each of about ten numbers of memory.

Where columns without a gradient rest (`UpdateRule.rests`, no penalty, no centred column), threads list the columns of a
batch while they add up its products, and take steps in these alone, with the same bits: a batch costs its non-zeros.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels import records
from fastgd.kernels._intrinsics import prefetch_row
from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.epoch import barrier, load_batch_targets, replace_derivatives
from fastgd.kernels.cpu.order import write_rows
from fastgd.kernels.cpu.residual import make_residual
from fastgd.kernels.cpu.update import count_update, numbers_of, run_steps
from fastgd.kernels.penalties import elastic_net_value
from fastgd.kernels.rules import RULES, STEPS, reduce_variance

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
    #: As in `records.Work`.
    seen: NDArray[np.float64]
    total: NDArray[np.float64]
    #: (d + members,) columns of the batch, each thread's from start + member on; (d,) the last batch of each column.
    #: Empty where all columns take a step.
    touched: NDArray[np.int64]
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
def add_products(X, number, m, work):
    """Add r_ik x_i of the m rows of batch `number` to the sums of this thread's columns; return how many it lists."""
    team, count = work.team, 0
    place = team.start + team.member
    for i in range(m):
        row = unsigned(work.rows[i])
        first, end = X.indptr[row], X.indptr[row + unsigned(1)]
        if team.members > 1:
            first = first_from(X, team.start, first, end)
            end = first_from(X, team.stop, first, end)
        if team.touched.size > 0:
            for at in range(unsigned(first), unsigned(end)):
                j = unsigned(X.indices[at])
                # Without a branch, which would be mispredicted for every other column.
                team.touched[unsigned(place + count)] = X.indices[at]
                count += 1 if team.batch[j] != number else 0
                team.batch[j] = number
        for k in range(team.r.shape[0]):
            r = np.float64(team.r[k, i])
            for at in range(unsigned(first), unsigned(end)):
                team.sums[k, unsigned(X.indices[at])] += r * np.float64(X.data[at])
    return count


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
            for block in range(team.penalties.shape[1]):
                penalty += team.penalties[k, block]
            team.seen[k] += rows * penalty


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
def _poison_touched(count, factor, rule, memory, coordinates, work, update):
    """Set theta to NaN, as for unknown rules in all columns."""
    memory.theta[0, 0] = math.nan


def _make_touched(other, code):
    """Factory of `step_touched`: the step with this code in the columns that a thread lists; `other` for others."""
    step = STEPS[code]

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
                g = factor * (team.sums[k, j] * coordinates.inv_scale[j])
                team.sums[k, j] = 0.0
                team.total[k, j] += g
                step(memory.theta, memory.slots, k, j, g, 0.0, True, update)
                team.w[k, j] = memory.theta[k, j] * coordinates.inv_scale[j]

    return step_touched


_RESTING = sorted({STEPS.index(rule.step) for rule in RULES.values() if rule.rests})
step_touched = functools.reduce(_make_touched, _RESTING, _poison_touched)


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
        for j in range(team.start, min(team.stop, team.batch.size)):
            team.batch[unsigned(j)] = -1
        for start in range(team.start, team.stop, COLUMNS):
            write_block(state, rule, coordinates, work, start, min(start + COLUMNS, team.stop))
        for number in range(first, last):
            start = number * batches.size
            rows = min(batches.size, n - start)
            write_rows(start, rows, n, batches, work.schedule, work.rows, 0)
            if not barrier(team):
                return
            begin_batch(rows, state, rule, work)
            run_tiles(data, rows, rule, state, work)
            if not barrier(team):
                return
            count = add_products(data.X, number, rows, work)
            add_derivatives(rows, work)
            step_columns(count, rows, n, rule.rates[number - first], rule, state, coordinates, work)

    return epoch
