"""The mini-batch loop: gradient of a batch, rule and prox, next batch, without leaving compiled code.

Threads that share the batches of a call meet at barriers, since a call per operation would cost more than the work.
Every thread is one of the operating system's own and all of them run, so that none waits for a thread that never
starts; if one cannot go on, `stop` lets the others return.
"""

from fastgd.kernels._intrinsics import give_way, observe, publish
from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory
from fastgd.kernels.cpu.order import write_rows
from fastgd.kernels.cpu.residual import make_residual
from fastgd.kernels.cpu.tiles import LOADS, make_accumulate, make_gather, make_margins, prefetch_rows
from fastgd.kernels.cpu.update import apply_rule, penalty
from fastgd.kernels.records import BLOCK_ROWS
from fastgd.kernels.rules import reduce_variance

#: Words of a cache line, so that threads that publish do not disturb each other.
LINE = 8
#: Polls of the other threads, some ten microseconds, after which a waiting thread yields its core.
PATIENCE = 4096


@jitable
def barrier(team):
    """Wait until all threads of the team have arrived, and see their earlier writes; False: stop."""
    if team.members == 1:
        return True
    own = LINE * (1 + team.member)
    count = observe(team.reached, own) + 1
    publish(team.reached, own, count)
    polls = 0
    for other in range(team.members):
        while observe(team.reached, LINE * (1 + other)) < count:
            if observe(team.reached, 0) != 0:
                return False
            polls += 1
            if polls % PATIENCE == 0:
                give_way()
    return True


