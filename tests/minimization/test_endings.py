"""Stops, results and callbacks of a run, its classification of stationary points, and wrong parameters."""

import numpy as np
import pytest
from scipy.optimize import OptimizeResult, rosen, rosen_der

import fastgd
from fastgd import minimize
from fastgd.optimizers import LBFGS, Accelerated, Adam, GradientDescent, Momentum, Nesterov
from fastgd.schedules import PolynomialDecay
from tests.minimization.functions import ROSENBROCK_START, counted, logcosh, quadratic

SOME = [
    Accelerated(),
    LBFGS(),
    GradientDescent(line_search="exact"),
    Momentum(),
    Nesterov(0.01, form="lookahead"),
    Adam(0.1),
]
NEED_ROWS = ("saga", "sketched_newton", "normal_equations")


@pytest.mark.parametrize("optimizer", SOME)
@pytest.mark.parametrize("tol", [1e-2, 1e-6])
def test_a_run_stops_at_the_first_iterate_with_a_small_gradient(optimizer, tol):
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer=optimizer, tol=tol)
    steepness = np.array([np.abs(function(x)[1]).max() for x in result.path])
    assert (result.success, result.status) == (True, 0)
    assert steepness[-1] <= tol < steepness[:-1].min()
    assert f"is at most tol = {tol:g}" in result.message


def test_a_gradient_that_equals_the_tolerance_is_small():
    result = minimize(quadratic([1.0]), 1.0, optimizer=GradientDescent(0.5), tol=0.25)
    assert (result.nit, result.success) == (2, True)


@pytest.mark.parametrize("optimizer", SOME)
def test_results_hold_the_whole_run(optimizer):
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer=optimizer, max_iter=13, tol=0.0)
    assert isinstance(result, OptimizeResult)
    assert (result.nit, result.success, result.status) == (13, False, 1)
    assert result.message.startswith("max_iter = 13 iterations are done, max |gradient| = ")
    assert result.path.shape == (14, x0.size)
    assert result.learning_rates.shape == (13,)
    assert np.all(result.learning_rates > 0)
    np.testing.assert_array_equal(result.path[0], x0)
    np.testing.assert_array_equal(result.path[-1], result.x)
    np.testing.assert_array_equal(result.path_fun, [function(x)[0] for x in result.path])
    assert result.fun == result.path_fun[-1]
    np.testing.assert_array_equal(result.jac, function(result.x)[1])
    assert "starts" not in result


def test_the_message_asks_for_more_iterations():
    message = minimize(rosen, ROSENBROCK_START, jac=rosen_der, max_iter=3).message
    assert "max_iter = 3 iterations are done" in message
    assert "is above tol = 1e-06: raise max_iter" in message


def test_a_start_that_is_an_optimum_is_the_end():
    function, calls = counted(quadratic([1.0, 2.0]))
    for optimizer in SOME:
        calls.clear()
        result = minimize(function, [0.0, 1e-9], optimizer=optimizer)
        # One call at the start, one for each dimension's curvature, and five that find no lower value beside it.
        assert (result.success, result.nit, len(calls)) == (True, 0, 8)
        assert result.path.shape == (1, 2)
        assert result.learning_rates.shape == (0,)


def test_without_a_tolerance_a_run_continues_at_the_optimum():
    for optimizer in (Momentum(), Adam(), "gd"):
        result = minimize(quadratic([1.0, 2.0]), [0.0, 0.0], optimizer=optimizer, max_iter=3, tol=0.0)
        assert (result.nit, result.fun) == (3, 0.0)


@pytest.mark.parametrize("kind", [GradientDescent, Momentum, Nesterov])
def test_a_rate_that_diverges_is_named(kind):
    """And the last iterate is the last finite one; nothing warns."""

    def function(x):
        return np.sum(np.cosh(x)), np.sinh(x)

    result = minimize(function, [3.0, -2.0], optimizer=kind(2.5))
    assert (result.success, result.status) == (False, 3)
    assert f"diverged in iteration {result.nit} with learning_rate=2.5: " in result.message
    assert "learning_rate='auto'" in result.message
    assert np.all(np.isfinite(result.path))
    assert np.all(np.isfinite(result.path_fun))
    assert np.isfinite(result.jac).all()
    assert minimize(function, [3.0, -2.0], optimizer=kind()).success


def test_functions_without_a_minimum_are_reported():
    def cubic(x):
        return x[0] ** 3, 3 * x**2

    for optimizer in (Accelerated(), GradientDescent(line_search="backtracking")):
        result = minimize(cubic, -1.0, optimizer=optimizer)
        assert (result.success, result.status) == (False, 3)
        assert "may have no minimum" in result.message


