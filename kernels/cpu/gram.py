"""The Gram matrix of rows (1, x~, y), standardised on load, in float64.

A tile holds a few hundred rows, column by column. Products are sums over its rows, twelve at a time in registers, seven
numbers read for twelve multiplications, while the rows of the next tile are prefetched.
"""

import numpy as np

from fastgd.kernels._intrinsics import SQUARE, prefetch_row, turn
from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned

#: Columns on the left and on the right of products in registers. Twelve sums and their factors fit into 16 registers;
#: sixteen sums are an eighth faster with 32 registers, and half as fast with 16.
LEFT, RIGHT = 4, 3
#: Empty columns at the end of a tile, into which the last block of products may reach.
SPARE = 3
#: Columns whose part of a tile stays in the first-level cache while it is multiplied with all others.
_PANEL = 32


@jitable
def load_rows(X, center, inv_scale, first, start, m, Z):
    """Write m rows of row-major data to Z[first:, :m], by squares of 8; the last one of a row may overlap another."""
    d = center.size
    high = m // SQUARE * SQUARE if d >= SQUARE else 0
    for i in range(0, high, SQUARE):
        for j in range(0, d - SQUARE + 1, SQUARE):
            turn(X, start + i, j, center, inv_scale, Z, (first + j, i))
        if d % SQUARE:
            turn(X, start + i, d - SQUARE, center, inv_scale, Z, (first + d - SQUARE, i))
    for i in range(high, m):
        at, to = unsigned(start + i), unsigned(i)
        for j in range(d):
            Z[unsigned(first + j), to] = (np.float64(X[at, j]) - center[j]) * inv_scale[j]


@jitable
def load_columns(X, center, inv_scale, first, start, m, Z):
    """Write m rows of column-major data to Z[first:, :m]."""
    for j in range(center.size):
        c, v = center[j], inv_scale[j]
        for i in range(m):
            Z[unsigned(first + j), unsigned(i)] = (np.float64(X[j, unsigned(start + i)]) - c) * v


@jitable
def load_others(data, first, d, start, m, Z):
    """Write the intercept's 1, if there is one, and targets; multiply rows by the roots of their weights."""
    for j in range(first):
        for i in range(m):
            Z[j, unsigned(i)] = 1.0
    for k in range(data.y.shape[0]):
        for i in range(m):
            Z[first + d + k, unsigned(i)] = np.float64(data.y[k, unsigned(start + i)])
    if data.weight_step:
        # The last row is scratch, so that each root is computed once.
        last = Z.shape[0] - 1
        for i in range(m):
            Z[last, unsigned(i)] = np.sqrt(np.float64(data.s[unsigned(start + i)]))
        for j in range(first + d + data.y.shape[0]):
            for i in range(m):
                Z[j, unsigned(i)] *= Z[last, unsigned(i)]


@jitable
def add_block(Z, m, i, j, G):
    """G[i : i + 4, j : j + 3] += the products of these columns of a tile."""
    a00 = a01 = a02 = a10 = a11 = a12 = a20 = a21 = a22 = a30 = a31 = a32 = 0.0
    for r in range(m):
        at = unsigned(r)
        u0, u1, u2, u3 = Z[i, at], Z[i + 1, at], Z[i + 2, at], Z[i + 3, at]
        v0, v1, v2 = Z[j, at], Z[j + 1, at], Z[j + 2, at]
        a00 += u0 * v0
        a01 += u0 * v1
        a02 += u0 * v2
        a10 += u1 * v0
        a11 += u1 * v1
        a12 += u1 * v2
        a20 += u2 * v0
        a21 += u2 * v1
        a22 += u2 * v2
        a30 += u3 * v0
        a31 += u3 * v1
        a32 += u3 * v2
    G[i, j] += a00
    G[i, j + 1] += a01
    G[i, j + 2] += a02
    G[i + 1, j] += a10
    G[i + 1, j + 1] += a11
    G[i + 1, j + 2] += a12
    G[i + 2, j] += a20
    G[i + 2, j + 1] += a21
    G[i + 2, j + 2] += a22
    G[i + 3, j] += a30
    G[i + 3, j + 1] += a31
    G[i + 3, j + 2] += a32


@jitable
def count_blocks(columns):
    """Return the number of blocks of products of so many columns."""
    blocks = 0
    for panel in range(0, columns, _PANEL):
        for j in range(panel - panel % RIGHT, columns, RIGHT):
            blocks += (min(panel + _PANEL, min(columns, j + RIGHT)) - panel + LEFT - 1) // LEFT
    return blocks


@jitable
def prefetch_part(X, start, stop, part, parts):
    """Prefetch one of equal parts of rows [start, stop): in small parts, memory works while products are computed."""
    rows, row_bytes = stop - start, X.shape[1] * X.itemsize
    for i in range(start + rows * part // parts, start + rows * (part + 1) // parts):
        prefetch_row(X, i, 0, row_bytes)


@jitable
def add_products(Z, m, columns, G, X, ahead, blocks):
    """Add the products of a tile to the blocks of G on and above its diagonal; prefetch the rows `ahead` of X."""
    block = 0
    for panel in range(0, columns, _PANEL):
        for j in range(panel - panel % RIGHT, columns, RIGHT):
            for i in range(panel, min(panel + _PANEL, min(columns, j + RIGHT)), LEFT):
                prefetch_part(X, ahead[0], ahead[1], block, blocks)
                add_block(Z, m, unsigned(i), unsigned(j), G)
                block += 1


@kernel_factory
def make_gram(dtype: str, order: str):
    """Make the kernel `gram(data, center, inv_scale, first, start, stop, Z, G)`: add rows [start, stop) to G.

    first is 1 if rows begin with a 1, else 0. Z (columns + SPARE + 1, rows of a tile) is scratch, of zeros at first; G
    (columns + SPARE, columns + SPARE) is written in its upper triangle, and in some places below.
    """
    load = load_rows if order == "C" else load_columns
    by_row = order == "C"

    @cpu_kernel(f"gram[{dtype},{order}]")
    def gram(data, center, inv_scale, first, start, stop, Z, G):
        d, rows = center.size, Z.shape[1]
        columns = first + d + data.y.shape[0]
        blocks = count_blocks(columns)
        for begin in range(start, stop, rows):
            m = min(rows, stop - begin)
            load(data.X, center, inv_scale, first, begin, m, Z)
            load_others(data, first, d, begin, m, Z)
            # Column-major data are read by columns, which needs no prefetch.
            ahead = (begin + m, min(begin + m + rows, stop)) if by_row else (0, 0)
            add_products(Z, m, columns, G, data.X, ahead, blocks)

    return gram
