"""Products of the columns of sparse rows with one another, at the cost of the squares of a row's non-zeros."""

import numpy as np

from fastgd.kernels._jit import cpu_kernel, kernel_factory, unsigned
from fastgd.kernels.csr.gradient import part_of


@kernel_factory
def make_csr_gram(kind: str):
    """Make the kernel `gram(data, cuts, number, places, block, found, sums)`.

    It works on a range of columns j as of `fastgd.kernels.csr.gradient`, and adds to sums[j] the products
    sum_i s_i x_ij x_il of these with columns l, at their places[l], then with each target, then with 1. A row has at
    most one of the columns [block[0], block[1]), which share the last place: j has the products with all l if it is one
    of these, and else those with l >= j. found (d,): scratch memory for the places of a row.
    """

    @cpu_kernel(f"csr_gram[{kind}]")
    def gram(data, cuts, number, places, block, found, sums):
        X, y = data.X, data.y
        targets = y.shape[0]
        columns = sums.shape[1] - targets - 1
        first, last = unsigned(block[0]), unsigned(block[1])
        for i in range(y.shape[1]):
            row = unsigned(i)
            begin, stop = part_of(X, cuts, unsigned(number), row)
            start, end = unsigned(X.indptr[row]), unsigned(X.indptr[row + unsigned(1)])
            s = np.float64(data.s[unsigned(i * data.weight_step)])
            for a in range(start, end):
                found[a - start] = places[unsigned(X.indices[a])]
            for a in range(begin, stop):
                j, x = unsigned(X.indices[a]), s * np.float64(X.data[a])
                for b in range(start if first <= j < last else a, end):
                    sums[j, unsigned(found[b - start])] += x * np.float64(X.data[b])
                for k in range(targets):
                    sums[j, unsigned(columns + k)] += x * np.float64(y[k, row])
                sums[j, unsigned(columns + targets)] += x

    return gram


@kernel_factory
def make_csr_followers(kind: str):
    """Make the kernel `followers(X, start, stop, least)`.

    It lowers least[j] (d,) to the least column that follows column j in one of the rows [start, stop).
    """

    @cpu_kernel(f"csr_followers[{kind}]")
    def followers(X, start, stop, least):
        for i in range(start, stop):
            begin, end = unsigned(X.indptr[unsigned(i)]), unsigned(X.indptr[unsigned(i + 1)])
            for a in range(begin + unsigned(1), end):
                j = unsigned(X.indices[a - unsigned(1)])
                least[j] = min(least[j], X.indices[a])

    return followers