def test_gradients_that_are_not_finite_end_a_run():
    """|x| to the power 1.5 has no finite curvature at 0; a gradient that fails there is no step's fault."""

    def function(x):
        return x[0], np.where(x < 0.5, np.nan, 1.0)

    result = minimize(function, 1.0, optimizer=GradientDescent(0.2))
    assert (result.nit, result.status) == (2, 3)
    assert np.isfinite(result.jac).all()


def test_functions_are_not_called_at_points_that_are_not_finite():
    """The place ahead is where this function ends, so the next iterate is NaN."""

    def function(x):
        assert np.all(np.isfinite(x))
        return x[0] - np.log(x[0]), 1 - 1 / x

    result = minimize(function, 8.0, optimizer=Nesterov(0.5, 0.99, form="lookahead"))
    assert result.status == 3
    assert result.x > 0


def test_callbacks_see_every_iterate():
    function, x0 = logcosh()
    seen = []
    result = minimize(function, x0, optimizer=Momentum(0.01), max_iter=5, tol=0.0, callback=seen.append)
    np.testing.assert_array_equal(seen, result.path[1:])


def test_callbacks_get_the_intermediate_result():
    function, x0 = logcosh()
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)

    result = minimize(function, x0, optimizer=Momentum(0.01), max_iter=5, tol=0.0, callback=callback)
    np.testing.assert_array_equal([its.x for its in seen], result.path[1:])
    np.testing.assert_array_equal([its.fun for its in seen], result.path_fun[1:])
    np.testing.assert_array_equal([its.jac for its in seen], [function(x)[1] for x in result.path[1:]])
    assert [its.nit for its in seen] == [1, 2, 3, 4, 5]
    assert [its.learning_rate for its in seen] == result.learning_rates.tolist()


def test_callbacks_stop_a_run_by_truth_or_by_stop_iteration():
    function, x0 = logcosh()

    def raises(x):
        raise StopIteration

    for callback in (lambda x: True, raises, lambda x: np.bool_(True)):
        result = minimize(function, x0, max_iter=5, callback=callback)
        assert (result.nit, result.success, result.status) == (1, False, 99)
        assert "the callback stopped the run" in result.message


def test_callbacks_cannot_change_a_run():
    function, x0 = logcosh()

    def spoil(intermediate_result):
        intermediate_result.x[:] = np.nan
        intermediate_result.jac[:] = np.nan

    clean = minimize(function, x0)
    np.testing.assert_array_equal(minimize(function, x0, callback=spoil).path, clean.path)


def test_errors_of_callbacks_come_through():
    def callback(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        minimize(rosen, ROSENBROCK_START, jac=rosen_der, callback=callback)


def test_names_and_objects_are_equivalent():
    function, x0 = logcosh()
    for name, kind in fastgd.optimizers.BY_NAME.items():
        if name not in NEED_ROWS:
            by_name, by_object = (minimize(function, x0, optimizer=its, max_iter=5) for its in (name, kind()))
            np.testing.assert_array_equal(by_name.path, by_object.path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x0": [1.0, np.nan]}, "x0 must be finite"),
        ({"x0": [1.0, np.inf]}, "x0 must be finite"),
        ({"x0": [[1.0, 2.0]]}, "x0 must be a vector of real numbers"),
        ({"x0": []}, "x0 must be a vector of real numbers"),
        ({"x0": [1j]}, "x0 must be a vector of real numbers"),
        ({"x0": ["a"]}, "x0 must be a vector of real numbers"),
        ({"x0": None}, "x0 must be a vector of real numbers, got None"),
        ({"jac": "4-point"}, "jac must be callable, True, None or one of '2-point', '3-point', 'cs', got '4-point'"),
        ({"jac": 1}, "jac must be"),
        (
            {"optimizer": "newton"},
            "optimizer must be one of 'gd', .*, 'adamw', 'accelerated', 'lbfgs' .*, got 'newton'",
        ),
        ({"optimizer": Adam}, "or an object of fastgd.optimizers, got <class"),
        ({"optimizer": None}, "optimizer must be"),
        ({"optimizer": "saga"}, "SAGA keeps a gradient for each row"),
        (
            {"optimizer": "sketched_newton"},
            "SketchedNewton samples rows of data, which a function has not: take another",
        ),
        ({"optimizer": "normal_equations"}, "NormalEquations multiplies rows of data, which a function has not"),
        ({"optimizer": LBFGS(0)}, "memory of LBFGS must be"),
        ({"optimizer": Adam(0.1, beta1=1.5)}, "beta1 of Adam must be"),
        ({"optimizer": Momentum(-1.0)}, "learning_rate must be"),
        (
            {"optimizer": Adam(PolynomialDecay(0.1, epochs=5))},
            "is at rate 0 from epoch 5 on, and the fit may last",
        ),
        ({"max_iter": 0}, "max_iter must be a positive integer, got 0"),
        ({"max_iter": 10.0}, "max_iter must be a positive integer"),
        ({"max_iter": True}, "max_iter must be a positive integer"),
        ({"maxiter": -1}, "maxiter must be a positive integer"),
        ({"max_iter": 5, "maxiter": 6}, "max_iter=5 and maxiter=6 are one thing"),
        ({"tol": -1e-6}, "tol must be a number of 0 or more"),
        ({"tol": np.nan}, "tol must be"),
        ({"tol": None}, "tol must be"),
        ({"n_starts": 0}, "n_starts must be a positive integer"),
        ({"n_starts": 2.0}, "n_starts must be a positive integer"),
        ({"spread": 2.0}, "spread has no effect with n_starts=1"),
        ({"random_state": 0}, "random_state has no effect with n_starts=1: leave it at None, or give n_starts"),
        *(
            ({"n_starts": 2, "spread": value}, "spread must be a positive number, or 2 of them, got")
            for value in (0.0, -1.0, np.inf, 10**400, "wide", object(), [1.0, None], [1.0, np.inf], [1.0, 2.0, 3.0])
        ),
        *(
            ({"n_starts": 2, "random_state": value}, "random_state must be an integer of 0 or more")
            for value in ("seed", -1, 1.5, object())
        ),
    ],
)
def test_wrong_parameters_are_refused_before_the_function_is_called(changes, words):
    function, calls = counted(rosen)
    asked = {"x0": ROSENBROCK_START, "optimizer": "gd", **changes}
    with pytest.raises(ValueError, match=words):
        minimize(function, asked.pop("x0"), **asked)
    # Only a schedule's length is checked once the automatic rate is known.
    assert not calls or "may last" in words


