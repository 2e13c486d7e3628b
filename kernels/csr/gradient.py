"""The full pass over sparse rows: loss and gradient, reading the non-zeros once from memory, or twice for wide data.

`data.X` is a `records.Csr`, and rows are never shifted. `point.w` is (d, K), so that the K coefficients of a non-zero
are side by side. Margins are sums in float64 of products in the dtype of X, gradients are sums in float64. The sums of
a run of rows are as those of `fastgd.kernels.cpu.gradient`: (K d + 2 K,), sum_i s_i dloss/dz_ik x_i output by output,
then sum_i s_i dloss/dz_ik, then sum_i s_i loss_ik.

- `gradient(data, point, start, stop, tile, leaf)` writes the sums of rows [start, stop). Cost: 8 to 16 bytes read, 4 K
  flops per non-zero; K (d + 2) numbers written.
- For wide data, of which a sum per thread would need too much memory: `residuals` writes s_i dloss/dz_ik of a run of
  rows, then `products` the gradient by a range of columns, over all rows in their order, so that ranges do not matter.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels._intrinsics import prefetch_row
from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.gradient import add_derivatives, load_targets
from fastgd.kernels.cpu.residual import make_residual

#: Non-zeros of a tile, which are in the first-level cache when they are read again; and columns from which coefficients
#: and sums are not both in the second-level cache, where long tiles, which need one at a time, take a tenth less time.
_TILE_NUMBERS, _LONG_TILE_NUMBERS, _MANY_COLUMNS = 1 << 11, 1 << 16, 1 << 13
#: Least and most rows of a tile, and most of its margins.
_TILE_ROWS, _TILE_MARGINS = (8, 1024), 1 << 14
#: Distance of prefetches, in non-zeros, and bytes of coefficients or sums up to which the second-level cache makes them
#: needless: a pass then takes a quarter less time without.
_AHEAD, _NEAR_BYTES = 64, 1 << 19
#: Columns whose sums are turned at a time, in the first-level cache.
_TURNED = 64


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


def csr_tile_rows(rows: int, nnz: int, d: int, outputs: int) -> int:
    """Return the rows of a tile, a power of two, for so many rows of d columns with nnz non-zeros together."""
    numbers = _TILE_NUMBERS if d * outputs < _MANY_COLUMNS else _LONG_TILE_NUMBERS
    least, most = _TILE_ROWS
    size = least
    while size < most and 2 * size * nnz <= numbers * rows and 2 * size * outputs <= _TILE_MARGINS:
        size *= 2
    return size


def prefetched_rows(rows: int, nnz: int, numbers: int) -> int:
    """Return how many rows ahead to prefetch sums, for so many rows with nnz non-zeros together; 0 for few sums."""
    return min(-(-_AHEAD * rows // max(nnz, 1)), _AHEAD) if 8 * numbers > _NEAR_BYTES else 0


def new_csr_tile(d: int, outputs: int, targets: int, dtype: np.dtype, rows: int) -> CsrTile:
    """Return scratch memory for tiles of `rows` rows."""
    return CsrTile(
        z=np.zeros((outputs, rows), dtype),
        r=np.zeros((outputs, rows), dtype),
        y=np.zeros((targets, rows), dtype),
        s=np.zeros(rows, dtype),
        g=np.zeros((d if outputs > 1 else 1, outputs)),
        sums=np.zeros(outputs),
    )


@jitable
def margins_of_one(X, point, start, m, tile):
    """Write the margins of m rows for one output."""
    for i in range(m):
        row = unsigned(start + i)
        # LLVM divides a single sum into several better than a loop over groups of non-zeros: a third faster.
        total = np.float64(point.b[0])
        for at in range(unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])):
            total += np.float64(X.data[at] * point.w[unsigned(X.indices[at]), 0])
        tile.z[0, i] = total


@jitable
def far_margins_of_one(X, point, start, m, tile):
    """As `margins_of_one`, with prefetches of coefficients that are not in the second-level cache."""
    if point.w.size * point.w.itemsize <= _NEAR_BYTES:
        margins_of_one(X, point, start, m, tile)
        return
    last = unsigned(X.indices.size - 1)
    for i in range(m):
        row = unsigned(start + i)
        total = np.float64(point.b[0])
        for at in range(unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])):
            prefetch_row(point.w, X.indices[min(at + unsigned(_AHEAD), last)], 0, 1)
            total += np.float64(X.data[at] * point.w[unsigned(X.indices[at]), 0])
        tile.z[0, i] = total


@jitable
def prefetch_columns(X, first, end, column, A):
    """Prefetch the rows j - column of A, for the columns j of the non-zeros at [first, end)."""
    nbytes = A.shape[1] * A.itemsize
    for at in range(first, end):
        prefetch_row(A, np.int64(X.indices[at]) - column, 0, nbytes)


@jitable
def margins_of_many(X, point, start, m, tile):
    """Write the margins of m rows for several outputs; prefetch the coefficients of the next row meanwhile."""
    outputs, last = point.b.size, unsigned(X.indptr.size - 1)
    for i in range(m):
        row = unsigned(start + i)
        after = unsigned(X.indptr[row + unsigned(1)])
        prefetch_columns(X, after, unsigned(X.indptr[min(row + unsigned(2), last)]), 0, point.w)
        for k in range(outputs):
            tile.sums[k] = point.b[k]
        for at in range(unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])):
            x, j = X.data[at], unsigned(X.indices[at])
            for k in range(outputs):
                tile.sums[k] += np.float64(x * point.w[j, k])
        for k in range(outputs):
            tile.z[k, i] = tile.sums[k]


@jitable
def add_products(X, first, end, r, g):
    """Add r x to g, of the non-zeros at [first, end) of a row."""
    for at in range(first, end):
        g[unsigned(X.indices[at])] += np.float64(r * X.data[at])


@jitable
def add_many_products(X, first, end, r, column, g):
    """Add r_k x to g[j - column, k] of the non-zeros at [first, end) of a row; r (K,) is float64."""
    for at in range(first, end):
        x, j = np.float64(X.data[at]), unsigned(X.indices[at]) - column
        for k in range(r.size):
            g[j, k] += r[k] * x


@jitable
def accumulate_one(X, start, m, tile, leaf):
    """Add r_i x_i of m rows to the leaf."""
    for i in range(m):
        row = unsigned(start + i)
        add_products(X, unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)]), tile.r[0, i], leaf)


@jitable
def accumulate_many(X, start, m, tile, leaf):
    """Add r_ik x_i of m rows to the tile's sum."""
    for i in range(m):
        row = unsigned(start + i)
        for k in range(tile.sums.size):
            tile.sums[k] = tile.r[k, i]
        first, end = unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])
        add_many_products(X, first, end, tile.sums, unsigned(0), tile.g)


