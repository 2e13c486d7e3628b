"""From margins to weighted loss derivatives: what happens between the two uses of a tile's rows.

`make_residual` gives `residual(data, point, tile, layout, room)`: it writes room.r = s_i dloss/dz_k and adds
s_i loss_ik into room.lost (softmax: into the first output's), by the threads of each group.
"""

from typing import Any

from fastgd.kernels.cuda._target import cuda_device
from fastgd.kernels.cuda.layout import ROWS
from fastgd.kernels.cuda.tiles import group_of, lane_of
from fastgd.kernels.losses import ELEMENTWISE
from fastgd.kernels.mathfun import exp, log1p


@cuda_device
def margin(k: Any, group: Any, i: Any, layout: Any, room: Any) -> Any:
    """The margin of a group's row i, from the parts of its warps."""
    start = (k * layout.groups + group) * layout.warps * ROWS + i
    total = room.z[start]
    for warp in range(1, layout.warps):
        total += room.z[start + warp * ROWS]
    return total


@cuda_device
def weight(data: Any, row: Any) -> Any:
    """The weight of a row."""
    return data.s[row * data.weight_step]


def make_residual(loss: str, named: bool) -> Any:
    """The residual stage of a loss by name; `named`: as in `tiles.make_load`."""
    if loss == "softmax":
        return _make_softmax(named)
    value, grad, _ = ELEMENTWISE[loss]

    @cuda_device
    def residual(data: Any, point: Any, tile: Any, layout: Any, room: Any) -> None:
        group, lane = group_of(layout), lane_of(layout)
        for pair in range(lane, layout.outputs * ROWS, layout.width):
            k, i = pair // ROWS, pair % ROWS
            to, position = (k * layout.groups + group) * ROWS + i, tile.at + group * ROWS + i
            r = room.r.dtype.type(0)
            if position < tile.stop:
                row = tile.rows[group * ROWS + i] if named else position
                z, y, s = margin(k, group, i, layout, room), data.y[k, row], weight(data, row)
                r = s * grad(z, y, point.p)
                room.lost[to] += s * value(z, y, point.p)
            room.r[to] = r

    return residual


def _make_softmax(named: bool) -> Any:
    @cuda_device
    def residual(data: Any, point: Any, tile: Any, layout: Any, room: Any) -> None:
        """logsumexp(z) - z_y and its gradient softmax(z) - [k == y]; stable, shifted by the largest margin."""
        group, i = group_of(layout), lane_of(layout)
        if i >= ROWS:
            return
        step = layout.groups * ROWS
        first, position = group * ROWS + i, tile.at + group * ROWS + i
        zero, one = room.r.dtype.type(0), room.r.dtype.type(1)
        if position >= tile.stop:
            for k in range(layout.outputs):
                room.r[first + k * step] = zero
            return
        row = tile.rows[first] if named else position
        s, label = weight(data, row), int(data.y[0, row])
        top = margin(0, group, i, layout, room)
        for k in range(layout.outputs):
            z = margin(k, group, i, layout, room)
            room.r[first + k * step] = z
            # Written so that NaN of the first margin stays.
            top = z if z > top else top
        own, norm = room.r[first + label * step], zero
        for k in range(layout.outputs):
            e = exp(room.r[first + k * step] - top)
            room.r[first + k * step] = e
            norm += e
        # norm >= 1, so that log1p(norm - 1) is log(norm).
        room.lost[first] += s * (top - own + log1p(norm - one))
        share = s / norm
        for k in range(layout.outputs):
            room.r[first + k * step] = room.r[first + k * step] * share - (s if k == label else zero)

    return residual
