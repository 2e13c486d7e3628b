"""Gram matrices, triangular factors and gradients of more than double precision over all rows."""

from fractions import Fraction
from unittest import mock

import numpy as np
import pytest

from fastgd.backends.cpu import least_squares as cpu_least_squares
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cpu.least_squares import CpuLeastSquares
from fastgd.objective.coordinates import Scaling
from tests.kernels.table import Case, Sample, sample

LAYOUTS = [Case("squared", dtype, order) for dtype in ("f4", "f8") for order in ("C", "F")]
CASE = Case("squared", "f8", "C")


def rows_of(data: Sample, scaling: Scaling, intercept: bool) -> np.ndarray:
    """Weighted by the roots of the weights, relative to their sum."""
    n = len(data.X)
    s = np.ones(n) if data.s is None else data.s.astype(float)
    x = (data.X.astype(float) - scaling.center) * scaling.inv_scale
    rows = np.hstack([np.ones((n, int(intercept))), x, data.y.T.astype(float)])
    return rows * np.sqrt(s / s.sum())[:, None]


def setup(case: Case, n: int, d: int, *, weighted: bool = False, outputs: int = 2) -> tuple[Sample, Scaling]:
    """Return data and another data set's scaling; the last of several columns has scale 0."""
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


@pytest.mark.parametrize("case", LAYOUTS, ids=lambda case: case.name)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 3), (7, 4), (200, 1), (3000, 5), (400, 33), (300, 70), (1200, 131)])
def test_gram(case, n, d):
    """Tiles and panels that are whole, and some that are not."""
    check_gram(case, n, d)


@pytest.mark.parametrize("case", LAYOUTS, ids=lambda case: case.name)
@pytest.mark.parametrize("intercept", [True, False])
def test_gram_with_weights(case, intercept):
    check_gram(case, 5000, 9, weighted=True, intercept=intercept)
    check_gram(case, 3, 2, weighted=True, intercept=intercept)


@pytest.mark.parametrize("case", LAYOUTS, ids=lambda case: case.name)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 5), (50, 4), (40_000, 3), (3000, 131)])
def test_triangle(n, d, weighted, case):
    data, scaling = setup(case, n, d, weighted=weighted)
    exact = rows_of(data, scaling, intercept=True)
    found = sums(data, scaling, True).triangle()
    np.testing.assert_array_equal(found, np.triu(found))
    np.testing.assert_allclose(found.T @ found, exact.T @ exact, rtol=0, atol=1e-13 * np.abs(exact.T @ exact).max())


def test_triangle_resolves_nearly_collinear_columns():
    """A column that is another one but for one part in 10^10: its square is lost in the Gram matrix."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 2))
    X[:, 1] = X[:, 0] + 1e-10 * X[:, 1]
    data = sample(CASE, 20_000, 2)._replace(X=X)
    upper = sums(data, Scaling(np.zeros(2), np.ones(2)), False).triangle()
    assert abs(upper[1, 1]) == pytest.approx(1e-10, rel=0.02)


def check_gradient(case: Case, n: int, d: int, *, weighted: bool = False, intercept: bool = True) -> None:
    data, scaling = setup(case, n, d, weighted=weighted)
    s = np.ones(n) if data.s is None else data.s.astype(float)
    x = (data.X.astype(float) - scaling.center) * scaling.inv_scale
    r = x @ data.coef.T.astype(float) + data.intercept * intercept - data.y.T
    exact = (s[:, None] * r).T @ np.hstack([np.ones((n, int(intercept))), x]) / s.sum()
    for few in (0, data.X.size * 10):
        with mock.patch.object(cpu_least_squares, "FEW_NUMBERS", few):
            own = sums(data, scaling, intercept)
            losses, found = own.gradient(data.coef.astype(float), data.intercept * float(intercept))
        np.testing.assert_allclose(losses, 0.5 * s @ r**2 / s.sum(), rtol=1e-12)
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13 * np.abs(exact).max())


@pytest.mark.parametrize("case", LAYOUTS, ids=lambda case: case.name)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_gradient(weighted, intercept, case):
    """Whole tiles and strips, and parts of them."""
    for n, d in ((20_000, 5), (1, 1), (33, 4), (1500, 70)):
        check_gradient(case, n, d, weighted=weighted, intercept=intercept)


@pytest.mark.parametrize("n", [500, 30_000])
def test_gradient_has_more_digits_than_double_precision(n):
    """Columns orthogonal to the residual but for one part in 10^17, by exact arithmetic."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((n, 2)), rng.standard_normal(n)
    x -= np.outer(y, (y @ x) / (y @ y))
    x -= np.outer(y, (y @ x) / (y @ y))
    data = sample(CASE, n, 2, outputs=1)._replace(X=x, y=y[None])
    _, found = sums(data, Scaling(np.zeros(2), np.ones(2)), False).gradient(np.zeros((1, 2)), np.zeros(1))
    for j in range(2):
        exact = float(-sum(Fraction(a) * Fraction(b) for a, b in zip(x[:, j], y, strict=True)) / n)
        assert abs(found[0, j] - exact) < 1e-22
    assert np.max(np.abs(found)) < 1e-16


@pytest.mark.parametrize("case", LAYOUTS, ids=lambda case: case.name)
@pytest.mark.parametrize("what", ["gram", "triangle", "gradient"])
def test_bits_do_not_depend_on_threads(what, case):
    data, scaling = setup(case, 30_000, 20, weighted=True)
    at = (data.coef.astype(float), data.intercept.astype(float)) if what == "gradient" else ()
    alone = getattr(sums(data, scaling, True), what)(*at)
    for n_threads in (2, 5):
        found = getattr(sums(data, scaling, True, n_threads), what)(*at)
        for part, its in zip(np.atleast_2d(*found), np.atleast_2d(*alone), strict=True):
            np.testing.assert_array_equal(part, its)


def test_binary_coordinates_are_exact_for_numbers_of_few_digits():
    rng = np.random.default_rng(2)
    X = rng.integers(-(10**6), 10**6, (100, 3)) * 10.0 ** np.array([0, 2, 4]) + 1e9
    scaling = Scaling(X.mean(axis=0), 1.0 / X.std(axis=0)).binary()
    rows = [[(Fraction(a) - Fraction(b)) for a, b in zip(x, scaling.center, strict=True)] for x in X]
    exact = [[a * Fraction(v) for a, v in zip(row, scaling.inv_scale, strict=True)] for row in rows]
    assert [[Fraction(a) for a in row] for row in (X - scaling.center) * scaling.inv_scale] == exact
    sd = X.std(axis=0)
    assert np.all(np.abs(scaling.center - X.mean(axis=0)) < 1e-3 * sd)
    assert np.all((scaling.inv_scale * sd > 0.7) & (scaling.inv_scale * sd < 1.42))
