"""The full pass: loss and gradient over a run of blocks, reading X once from memory.

Contract of the kernels, `gradient(data, point, first, last, rows, tile, stack, out)`: compute the tree node of blocks
[first, last), where `first` is a multiple of a power of two not smaller than last - first. Written: `out` (K d + 2 K,)
float64, holding sum_i s_i dloss/dz_ik (x_i - shift) output by output, then sum_i s_i dloss/dz_ik, then sum_i s_i
loss_ik (softmax: all of it in the first); `tile` and `stack` are scratch. Margins and products are in the dtype of X,
sums over blocks in float64. Cost: n d numbers read, 4 n d K flops. Column-major X comes as its transpose (d, n), so
that a column's segment is contiguous; the inner loops over it process four columns at a time.
"""

from fastgd.kernels._intrinsics import prefetch_row
from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.residual import make_residual
from fastgd.kernels.cpu.tiles import LOADS, make_accumulate, make_margins
from fastgd.kernels.cpu.tree import collapse, push


def make_column_margins(load):
    """Factory of the loop z[k, i] = b_k + sum_j (x_ij - shift_j) w_kj over rows [start, start + m)."""

    @jitable
    def margins(X, point, start, m, z):
        w, b, shift = point.w, point.b, point.shift
        d = X.shape[0]
        d4 = d // 4 * 4
        for k in range(w.shape[0]):
            for i in range(m):
                z[k, i] = b[k]
            for j in range(0, d4, 4):
                w0, w1, w2, w3 = w[k, j], w[k, j + 1], w[k, j + 2], w[k, j + 3]
                c0, c1, c2, c3 = shift[j], shift[j + 1], shift[j + 2], shift[j + 3]
                for i in range(m):
                    at = unsigned(start + i)
                    z[k, i] += (load(X[j, at], c0) * w0 + load(X[j + 1, at], c1) * w1) + (
                        load(X[j + 2, at], c2) * w2 + load(X[j + 3, at], c3) * w3
                    )
            for j in range(d4, d):
                w0, c0 = w[k, j], shift[j]
                for i in range(m):
                    at = unsigned(start + i)
                    z[k, i] += load(X[j, at], c0) * w0

    return margins


def make_column_accumulate(load):
    """Factory of the loop g_kj = sum_i r[k, i] (x_ij - shift_j) over rows [start, start + m); overwrites g."""

    @jitable
    def accumulate(X, shift, start, m, r, g):
        d = X.shape[0]
        d4 = d // 4 * 4
        for k in range(g.shape[0]):
            for j in range(0, d4, 4):
                c0, c1, c2, c3 = shift[j], shift[j + 1], shift[j + 2], shift[j + 3]
                a0 = a1 = a2 = a3 = g.dtype.type(0)
                for i in range(m):
                    at = unsigned(start + i)
                    a0 += r[k, i] * load(X[j, at], c0)
                    a1 += r[k, i] * load(X[j + 1, at], c1)
                    a2 += r[k, i] * load(X[j + 2, at], c2)
                    a3 += r[k, i] * load(X[j + 3, at], c3)
                g[k, j], g[k, j + 1], g[k, j + 2], g[k, j + 3] = a0, a1, a2, a3
            for j in range(d4, d):
                c0 = shift[j]
                a0 = g.dtype.type(0)
                for i in range(m):
                    at = unsigned(start + i)
                    a0 += r[k, i] * load(X[j, at], c0)
                g[k, j] = a0

    return accumulate


@jitable
def load_targets(data, start, m, tile):
    """Copy targets and weights of m consecutive rows to the tile, and prefetch as many more."""
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
def clear(tile):
    """Set the block's gradient sum to 0."""
    for k in range(tile.g.shape[0]):
        for j in range(tile.g.shape[1]):
            tile.g[k, j] = 0


@jitable
def add_derivatives(tile, m, leaf, at):
    """Add sum_i r[k, i] to leaf[at + k]."""
    for k in range(tile.r.shape[0]):
        total = 0.0
        for i in range(m):
            total += tile.r[k, i]
        leaf[at + k] += total


@jitable
def store(tile, leaf):
    """Store the block's gradient sum in the leaf, in float64."""
    outputs, d = tile.g.shape
    for k in range(outputs):
        for j in range(d):
            leaf[unsigned(k * d + j)] = tile.g[k, j]


@kernel_factory
def make_gradient(loss: str, dtype: str, order: str, shift: bool):
    """Make the full-pass kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F"), and a shift or none."""
    name = f"gradient[{loss},{dtype},{order}{',shift' if shift else ''}]"
    block = _make_row_block(loss, shift) if order == "C" else _make_column_block(loss, shift)

    @cpu_kernel(name)
    def gradient(data, point, first, last, rows, tile, stack, out):
        n = data.y.shape[1]
        for number in range(first, last):
            start = number * rows
            block(data, point, start, min(start + rows, n), tile, out)
            push(stack, number - first, out)
        collapse(stack, last - first, out)

    return gradient


def _make_row_block(loss: str, shift: bool):
    margins, accumulate = make_margins(shift), make_accumulate(shift)
    residual = make_residual(loss)

    @jitable
    def block(data, point, start, stop, tile, leaf):
        size = tile.rows.size // 2
        loss_sums = tile.g.size + tile.g.shape[0]
        leaf[tile.g.size :] = 0.0
        clear(tile)
        for at in range(start, stop, size):
            m = min(size, stop - at)
            load_targets(data, at, m, tile)
            margins(data.X, point, at, size, m, tile.z)
            residual(tile.z, tile.y, tile.s, m, point.p, tile.r, leaf, loss_sums)
            accumulate(data.X, point.shift, at, size + size // 2, m, tile.r, tile.g)
            add_derivatives(tile, m, leaf, tile.g.size)
        store(tile, leaf)

    return block


def _make_column_block(loss: str, shift: bool):
    margins, accumulate = make_column_margins(LOADS[shift]), make_column_accumulate(LOADS[shift])
    residual = make_residual(loss)

    @jitable
    def block(data, point, start, stop, tile, leaf):
        m = stop - start
        loss_sums = tile.g.size + tile.g.shape[0]
        leaf[tile.g.size :] = 0.0
        load_targets(data, start, m, tile)
        margins(data.X, point, start, m, tile.z)
        residual(tile.z, tile.y, tile.s, m, point.p, tile.r, leaf, loss_sums)
        accumulate(data.X, point.shift, start, m, tile.r, tile.g)
        add_derivatives(tile, m, leaf, tile.g.size)
        store(tile, leaf)

    return block
