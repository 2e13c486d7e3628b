"""The inner loops over a block of column-major data, one to eight column segments at a time.

X comes as its transpose (d, n), so that a column's segment is contiguous.
"""

from typing import Any

from fastgd.kernels._jit import jitable, unsigned


def make_column_margins(load: Any) -> Any:
    """Factory of the loop z[k, i] = b_k + sum_j (x_ij - shift_j) w_kj over rows [start, start + m)."""

    @jitable
    def margins(X: Any, point: Any, start: Any, m: Any, z: Any) -> None:
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


def make_column_accumulate(load: Any) -> Any:
    """Factory of the loop g_kj = sum_i r[k, i] (x_ij - shift_j) over rows [start, start + m); overwrites g."""

    @jitable
    def accumulate(X: Any, shift: Any, start: Any, m: Any, r: Any, g: Any) -> None:
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
