"""As a method of scipy.optimize.minimize, and against its own methods."""

import doctest

import numpy as np
import pytest
from scipy import optimize
from scipy.optimize import rosen, rosen_der

from fastgd import minimize
from fastgd.optimizers import (
    LBFGS,
    SAGA,
    Accelerated,
    Adam,
    AMSGrad,
    GradientDescent,
    Momentum,
    Nesterov,
    NormalEquations,
    RMSProp,
    SketchedNewton,
)
from fastgd.schedules import CosineDecay, WarmUp
from tests.minimization.functions import ROSENBROCK_START, counted, logcosh

#: Rules that reach the end of Rosenbrock's valley, and how far from it they end, in units of tol over curvature.
THROUGH_THE_VALLEY = [
    Accelerated(),
    LBFGS(),
    pytest.param(GradientDescent(line_search="backtracking"), marks=pytest.mark.slow),
    Momentum(),
    Momentum(CosineDecay(1e-3, restart_every=500), 0.95),
    Nesterov(),
    Nesterov(1e-3, 0.95, form="lookahead"),
    pytest.param(RMSProp(WarmUp(100, then=CosineDecay(0.01))), marks=pytest.mark.slow),
    Adam(0.05),
    AMSGrad(0.1),
]


@pytest.mark.parametrize("optimizer", THROUGH_THE_VALLEY)
def test_rosenbrock_ends_where_bfgs_does(optimizer):
    expected = optimize.minimize(rosen, ROSENBROCK_START, jac=rosen_der, method="BFGS", options={"gtol": 1e-9})
    assert expected.success
    result = minimize(rosen, ROSENBROCK_START, jac=rosen_der, optimizer=optimizer, max_iter=12_000)
    np.testing.assert_allclose(result.x, expected.x, atol=3e-4)
    assert result.fun < 1e-7


def test_a_function_without_closed_form_ends_where_bfgs_does():
    function, x0 = logcosh()
    expected = optimize.minimize(function, x0, jac=True, method="BFGS", options={"gtol": 1e-10})
    for optimizer in ("accelerated", "lbfgs", "momentum", "nesterov", "adam"):
        result = minimize(function, x0, optimizer=optimizer, tol=1e-8, max_iter=5000)
        assert result.success
        np.testing.assert_allclose(result.x, expected.x, atol=1e-7)
        np.testing.assert_allclose(result.fun, expected.fun, rtol=1e-13)


@pytest.mark.parametrize("optimizer", [Adam(0.1), Accelerated(), Momentum(), LBFGS(3)])
def test_scipy_takes_an_optimizer_for_a_method(optimizer):
    ours = minimize(rosen, ROSENBROCK_START, jac=rosen_der, optimizer=optimizer, max_iter=700, tol=1e-4)
    theirs = optimize.minimize(
        rosen, ROSENBROCK_START, jac=rosen_der, method=optimizer, tol=1e-4, options={"max_iter": 700}
    )
    assert isinstance(theirs, optimize.OptimizeResult)
    assert theirs.keys() == ours.keys()
    for name in ours:
        np.testing.assert_array_equal(theirs[name], ours[name])


def test_scipys_ways_to_give_a_gradient():
    function, x0 = logcosh()
    options = {"maxiter": 50, "tol": 0.0}
    expected = minimize(function, x0, optimizer=Adam(0.1), max_iter=50, tol=0.0).path
    pair = optimize.minimize(function, x0, jac=True, method=Adam(0.1), options=options)
    np.testing.assert_array_equal(pair.path, expected)
    # scipy hands names of differences to its own methods only; here they are central ones.
    for jac in (None, False, "3-point"):
        result = optimize.minimize(lambda x: function(x)[0], x0, jac=jac, method=Adam(0.1), options=options)
        np.testing.assert_allclose(result.path, expected, atol=1e-6)


def test_scipys_further_arguments_and_callbacks():
    def fun(x, center, scale):
        return scale * np.sum((x - center) ** 2) / 2

    def jac(x, center, scale):
        return scale * (x - center)

    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result.fun)
        return len(seen) == 4

    args = (np.array([1.0, 2.0]), 3.0)
    result = optimize.minimize(fun, [0.0, 0.0], args, jac=jac, method=Momentum(0.1), callback=callback)
    assert (result.nit, result.status, len(seen)) == (4, 99, 4)
    assert seen == result.path_fun[1:].tolist()
    calls = []
    result = optimize.minimize(fun, [0.0, 0.0], args, jac=jac, method=Momentum(0.1), callback=calls.append)
    assert result.success
    np.testing.assert_array_equal(calls, result.path[1:])


def test_several_starts_through_scipy():
    options = {"n_starts": 3, "spread": 1.0, "random_state": 0}
    result = optimize.minimize(rosen, ROSENBROCK_START, jac=rosen_der, method=Accelerated(), options=options)
    assert len(result.starts) == 3


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"bounds": [(0, 1), (0, 1)]}, ValueError, "no use for bounds"),
        ({"constraints": {"type": "eq", "fun": rosen}}, ValueError, "Adam has no use for constraints"),
        ({"constraints": [{"type": "eq", "fun": rosen}]}, ValueError, "no use for constraints"),
        ({"hess": lambda x: np.eye(2)}, ValueError, "no use for hess"),
        ({"hessp": lambda x, p: p}, ValueError, "no use for hessp"),
        ({"options": {"disp": True}}, TypeError, "unexpected keyword argument 'disp'"),
        ({"options": {"max_iter": 5, "maxiter": 6}}, ValueError, "are one thing"),
        ({"tol": -1.0}, ValueError, "tol must be"),
        *(
            ({"method": kind()}, ValueError, "rows? of data.*take another")
            for kind in (SAGA, SketchedNewton, NormalEquations)
        ),
    ],
)
def test_options_of_scipy_that_rules_do_not_support_are_refused(changes, kind, words):
    function, calls = counted(rosen)
    with pytest.raises(kind, match=words):
        optimize.minimize(function, ROSENBROCK_START, **{"method": Adam(), "jac": rosen_der, **changes})
    assert not calls


def test_examples_run():
    (example,) = doctest.DocTestFinder(recurse=False).find(minimize, "minimize", globs={})
    assert len(example.examples) >= 8
    assert doctest.DocTestRunner().run(example).failed == 0