@pytest.mark.parametrize("name", ["fun", "callback"])
def test_function_and_callback_must_be_callable(name):
    with pytest.raises(TypeError, match=f"{name} must be callable, got 3"):
        minimize(**{"fun": rosen, "x0": [1.0, 2.0], name: 3})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_functions_that_are_not_finite_at_x0_are_refused(value):
    with pytest.raises(ValueError, match=f"not finite at x0: value {value}"):
        minimize(lambda x: value, [1.0])
    with pytest.raises(ValueError, match=r"not finite at x0: value 1\.0, gradient"):
        minimize(lambda x: (1.0, np.array([value])), [1.0])


def test_a_start_may_be_integers():
    result = minimize(rosen, [-1, 2], jac=rosen_der)
    assert result.x.dtype == result.path.dtype == np.float64
    assert result.success


POINTS = {
    "saddle": (lambda x: (x[0] ** 2 - x[1] ** 2, np.array([2 * x[0], -2 * x[1]])), [1.0, 0.0], 4),
    "saddle, by differences": (lambda x: x[0] ** 2 - x[1] ** 2, [1.0, 0.0], 4),
    "maximum": (lambda x: (-x @ x, -2 * x), [0.0, 0.0, 0.0], 4),
    "constant": (lambda x: (3.0, 0 * x), [1.0, 2.0], 5),
    "below tol": (lambda x: (1e-9 * x @ x, 2e-9 * x), [1.0, 2.0], 5),
    "valley": (lambda x: (x[0] ** 2, np.array([2 * x[0], 0.0])), [1.0, 1.0], 0),
    "quartic": (lambda x: (np.sum(x**4), 4 * x**3), [1.0, -1.0], 0),
    "far from 0": (lambda x: (np.sum((x - 1e6) ** 2), 2 * (x - 1e6)), [0.0, 5.0], 0),
    "cubic": (lambda x: (x[0] ** 3, 3 * x**2), [0.0], 4),
    "cubic, by differences, above 5": (lambda x: 5.0 + x[0] ** 3, [0.0], 4),
    "cubic, far from 0": (lambda x: ((x[0] - 7) ** 3, 3 * (x - 7) ** 2), [7.0], 4),
    "cubic and square": (lambda x: (x[0] ** 3 + 9 * x[1] ** 2, np.array([3 * x[0] ** 2, 18 * x[1]])), [0.0, 1.0], 4),
    "hills far away": (lambda x: (np.sin(x[0]), np.cos(x)), [-np.pi / 2 - 2000 * np.pi + 0.1], 0),
    "monkey saddle": (
        lambda x: (x[0] ** 3 - 3 * x[0] * x[1] ** 2, np.array([3 * (x[0] ** 2 - x[1] ** 2), -6 * x[0] * x[1]])),
        [0.0, 0.0],
        4,
    ),
    "asymmetric minimum": (lambda x: np.exp(9 * x[0]) - 9 * x[0], [0.3], 0),
    "sixth power": (lambda x: (np.sum(x**6), 6 * x**5), [1.0, -1.0], 0),
    "scaled quartic": (lambda x: (1e4 * np.sum((x - 3) ** 4), 4e4 * (x - 3) ** 3), [1.0, 4.0], 0),
    "unequal sides": (lambda x: (np.sum(x**2 * (1 + 9 * (x < 0))), 2 * x * (1 + 9 * (x < 0))), [1.0], 0),
    "unequal curvatures": (lambda x: (0.1 * x[0] ** 2 + 40 * x[1] ** 2, np.array([0.2 * x[0], 80 * x[1]])), [1, 1], 0),
    "50 dimensions": (lambda x: (np.sum(np.cosh(x)), np.sinh(x)), np.linspace(-1.0, 1.0, 50), 0),
}


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("optimizer", ["accelerated", "lbfgs", "adam"])
def test_stationary_points_are_classified(optimizer, name):
    function, x0, status = POINTS[name]
    result = minimize(function, x0, optimizer=optimizer)
    assert (result.status, result.success) == (status, status == 0), result.message
    words = {0: "is at most tol", 4: "a saddle point or a maximum", 5: "a plateau"}[status]
    assert words in result.message


