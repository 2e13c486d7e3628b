"""Sources of gradients, and return values of functions."""

import math

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from fastgd import minimize
from fastgd.optimizers import GradientDescent
from tests.minimization.functions import ROSENBROCK_START, counted, logcosh


def value_of(function):
    return lambda x: function(x)[0]


def analytic(x):
    """A function that takes complex x, and its gradient."""
    return np.sum(np.exp(x) + x**4) + x[0] * x[1]


def analytic_gradient(x):
    return np.exp(x) + 4 * x**3 + np.array([x[1], x[0], *[0.0] * (x.size - 2)])


@pytest.mark.parametrize(("jac", "digits"), [("2-point", 6e-7), ("3-point", 1e-9), (None, 1e-9), ("cs", 1e-14)])
@pytest.mark.parametrize("x0", [[0.3, -0.7, 1.1], [1e-9, -2.0, 0.0], [3.0, 4.0, -5.0]])
def test_differences_against_the_gradient_by_hand(jac, digits, x0):
    result = minimize(analytic, x0, jac=jac, optimizer=GradientDescent(1e-12), max_iter=1)
    exact = analytic_gradient(result.x)
    scale = np.abs(exact).max() + abs(result.fun)
    np.testing.assert_allclose(result.jac, exact, rtol=0, atol=digits * scale)


@pytest.mark.parametrize(("jac", "digits"), [("2-point", 1e-7), ("3-point", 1e-9)])
def test_steps_of_differences_scale_with_x(jac, digits):
    x0 = np.array([1e8, -3e8])
    result = minimize(lambda x: 0.5 * x @ x, x0, jac=jac, optimizer=GradientDescent(1e-9), max_iter=1, tol=0.0)
    np.testing.assert_allclose(result.jac, result.x, rtol=100 * digits)


def test_central_differences_meet_a_tolerance_that_forward_ones_do_not():
    """The reason for the default, on a valley whose curvature is 1000."""
    central, forward = (minimize(rosen, ROSENBROCK_START, jac=jac) for jac in (None, "2-point"))
    assert central.success
    assert np.abs(rosen_der(central.x)).max() < 1.1e-6
    assert np.abs(rosen_der(forward.x)).max() > 1.1e-6


@pytest.mark.parametrize("jac", ["3-point", "cs", None])
def test_a_path_by_differences_is_the_exact_one(jac):
    function, x0 = logcosh()
    optimizer = GradientDescent(0.02)
    exact = minimize(function, x0, optimizer=optimizer, max_iter=40)
    found = minimize(value_of(function), x0, jac=jac, optimizer=optimizer, max_iter=40)
    np.testing.assert_allclose(found.path, exact.path, atol=1e-8)


def test_all_ways_to_give_a_gradient_are_equivalent():
    pair = lambda x: (rosen(x), rosen_der(x))  # noqa: E731
    results = [
        minimize(pair, ROSENBROCK_START),
        minimize(pair, ROSENBROCK_START, jac=True),
        minimize(lambda x: list(pair(x)), ROSENBROCK_START, jac=True),
        minimize(rosen, ROSENBROCK_START, jac=rosen_der),
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result.path, results[0].path)


def test_further_arguments_reach_function_and_gradient():
    def fun(x, center, scale):
        return scale * np.sum((x - center) ** 2) / 2

    def jac(x, center, scale):
        return scale * (x - center)

    for gradient in (jac, None):
        result = minimize(fun, np.zeros(2), args=(np.array([1.0, 2.0]), 3.0), jac=gradient)
        np.testing.assert_allclose(result.x, [1.0, 2.0], atol=1e-6)
    # A single one needs no tuple, as in scipy.
    assert minimize(lambda x, c: (x[0] - c) ** 2, 0.0, args=4.0).x.round(5) == [4.0]