@jitable
def clear(g):
    """Set sums of several outputs to 0."""
    for j in range(g.shape[0]):
        for k in range(g.shape[1]):
            g[j, k] = 0.0


@jitable
def store(g, column, d, leaf):
    """Store the sums (m, K) of columns [column, column + m) in the leaf, output by output."""
    columns, outputs = g.shape
    for first in range(0, columns, _TURNED):
        stop = min(first + _TURNED, columns)
        for k in range(outputs):
            for j in range(first, stop):
                leaf[unsigned(k * d + column + j)] = g[unsigned(j), unsigned(k)]


def _make_stage(loss: str, margins: Callable[..., None]):
    """Make the loop from rows to weighted derivatives of a tile, which adds these and losses to sums from a place."""
    residual = make_residual(loss)

    @jitable
    def stage(data, point, start, m, tile, sums, at):
        load_targets(data, start, m, tile)
        margins(data.X, point, start, m, tile)
        residual(tile.z, tile.y, tile.s, m, point.p, tile.r, sums, at + point.b.size)
        add_derivatives(tile, m, sums, at)

    return stage


@kernel_factory
def make_csr_gradient(loss: str, kind: str, one: bool):
    """Make the kernel of the pass for a loss, a kind of sparse rows, and one output or several."""
    stage = _make_stage(loss, margins_of_one if one else margins_of_many)
    accumulate = accumulate_one if one else accumulate_many

    @cpu_kernel(f"csr_gradient[{loss},{kind},{_count(one)}]")
    def gradient(data, point, start, stop, tile, leaf):
        d, outputs = point.w.shape
        size = tile.s.size
        for q in range(leaf.size):
            leaf[q] = 0.0
        clear(tile.g)
        for at in range(start, stop, size):
            m = min(size, stop - at)
            stage(data, point, at, m, tile, leaf, d * outputs)
            accumulate(data.X, at, m, tile, leaf)
        if outputs > 1:
            store(tile.g, 0, d, leaf)

    return gradient


