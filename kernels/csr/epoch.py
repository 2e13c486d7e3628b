"""Mini-batches of sparse rows: the loop of `fastgd.kernels.cpu.epoch` with other sums over a batch.

Margins are sums in float64 of products in the dtype of X; gradients are summed in float64 in the sums of a part.
Centred columns are not touched one by one: `to_gradient` subtracts center times the sum of the derivatives. Cost: 8 or
12 bytes read and 4 K flops per non-zero, K (d + 1) steps of the rule per batch.
"""

import numpy as np

from fastgd.kernels._intrinsics import prefetch_row
from fastgd.kernels._jit import jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.epoch import make_batch_loop, replace_derivatives
from fastgd.kernels.cpu.residual import make_residual


@jitable
def prefetch_row_of(X, row):
    """Prefetch the non-zeros of a row."""
    first, end = X.indptr[row], X.indptr[row + unsigned(1)]
    prefetch_row(X.data, first, 0, (end - first) * X.data.itemsize)
    prefetch_row(X.indices, first, 0, (end - first) * X.indices.itemsize)


@jitable
def margin_of(X, w, k, row):
    """Return x_row . w_k, in four sums that do not wait for one another."""
    first, end = unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])
    whole = first + (end - first) // unsigned(4) * unsigned(4)
    p = q = u = v = 0.0
    for at in range(first, whole, unsigned(4)):
        b, c, e = at + unsigned(1), at + unsigned(2), at + unsigned(3)
        p += np.float64(X.data[at] * w[k, unsigned(X.indices[at])])
        q += np.float64(X.data[b] * w[k, unsigned(X.indices[b])])
        u += np.float64(X.data[c] * w[k, unsigned(X.indices[c])])
        v += np.float64(X.data[e] * w[k, unsigned(X.indices[e])])
    for at in range(whole, end):
        p += np.float64(X.data[at] * w[k, unsigned(X.indices[at])])
    return (p + q) + (u + v)


@jitable
def write_margins(X, point, tile, m):
    """Write the margins of the tile's m rows, and prefetch the rows of a later tile."""
    half = tile.rows.size // 2
    for i in range(m):
        prefetch_row_of(X, unsigned(tile.rows[half + i]))
        for k in range(point.b.size):
            tile.z[k, i] = margin_of(X, point.w, k, unsigned(tile.rows[i])) + np.float64(point.b[k])


@jitable
def add_products(X, tile, m, sums, part):
    """Add r_ik x_i of the tile's m rows to the sums of a part."""
    for i in range(m):
        row = unsigned(tile.rows[i])
        first, end = unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])
        for k in range(tile.r.shape[0]):
            r = np.float64(tile.r[k, i])
            for at in range(first, end):
                sums[part, k, unsigned(X.indices[at])] += r * np.float64(X.data[at])


@kernel_factory
def make_csr_epoch(loss: str, dtype: str):
    """Make the mini-batch kernel for a loss and a dtype ("f4", "f8"): see `fastgd.kernels.cpu.epoch.make_epoch`."""
    residual = make_residual(loss)

    @jitable
    def add_tile(data, m, work, rule, state, part):
        tile, team = work.tile, work.team
        write_margins(data.X, work.point, tile, m)
        residual(tile.z, tile.y, tile.s, m, work.point.p, tile.r, team.loss_sums, part * tile.r.shape[0])
        if rule.keeps_rows:
            replace_derivatives(tile, m, state.table)
        add_products(data.X, tile, m, team.sums, part)

    return make_batch_loop(f"csr_epoch[{loss},{dtype}]", add_tile)
