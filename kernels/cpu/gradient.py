"""The full pass: loss and gradient over a run of blocks, reading X once from memory.

Contract of the kernels made here, `gradient(data, point, first, last, rows, tile, stack, out)`: compute the tree node
of blocks [first, last), where `first` is a multiple of a power of two not smaller than last - first. Written: `out`
(K d + 2 K,) float64, holding sum_i s_i dloss/dz_ik (x_i - shift) output by output, then sum_i s_i dloss/dz_ik, then
sum_i s_i loss_ik (softmax: all of it in the first); `tile` and `stack` are scratch. Margins and products are in the
dtype of X, sums over blocks in float64. Cost: n d numbers read, 4 n d K flops.
"""

from typing import Any

from fastgd.kernels._intrinsics import prefetch_row
from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.columns import make_column_accumulate, make_column_margins
from fastgd.kernels.cpu.residual import make_residual
from fastgd.kernels.cpu.tiles import LOADS, make_accumulate, make_margins
from fastgd.kernels.cpu.tree import collapse, push


@jitable
def load_targets(data: Any, start: Any, m: Any, tile: Any) -> None:
    """Copy targets and weights of m consecutive rows into the tile, and prefetch as many more."""
    stop = start + m
    for k in range(tile.y.shape[0]):
        prefetch_row(data.y, k, stop * data.y.itemsize, (stop + m) * data.y.itemsize)
        for i in range(m):
            tile.y[k, i] = data.y[k, unsigned(start + i)]
    if data.weight_step == 0:
        for i in range(m):
            tile.s[i] = data.s[0]
    else:
        prefetch_row(data.s, stop, 0, m * data.s.itemsize)
        for i in range(m):
            tile.s[i] = data.s[unsigned(start + i)]


@jitable
def clear(tile: Any) -> None:
    """Zero the block's gradient sum."""
    for k in range(tile.g.shape[0]):
        for j in range(tile.g.shape[1]):
            tile.g[k, j] = 0


@jitable
def add_derivatives(tile: Any, m: Any, leaf: Any) -> None:
    """Add sum_i r[k, i] into the leaf's intercept part."""
    outputs, d = tile.g.shape
    for k in range(outputs):
        total = 0.0
        for i in range(m):
            total += tile.r[k, i]
        leaf[outputs * d + k] += total


@jitable
def store(tile: Any, leaf: Any) -> None:
    """Widen the block's gradient sum into the leaf."""
    outputs, d = tile.g.shape
    for k in range(outputs):
        for j in range(d):
            leaf[unsigned(k * d + j)] = tile.g[k, j]


@kernel_factory
def make_gradient(loss: str, dtype: str, order: str, shift: bool) -> Any:
    """The full-pass kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F") and shifted columns or not."""
    name = f"gradient[{loss},{dtype},{order}{',shift' if shift else ''}]"
    block = _make_row_block(loss, shift) if order == "C" else _make_column_block(loss, shift)

    @cpu_kernel(name)
    def gradient(data: Any, point: Any, first: Any, last: Any, rows: Any, tile: Any, stack: Any, out: Any) -> None:
        n = data.y.shape[1]
        for number in range(first, last):
            start = number * rows
            block(data, point, start, min(start + rows, n), tile, out)
            push(stack, number - first, out)
        collapse(stack, last - first, out)

    return gradient


def _make_row_block(loss: str, shift: bool) -> Any:
    margins, accumulate = make_margins(shift), make_accumulate(shift)
    residual = make_residual(loss)

    @jitable
    def block(data: Any, point: Any, start: Any, stop: Any, tile: Any, leaf: Any) -> None:
        size = tile.rows.size // 2
        lost = tile.g.size + tile.g.shape[0]
        leaf[tile.g.size :] = 0.0
        clear(tile)
        for at in range(start, stop, size):
            m = min(size, stop - at)
            load_targets(data, at, m, tile)
            margins(data.X, point, at, size, m, tile.z)
            residual(tile.z, tile.y, tile.s, m, point.p, tile.r, leaf, lost)
            accumulate(data.X, point.shift, at, size + size // 2, m, tile.r, tile.g)
            add_derivatives(tile, m, leaf)
        store(tile, leaf)

    return block


def _make_column_block(loss: str, shift: bool) -> Any:
    margins, accumulate = make_column_margins(LOADS[shift]), make_column_accumulate(LOADS[shift])
    residual = make_residual(loss)

    @jitable
    def block(data: Any, point: Any, start: Any, stop: Any, tile: Any, leaf: Any) -> None:
        m = stop - start
        lost = tile.g.size + tile.g.shape[0]
        leaf[tile.g.size :] = 0.0
        load_targets(data, start, m, tile)
        margins(data.X, point, start, m, tile.z)
        residual(tile.z, tile.y, tile.s, m, point.p, tile.r, leaf, lost)
        accumulate(data.X, point.shift, start, m, tile.r, tile.g)
        add_derivatives(tile, m, leaf)
        store(tile, leaf)

    return block