@kernel_factory
def make_csr_residuals(loss: str, kind: str, one: bool):
    """Make the kernel `residuals(data, point, start, stop, tile, r, sums)`, which writes r (n, K) and sums (2 K,)."""
    stage = _make_stage(loss, far_margins_of_one if one else margins_of_many)

    @cpu_kernel(f"csr_residuals[{loss},{kind},{_count(one)}]")
    def residuals(data, point, start, stop, tile, r, sums):
        size = tile.s.size
        for q in range(sums.size):
            sums[q] = 0.0
        for at in range(start, stop, size):
            m = min(size, stop - at)
            stage(data, point, at, m, tile, sums, 0)
            for i in range(m):
                for k in range(tile.r.shape[0]):
                    r[unsigned(at + i), k] = tile.r[k, i]

    return residuals


@jitable
def part_of(X, cuts, number, row):
    """Return the places of the first non-zero of a row in a range of columns, and of the one after its last there."""
    begin = X.indptr[row]
    return unsigned(begin + cuts[number, row]), unsigned(begin + cuts[number + unsigned(1), row])


@kernel_factory
def make_csr_products(kind: str, one: bool):
    """Make the kernel `products(X, r, cuts, bounds, number, ahead, tile, leaf)` of a range of columns.

    Range number q is columns [bounds[q], bounds[q + 1]), of row i the non-zeros from cuts[q, i] to cuts[q + 1, i] after
    its first. r (n, K) as of `residuals`; sums of the row `ahead` rows later are prefetched, none if that is 0.
    """

    @cpu_kernel(f"csr_products[{kind},{_count(one)}]")
    def products(X, r, cuts, bounds, number, ahead, tile, leaf):
        first, stop, d = bounds[number], bounds[number + 1], bounds[bounds.size - 1]
        here, last = unsigned(number), unsigned(r.shape[0] - 1)
        if one:
            for j in range(first, stop):
                leaf[j] = 0.0
        part = tile.g[: stop - first]
        clear(part)
        for i in range(r.shape[0]):
            row = unsigned(i)
            begin, end = part_of(X, cuts, here, min(row + unsigned(ahead), last))
            if one:
                if ahead > 0:
                    for at in range(begin, end):
                        prefetch_row(leaf, X.indices[at], 0, 1)
                begin, end = part_of(X, cuts, here, row)
                add_products(X, begin, end, r[row, 0], leaf)
            else:
                prefetch_columns(X, begin, end, first, part)
                for k in range(tile.sums.size):
                    tile.sums[k] = r[row, k]
                begin, end = part_of(X, cuts, here, row)
                add_many_products(X, begin, end, tile.sums, unsigned(first), part)
        if not one:
            store(part, first, d, leaf)

    return products


@kernel_factory
def make_csr_spread(kind: str):
    """Make the kernel `spread(X, r, cuts, bounds, number, ahead, out)`: X' r (d, K) in a range of columns.

    Arguments are those of `make_csr_products` but for r (n, K), which is float64.
    """

    @cpu_kernel(f"csr_spread[{kind}]")
    def spread(X, r, cuts, bounds, number, ahead, out):
        first, here, last = bounds[number], unsigned(number), unsigned(r.shape[0] - 1)
        part = out[first : bounds[number + 1]]
        clear(part)
        for i in range(r.shape[0]):
            row = unsigned(i)
            begin, end = part_of(X, cuts, here, min(row + unsigned(ahead), last))
            prefetch_columns(X, begin, end, first, part)
            begin, end = part_of(X, cuts, here, row)
            add_many_products(X, begin, end, r[row], unsigned(first), part)

    return spread


def _count(one: bool) -> str:
    return "one" if one else "many"


@kernel_factory
def make_csr_cuts(kind: str):
    """Make the kernel `find_cuts(indices, indptr, bounds, start, stop, cuts)`.

    It writes the numbers of non-zeros of rows [start, stop) in columns below bounds[q] to cuts[q].
    """

    @cpu_kernel(f"csr_cuts[{kind}]")
    def find_cuts(indices, indptr, bounds, start, stop, cuts):
        for i in range(start, stop):
            row, q = unsigned(i), 0
            first, end = unsigned(indptr[row]), unsigned(indptr[row + unsigned(1)])
            for at in range(first, end):
                while bounds[q] <= indices[at]:
                    cuts[q, row] = at - first
                    q += 1
            while q < bounds.size:
                cuts[q, row] = end - first
                q += 1

    return find_cuts


@cpu_kernel("csr_add_blocks")
def add_blocks(sums, start, stop):
    """Add sums (blocks, size) of blocks in a fixed binary tree to those of the first one, of numbers [start, stop)."""
    count, width = sums.shape[0], 1
    while width < count:
        for block in range(0, count - width, 2 * width):
            here, there = unsigned(block), unsigned(block + width)
            for q in range(start, stop):
                sums[here, unsigned(q)] += sums[there, unsigned(q)]
        width *= 2
