"""Rows (1, x~, y) and what sums over them must be, in plain NumPy."""

from unittest import mock

import numpy as np

from fastgd.backends.cpu import least_squares as cpu_least_squares
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cpu.least_squares import CpuLeastSquares
from fastgd.objective.coordinates import Scaling
from tests.kernels.table import Case, Sample, sample


def rows_of(data: Sample, scaling: Scaling, intercept: bool) -> np.ndarray:
    """Weighted by the roots of the weights, relative to their sum."""
    n = len(data.X)
    s = np.ones(n) if data.s is None else data.s.astype(float)
    x = (data.X.astype(float) - scaling.center) * scaling.inv_scale
    rows = np.hstack([np.ones((n, int(intercept))), x, data.y.T.astype(float)])
    return rows * np.sqrt(s / s.sum())[:, None]


def setup(case: Case, n: int, d: int, *, weighted: bool = False, outputs: int = 2) -> tuple[Sample, Scaling]:
    """Data and a scaling that is not theirs; the last of several columns is silent."""
    rng = np.random.default_rng(n + d)
    inv_scale = rng.uniform(0.5, 2.0, d)
    inv_scale[1:][-1:] = 0.0
    return sample(case, n, d, weighted=weighted, outputs=outputs), Scaling(rng.standard_normal(d), inv_scale)


def sums(data: Sample, scaling: Scaling, intercept: bool, n_threads: int = 1) -> CpuLeastSquares:
    return CpuData(data.X, data.y, data.s, n_threads).least_squares(scaling, intercept)


def check_gram(case: Case, n: int, d: int, *, weighted: bool = False, intercept: bool = True) -> None:
    data, scaling = setup(case, n, d, weighted=weighted)
    rows = rows_of(data, scaling, intercept)
    exact = rows.T @ rows
    # By the kernel, and by NumPy, as that of few rows.
    for few in (0, data.X.size * 10):
        with mock.patch.object(cpu_least_squares, "FEW_NUMBERS", few):
            found = sums(data, scaling, intercept).gram()
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13 * np.abs(exact).max())
        np.testing.assert_array_equal(found, found.T)
