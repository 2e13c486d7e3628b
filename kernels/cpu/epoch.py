"""The mini-batch loop: gradient of a batch, rule and prox, next batch, without leaving compiled code."""

from typing import Any

from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.residual import make_residual
from fastgd.kernels.cpu.team import meet
from fastgd.kernels.cpu.tiles import LOADS, make_accumulate, make_gather, make_margins, prefetch_rows
from fastgd.kernels.cpu.update import apply_rule, penalty
from fastgd.kernels.records import BLOCK_ROWS
from fastgd.kernels.rules import reduce_variance
from fastgd.kernels.shuffle import RUN, WINDOW, bit_length, feistel, make_key, permute


@jitable
def fill_window(window: Any, n: Any, batches: Any, order: Any, runs: Any) -> None:
    """Write the rows of a window in the order in which they are visited; `runs` is scratch."""
    base = window * WINDOW
    size = min(WINDOW, n - base)
    whole = n // RUN
    key = make_key(batches.seed, batches.epoch, 0)
    first = base // RUN
    for q in range((size + RUN - 1) // RUN):
        run = first + q
        runs[q] = permute(run, whole, key) if run < whole else run
    key = make_key(batches.seed, batches.epoch, 1 + window)
    bits = bit_length(size - 1)
    # Apart from the walk, so that this loop vectorises: a full window needs no walking.
    for i in range(size):
        order[i] = feistel(i, bits, key)
    for i in range(size):
        q = order[i]
        while q >= size:
            q = feistel(q, bits, key)
        order[i] = runs[unsigned(q // RUN)] * RUN + q % RUN


@jitable
def name_rows_in_order(at: Any, m: Any, n: Any, batches: Any, schedule: Any, rows: Any, to: Any) -> None:
    """Write the rows at positions [at, at + m) of the epoch into rows[to : to + m]; past the end the last row."""
    i = 0
    while i < m:
        t = min(at + i, n - 1)
        if not batches.shuffle:
            rows[to + i] = t
            i += 1
            continue
        window = t // WINDOW
        half = window % 2
        if schedule.filled[half] != window:
            fill_window(window, n, batches, schedule.order[half], schedule.runs)
            schedule.filled[half] = window
        offset = t - window * WINDOW
        count = min(m - i, WINDOW - offset, n - t)
        for q in range(count):
            rows[to + i + q] = schedule.order[half, unsigned(offset + q)]
        i += count


@jitable
def name_batch_rows(at: Any, m: Any, n: Any, batches: Any, work: Any) -> None:
    """Name the m rows from position `at` of the epoch, and as many from `work.ahead` further on, to be prefetched."""
    rows = work.tile.rows
    name_rows_in_order(at, m, n, batches, work.schedule, rows, 0)
    name_rows_in_order(at + work.ahead, m, n, batches, work.schedule, rows, rows.size // 2)


@jitable
def load_batch_targets(data: Any, m: Any, tile: Any) -> None:
    """Copy targets and weights of the tile's rows."""
    for k in range(tile.y.shape[0]):
        for i in range(m):
            tile.y[k, i] = data.y[k, tile.rows[i]]
    for i in range(m):
        tile.s[i] = data.s[0] if data.weight_step == 0 else data.s[tile.rows[i]]


@jitable
def take_point(state: Any, rule: Any, coordinates: Any, work: Any) -> None:
    """Write where the gradient is taken: into work.at, and raw, in the dtype of X, into work.point."""
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
def flush(tile: Any, part: Any, sums: Any) -> None:
    """Move the tile's gradient sum into a part's, in float64."""
    for k in range(tile.g.shape[0]):
        for j in range(tile.g.shape[1]):
            sums[part, k, j] += tile.g[k, j]
            tile.g[k, j] = 0


@jitable
def add_derivatives(tile: Any, m: Any, part: Any, derivatives: Any) -> None:
    """Add sum_i r[k, i] into a part's."""
    for k in range(tile.r.shape[0]):
        total = 0.0
        for i in range(m):
            total += tile.r[k, i]
        derivatives[part, k] += total


@jitable
def clear(part: Any, team: Any) -> None:
    """Set a part's sums to 0."""
    for k in range(team.derivatives.shape[1]):
        team.derivatives[part, k] = 0.0
        team.lost[part * team.derivatives.shape[1] + k] = 0.0
        for j in range(team.sums.shape[2]):
            team.sums[part, k, j] = 0.0


@jitable
def add_parts(team: Any, parts: Any) -> None:
    """Add all parts into the first, in their order."""
    outputs = team.derivatives.shape[1]
    for part in range(1, parts):
        for k in range(outputs):
            team.derivatives[0, k] += team.derivatives[part, k]
            team.lost[k] += team.lost[part * outputs + k]
            for j in range(team.sums.shape[2]):
                team.sums[0, k, j] += team.sums[part, k, j]


@jitable
def to_gradient(team: Any, coordinates: Any, work: Any, factor: Any) -> None:
    """Turn the sums over a batch into work.g, the gradient of its mean loss in working coordinates."""
    _, outputs, d = team.sums.shape
    for k in range(outputs):
        total = team.derivatives[0, k]
        for j in range(d):
            centred = (team.sums[0, k, j] - work.offset[j] * total) * coordinates.inv_scale[j]
            work.g[k, j] = factor * centred
        work.g[k, d] = factor * total * work.intercept


@jitable
def finish_gradient(state: Any, rule: Any, coordinates: Any, work: Any, share: Any) -> None:
    """Add the L2 term; with SAGA the table's mean gradient, which then learns what changed in a batch of that share."""
    for k in range(work.g.shape[0]):
        for j in range(work.g.shape[1]):
            change = work.g[k, j]
            g = change + coordinates.l2[k, j] * work.at[k, j]
            if rule.keeps_rows:
                g += reduce_variance(state.memory.slots, k, j, change, share)
            work.g[k, j] = g
            work.total[k, j] += g


@jitable
def replace_derivatives(tile: Any, m: Any, table: Any) -> None:
    """Keep the tile's loss derivatives in the table, and leave in the tile what they changed by."""
    for k in range(tile.r.shape[0]):
        for i in range(m):
            now = tile.r[k, i]
            tile.r[k, i] = now - table[k, tile.rows[i]]
            table[k, tile.rows[i]] = now


@jitable
def finish_batch(number: Any, rows: Any, parts: Any, n: Any, rule: Any, state: Any, coordinates: Any, work: Any) -> Any:
    """Loss, gradient and update of a batch of that many rows, from the sums of its parts; `number` is its rate's."""
    team = work.team
    add_parts(team, parts)
    for k in range(work.seen.size):
        work.seen[k] += team.lost[k] * work.factor + rows * penalty(work.at, coordinates, k)
    to_gradient(team, coordinates, work, work.factor / rows)
    finish_gradient(state, rule, coordinates, work, rows / n)
    apply_rule(state.memory, work.g, rule, rule.rates[number], coordinates.l1)


@kernel_factory
def make_epoch(loss: str, dtype: str, order: str, shift: bool) -> Any:
    """The mini-batch kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F") and shifted columns or not.

    `epoch(data, batches, first, last, rule, state, coordinates, work)` runs batches [first, last) of an epoch. It adds
    the sum over them of rows x (mean loss before the update + penalty) into work.seen, an entry an output, and their
    gradients into work.total. Written: `state`; the rest of `work` is scratch.
    The gradient of batch B is (1 / (|B| s_mean)) sum_B s_i dloss/dz_i x_i + l2 theta (1 / s_mean is work.factor).
    Every thread of a team calls it with a `work` of its own and the same `state`, which the first one updates.
    """
    name = f"epoch[{loss},{dtype},{order}{',shift' if shift else ''}]"
    add_tile = _make_row_tile(loss, shift) if order == "C" else _make_column_tile(loss, shift)

    @jitable
    def add_part(data: Any, batches: Any, start: Any, stop: Any, part: Any, rule: Any, state: Any, work: Any) -> None:
        tile, team = work.tile, work.team
        size = tile.rows.size // 2
        clear(part, team)
        for at in range(start, stop, size):
            m = min(size, stop - at)
            name_batch_rows(at, m, data.y.shape[1], batches, work)
            load_batch_targets(data, m, tile)
            add_tile(data, m, work, rule, state, part)
            add_derivatives(tile, m, part, team.derivatives)
            # As many rows as a block of the full pass are summed in the dtype of X.
            if (at - start) % BLOCK_ROWS == BLOCK_ROWS - size:
                flush(tile, part, team.sums)
        flush(tile, part, team.sums)

    @cpu_kernel(name)
    def epoch(
        data: Any, batches: Any, first: Any, last: Any, rule: Any, state: Any, coordinates: Any, work: Any
    ) -> None:
        n, team = data.y.shape[1], work.team
        for number in range(first, last):
            start = number * batches.size
            stop = min(start + batches.size, n)
            parts = (stop - start + team.rows - 1) // team.rows
            take_point(state, rule, coordinates, work)
            for part in range(team.member, parts, team.members):
                begin = start + part * team.rows
                add_part(data, batches, begin, min(begin + team.rows, stop), part, rule, state, work)
            if not meet(team):
                return
            if team.member == 0:
                finish_batch(number - first, stop - start, parts, n, rule, state, coordinates, work)
            if not meet(team):
                return

    return epoch


def _make_row_tile(loss: str, shift: bool) -> Any:
    margins, accumulate = make_margins(shift), make_accumulate(shift)
    residual = make_residual(loss)

    @jitable
    def add_tile(data: Any, m: Any, work: Any, rule: Any, state: Any, part: Any) -> None:
        tile, team = work.tile, work.team
        half = tile.rows.size // 2
        if half < 8:
            # Too few rows for the loops below, which prefetch in groups.
            prefetch_rows(data.X, tile.rows, half, half + m)
        margins(data.X, work.point, tile.rows, half, m, tile.z)
        residual(tile.z, tile.y, tile.s, m, work.point.p, tile.r, team.lost, part * tile.r.shape[0])
        if rule.keeps_rows:
            replace_derivatives(tile, m, state.table)
        accumulate(data.X, work.point.shift, tile.rows, half + half // 2, m, tile.r, tile.g)

    return add_tile


def _make_column_tile(loss: str, shift: bool) -> Any:
    """Shuffled column-major rows are gathered into a row-major tile, shifted on the way."""
    margins, accumulate = make_margins(False), make_accumulate(False)
    gather, residual = make_gather(LOADS[shift]), make_residual(loss)

    @jitable
    def add_tile(data: Any, m: Any, work: Any, rule: Any, state: Any, part: Any) -> None:
        tile, team = work.tile, work.team
        gather(data.X, work.point.shift, tile.rows, m, work.gathered)
        margins(work.gathered, work.point, 0, 0, m, tile.z)
        residual(tile.z, tile.y, tile.s, m, work.point.p, tile.r, team.lost, part * tile.r.shape[0])
        if rule.keeps_rows:
            replace_derivatives(tile, m, state.table)
        accumulate(work.gathered, work.point.shift, 0, 0, m, tile.r, tile.g)

    return add_tile
