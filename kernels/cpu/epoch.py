"""The mini-batch loop: gradient of a batch, rule and prox, next batch, without leaving compiled code."""

from typing import Any

from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.residual import make_residual
from fastgd.kernels.cpu.tiles import LOADS, make_accumulate, make_gather, make_margins, prefetch_rows
from fastgd.kernels.cpu.update import apply_rule, penalty
from fastgd.kernels.records import BLOCK_ROWS
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
def to_raw(state: Any, coordinates: Any, work: Any) -> None:
    """Write the raw coefficients and intercepts of theta into work.point, in the dtype of X."""
    w, b = work.point.w, work.point.b
    outputs, d = w.shape
    for k in range(outputs):
        moved = state.theta[k, d]
        for j in range(d):
            raw = state.theta[k, j] * coordinates.inv_scale[j]
            w[k, j] = raw
            moved -= raw * work.offset[j]
        b[k] = moved


@jitable
def to_gradient(state: Any, coordinates: Any, work: Any, factor: Any) -> None:
    """Turn batch sums in work.sums, work.derivatives into the gradient work.g in working coordinates, with L2."""
    outputs, d = work.sums.shape
    theta = state.theta
    for k in range(outputs):
        total = work.derivatives[k]
        for j in range(d):
            centred = (work.sums[k, j] - work.offset[j] * total) * coordinates.inv_scale[j]
            work.g[k, j] = factor * centred + coordinates.l2[k, j] * theta[k, j]
        work.g[k, d] = factor * total * work.intercept


@jitable
def flush(work: Any, tile: Any) -> None:
    """Move the tile's gradient sum into the batch's, in float64."""
    for k in range(tile.g.shape[0]):
        for j in range(tile.g.shape[1]):
            work.sums[k, j] += tile.g[k, j]
            tile.g[k, j] = 0


@jitable
def add_derivatives(tile: Any, m: Any, work: Any) -> None:
    """Add sum_i r[k, i] into the batch's."""
    for k in range(tile.r.shape[0]):
        total = 0.0
        for i in range(m):
            total += tile.r[k, i]
        work.derivatives[k] += total


@kernel_factory
def make_epoch(loss: str, dtype: str, order: str, shift: bool) -> Any:
    """The mini-batch kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F") and shifted columns or not.

    `epoch(data, batches, first, last, rule, state, coordinates, work)` runs batches [first, last) of an epoch and
    adds the sum over them of rows x (mean loss before the update + penalty) into work.seen, an entry an output.
    Written: `state`; the rest of `work` is scratch.
    The gradient of batch B is (1 / (|B| s_mean)) sum_B s_i dloss/dz_i x_i + l2 theta (1 / s_mean is work.factor).
    """
    name = f"epoch[{loss},{dtype},{order}{',shift' if shift else ''}]"
    add_tile = _make_row_tile(loss, shift) if order == "C" else _make_column_tile(loss, shift)

    @cpu_kernel(name)
    def epoch(
        data: Any, batches: Any, first: Any, last: Any, rule: Any, state: Any, coordinates: Any, work: Any
    ) -> None:
        n = data.y.shape[1]
        tile = work.tile
        size = tile.rows.size // 2
        for number in range(first, last):
            start = number * batches.size
            stop = min(start + batches.size, n)
            to_raw(state, coordinates, work)
            work.sums[:, :] = 0.0
            work.derivatives[:] = 0.0
            work.lost[:] = 0.0
            for at in range(start, stop, size):
                m = min(size, stop - at)
                name_batch_rows(at, m, n, batches, work)
                load_batch_targets(data, m, tile)
                add_tile(data, m, work, tile)
                add_derivatives(tile, m, work)
                # As many rows as a block of the full pass are summed in the dtype of X.
                if (at - start) % BLOCK_ROWS == BLOCK_ROWS - size:
                    flush(work, tile)
            flush(work, tile)
            for k in range(work.seen.size):
                work.seen[k] += work.lost[k] * work.factor + (stop - start) * penalty(state.theta, coordinates, k)
            to_gradient(state, coordinates, work, work.factor / (stop - start))
            apply_rule(state, work.g, rule, rule.rates[number - first], coordinates.l1)

    return epoch


def _make_row_tile(loss: str, shift: bool) -> Any:
    margins, accumulate = make_margins(LOADS[shift]), make_accumulate(LOADS[shift])
    residual = make_residual(loss)

    @jitable
    def add_tile(data: Any, m: Any, work: Any, tile: Any) -> None:
        half = tile.rows.size // 2
        if half < 8:
            # Too few rows for the loops below, which prefetch in groups.
            prefetch_rows(data.X, tile.rows, half, half + m)
        margins(data.X, work.point, tile.rows, m, tile.z)
        residual(tile.z, tile.y, tile.s, m, work.point.p, tile.r, work.lost, 0)
        accumulate(data.X, work.point.shift, tile.rows, m, tile.r, tile.g)

    return add_tile


def _make_column_tile(loss: str, shift: bool) -> Any:
    """Shuffled column-major rows are gathered into a row-major tile, shifted on the way."""
    margins, accumulate = make_margins(LOADS[False]), make_accumulate(LOADS[False])
    gather, residual = make_gather(LOADS[shift]), make_residual(loss)

    @jitable
    def add_tile(data: Any, m: Any, work: Any, tile: Any) -> None:
        gather(data.X, work.point.shift, tile.rows, m, work.gathered)
        margins(work.gathered, work.point, work.consecutive, m, tile.z)
        residual(tile.z, tile.y, tile.s, m, work.point.p, tile.r, work.lost, 0)
        accumulate(work.gathered, work.point.shift, work.consecutive, m, tile.r, tile.g)

    return add_tile
