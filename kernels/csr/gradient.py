"""The full pass over sparse rows: loss and gradient over a run of blocks, reading the non-zeros once from memory.

Contract of the kernels, `gradient(data, point, first, last, rows, tile, stack, out)`: as `fastgd.kernels.cpu.gradient`
for rows that are never shifted, with `data.X` a `Csr`. `point.w` is (d, K), so that the K coefficients of a non-zero
are in one cache line. Margins are sums in float64 of products in the dtype of X, gradients sums in float64. Cost: 8 or
12 bytes read, 4 K flops per non-zero; K (d + 2) numbers cleared and merged per block.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.residual import make_residual
from fastgd.kernels.cpu.tree import collapse, push

#: Rows of a tile, whose non-zeros are in the first-level cache when they are read again.
TILE_ROWS = 32


class Csr(NamedTuple):
    """Sparse rows: the non-zeros of row i are at [indptr[i], indptr[i + 1]), with ascending columns in [0, d)."""

    data: NDArray[np.floating]
    indices: NDArray[np.integer]
    indptr: NDArray[np.int64]


class CsrTile(NamedTuple):
    """Scratch memory of one thread."""

    z: NDArray[np.floating]
    r: NDArray[np.floating]
    y: NDArray[np.floating]
    s: NDArray[np.floating]
    #: (d, K) gradient sum of a block; (1, K) for one output, whose sum is the leaf's.
    g: NDArray[np.float64]
    #: (K,) the sums of a row.
    sums: NDArray[np.float64]


def new_csr_tile(d: int, outputs: int, targets: int, dtype: np.dtype) -> CsrTile:
    """Return scratch memory."""
    return CsrTile(
        z=np.zeros((outputs, TILE_ROWS), dtype),
        r=np.zeros((outputs, TILE_ROWS), dtype),
        y=np.zeros((targets, TILE_ROWS), dtype),
        s=np.zeros(TILE_ROWS, dtype),
        g=np.zeros((d if outputs > 1 else 1, outputs)),
        sums=np.zeros(outputs),
    )


@jitable
def load_csr_targets(data, start, m, tile):
    """Copy targets and weights of m consecutive rows to the tile."""
    for k in range(tile.y.shape[0]):
        for i in range(m):
            tile.y[k, i] = data.y[k, unsigned(start + i)]
    for i in range(m):
        tile.s[i] = data.s[unsigned((start + i) * data.weight_step)]


@jitable
def margin(X, w, i):
    """Return x_i . w for one output, in four sums that do not wait for one another."""
    first, end = unsigned(X.indptr[i]), unsigned(X.indptr[i + unsigned(1)])
    whole = first + (end - first) // unsigned(4) * unsigned(4)
    p = q = u = v = 0.0
    for at in range(first, whole, unsigned(4)):
        b, c, e = at + unsigned(1), at + unsigned(2), at + unsigned(3)
        p += np.float64(X.data[at] * w[unsigned(X.indices[at]), 0])
        q += np.float64(X.data[b] * w[unsigned(X.indices[b]), 0])
        u += np.float64(X.data[c] * w[unsigned(X.indices[c]), 0])
        v += np.float64(X.data[e] * w[unsigned(X.indices[e]), 0])
    for at in range(whole, end):
        p += np.float64(X.data[at] * w[unsigned(X.indices[at]), 0])
    return (p + q) + (u + v)


@jitable
def margins_of_one(X, point, start, m, tile):
    """Write the margins of m rows for one output."""
    for i in range(m):
        tile.z[0, i] = margin(X, point.w, unsigned(start + i)) + np.float64(point.b[0])


@jitable
def margins_of_many(X, point, start, m, tile):
    """Write the margins of m rows for several outputs."""
    outputs = point.b.size
    for i in range(m):
        row = unsigned(start + i)
        for k in range(outputs):
            tile.sums[k] = point.b[k]
        for at in range(unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])):
            x, j = X.data[at], unsigned(X.indices[at])
            for k in range(outputs):
                tile.sums[k] += np.float64(x * point.w[j, k])
        for k in range(outputs):
            tile.z[k, i] = tile.sums[k]


@jitable
def accumulate_one(X, start, m, tile, leaf):
    """Add r_i x_i of m rows to the leaf."""
    for i in range(m):
        row = unsigned(start + i)
        r = tile.r[0, i]
        for at in range(unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])):
            leaf[unsigned(X.indices[at])] += np.float64(r * X.data[at])


@jitable
def accumulate_many(X, start, m, tile, leaf):
    """Add r_ik x_i of m rows to the tile's sum."""
    outputs = tile.sums.size
    for i in range(m):
        row = unsigned(start + i)
        for k in range(outputs):
            tile.sums[k] = tile.r[k, i]
        for at in range(unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])):
            x, j = np.float64(X.data[at]), unsigned(X.indices[at])
            for k in range(outputs):
                tile.g[j, k] += tile.sums[k] * x


@jitable
def clear(tile, leaf):
    """Set the block's sums to 0."""
    for q in range(leaf.size):
        leaf[q] = 0.0
    if tile.sums.size > 1:
        for j in range(tile.g.shape[0]):
            for k in range(tile.g.shape[1]):
                tile.g[j, k] = 0.0


@jitable
def store(tile, leaf):
    """Store the sums of several outputs in the leaf, output by output."""
    d, outputs = tile.g.shape
    if outputs > 1:
        for j in range(d):
            for k in range(outputs):
                leaf[unsigned(k * d + j)] = tile.g[j, k]


@jitable
def add_derivatives(tile, m, leaf, at):
    """Add sum_i r[k, i] to leaf[at + k]."""
    for k in range(tile.r.shape[0]):
        total = 0.0
        for i in range(m):
            total += tile.r[k, i]
        leaf[at + k] += total


@kernel_factory
def make_csr_gradient(loss: str, dtype: str, one: bool):
    """Make the full-pass kernel for a loss, a dtype ("f4", "f8"), and one output or several."""
    margins, accumulate = (margins_of_one, accumulate_one) if one else (margins_of_many, accumulate_many)
    residual = make_residual(loss)

    @jitable
    def block(data, point, start, stop, tile, leaf):
        outputs, size = tile.r.shape
        derivatives = leaf.size - 2 * outputs
        clear(tile, leaf)
        for at in range(start, stop, size):
            m = min(size, stop - at)
            load_csr_targets(data, at, m, tile)
            margins(data.X, point, at, m, tile)
            residual(tile.z, tile.y, tile.s, m, point.p, tile.r, leaf, derivatives + outputs)
            accumulate(data.X, at, m, tile, leaf)
            add_derivatives(tile, m, leaf, derivatives)
        store(tile, leaf)

    @cpu_kernel(f"csr_gradient[{loss},{dtype},{'one' if one else 'many'}]")
    def gradient(data, point, first, last, rows, tile, stack, out):
        n = data.y.shape[1]
        for number in range(first, last):
            start = number * rows
            block(data, point, start, min(start + rows, n), tile, out)
            push(stack, number - first, out)
        collapse(stack, last - first, out)

    return gradient
