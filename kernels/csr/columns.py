"""Weighted sums over the columns of sparse rows, norms of rows, and margins.

"sums" are (d, 3), over the stored numbers of each column: of s_i x_ij, of s_i, and of 1 for rows with s_i > 0.
"squares" are (d, 2): of s_i (x_ij - center_j) and of s_i (x_ij - center_j)^2. "powers" are the same with center 0.
Non-finite data make them non-finite, also in rows without weight.
"""

import numpy as np

from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned


@jitable
def ends(X, i):
    """Return the places of the first non-zero of a row and of the one after its last."""
    return unsigned(X.indptr[unsigned(i)]), unsigned(X.indptr[unsigned(i + 1)])


@jitable
def add_row_sums(data, center, start, stop, leaf):
    """Add the sums of rows to "sums"."""
    X = data.X
    for i in range(start, stop):
        s = np.float64(data.s[unsigned(i * data.weight_step)])
        counted = 1.0 if s > 0.0 else 0.0
        first, end = ends(X, i)
        for at in range(first, end):
            j = unsigned(3) * unsigned(X.indices[at])
            leaf[j] += s * np.float64(X.data[at])
            leaf[j + unsigned(1)] += s
            leaf[j + unsigned(2)] += counted


@jitable
def add_row_squares(data, center, start, stop, leaf):
    """Add the deviations of rows to "squares"."""
    X = data.X
    for i in range(start, stop):
        s = np.float64(data.s[unsigned(i * data.weight_step)])
        first, end = ends(X, i)
        for at in range(first, end):
            j = unsigned(X.indices[at])
            deviation = np.float64(X.data[at]) - center[j]
            leaf[unsigned(2) * j] += s * deviation
            leaf[unsigned(2) * j + unsigned(1)] += s * deviation * deviation


@jitable
def add_row_powers(data, center, start, stop, leaf):
    """Add the numbers of rows and their squares to "powers"."""
    X = data.X
    for i in range(start, stop):
        s = np.float64(data.s[unsigned(i * data.weight_step)])
        first, end = ends(X, i)
        for at in range(first, end):
            j, x = unsigned(2) * unsigned(X.indices[at]), np.float64(X.data[at])
            leaf[j] += s * x
            leaf[j + unsigned(1)] += s * x * x


_PARTS = {"sums": add_row_sums, "squares": add_row_squares, "powers": add_row_powers}


@kernel_factory
def make_csr_sums(part: str, kind: str):
    """Make the kernel `sums(data, center, start, stop, leaf)` of a part of rows [start, stop)."""
    add_rows = _PARTS[part]

    @cpu_kernel(f"csr_{part}[{kind}]")
    def sums(data, center, start, stop, leaf):
        for q in range(leaf.size):
            leaf[q] = 0.0
        add_rows(data, center, start, stop, leaf)

    return sums


@kernel_factory
def make_csr_norms(kind: str):
    """Make the kernel `norms(data, squares, products, constant, start, stop, out)` of rows in working coordinates.

    out (n,) receives s_i (constant + sum_j (squares_j x_ij - products_j) x_ij), at least 0.
    """

    @cpu_kernel(f"csr_norms[{kind}]")
    def norms(data, squares, products, constant, start, stop, out):
        X = data.X
        for i in range(start, stop):
            first, end = ends(X, i)
            total = constant
            for at in range(first, end):
                j, x = unsigned(X.indices[at]), np.float64(X.data[at])
                total += (squares[j] * x - products[j]) * x
            # Written so that NaN stays.
            out[unsigned(i)] = (0.0 if total < 0.0 else total) * data.s[unsigned(i * data.weight_step)]

    return norms


@kernel_factory
def make_csr_margins(kind: str):
    """Make the kernel `margins(X, w, b, start, stop, out)`: x . w + b, w (d, K) float64, in out (n, K)."""

    @cpu_kernel(f"csr_margins[{kind}]")
    def margins(X, w, b, start, stop, sums, out):
        for i in range(start, stop):
            first, end = ends(X, i)
            for k in range(b.size):
                sums[k] = b[k]
            for at in range(first, end):
                j, x = unsigned(X.indices[at]), np.float64(X.data[at])
                for k in range(b.size):
                    sums[k] += x * w[j, k]
            for k in range(b.size):
                out[unsigned(i), k] = sums[k]

    return margins
