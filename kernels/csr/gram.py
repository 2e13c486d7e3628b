"""Products of the columns of sparse rows with one another, at the cost of the squares of a row's non-zeros."""

import numpy as np

from fastgd.kernels._jit import cpu_kernel, kernel_factory, unsigned
from fastgd.kernels.csr.gradient import part_of


@kernel_factory
def make_csr_gram(kind: str):
    """Make the kernel `gram(data, cuts, number, sums)`, of a range of columns as of `fastgd.kernels.csr.gradient`.

    It adds to sums[j] of these columns: sum_i s_i x_ij x_il for l >= j, then with each target, then with 1.
    """

    @cpu_kernel(f"csr_gram[{kind}]")
    def gram(data, cuts, number, sums):
        X, y = data.X, data.y
        d, targets = sums.shape[0], y.shape[0]
        for i in range(y.shape[1]):
            row = unsigned(i)
            begin, stop = part_of(X, cuts, unsigned(number), row)
            end = unsigned(X.indptr[row + unsigned(1)])
            s = np.float64(data.s[unsigned(i * data.weight_step)])
            for a in range(begin, stop):
                j, x = unsigned(X.indices[a]), s * np.float64(X.data[a])
                for b in range(a, end):
                    sums[j, unsigned(X.indices[b])] += x * np.float64(X.data[b])
                for k in range(targets):
                    sums[j, unsigned(d + k)] += x * np.float64(y[k, row])
                sums[j, unsigned(d + targets)] += x

    return gram
