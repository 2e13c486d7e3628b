"""Products of all rows, with the means and scales of columns from the same pass."""

import numpy as np
import pytest

from fastgd import LinearRegression
from fastgd.backends.cpu.data import CpuData
from fastgd.objective.coordinates import Scaling
from fastgd.objective.row_products import RowProducts


def data_of(X: np.ndarray, s: np.ndarray | None = None) -> CpuData:
    y = np.random.default_rng(9).standard_normal((2, len(X)))
    return CpuData(X, y.astype(X.dtype), s, 2)


def columns(n: int = 20_000) -> np.ndarray:
    """Return columns in units of all sizes, far from zero, heavy-tailed, rare, constant and 0."""
    rng = np.random.default_rng(0)
    rare = np.where(np.arange(n) % 997 == 5, 3.0, 0.1)
    X = [1e-30 * rng.standard_normal(n), 1e9 + rng.standard_normal(n), 1e20 * rng.standard_t(3, n)]
    return np.stack([*X, rare, np.full(n, 0.1), np.zeros(n)], axis=1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("intercept", [True, False])
def test_products_in_other_coordinates_are_those_of_another_pass(intercept, order):
    X = np.asarray(columns(), order=order)
    s = np.random.default_rng(1).integers(0, 3, len(X)).astype(float)
    X[s == 0.0, 4] = 1e3
    data = data_of(X, s)
    products = RowProducts.of(data)
    scaling = Scaling.standard(products.moments, intercept)
    exact = data.least_squares(scaling, intercept).gram()
    np.testing.assert_allclose(products.gram(scaling, intercept), exact, rtol=0, atol=1e-13)


def test_means_and_scales_are_exact():
    X = columns()
    moments, wide = RowProducts.of(data_of(X)).moments, (X - X[0]).astype(np.longdouble)
    sd, mean = wide.std(axis=0)[:4].astype(float), wide.mean(axis=0)[:4].astype(float)
    np.testing.assert_allclose(moments.sd[:4], sd, rtol=1e-12)
    assert np.all(np.abs(moments.mean[:4] - X[0, :4] - mean) <= 1e-12 * sd + 1e-15 * np.abs(X[0, :4]))
    np.testing.assert_array_equal(moments.sd[4:], 0.0)
    np.testing.assert_array_equal(moments.mean[4:], X[0, 4:])
    assert moments.weight == len(X)


def test_products_of_numbers_that_the_kernel_cannot_multiply_are_not_used():
    X = columns()
    shifted, small, far = X.copy(), X.copy(), X.copy()
    # The rows that give the center are unlike the others.
    shifted[::157, 1] = 0.0
    small[:, 1] *= 1e-60
    far[77, 2] = np.nan
    assert RowProducts.of(data_of(shifted)) is None
    assert RowProducts.of(data_of(small)) is None
    assert RowProducts.of(data_of(far)) is None
    assert RowProducts.of(data_of(X, np.r_[np.zeros(len(X) - 1), 1.0])) is None


@pytest.mark.parametrize("optimizer", ["auto", "normal_equations"])
def test_a_direct_fit_reads_the_rows_once(optimizer):
    """Although scales of heavy tails need all rows."""
    rng = np.random.default_rng(2)
    X = rng.standard_t(2.1, (20_000, 5))
    y = X.sum(axis=1) + rng.standard_normal(len(X))
    model = LinearRegression(alpha=1e-3, optimizer=optimizer).fit(X, y)
    assert model.fit_report_["passes"] == 1.0
    centred = X - X.mean(axis=0)
    exact = np.linalg.solve(centred.T @ centred / len(X) + 1e-3 * np.eye(5), centred.T @ (y - y.mean()) / len(X))
    np.testing.assert_allclose(model.coef_, exact, rtol=1e-10)
