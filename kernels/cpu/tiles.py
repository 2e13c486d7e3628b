"""The inner loops over a few row-major rows that stay in the first-level cache.

Rows are named by number, so that consecutive rows (the full pass) and shuffled ones (a mini-batch) share the loops.
While a tile is worked on, the rows of the next one are prefetched, half of them in each of the two loops: spread
evenly, memory neither idles nor queues (with all prefetches in one of the loops it is slower than without any), and
two rows at a time, since a core has only so many misses under way.
"""

from typing import Any

from fastgd.kernels._intrinsics import prefetch_row
from fastgd.kernels._jit import jitable


@jitable
def as_stored(x: Any, shift: Any) -> Any:
    """x: the data as they are."""
    return x


@jitable
def shifted(x: Any, shift: Any) -> Any:
    """x - shift: for columns whose mean is so large that x . w - mean . w would lose digits."""
    return x - shift


#: How a kernel reads an element, by whether its columns are shifted.
LOADS = {False: as_stored, True: shifted}


@jitable
def prefetch_rows(X: Any, rows: Any, start: Any, stop: Any) -> None:
    """Ask for the cache lines of the named rows."""
    row_bytes = X.shape[1] * X.itemsize
    for i in range(start, stop):
        prefetch_row(X, rows[i], 0, row_bytes)


def make_margins(load: Any) -> Any:
    """Factory of the loop z[k, i] = (x_i - shift) . w_k + b_k over one tile."""

    @jitable
    def margins(X: Any, point: Any, rows: Any, m: Any, z: Any) -> None:
        """Write z[:, :m]; reads rows rows[:m], prefetches the first half of the next tile."""
        w, b, shift = point.w, point.b, point.shift
        d = X.shape[1]
        half = rows.size // 2
        m8 = m // 8 * 8
        for k in range(w.shape[0]):
            for i in range(0, m8, 8):
                if k == 0:
                    prefetch_rows(X, rows, half + i // 2, half + i // 2 + 2)
                i0, i1, i2, i3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
                i4, i5, i6, i7 = rows[i + 4], rows[i + 5], rows[i + 6], rows[i + 7]
                a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = w.dtype.type(0)
                for j in range(d):
                    v, c = w[k, j], shift[j]
                    a0 += load(X[i0, j], c) * v
                    a1 += load(X[i1, j], c) * v
                    a2 += load(X[i2, j], c) * v
                    a3 += load(X[i3, j], c) * v
                    a4 += load(X[i4, j], c) * v
                    a5 += load(X[i5, j], c) * v
                    a6 += load(X[i6, j], c) * v
                    a7 += load(X[i7, j], c) * v
                if k == 0:
                    prefetch_rows(X, rows, half + i // 2 + 2, half + i // 2 + 4)
                z[k, i], z[k, i + 1], z[k, i + 2], z[k, i + 3] = a0 + b[k], a1 + b[k], a2 + b[k], a3 + b[k]
                z[k, i + 4], z[k, i + 5], z[k, i + 6], z[k, i + 7] = a4 + b[k], a5 + b[k], a6 + b[k], a7 + b[k]
            for i in range(m8, m):
                i0 = rows[i]
                a0 = w.dtype.type(0)
                for j in range(d):
                    a0 += load(X[i0, j], shift[j]) * w[k, j]
                z[k, i] = a0 + b[k]

    return margins


def make_accumulate(load: Any) -> Any:
    """Factory of the loop g_k += sum_i r[k, i] (x_i - shift) over one tile."""

    @jitable
    def accumulate(X: Any, shift: Any, rows: Any, m: Any, r: Any, g: Any) -> None:
        """Add into g (K, d); reads rows rows[:m], prefetches the second half of the next tile."""
        d = X.shape[1]
        half = rows.size // 2
        quarter = half // 2
        m8 = m // 8 * 8
        for k in range(g.shape[0]):
            for i in range(0, m8, 8):
                if k == 0:
                    prefetch_rows(X, rows, half + quarter + i // 2, half + quarter + i // 2 + 2)
                i0, i1, i2, i3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
                i4, i5, i6, i7 = rows[i + 4], rows[i + 5], rows[i + 6], rows[i + 7]
                r0, r1, r2, r3 = r[k, i], r[k, i + 1], r[k, i + 2], r[k, i + 3]
                r4, r5, r6, r7 = r[k, i + 4], r[k, i + 5], r[k, i + 6], r[k, i + 7]
                for j in range(d):
                    c = shift[j]
                    a = (r0 * load(X[i0, j], c) + r1 * load(X[i1, j], c)) + (
                        r2 * load(X[i2, j], c) + r3 * load(X[i3, j], c)
                    )
                    e = (r4 * load(X[i4, j], c) + r5 * load(X[i5, j], c)) + (
                        r6 * load(X[i6, j], c) + r7 * load(X[i7, j], c)
                    )
                    g[k, j] += a + e
                if k == 0:
                    prefetch_rows(X, rows, half + quarter + i // 2 + 2, half + quarter + i // 2 + 4)
            for i in range(m8, m):
                i0 = rows[i]
                for j in range(d):
                    g[k, j] += r[k, i] * load(X[i0, j], shift[j])

    return accumulate


def make_gather(load: Any) -> Any:
    """Factory of the copy out[i, j] = x_ij - shift_j of named rows of column-major data (d, n), row-major."""

    @jitable
    def gather(X: Any, shift: Any, rows: Any, m: Any, out: Any) -> None:
        for j in range(X.shape[0]):
            c = shift[j]
            for i in range(m):
                out[i, j] = load(X[j, rows[i]], c)

    return gather