def test_calls_are_counted():
    function, x0 = logcosh(4)
    fun, calls = counted(value_of(function))
    jac, gradients = counted(lambda x: function(x)[1])
    result = minimize(fun, x0, jac=jac, max_iter=7)
    assert (result.nfev, result.njev) == (len(calls), len(gradients))
    calls.clear()
    # One value an iteration, and two for each of four coordinates.
    result = minimize(fun, x0, optimizer=GradientDescent(0.01), max_iter=7)
    assert result.nfev == len(calls) == 8 * (1 + 2 * 4)
    assert result.njev == 8
    pair, calls = counted(function)
    result = minimize(pair, x0, optimizer=GradientDescent(0.01), max_iter=7)
    assert result.nfev == result.njev == len(calls) == 8


def test_points_and_gradients_are_copies():
    """A function that reuses one buffer for its gradients and overwrites its argument."""
    function, x0 = logcosh()
    buffer, clean = np.zeros(x0.size), minimize(function, x0)

    def careless(x):
        value, buffer[:] = function(x)
        x[:] = np.nan
        return value, buffer

    def careless_gradient(x):
        buffer[:] = function(x)[1]
        x[:] = np.nan
        return buffer

    given = x0.copy()
    for result in (
        minimize(careless, given),
        minimize(lambda x: careless(x)[0], given, jac=careless_gradient),
    ):
        np.testing.assert_array_equal(result.path, clean.path)
        np.testing.assert_array_equal(given, x0)


def test_one_variable_may_be_a_number():
    result = minimize(lambda x: ((x[0] - 2) ** 2, 2 * (x[0] - 2)), 5)
    assert result.x.shape == result.jac.shape == (1,)
    assert result.path.shape == (result.nit + 1, 1)
    np.testing.assert_allclose(result.x, 2.0, atol=1e-6)


@pytest.mark.parametrize("value", [np.float32(2.0), np.array([2.0]), np.array([[2.0]]), 2, True])
def test_values_may_be_any_kind_of_number(value):
    result = minimize(lambda x: value, [1.0, 2.0])
    assert result.fun == float(np.squeeze(value))
    assert isinstance(result.fun, float)


@pytest.mark.parametrize(
    ("answer", "jac", "words"),
    [
        (None, None, r"the value of fun must be one real number, got None"),
        ("1", None, "one real number, got '1'"),
        (1j, None, "one real number, got 1j"),
        ([1.0, 2.0, 3.0], None, "one real number"),
        (np.ones(2), None, "one real number"),
        ((1.0, np.ones(3)), None, r"gradients must have the shape of x, \(2,\), got \(3,\)"),
        ((1.0, np.ones((1, 2))), True, r"got \(1, 2\)"),
        ((1.0, 1.0), None, r"got \(\)"),
        ((1.0, np.ones(2) * 1j), None, "gradients must be real numbers"),
        ((1.0, None), True, "gradients must be real numbers, got None"),
        (1.0, True, r"fun must return \(value, gradient\) here, got 1.0"),
        ((1.0, np.ones(2)), np.sign, "one real number"),
        (1.0, lambda x: np.ones(3), r"got \(3,\)"),
        (1.0, "cs", "take '3-point'"),
    ],
)
def test_wrong_answers_are_refused_at_once(answer, jac, words):
    function, calls = counted(lambda x: answer)
    with pytest.raises(ValueError, match=words):
        minimize(function, [1.0, 2.0], jac=jac)
    assert len(calls) <= 1 + 2


def test_a_function_that_returned_a_pair_must_always_do_so():
    answers = iter([(1.0, np.ones(2)), 0.5])
    with pytest.raises(ValueError, match=r"must return \(value, gradient\) here, got 0.5"):
        minimize(lambda x: next(answers), [1.0, 2.0], optimizer=GradientDescent(0.1))


def test_errors_of_the_function_are_raised():
    def function(x):
        return math.sqrt(-1.0)

    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        minimize(function, [1.0])
