"""Weighted sums over the columns of sparse rows, norms of rows, and margins.

Nodes of `sums` are (3 d,): sums of s_i x_ij over stored numbers, of s_i, and numbers of rows with s_i > 0. Nodes of
`squares` are (2 d,): sums of s_i (x_ij - center_j) and of s_i (x_ij - center_j)^2 over stored numbers. Non-finite data
make a node non-finite, also in rows without weight.
"""

import numpy as np

from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned
from fastgd.kernels.cpu.tree import collapse, push


@jitable
def ends(X, i):
    """Return the places of the first non-zero of a row and of the one after its last."""
    return unsigned(X.indptr[unsigned(i)]), unsigned(X.indptr[unsigned(i + 1)])


@jitable
def add_row_sums(data, center, start, stop, leaf):
    """Add the sums of rows to a node of `sums`."""
    X, d = data.X, leaf.size // 3
    for i in range(start, stop):
        s = np.float64(data.s[unsigned(i * data.weight_step)])
        counted = 1.0 if s > 0.0 else 0.0
        first, end = ends(X, i)
        for at in range(first, end):
            j = unsigned(X.indices[at])
            leaf[j] += s * np.float64(X.data[at])
            leaf[unsigned(d) + j] += s
            leaf[unsigned(2 * d) + j] += counted


@jitable
def add_row_squares(data, center, start, stop, leaf):
    """Add the deviations of rows to a node of `squares`."""
    X, d = data.X, leaf.size // 2
    for i in range(start, stop):
        s = np.float64(data.s[unsigned(i * data.weight_step)])
        first, end = ends(X, i)
        for at in range(first, end):
            j = unsigned(X.indices[at])
            deviation = np.float64(X.data[at]) - center[j]
            leaf[j] += s * deviation
            leaf[unsigned(d) + j] += s * deviation * deviation


_PARTS = {"sums": add_row_sums, "squares": add_row_squares}


@kernel_factory
def make_csr_sums(part: str, dtype: str):
    """Make the kernel `sums(data, center, first, last, rows, stack, out)` of "sums" or "squares": a node of blocks."""
    add_rows = _PARTS[part]

    @cpu_kernel(f"csr_{part}[{dtype}]")
    def sums(data, center, first, last, rows, stack, out):
        n = data.y.shape[1]
        for number in range(first, last):
            for q in range(out.size):
                out[q] = 0.0
            start = number * rows
            add_rows(data, center, start, min(start + rows, n), out)
            push(stack, number - first, out)
        collapse(stack, last - first, out)

    return sums


@kernel_factory
def make_csr_norms(dtype: str):
    """Make the kernel `norms(data, squares, products, constant, start, stop, out)` of rows in working coordinates.

    out (n,) receives s_i (constant + sum_j (squares_j x_ij - products_j) x_ij), at least 0.
    """

    @cpu_kernel(f"csr_norms[{dtype}]")
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
def make_csr_margins(dtype: str):
    """Make the kernel `margins(X, w, b, start, stop, out)`: x . w + b, w (d, K) float64, in out (n, K)."""

    @cpu_kernel(f"csr_margins[{dtype}]")
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
