"""Curvatures of a loss at each row's margins, and what softmax couples them by.

`curvatures(data, point, per_block, out)`: block b takes rows [b per_block, (b + 1) per_block) and writes
out[k, i] = s_i loss''(z_ik), out (K, n); softmax: out[0, i] = s_i sum_k p_k (1 - p_k) / K, out (1, n).
`shares(data, point, per_block, out)` writes out[k, i] = p_k, softmax's, without weights. Either in the dtype
of X. Launch: `layout.for_curvatures()`, `layout.threads` threads a block.
"""

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.layout import ROWS, Layout
from fastgd.kernels.cuda.reduce import group_barrier
from fastgd.kernels.cuda.residual import margin, weight
from fastgd.kernels.cuda.stages import make_reach
from fastgd.kernels.cuda.tiles import HELD, TYPES, Tile, group_of, lane_of, split, split_pair
from fastgd.kernels.losses import find_loss
from fastgd.kernels.mathfun import exp


@kernel_factory
def make_curvatures(loss: str, dtype: str, order: str, shift: bool, layout: Layout):
    """The kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F"), shifted columns or not, and a layout."""
    write = _write_mean_curvature if find_loss(loss).is_coupled else _make_write(loss)
    return _make_pass(f"curvatures_{loss}", write, (dtype, order, shift), layout)


@kernel_factory
def make_shares(dtype: str, order: str, shift: bool, layout: Layout):
    """The kernel of softmax's shares for a dtype ("f4", "f8"), an order ("C", "F"), shifted or not, and a layout."""
    return _make_pass("shares", _write_shares, (dtype, order, shift), layout)


def _make_pass(name: str, write, ingredients: tuple[str, str, bool], layout: Layout):
    dtype, order, shift = ingredients
    kind, reach = TYPES[dtype], make_reach(dtype, order, shift, False)

    @cuda_kernel(f"{name}_{dtype}_{order}{'_shift' if shift else ''}")
    def curvatures(data, point, per_block, out):
        x, shared = cuda.local.array(HELD, kind), cuda.shared.array(0, kind)
        room = split(shared, layout, shared[:0])
        start = cuda.blockIdx.x * per_block
        stop = min(start + per_block, data.y.shape[1])
        for at in range(start, stop, layout.groups * ROWS):
            tile = Tile(data.s, at, stop)
            reach(data, point, tile, layout, room, x)
            write(data, point, tile, layout, room, out)
            group_barrier(layout.width)

    return curvatures


def _make_write(loss: str):
    curvature = find_loss(loss).curvature

    @cuda_device
    def write(data, point, tile, layout, room, out):
        group, pair = group_of(layout), lane_of(layout)
        while pair < layout.outputs * ROWS:
            k, i = split_pair(pair)
            row = tile.at + group * ROWS + i
            if row < tile.stop:
                z, y = margin(k, group, i, layout, room), data.y[unsigned(k), unsigned(row)]
                out[unsigned(k), unsigned(row)] = weight(data, row) * curvature(z, y, point.p)
            pair += layout.width

    return write


@cuda_device
def _exponentials(group, i, layout, room):
    """Write exp(z_k - top) of the group's row i into room.r, and add them up."""
    top, step, first = margin(0, group, i, layout, room), layout.groups * ROWS, group * ROWS + i
    for k in range(1, layout.outputs):
        z = margin(k, group, i, layout, room)
        # Written so that NaN of the first margin stays.
        top = z if z > top else top
    norm = room.r.dtype.type(0)
    for k in range(layout.outputs):
        e = exp(margin(k, group, i, layout, room) - top)
        room.r[unsigned(first + k * step)] = e
        norm += e
    return norm


@cuda_device
def _write_mean_curvature(data, point, tile, layout, room, out):
    group, i = group_of(layout), lane_of(layout)
    row, first = tile.at + group * ROWS + i, group * ROWS + i
    if i < ROWS and row < tile.stop:
        norm, total, one = _exponentials(group, i, layout, room), room.r.dtype.type(0), room.r.dtype.type(1)
        for k in range(layout.outputs):
            p = room.r[unsigned(first + k * layout.groups * ROWS)] / norm
            total += p * (one - p)
        out[unsigned(0), unsigned(row)] = weight(data, row) * total / room.r.dtype.type(layout.outputs)


@cuda_device
def _write_shares(data, point, tile, layout, room, out):
    group, i = group_of(layout), lane_of(layout)
    row, first = tile.at + group * ROWS + i, group * ROWS + i
    if i < ROWS and row < tile.stop:
        norm = _exponentials(group, i, layout, room)
        for k in range(layout.outputs):
            out[unsigned(k), unsigned(row)] = room.r[unsigned(first + k * layout.groups * ROWS)] / norm