@jitable
def write_batch_rows(at, m, n, batches, work):
    """Write the m rows from position `at` of the epoch, and as many from `work.ahead` further on, to prefetch."""
    rows = work.tile.rows
    write_rows(at, m, n, batches, work.schedule, rows, 0)
    write_rows(at + work.ahead, m, n, batches, work.schedule, rows, rows.size // 2)


@jitable
def load_batch_targets(data, m, tile):
    """Copy targets and weights of the tile's rows."""
    for k in range(tile.y.shape[0]):
        for i in range(m):
            tile.y[k, i] = data.y[k, tile.rows[i]]
    for i in range(m):
        tile.s[i] = data.s[0] if data.weight_step == 0 else data.s[tile.rows[i]]


@jitable
def write_point(state, rule, coordinates, work):
    """Write where the gradient is taken: to work.at, and raw, in the dtype of X, to work.point."""
    w, b, at = work.point.w, work.point.b, work.at
    outputs, d = w.shape
    for k in range(outputs):
        for j in range(d + 1):
            at[k, j] = state.memory.theta[k, j]
        if rule.ahead != 0.0:
            for j in range(d + 1):
                at[k, j] += rule.ahead * state.memory.slots[0, k, j]
        moved = at[k, d]
        for j in range(d):
            raw = at[k, j] * coordinates.inv_scale[j]
            w[k, j] = raw
            moved -= raw * work.offset[j]
        b[k] = moved


@jitable
def flush(tile, part, sums):
    """Add the tile's gradient sum to a part's, in float64, and clear it."""
    for k in range(tile.g.shape[0]):
        for j in range(tile.g.shape[1]):
            sums[part, k, j] += tile.g[k, j]
            tile.g[k, j] = 0


@jitable
def add_derivatives(tile, m, part, derivatives):
    """Add sum_i r[k, i] to a part's."""
    for k in range(tile.r.shape[0]):
        total = 0.0
        for i in range(m):
            total += tile.r[k, i]
        derivatives[part, k] += total


@jitable
def clear(part, team):
    """Set a part's sums to 0."""
    for k in range(team.derivatives.shape[1]):
        team.derivatives[part, k] = 0.0
        team.loss_sums[part * team.derivatives.shape[1] + k] = 0.0
        for j in range(team.sums.shape[2]):
            team.sums[part, k, j] = 0.0


@jitable
def add_parts(team, parts):
    """Add all parts to the first, in their order."""
    outputs = team.derivatives.shape[1]
    for part in range(1, parts):
        for k in range(outputs):
            team.derivatives[0, k] += team.derivatives[part, k]
            team.loss_sums[k] += team.loss_sums[part * outputs + k]
            for j in range(team.sums.shape[2]):
                team.sums[0, k, j] += team.sums[part, k, j]


@jitable
def to_gradient(team, coordinates, work, factor):
    """Convert the sums over a batch to work.g, the gradient of its mean loss in working coordinates."""
    _, outputs, d = team.sums.shape
    for k in range(outputs):
        total = team.derivatives[0, k]
        for j in range(d):
            centred = (team.sums[0, k, j] - work.offset[j] * total) * coordinates.inv_scale[j]
            work.g[k, j] = factor * centred
        work.g[k, d] = factor * total * work.intercept


@jitable
def finish_gradient(state, rule, coordinates, work, share):
    """Add the L2 term, and with SAGA the table's mean gradient; share: of the batch in all rows."""
    for k in range(work.g.shape[0]):
        for j in range(work.g.shape[1]):
            change = work.g[k, j]
            g = change + coordinates.l2[k, j] * work.at[k, j]
            if rule.keeps_rows:
                g += reduce_variance(state.memory.slots, k, j, change, share)
            work.g[k, j] = g
            work.total[k, j] += g


@jitable
def replace_derivatives(tile, m, table):
    """Store the tile's loss derivatives in the table, and leave their changes in the tile."""
    for k in range(tile.r.shape[0]):
        for i in range(m):
            now = tile.r[k, i]
            tile.r[k, i] = now - table[k, tile.rows[i]]
            table[k, tile.rows[i]] = now


@jitable
def finish_batch(number, rows, parts, n, rule, state, coordinates, work):
    """Compute loss, gradient and update of a batch of so many rows from its parts; `number`: of its rate."""
    team = work.team
    add_parts(team, parts)
    for k in range(work.seen.size):
        work.seen[k] += team.loss_sums[k] * work.factor + rows * penalty(work.at, coordinates, k)
    to_gradient(team, coordinates, work, work.factor / rows)
    finish_gradient(state, rule, coordinates, work, rows / n)
    apply_rule(state.memory, work.g, rule, rule.rates[number], coordinates.l1)


@kernel_factory
def make_epoch(loss: str, dtype: str, order: str, shift: bool):
    """Make the mini-batch kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F"), and a shift or none.

    `epoch(data, batches, first, last, rule, state, coordinates, work)` runs batches [first, last) of an epoch. It adds
    the sum over them of rows x (mean loss before the update + penalty) to work.seen, an entry per output, and their
    gradients to work.total. Written: `state`; the rest of `work` is scratch. The gradient of batch B is (1 / (|B|
    s_mean)) sum_B s_i dloss/dz_i x_i + l2 theta (1 / s_mean is work.factor). Every thread of a team calls it with its
    own `work` and the same `state`, which the first one updates.
    """
    name = f"epoch[{loss},{dtype},{order}{',shift' if shift else ''}]"
    add_tile = _make_row_tile(loss, shift) if order == "C" else _make_column_tile(loss, shift)

    @jitable
    def add_part(data, batches, start, stop, part, rule, state, work):
        tile, team = work.tile, work.team
        size = tile.rows.size // 2
        clear(part, team)
        for at in range(start, stop, size):
            m = min(size, stop - at)
            write_batch_rows(at, m, data.y.shape[1], batches, work)
            load_batch_targets(data, m, tile)
            add_tile(data, m, work, rule, state, part)
            add_derivatives(tile, m, part, team.derivatives)
            # Sums in the dtype of X have as many rows as a block of the full pass.
            if (at - start) % BLOCK_ROWS == BLOCK_ROWS - size:
                flush(tile, part, team.sums)
        flush(tile, part, team.sums)

    @cpu_kernel(name)
    def epoch(data, batches, first, last, rule, state, coordinates, work):
        n, team = data.y.shape[1], work.team
        for number in range(first, last):
            start = number * batches.size
            stop = min(start + batches.size, n)
            parts = (stop - start + team.rows - 1) // team.rows
            write_point(state, rule, coordinates, work)
            for part in range(team.member, parts, team.members):
                begin = start + part * team.rows
                add_part(data, batches, begin, min(begin + team.rows, stop), part, rule, state, work)
            if not barrier(team):
                return
            if team.member == 0:
                finish_batch(number - first, stop - start, parts, n, rule, state, coordinates, work)
            if not barrier(team):
                return

    return epoch


def _make_row_tile(loss: str, shift: bool):
    margins, accumulate = make_margins(shift), make_accumulate(shift)
    residual = make_residual(loss)

    @jitable
    def add_tile(data, m, work, rule, state, part):
        tile, team = work.tile, work.team
        half = tile.rows.size // 2
        if half < 8:
            # Too few rows for the loops below, which prefetch in groups.
            prefetch_rows(data.X, tile.rows, half, half + m)
        margins(data.X, work.point, tile.rows, half, m, tile.z)
        residual(tile.z, tile.y, tile.s, m, work.point.p, tile.r, team.loss_sums, part * tile.r.shape[0])
        if rule.keeps_rows:
            replace_derivatives(tile, m, state.table)
        accumulate(data.X, work.point.shift, tile.rows, half + half // 2, m, tile.r, tile.g)

    return add_tile


def _make_column_tile(loss: str, shift: bool):
    """Gather shuffled column-major rows into a row-major tile, shifted on the way."""
    margins, accumulate = make_margins(False), make_accumulate(False)
    gather, residual = make_gather(LOADS[shift]), make_residual(loss)

    @jitable
    def add_tile(data, m, work, rule, state, part):
        tile, team = work.tile, work.team
        gather(data.X, work.point.shift, tile.rows, m, work.gathered)
        margins(work.gathered, work.point, 0, 0, m, tile.z)
        residual(tile.z, tile.y, tile.s, m, work.point.p, tile.r, team.loss_sums, part * tile.r.shape[0])
        if rule.keeps_rows:
            replace_derivatives(tile, m, state.table)
        accumulate(work.gathered, work.point.shift, 0, 0, m, tile.r, tile.g)

    return add_tile