@pytest.mark.parametrize("gradient", [[1.0, 2.0], [], np.ones((1, 1)), [[2.0]], "2", None])
@pytest.mark.parametrize("optimizer", ["lbfgs", "accelerated", "gd", "adam"])
def test_gradients_of_another_shape_are_refused(optimizer, gradient):
    with pytest.raises(ValueError, match=r"gradients must"):
        minimize(lambda x: (x @ x, gradient), 1.0, jac=True, optimizer=optimizer)


@pytest.mark.parametrize("optimizer", ["lbfgs", "accelerated", "gd", "momentum", "adam", "adadelta"])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_extreme_scales_of_x_and_of_the_function(optimizer, scale):
    """1 / curvature, and lengths divided by gradients, overflowed or were divided by 0."""
    functions = (lambda x: (scale * (x @ x), 2 * scale * x), lambda x: (scale * np.sum(np.abs(x)), scale * np.sign(x)))
    for function in functions:
        for x0 in (0.0, 5e-324, 1e-160, 1e-8, 1.0):
            result = minimize(function, x0, optimizer=optimizer, n_starts=3, max_iter=1, tol=0.0, random_state=0)
            assert np.isfinite(result.fun)
            assert minimize(function, x0, optimizer=optimizer, max_iter=30).status in (0, 1, 2, 3, 5)


@pytest.mark.parametrize("optimizer", ["gd", "lbfgs", "accelerated", "adam"])
def test_an_inflection_near_the_path_is_not_a_minimum(optimizer):
    """It ends to one side, where the curvature is positive; x^3 falls without bound to the other."""
    result = minimize(lambda x: (x[0] ** 3, 3 * x**2), [0.3], optimizer=optimizer)
    assert not result.success


@pytest.mark.parametrize("seed", range(6))
def test_minima_are_not_taken_for_other_points(seed):
    rng = np.random.default_rng(seed)
    for dimensions in (1, 2, 5):
        root = rng.normal(size=(dimensions, dimensions)) * 10 ** rng.uniform(-2, 2)
        center, level = rng.normal(size=dimensions) * 10 ** rng.uniform(-2, 3), rng.normal() * 100
        H = root @ root.T + 1e-3 * np.trace(root @ root.T) * np.eye(dimensions)
        for power in (1, 2):

            def function(x):
                z = x - center  # noqa: B023
                q = z @ H @ z  # noqa: B023
                return level + q**power, 2 * power * q ** (power - 1) * (H @ z)  # noqa: B023

            result = minimize(function, center + rng.normal(size=dimensions), optimizer="lbfgs")
            assert result.status in (0, 2, 5), (result.message, result.x - center)
    for x0 in rng.uniform(-2, 2, size=(3, 2)):
        assert minimize(rosen, x0, jac=rosen_der, optimizer="lbfgs").status in (0, 2)
        rastrigin = minimize(lambda x: np.sum(x**2 - 10 * np.cos(2 * np.pi * x)), 2 * x0, optimizer="accelerated")
        assert rastrigin.success, rastrigin.message
