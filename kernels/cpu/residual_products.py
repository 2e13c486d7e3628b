"""Losses and products of residuals with rows (1, x~) for a squared loss, with sums in twice the digits of float64.

Error-free transformations give each product and sum with its rounding error (Ogita, Rump and Oishi 2005, "Accurate sum
and dot product"). Each row of a strip has sums of its own, so that loops vectorise without reassociation.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels._intrinsics import fma
from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.gram import load_columns, load_rows, prefetch_part

#: Rows of a strip: eight vectors, which hide the latency of dependent additions.
STRIP = 32


class Work(NamedTuple):
    """Scratch memory of one thread, and sums."""

    #: (first + d, rows) rows (1, x~) as columns, finite at first; rows are a multiple of STRIP.
    tile: NDArray[np.float64]
    #: (K, rows) residuals times weights.
    r: NDArray[np.float64]
    #: (2, K, first + d, STRIP) upper parts of sums and lower ones of each row of a strip, zeros at first.
    sums: NDArray[np.float64]
    #: (K,) zeros at first.
    losses: NDArray[np.float64]


@jitable
def write_residuals(data, point, start, m, work):
    """Write s_i r_ik of m rows, zeros up to a whole strip, and add the losses."""
    Z, r, s, step = work.tile, work.r, data.s, unsigned(data.weight_step)
    (outputs, d), first = point.w.shape, Z.shape[0] - point.w.shape[1]
    for k in range(outputs):
        for i in range(m):
            r[k, unsigned(i)] = point.b[k]
        if k < data.y.shape[0]:
            for i in range(m):
                r[k, unsigned(i)] -= np.float64(data.y[k, unsigned(start + i)])
        for j in range(d):
            w = point.w[k, j]
            for i in range(m):
                at = unsigned(i)
                r[k, at] = fma(Z[first + j, at], w, r[k, at])
        total = 0.0
        for i in range(m):
            at = unsigned(i)
            weighted = r[k, at] * np.float64(s[unsigned(start + i) * step])
            total += weighted * r[k, at]
            r[k, at] = weighted
        work.losses[k] += 0.5 * total
        for i in range(m, (m + STRIP - 1) // STRIP * STRIP):
            r[k, unsigned(i)] = 0.0


@jitable
def add_products(z, r, m, upper, lower):
    """Add the products of m numbers of a column and residuals to a strip's sums."""
    for start in range(0, m, STRIP):
        for i in range(STRIP):
            at, lane = unsigned(start + i), unsigned(i)
            product = z[at] * r[at]
            error = fma(z[at], r[at], -product)
            before = upper[lane]
            total = before + product
            part = total - before
            upper[lane] = total
            lower[lane] += error + ((before - (total - part)) + (product - part))


@kernel_factory
def make_residual_products(dtype: str, order: str):
    """Make the kernel `residual_products(data, point, inv_scale, start, stop, work)`: add rows [start, stop) to sums.

    The point is in float64; x~ = (x - shift) * inv_scale.
    """
    load = load_rows if order == "C" else load_columns
    by_row = order == "C"

    @cpu_kernel(f"residual_products[{dtype},{order}]", fastmath=False)
    def residual_products(data, point, inv_scale, start, stop, work):
        Z, r, sums = work.tile, work.r, work.sums
        first, rows = Z.shape[0] - inv_scale.size, Z.shape[1]
        for j in range(first):
            for i in range(rows):
                Z[j, unsigned(i)] = 1.0
        for begin in range(start, stop, rows):
            m = min(rows, stop - begin)
            load(data.X, point.shift, inv_scale, first, begin, m, Z)
            write_residuals(data, point, begin, m, work)
            ahead = min(begin + m + rows, stop) if by_row else begin + m
            for k in range(r.shape[0]):
                for j in range(Z.shape[0]):
                    if k == 0:
                        prefetch_part(data.X, begin + m, ahead, j, Z.shape[0])
                    add_products(Z[j], r[k], m, sums[0, k, j], sums[1, k, j])

    return residual_products
