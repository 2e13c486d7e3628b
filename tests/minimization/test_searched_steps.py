"""Optimizers that determine the length of each step: line searches, accelerated gradient and scipy's L-BFGS-B."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import optimize
from scipy.optimize import rosen, rosen_der

from fastgd import minimize
from fastgd.optimizers import LBFGS, Accelerated, GradientDescent
from tests.minimization.functions import ROSENBROCK_START, counted, logcosh, quadratic

BACKTRACKING = GradientDescent(line_search="backtracking")
EXACT = GradientDescent(line_search="exact")
SEARCHING = [BACKTRACKING, EXACT, Accelerated()]


def armijo(function, x, rate):
    """Whether a step of this rate lowers the function by 1e-4 of the first-order decrease."""
    value, g = function(x)
    return function(x - rate * g)[0] <= value - 1e-4 * rate * (g @ g)


def test_backtracking_takes_the_first_halving_that_holds():
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer=GradientDescent(64.0, line_search="backtracking"))
    assert result.success
    halvings = np.log2(64.0 / result.learning_rates)
    np.testing.assert_array_equal(halvings, halvings.round())
    assert halvings.min() > 0
    for x, rate, following in zip(result.path, result.learning_rates, result.path[1:], strict=False):
        assert armijo(function, x, rate)
        assert not armijo(function, x, 2 * rate)
        np.testing.assert_allclose(following, x - rate * function(x)[1], rtol=1e-12, atol=1e-15)


def test_an_automatic_first_trial_is_twice_the_last_step():
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer=BACKTRACKING)
    assert result.success
    trials = np.append(np.nan, 2 * result.learning_rates[:-1])
    for k, (x, rate) in enumerate(zip(result.path, result.learning_rates, strict=False)):
        assert armijo(function, x, rate)
        assert rate == trials[k] or not armijo(function, x, 2 * rate)
    assert np.any(result.learning_rates[1:] == trials[1:])
    assert np.any(result.learning_rates[1:] < trials[1:])


def test_the_first_automatic_trial_is_the_minimum_of_the_parabola_along_the_gradient():
    function = quadratic([1.0, 7.0, 30.0])
    x0 = np.array([3.0, -1.0, 2.0])
    g = function(x0)[1]
    cauchy = g @ g / (2 * function(g)[0])
    result = minimize(function, x0, optimizer=BACKTRACKING, max_iter=1)
    np.testing.assert_allclose(result.learning_rates, cauchy, rtol=1e-5)


def test_backtracking_requires_a_share_of_the_first_order_decrease():
    """1.9999 / L lowers a parabola by 1e-4 of it where Armijo wants 2e-4."""
    function = quadratic([1.0])
    assert function(np.ones(1) * (1 - 1.9999))[0] < function(np.ones(1))[0]
    result = minimize(function, 1.0, optimizer=GradientDescent(1.9999, line_search="backtracking"), max_iter=1)
    assert result.learning_rates.tolist() == [1.9999 / 2]


def test_where_a_function_is_concave_the_first_trial_has_its_curvature_by_size():
    result = minimize(lambda x: (np.cos(x[0]), -np.sin(x)), 0.5, optimizer=BACKTRACKING, max_iter=1)
    np.testing.assert_allclose(result.learning_rates, 1 / np.cos(0.5), rtol=1e-4)


def test_a_zero_gradient_leaves_no_step():
    for optimizer in SEARCHING[:2]:
        result = minimize(quadratic([1.0]), 0.0, optimizer=optimizer, tol=0.0)
        assert (result.nit, result.status) == (0, 2)


@pytest.mark.parametrize("rate", ["auto", 1e-4, 3.0])
def test_exact_steps_have_the_length_of_cauchy_steps(rate):
    function = quadratic([1.0, 7.0, 30.0])
    result = minimize(function, [3.0, -1.0, 2.0], optimizer=GradientDescent(rate, line_search="exact"))
    assert result.success
    for x, found, following in zip(result.path, result.learning_rates, result.path[1:], strict=False):
        g = function(x)[1]
        np.testing.assert_allclose(found, g @ g / (2 * function(g)[0]), rtol=1e-5)
        assert abs(function(following)[1] @ g) <= 2e-6 * (g @ g)


def test_exact_steps_end_where_the_slope_vanishes_on_any_function():
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer=EXACT, max_iter=10, tol=0.0)
    for x, following in zip(result.path[:8], result.path[1:], strict=False):
        assert abs(function(following)[1] @ function(x)[1]) <= 2e-6 * (function(x)[1] @ function(x)[1])


@pytest.mark.parametrize("rate", np.linspace(2.5, 60.0, 24))
def test_exact_searches_that_pass_a_hill_return(rate):
    """x / 2 - sin x has its minima 2 pi apart, each higher than the one before by pi."""

    def function(x):
        return 0.5 * x[0] - np.sin(x[0]), 0.5 - np.cos(x)

    result = minimize(function, 0.0, optimizer=GradientDescent(rate, line_search="exact"))
    assert result.success
    assert np.all(np.diff(result.path_fun) < 0)
    np.testing.assert_allclose(np.cos(result.x), 0.5, atol=1e-5)


def test_gradients_are_taken_once_at_a_point():
    function, x0 = logcosh()
    for optimizer in SEARCHING:
        jac, calls = counted(lambda x: function(x)[1])
        minimize(lambda x: function(x)[0], x0, jac=jac, optimizer=optimizer)
        assert all(not np.array_equal(one, other) for (one,), (other,) in pairwise(calls))


@pytest.mark.parametrize("optimizer", SEARCHING)
def test_values_never_increase(optimizer):
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer=optimizer, max_iter=200, tol=1e-5)
    assert result.success
    assert np.all(np.diff(result.path_fun) <= 0)


def test_accelerated_steps_lie_below_their_parabola():
    """From rest a step is a gradient step with f(x') <= f(x) - rate |g|^2 / 2, and L ends where that just holds."""
    function, x0 = logcosh()
    result = minimize(function, x0, max_iter=1)
    (rate,) = result.learning_rates
    value, g = function(x0)
    np.testing.assert_allclose(result.x, x0 - rate * g, rtol=1e-12)
    assert result.fun <= value - 0.5 * rate * (g @ g)


def test_accelerated_follows_the_recurrence_of_fista():
    """Steps from y = x' + (t - 1) / t' (x' - x), with t = 1 again where the last step went against its gradient."""
    function = quadratic([0.01, 0.1, 1.0])
    result = minimize(function, [3.0, -1.0, 2.0], max_iter=60, tol=0.0)
    x, y, t = result.path[0], result.path[0], 1.0
    ahead, restarts = 0, 0
    for rate, found in zip(result.learning_rates, result.path[1:], strict=True):
        if not np.allclose(found, y - rate * function(y)[1], rtol=1e-9, atol=1e-13):
            # Momentum led uphill: a plain step instead.
            y, t = x, 1.0
        ahead += y is not x
        g = function(y)[1]
        np.testing.assert_allclose(found, y - rate * g, rtol=1e-9, atol=1e-12)
        if g @ (found - x) > 0:
            x, y, t = found, found, 1.0
            restarts += 1
            continue
        following = 0.5 * (1 + math.sqrt(1 + 4 * t * t))
        x, y, t = found, found + (t - 1) / following * (found - x), following
    assert ahead >= 10
    assert ahead >= 2 * restarts > 0


def test_accelerated_needs_the_root_of_the_iterations_of_gradient_descent():
    function = quadratic(np.logspace(0, 2.5, 10))
    slow = minimize(function, np.ones(10), optimizer="gd", max_iter=20_000)
    fast = minimize(function, np.ones(10))
    assert slow.success
    assert fast.success
    assert fast.nit < slow.nit / 10


def test_accelerated_adapts_to_a_falling_curvature():
    """The curvature of cosh falls from 10^6 to 1 on the way to its minimum."""
    result = minimize(lambda x: (np.cosh(x[0]), np.sinh(x)), 14.0, max_iter=200)
    assert result.success
    assert abs(result.x[0]) < 1e-6


@pytest.mark.parametrize("optimizer", SEARCHING)
def test_searches_stay_in_the_domain_of_the_function(optimizer):
    """x - log x is NaN from 0 on, where long steps lead."""

    def function(x):
        return x[0] - np.log(x[0]), 1 - 1 / x

    start = 20.0
    if optimizer is not SEARCHING[2]:
        optimizer = GradientDescent(1e3, line_search=optimizer.line_search)
    result = minimize(function, start, optimizer=optimizer)
    assert result.success
    np.testing.assert_allclose(result.x, 1.0, atol=1e-5)


@pytest.mark.parametrize("optimizer", SEARCHING)
def test_searches_stop_if_no_step_lowers_the_function(optimizer):
    """A gradient of the wrong sign."""
    function, calls = counted(lambda x: (0.5 * x @ x, -x))
    result = minimize(function, [1.0, 2.0], optimizer=optimizer)
    assert (result.success, result.status, result.nit) == (False, 2, 0)
    assert "no step lowers the function" in result.message
    np.testing.assert_array_equal(result.x, [1.0, 2.0])
    assert len(calls) < 60


def test_an_exact_search_without_a_minimum_ends():
    result = minimize(lambda x: (-x[0], -np.ones(1)), 0.0, optimizer=EXACT)
    assert (result.success, result.status) == (False, 2)


@pytest.mark.parametrize("memory", [1, 5])
def test_iterates_of_lbfgs_are_those_of_scipy(memory):
    function, x0 = logcosh(d=12)
    path = [x0]
    options = {"maxcor": memory, "gtol": 1e-7, "ftol": 0.0}
    theirs = optimize.minimize(
        function, x0, jac=True, method="L-BFGS-B", options=options, callback=lambda x: path.append(x.copy())
    )
    ours = minimize(function, x0, optimizer=LBFGS(memory), tol=1e-7)
    assert ours.success
    np.testing.assert_array_equal(ours.path, path)
    # One more call for each of the 12 dimensions finds the curvatures at the end; seven find no lower value beside it.
    assert (ours.nit, ours.nfev) == (theirs.nit, theirs.nfev + 12 + 7)
    moves = np.linalg.norm(np.diff(ours.path, axis=0), axis=1)
    steepness = [np.linalg.norm(function(x)[1]) for x in ours.path[:-1]]
    np.testing.assert_allclose(ours.learning_rates, moves / steepness, rtol=1e-12)


def test_lbfgs_needs_fewer_calls_than_other_optimizers():
    calls = [
        minimize(rosen, ROSENBROCK_START, jac=rosen_der, optimizer=optimizer, max_iter=9999).nfev
        for optimizer in ("lbfgs", "accelerated", "momentum")
    ]
    assert calls[0] < 0.5 * min(calls[1:])


def test_every_step_of_lbfgs_lowers_the_function_and_a_callback_may_end_it():
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)
        return len(seen) == 6

    result = minimize(rosen, ROSENBROCK_START, jac=rosen_der, optimizer="lbfgs", callback=callback)
    assert (result.nit, result.status) == (6, 99)
    assert np.all(np.diff(result.path_fun) < 0)
    np.testing.assert_array_equal([each.x for each in seen], result.path[1:])
    assert [each.nit for each in seen] == [1, 2, 3, 4, 5, 6]


def test_rounding_ends_lbfgs_with_no_step():
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer="lbfgs", tol=1e-300)
    assert (result.success, result.status) == (False, 2)
    assert "no step lowers the function" in result.message
    assert np.abs(result.jac).max() < 1e-6


@pytest.mark.parametrize("outside", [np.nan, np.inf, -np.inf])
def test_lbfgs_turns_back_at_the_end_of_the_domain(outside):
    """The first trial of scipy's line search is of length 1, beyond the wall."""

    def function(x):
        return (x[0] - 0.1 * np.log(x[0]), 1 - 0.1 / x) if x[0] > 0 else (outside, x)

    function, calls = counted(function)
    result = minimize(function, 0.5, optimizer="lbfgs")
    assert result.success
    np.testing.assert_allclose(result.x, 0.1, rtol=1e-5)
    assert min(x[0] for (x,) in calls) < 0 < result.path.min()


def test_max_iter_of_lbfgs_counts_iterations_not_calls():
    result = minimize(quadratic(np.logspace(0, 4, 20)), np.ones(20), optimizer="lbfgs", max_iter=7, tol=0.0)
    assert (result.nit, result.status) == (7, 1)
    assert result.nfev >= 8
