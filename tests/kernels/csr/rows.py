"""Random sparse data for the table of kernels."""

import numpy as np
import scipy.sparse as sp

from fastgd.backends.csr.data import CsrData
from fastgd.backends.csr.matrix import CsrMatrix
from tests.kernels.table import Case, Sample, sample


def sparse_sample(case: Case, n: int, d: int, density: float = 0.2, **options) -> Sample:
    """A sample with zeros: the first row, the last ones and a column are empty, unless they are alone."""
    data = sample(case, n, d, **options)
    rng = np.random.default_rng([n, d])
    data.X[rng.random((n, d)) >= density] = 0.0
    if n > 2:
        data.X[0] = data.X[-2:] = 0.0
    if d > 2:
        data.X[:, d // 2] = 0.0
    return data


def compressed(X: np.ndarray, index: str = "i4", zeros: bool = False) -> CsrMatrix:
    """X by rows, with indices of a dtype; `zeros`: half of its zeros are stored as well."""
    stored = X != 0.0
    if zeros:
        stored |= np.random.default_rng(1).random(X.shape) < 0.5
    rows, columns = np.nonzero(stored)
    indptr = np.searchsorted(rows, np.arange(len(X) + 1))
    made = sp.csr_array((X[rows, columns], columns.astype(index), indptr.astype(index)), X.shape)
    made.indices = made.indices.astype(index)
    return CsrMatrix.of(made, "X")


def on_csr(data: Sample, n_threads: int = 1, **options) -> CsrData:
    """The data as the backend for sparse rows holds them."""
    return CsrData(compressed(data.X, **options), data.y, data.s, n_threads)
