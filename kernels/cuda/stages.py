"""The stages of a pass over a tile: rows to margins, margins to weighted loss derivatives, derivatives to the gradient.

`make_residual` gives `residual(data, point, tile, target, layout, buffers)`, called by the threads of each group: it
writes buffers.r = s_i dloss/dz_k and adds s_i loss_ik to buffers.loss_sums (softmax: to the first output's). `target`
is the result of `make_target`'s `target(data, tile, pair, layout)` for the thread's first pair of output and row, which
is loaded before the margins are needed.
"""

import numpy as np

from fastgd.kernels._jit import unsigned
from fastgd.kernels.cuda._target import WARP, cuda_device
from fastgd.kernels.cuda.layout import ROW_BITS, ROWS
from fastgd.kernels.cuda.loads import make_load, make_number
from fastgd.kernels.cuda.reduce import group_barrier, row_largest, row_total
from fastgd.kernels.cuda.tiles import group_of, lane_of, make_accumulate, make_margins, split_pair
from fastgd.kernels.losses import find_loss
from fastgd.kernels.mathfun import exp, log1p


@cuda_device
def margin(k, group, i, layout, buffers):
    """Return the margin of a group's row i, the sum of the parts of its warps."""
    start = (k * layout.groups + group) * ROWS + i
    total = buffers.z[unsigned(start)]
    for warp in range(1, layout.warps):
        total += buffers.z[unsigned(start + warp * layout.outputs * layout.groups * ROWS)]
    return total


@cuda_device
def weight(data, row):
    """Return the weight of a row."""
    return data.s[unsigned(row * data.weight_step)]


def make_target(loss: str, indexed: bool):
    """Factory of `target(data, tile, pair, layout)`: target and weight; past the last pair or row, those of the last.

    indexed: as in `loads.make_number`.
    """
    number, one_target = make_number(indexed), find_loss(loss).is_coupled

    @cuda_device
    def target(data, tile, pair, layout):
        k, i = split_pair(pair)
        row = number(tile, group_of(layout) * ROWS + i)
        return data.y[unsigned(0 if one_target else min(k, layout.outputs - 1)), row], weight(data, row)

    return target


def make_residual(loss: str, indexed: bool):
    """Make the residual stage of a loss."""
    return _softmax if find_loss(loss).is_coupled else _make_elementwise(loss, indexed)


def _make_elementwise(loss: str, indexed: bool):
    value, grad, next_target = find_loss(loss).value, find_loss(loss).grad, make_target(loss, indexed)

    @cuda_device
    def residual(data, point, tile, target, layout, buffers):
        group, pair = group_of(layout), lane_of(layout)
        y, s = target
        while pair < layout.outputs * ROWS:
            k, i = split_pair(pair)
            to = unsigned((k * layout.groups + group) * ROWS + i)
            r = buffers.r.dtype.type(0)
            if tile.at + group * ROWS + i < tile.stop:
                z = margin(k, group, i, layout, buffers)
                r = s * grad(z, y, point.p)
                buffers.loss_sums[to] += s * value(z, y, point.p)
            buffers.r[to] = r
            pair += layout.width
            if pair < layout.outputs * ROWS:
                y, s = next_target(data, tile, pair, layout)

    return residual


@cuda_device
def _softmax(data, point, tile, target, layout, buffers):
    """logsumexp(z) - z_y and its gradient softmax(z) - [k == y]; stable, shifted by the largest margin.

    The threads of a warp that have the same row share its outputs. In a larger group only the first warp has work.
    """
    group, lane = group_of(layout), lane_of(layout)
    q, i = split_pair(lane & (WARP - 1))
    step, sharing, first = layout.groups * ROWS, min(layout.width, WARP) >> ROW_BITS, group * ROWS + i
    q, there = (q if lane < WARP else layout.outputs), tile.at + first < tile.stop
    kind, label = buffers.r.dtype.type, int(target[0])
    # Loops of constant length; each turn checks whether the thread has an output.
    most, s, top, norm = -(-layout.outputs // sharing), (target[1] if there else kind(0)), kind(-np.inf), kind(0)
    for m in range(most):
        k = q + m * sharing
        if k < layout.outputs:
            z = margin(k, group, i, layout, buffers)
            buffers.r[unsigned(first + k * step)] = z
            # NaN may be skipped here; it enters through the sum.
            top = z if z > top else top
    top = row_largest(top, layout.width)
    for m in range(most):
        k = q + m * sharing
        if k < layout.outputs:
            at = unsigned(first + k * step)
            e = exp(buffers.r[at] - top)
            buffers.r[at] = e
            norm += e
    norm = row_total(norm, layout.width)
    if lane < ROWS and there:
        # norm >= 1, so that log1p(norm - 1) is log(norm).
        buffers.loss_sums[unsigned(first)] += s * (
            top - margin(label, group, i, layout, buffers) + log1p(norm - kind(1))
        )
    share = s / norm
    for m in range(most):
        k = q + m * sharing
        if k < layout.outputs:
            at = unsigned(first + k * step)
            r = buffers.r[at] * share
            buffers.r[at] = (r - s if k == label else r) if there else kind(0)


def make_reach(dtype: str, order: str, shift: bool, indexed: bool):
    """Factory of `reach(data, point, tile, layout, buffers, x)`: margins into buffers.z; x keeps the last piece's rows.

    indexed: as in `loads.make_number`; only tiles with indexed rows, those of mini-batches, have a point with an
    offset.
    """
    load, add_margins = make_load(order, shift, indexed), make_margins(dtype, indexed)

    @cuda_device
    def reach(data, point, tile, layout, buffers, x):
        for piece in range(layout.pieces):
            load(data.X, point, tile, piece, layout, buffers, x)
            add_margins(x, point, piece, layout, buffers)
        group_barrier(layout.width)

    return reach


def make_stages(loss: str, dtype: str, order: str, shift: bool, indexed: bool):
    """Factory of `derive` and `add` of (data, point, tile, layout, buffers, x); x keeps a tile's rows in between."""
    load, target, residual = make_load(order, shift, indexed), make_target(loss, indexed), make_residual(loss, indexed)
    reach, accumulate = make_reach(dtype, order, shift, indexed), make_accumulate(dtype)

    @cuda_device
    def derive(data, point, tile, layout, buffers, x):
        """Write derivatives into buffers.r and add losses to buffers.loss_sums."""
        found = target(data, tile, lane_of(layout), layout)
        reach(data, point, tile, layout, buffers, x)
        residual(data, point, tile, found, layout, buffers)
        group_barrier(layout.width)

    @cuda_device
    def add(data, point, tile, layout, buffers, x):
        """Add derivatives times rows to buffers.g."""
        for piece in range(layout.pieces):
            if layout.pieces > 1:
                load(data.X, point, tile, piece, layout, buffers, x)
            accumulate(x, piece, layout, buffers)

    return derive, add
