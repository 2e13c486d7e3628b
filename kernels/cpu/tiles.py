"""The inner loops over a few row-major rows that stay in the first-level cache.

Rows are given by an array of numbers, or by the first of consecutive ones, so that the full pass and shuffled
mini-batches share the loops; whole groups of rows are processed in vectors (`groups`), the last few rows one by one.
Meanwhile the rows of the next tile are prefetched, half of them in each of the two loops: spread evenly, memory neither
idles nor queues (with all prefetches in one of the loops it is slower than without any).
"""

from fastgd.kernels._intrinsics import prefetch_row
from fastgd.kernels._jit import jitable
from fastgd.kernels.cpu.groups import ADD, DOTS, GROUP, row_at


@jitable
def as_stored(x, shift):
    """x: the data as they are."""
    return x


@jitable
def shifted(x, shift):
    """x - shift: for columns whose mean is so large that x . w - mean . w would lose digits."""
    return x - shift


#: The load of an element, by whether columns are shifted.
LOADS = {False: as_stored, True: shifted}


@jitable
def prefetch_rows(X, rows, start, stop):
    """Prefetch the cache lines of the given rows."""
    row_bytes = X.shape[1] * X.itemsize
    for i in range(start, stop):
        prefetch_row(X, rows[i], 0, row_bytes)


def make_margins(shift: bool):
    """Factory of the loop z[k, i] = (x_i - shift) . w_k + b_k over one tile, with shifted columns or not."""
    load, one, two = LOADS[shift], DOTS[1, shift], DOTS[2, shift]

    @jitable
    def margins(X, point, rows, ahead, m, z):
        """Write z[:, :m] of the rows at places [0, m), and prefetch half as many from place `ahead` on."""
        outputs, d = point.w.shape
        odd = outputs % 2
        whole = m // GROUP * GROUP
        for i in range(0, whole, GROUP):
            if odd:
                one(X, rows, (i, ahead + i // 2), point, 0, z)
            else:
                two(X, rows, (i, ahead + i // 2), point, 0, z)
            for k in range(2 - odd, outputs, 2):
                two(X, rows, (i, None), point, k, z)
        for i in range(whole, m):
            row = row_at(rows, i)
            for k in range(outputs):
                total = z.dtype.type(0)
                for j in range(d):
                    total += load(X[row, j], point.shift[j]) * point.w[k, j]
                z[k, i] = total + point.b[k]

    return margins


def make_accumulate(shift: bool):
    """Factory of the loop g_k += sum_i r[k, i] (x_i - shift) over one tile, with shifted columns or not."""
    load, one, two = LOADS[shift], ADD[1, shift], ADD[2, shift]

    @jitable
    def accumulate(X, shift, rows, ahead, m, r, g):
        """Add the rows at places [0, m) to g (K, d), and prefetch half as many from place `ahead` on."""
        outputs, d = g.shape
        odd = outputs % 2
        whole = m // GROUP * GROUP
        for i in range(0, whole, GROUP):
            if odd:
                one(X, rows, (i, ahead + i // 2), shift, r, 0, g)
            else:
                two(X, rows, (i, ahead + i // 2), shift, r, 0, g)
            for k in range(2 - odd, outputs, 2):
                two(X, rows, (i, None), shift, r, k, g)
        for i in range(whole, m):
            row = row_at(rows, i)
            for k in range(outputs):
                for j in range(d):
                    g[k, j] += r[k, i] * load(X[row, j], shift[j])

    return accumulate


def make_gather(load):
    """Factory of the copy out[i, j] = x_ij - shift_j of given rows of column-major data (d, n), row-major."""

    @jitable
    def gather(X, shift, rows, m, out):
        for j in range(X.shape[0]):
            c = shift[j]
            for i in range(m):
                out[i, j] = load(X[j, rows[i]], c)

    return gather
