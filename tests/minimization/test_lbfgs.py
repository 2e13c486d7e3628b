"""L-BFGS-B of scipy, with the callbacks and stops of all methods."""

import numpy as np
import pytest
from scipy import optimize
from scipy.optimize import rosen, rosen_der

from fastgd import minimize
from fastgd.optimizers import LBFGS
from tests.minimization.functions import ROSENBROCK_START, counted, logcosh, quadratic


@pytest.mark.parametrize("memory", [1, 5])
def test_iterates_are_those_of_scipy(memory):
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


def test_every_step_lowers_the_function_and_a_callback_may_end_it():
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)
        return len(seen) == 6

    result = minimize(rosen, ROSENBROCK_START, jac=rosen_der, optimizer="lbfgs", callback=callback)
    assert (result.nit, result.status) == (6, 99)
    assert np.all(np.diff(result.path_fun) < 0)
    np.testing.assert_array_equal([each.x for each in seen], result.path[1:])
    assert [each.nit for each in seen] == [1, 2, 3, 4, 5, 6]


def test_rounding_ends_it_with_no_step():
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer="lbfgs", tol=1e-300)
    assert (result.success, result.status) == (False, 2)
    assert "no step lowers the function" in result.message
    assert np.abs(result.jac).max() < 1e-6


@pytest.mark.parametrize("outside", [np.nan, np.inf, -np.inf])
def test_a_run_turns_back_at_the_end_of_the_domain(outside):
    """The first trial of scipy's line search is of length 1, beyond the wall."""

    def function(x):
        return (x[0] - 0.1 * np.log(x[0]), 1 - 0.1 / x) if x[0] > 0 else (outside, x)

    function, calls = counted(function)
    result = minimize(function, 0.5, optimizer="lbfgs")
    assert result.success
    np.testing.assert_allclose(result.x, 0.1, rtol=1e-5)
    assert min(x[0] for (x,) in calls) < 0 < result.path.min()


def test_max_iter_counts_iterations_not_calls():
    result = minimize(quadratic(np.logspace(0, 4, 20)), np.ones(20), optimizer="lbfgs", max_iter=7, tol=0.0)
    assert (result.nit, result.status) == (7, 1)
    assert result.nfev >= 8
