"""Coordinate descent on quadratic models: by optimality conditions, scikit-learn's lasso and enumeration of signs."""

import itertools

import numpy as np
import pytest
from sklearn import linear_model

from fastgd.backends.cpu.quadratic import minimise_quadratic


def model(d, *, rows=200, l1=0.3, seed=0):
    """H, c and L1 weights of a lasso; the last coordinate, as an intercept, without penalty."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, d)) @ (np.eye(d) + 0.5 * rng.standard_normal((d, d)) / np.sqrt(d))
    y = X[:, : d // 2] @ rng.standard_normal(d // 2) + rng.standard_normal(rows)
    weights = l1 * rng.uniform(0.5, 1.5, d)
    weights[-1] = 0.0
    return X.T @ X / rows, -X.T @ y / rows, weights


def violation(H, c, l1, theta):
    """The largest distance of 0 to a component of the subdifferential."""
    g = H @ theta + c
    at_zero = np.maximum(np.abs(g) - l1, 0.0)
    return np.max(np.where(theta == 0.0, at_zero, np.abs(g + l1 * np.sign(theta))))


def by_signs(H, c, l1):
    """The optimum: of all patterns of signs the one whose stationary point is optimal."""
    for signs in itertools.product((-1.0, 0.0, 1.0), repeat=len(c)):
        signs = np.array(signs)
        live = signs != 0.0
        theta = np.zeros_like(c)
        theta[live] = np.linalg.solve(H[np.ix_(live, live)], -(c + l1 * signs)[live])
        if np.array_equal(np.sign(theta), signs) and violation(H, c, l1, theta) < 1e-10:
            return theta
    raise AssertionError("no pattern is optimal")


@pytest.mark.parametrize("tol", [1e-1, 1e-6, 1e-12])
@pytest.mark.parametrize(("d", "l1"), [(1, 0.3), (5, 0.1), (40, 0.3), (40, 0.0), (40, 100.0)])
def test_violation_is_at_most_tol(d, l1, tol):
    H, c, weights = model(d, l1=l1)
    start = np.random.default_rng(1).standard_normal(d)
    kept = start.copy()
    found = minimise_quadratic(H, c, weights, start, tol)
    assert violation(H, c, weights, found) <= tol * (1.0 + 1e-12) + 1e-15
    np.testing.assert_array_equal(start, kept)


@pytest.mark.parametrize("l1", [1e-5, 1e-4, 1e-2, 1.0])
@pytest.mark.parametrize(("noise", "ridge"), [(0.1, 0.0), (0.01, 0.0), (0.001, 0.0), (0.001, 1e-5), (0.0, 0.0)])
def test_nearly_singular_curvatures_are_solved_to_rounding(noise, ridge, l1):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 10)) @ rng.standard_normal((10, 60)) + noise * rng.standard_normal((500, 60))
    y = X @ rng.standard_normal(60) + rng.standard_normal(500)
    X, weights = X / X.std(axis=0), np.full(60, l1)
    H, c = X.T @ X / 500 + ridge * np.eye(60), -X.T @ y / 500
    found = minimise_quadratic(H, c, weights, np.zeros(60), 1e-12)
    assert violation(H, c, weights, found) <= 1e-11


def test_a_limit_of_sweeps_that_ends_before_a_newton_step_is_kept():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 5)) @ rng.standard_normal((5, 40)) + 1e-3 * rng.standard_normal((500, 40))
    H, c, l1 = X.T @ X / 500, -X.T @ X[:, 0] / 500, np.full(40, 1e-4)
    few, more = (minimise_quadratic(H, c, l1, np.ones(40), 1e-12, max_sweeps=sweeps) for sweeps in (10, 1000))
    assert violation(H, c, l1, few) > 1e3 * violation(H, c, l1, more)


def test_already_optimal_parameters_stay():
    H, c, l1 = model(8)
    found = minimise_quadratic(H, c, l1, np.zeros(8), 1e-10)
    np.testing.assert_array_equal(minimise_quadratic(H, c, l1, found, 1e-9), found)


@pytest.mark.parametrize("seed", range(5))
def test_enumeration_of_signs(seed):
    H, c, l1 = model(5, seed=seed, l1=0.5)
    exact = by_signs(H, c, l1)
    found = minimise_quadratic(H, c, l1, np.zeros(5), 1e-13)
    assert 0 < np.count_nonzero(exact) < 5
    np.testing.assert_array_equal(found == 0.0, exact == 0.0)
    np.testing.assert_allclose(found, exact, rtol=1e-10)


def test_lasso_of_scikit_learn():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((300, 30)), rng.standard_normal(300)
    y += X[:, :5] @ np.array([3.0, -2.0, 1.0, 0.5, -0.5])
    theirs = linear_model.Lasso(alpha=0.1, fit_intercept=False, tol=1e-13, max_iter=10**6).fit(X, y).coef_
    found = minimise_quadratic(X.T @ X / 300, -X.T @ y / 300, np.full(30, 0.1), np.zeros(30), 1e-12)
    assert 3 < np.count_nonzero(theirs) < 15
    np.testing.assert_array_equal(found == 0.0, theirs == 0.0)
    np.testing.assert_allclose(found, theirs, rtol=1e-8, atol=1e-10)


def test_coordinates_without_curvature_stay():
    H, c, l1 = model(6)
    H[2], H[:, 2], c[2] = 0.0, 0.0, -1.0
    found = minimise_quadratic(H, c, l1, np.array([0.0, 0.0, 7.0, 0.0, 0.0, 0.0]), 1e-10)
    assert found[2] == 7.0
    others = np.arange(6) != 2
    assert violation(H[np.ix_(others, others)], c[others], l1[others], found[others]) <= 1e-10


def test_sweeps_are_limited_and_a_tolerance_out_of_reach_ends():
    H, c, l1 = model(40, rows=45, l1=0.01)
    few = minimise_quadratic(H, c, l1, np.zeros(40), 1e-12, max_sweeps=3)
    assert violation(H, c, l1, few) > 1e-6
    assert violation(H, c, l1, minimise_quadratic(H, c, l1, np.zeros(40), 0.0, max_sweeps=10**6)) < 1e-12


def test_layouts_and_whole_numbers():
    H, c, l1 = model(6)
    exact = minimise_quadratic(H, c, l1, np.zeros(6), 1e-10)
    H.flags.writeable = False
    np.testing.assert_array_equal(
        minimise_quadratic(np.asfortranarray(H), c[::-1][::-1], l1, np.zeros(6, int), 1e-10, np.int32(1000)), exact
    )
