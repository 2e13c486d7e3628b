"""From margins to weighted loss derivatives: what happens between the two uses of a tile's rows.

`make_residual` gives `residual(data, point, tile, target, layout, room)`: it writes room.r = s_i dloss/dz_k and adds
s_i loss_ik into room.lost (softmax: into the first output's), by the threads of each group. `target` is what
`make_target`'s `target(data, tile, pair, layout)` gave for the thread's first pair of output and row: loaded before
the margins are waited for.
"""

import numpy as np

from fastgd.kernels._jit import unsigned
from fastgd.kernels.cuda._target import WARP, cuda_device
from fastgd.kernels.cuda.layout import ROW_BITS, ROWS
from fastgd.kernels.cuda.loads import make_number
from fastgd.kernels.cuda.reduce import row_largest, row_total
from fastgd.kernels.cuda.tiles import group_of, lane_of, split_pair
from fastgd.kernels.losses import find_loss
from fastgd.kernels.mathfun import exp, log1p


@cuda_device
def margin(k, group, i, layout, room):
    """The margin of a group's row i, from the parts of its warps."""
    start = (k * layout.groups + group) * ROWS + i
    total = room.z[unsigned(start)]
    for warp in range(1, layout.warps):
        total += room.z[unsigned(start + warp * layout.outputs * layout.groups * ROWS)]
    return total


@cuda_device
def weight(data, row):
    """The weight of a row."""
    return data.s[unsigned(row * data.weight_step)]


def make_target(loss: str, named: bool):
    """Factory of `target(data, tile, pair, layout)`: target and weight; past the last pair or row, those of the last.

    named: as in `loads.make_number`.
    """
    number, single = make_number(named), find_loss(loss).is_coupled

    @cuda_device
    def target(data, tile, pair, layout):
        k, i = split_pair(pair)
        row = number(tile, group_of(layout) * ROWS + i)
        return data.y[unsigned(0 if single else min(k, layout.outputs - 1)), row], weight(data, row)

    return target


def make_residual(loss: str, named: bool):
    """The residual stage of a loss by name."""
    return _softmax if find_loss(loss).is_coupled else _make_elementwise(loss, named)


def _make_elementwise(loss: str, named: bool):
    value, grad, next_target = find_loss(loss).value, find_loss(loss).grad, make_target(loss, named)

    @cuda_device
    def residual(data, point, tile, target, layout, room):
        group, pair = group_of(layout), lane_of(layout)
        y, s = target
        while pair < layout.outputs * ROWS:
            k, i = split_pair(pair)
            to = unsigned((k * layout.groups + group) * ROWS + i)
            r = room.r.dtype.type(0)
            if tile.at + group * ROWS + i < tile.stop:
                z = margin(k, group, i, layout, room)
                r = s * grad(z, y, point.p)
                room.lost[to] += s * value(z, y, point.p)
            room.r[to] = r
            pair += layout.width
            if pair < layout.outputs * ROWS:
                y, s = next_target(data, tile, pair, layout)

    return residual


@cuda_device
def _softmax(data, point, tile, target, layout, room):
    """logsumexp(z) - z_y and its gradient softmax(z) - [k == y]; stable, shifted by the largest margin.

    The threads of a warp that have the same row share its outputs. Of a larger group the first warp alone has work.
    """
    group, lane = group_of(layout), lane_of(layout)
    q, i = split_pair(lane & (WARP - 1))
    step, sharing, first = layout.groups * ROWS, min(layout.width, WARP) >> ROW_BITS, group * ROWS + i
    q, there = (q if lane < WARP else layout.outputs), tile.at + first < tile.stop
    kind, label = room.r.dtype.type, int(target[0])
    # Loops of constant length: how far a thread goes is seen in each turn.
    most, s, top, norm = -(-layout.outputs // sharing), (target[1] if there else kind(0)), kind(-np.inf), kind(0)
    for m in range(most):
        k = q + m * sharing
        if k < layout.outputs:
            z = margin(k, group, i, layout, room)
            room.r[unsigned(first + k * step)] = z
            # NaN is passed over here, and comes with the sum.
            top = z if z > top else top
    top = row_largest(top, layout.width)
    for m in range(most):
        k = q + m * sharing
        if k < layout.outputs:
            at = unsigned(first + k * step)
            e = exp(room.r[at] - top)
            room.r[at] = e
            norm += e
    norm = row_total(norm, layout.width)
    if lane < ROWS and there:
        # norm >= 1, so that log1p(norm - 1) is log(norm).
        room.lost[unsigned(first)] += s * (top - margin(label, group, i, layout, room) + log1p(norm - kind(1)))
    share = s / norm
    for m in range(most):
        k = q + m * sharing
        if k < layout.outputs:
            at = unsigned(first + k * step)
            r = room.r[at] * share
            room.r[at] = (r - s if k == label else r) if there else kind(0)
