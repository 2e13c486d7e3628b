"""Iterates of every rule against the reference and closed forms; learning rates against their formulas."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der, rosen_hess

from fastgd import minimize, reference
from fastgd.optimizers import (
    BY_NAME,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    AMSGrad,
    GradientDescent,
    Momentum,
    Nadam,
    Nesterov,
    RMSProp,
    WithRate,
)
from fastgd.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    OneCycle,
    PolynomialDecay,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)
from tests.minimization.functions import logcosh, quadratic

#: Names of adaptive rules.
ADAPTIVE = [name for name, kind in BY_NAME.items() if issubclass(kind, WithRate) and kind.adaptive]

DECAY = InverseTimeDecay(0.02, decay=0.1)
#: The reference's name of the rule, its hyper-parameters there, and the optimizer.
CASES = [
    ("gd", {}, GradientDescent(DECAY)),
    ("averaged", {"start": 1}, GradientDescent(DECAY, average=True)),
    ("averaged", {"start": 20}, GradientDescent(DECAY, average=20)),
    ("momentum", {"momentum": 0.7}, Momentum(DECAY, 0.7)),
    ("nesterov", {"momentum": 0.7}, Nesterov(DECAY, 0.7)),
    ("lookahead", {"momentum": 0.7}, Nesterov(DECAY, 0.7, form="lookahead")),
    ("momentum_torch", {"momentum": 0.7}, Momentum(DECAY, 0.7, form="torch")),
    ("nesterov_torch", {"momentum": 0.7}, Nesterov(DECAY, 0.7, form="torch")),
    ("adagrad", {"eps": 1e-3}, AdaGrad(DECAY, 1e-3)),
    ("rmsprop", {"decay": 0.8, "eps": 1e-3}, RMSProp(DECAY, 0.8, 1e-3)),
    ("adam", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}, Adam(DECAY, 0.8, 0.95, 1e-3)),
    ("amsgrad", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}, AMSGrad(DECAY, 0.8, 0.95, 1e-3)),
    ("nadam", {"beta1": 0.8, "momentum_decay": 0.1}, Nadam(DECAY, 0.8, momentum_decay=0.1)),
    ("adadelta", {"decay": 0.8, "eps": 1e-3}, AdaDelta(DECAY, 0.8, 1e-3)),
    ("adamw", {"weight_decay": 0.5}, AdamW(DECAY, weight_decay=0.5)),
]


def test_every_rule_is_compared_with_the_reference():
    assert {name for name, _, _ in CASES} == set(reference.RULES) - {"saga"}


@pytest.mark.parametrize(("name", "hyper", "optimizer"), CASES)
def test_every_iterate_is_that_of_the_reference(name, hyper, optimizer):
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer=optimizer, max_iter=60, tol=0.0)
    # The reference's last column is an intercept, which AdamW does not decay.
    theta, column = np.append(x0, 0.0)[None, :], np.zeros((1, 1))
    state = reference.init(name, theta.shape)
    path = [x0]
    for t in range(1, 61):
        _, g = function(reference.point(name, theta, state, hyper)[0, :-1])
        rate = 0.02 / (1 + 0.1 * (t - 1))
        theta, state = reference.update(name, theta, np.hstack([g[None, :], column]), state, t, rate, hyper, 0.0)
        path.append(reference.reported(name, theta, state, hyper)[0, :-1])
    np.testing.assert_allclose(result.path, path, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(result.path_fun, [function(x)[0] for x in path], rtol=1e-12)
    np.testing.assert_allclose(result.learning_rates, 0.02 / (1 + 0.1 * np.arange(60)), rtol=1e-14)
    assert np.abs(result.x - x0).max() > 0.01


def test_gradient_descent_shrinks_each_axis_of_a_quadratic_by_its_own_factor():
    function = quadratic([1.0, 3.0, 10.0])
    x0 = np.array([1.0, -2.0, 3.0])
    result = minimize(function, x0, optimizer=GradientDescent(0.15), max_iter=30, tol=0.0)
    factors = (1 - 0.15 * function.curvatures) ** np.arange(31)[:, None]
    expected = (factors * (function.vectors.T @ x0)) @ function.vectors.T
    np.testing.assert_allclose(result.path, expected, rtol=1e-11, atol=1e-13)


def test_momentum_is_a_linear_recurrence_on_each_axis_of_a_quadratic():
    """x_{k+1} = (1 + mu - eta L) x_k - mu x_{k-1}, whose solution is a sum of powers of two roots."""
    rate, mu, curvatures = 0.15, 0.6, np.array([0.5, 4.0, 10.0])
    function = quadratic(curvatures)
    x0 = np.array([1.0, -2.0, 3.0])
    result = minimize(function, x0, optimizer=Momentum(rate, mu), max_iter=30, tol=0.0)
    middle = 1 + mu - rate * curvatures
    root = np.sqrt((middle**2 - 4 * mu).astype(complex))
    one, other = 0.5 * (middle + root), 0.5 * (middle - root)
    # x_1 = (1 - eta L) x_0 settles the two constants.
    share = (1 - rate * curvatures - other) / (one - other)
    powers = np.arange(31)[:, None]
    factors = (share * one**powers + (1 - share) * other**powers).real
    expected = (factors * (function.vectors.T @ x0)) @ function.vectors.T
    np.testing.assert_allclose(result.path, expected, rtol=1e-10, atol=1e-12)


T = np.arange(20.0)
FORMULAS = [
    (Constant(0.01), np.full(20, 0.01)),
    (0.01, np.full(20, 0.01)),
    (StepDecay(0.01, factor=0.5, every=4), 0.01 * 0.5 ** (T // 4)),
    (ExponentialDecay(0.01, factor=0.9), 0.01 * 0.9**T),
    (PolynomialDecay(0.01), 0.01 * (1 - T / 20)),
    (CosineDecay(0.01), 0.005 * (1 + np.cos(math.pi * T / 20))),
    (CosineDecay(0.01, restart_every=5), 0.005 * (1 + np.cos(math.pi * (T % 5) / 5))),
    (WarmUp(4, then=0.01, start_factor=0.2), 0.01 * np.minimum(0.2 + 0.8 * T / 4, 1.0)),
    (
        OneCycle(0.01, rise=0.5, start_factor=0.1, final_factor=0.1),
        0.01 * (0.1 + 0.9 * 0.5 * (1 - np.cos(math.pi * T / 10))),
    ),
]


@pytest.mark.parametrize(("schedule", "expected"), FORMULAS)
@pytest.mark.parametrize("kind", [GradientDescent, Adam])
def test_schedules_count_iterations_as_epochs(schedule, expected, kind):
    function, x0 = logcosh()
    result = minimize(function, x0, optimizer=kind(schedule), max_iter=20, tol=0.0)
    np.testing.assert_allclose(result.learning_rates, expected, rtol=1e-12)
    if kind is GradientDescent:
        moves = [rate * function(x)[1] for rate, x in zip(expected, result.path, strict=False)]
        np.testing.assert_allclose(-np.diff(result.path, axis=0), moves, rtol=1e-9, atol=1e-14)


def test_a_function_of_step_epoch_and_value_sets_the_rate():
    function, x0 = logcosh()
    seen = []

    def rate(step, epoch, metric):
        seen.append((step, epoch, metric))
        return 0.02 / (1 + step)

    result = minimize(function, x0, optimizer=GradientDescent(rate), max_iter=5, tol=0.0)
    assert seen == [(k, k, None if k == 0 else result.path_fun[k]) for k in range(5)]
    np.testing.assert_array_equal(result.learning_rates, [0.02 / (1 + k) for k in range(5)])


def test_a_rate_is_reduced_when_the_value_stays():
    """|x| from 1/4 with rate 1 goes to -3/4 and back; the fourth value is the second in a row that is not better."""
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=1)
    result = minimize(
        lambda x: (np.abs(x[0]), np.sign(x)), 0.25, optimizer=GradientDescent(schedule), max_iter=9, tol=1e-9
    )
    assert result.learning_rates.tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.25]
    assert result.path[:, 0].tolist() == [0.25, -0.75, 0.25, -0.75, 0.25, -0.25, 0.25, 0.0]
    assert result.success


@pytest.mark.parametrize("kind", [GradientDescent, Momentum, Nesterov])
def test_automatic_rates_are_one_over_the_largest_curvature(kind):
    function = quadratic([0.01, 1.0, 50.0])
    # A start on the flat axis: its gradient says nothing of the steep one.
    result = minimize(function, function.vectors[:, 0], optimizer=kind(), max_iter=50, tol=0.0)
    np.testing.assert_allclose(result.learning_rates, 1 / (1.1 * 50.0), rtol=0.02)


def test_automatic_rates_see_negative_curvature_too():
    # At (0.1, 3) the Hessian of Rosenbrock's function is indefinite, its largest eigenvalue by size below 0.
    x0 = np.array([0.1, 3.0])
    largest = np.abs(np.linalg.eigvalsh(rosen_hess(x0))).max()
    assert largest > np.linalg.eigvalsh(rosen_hess(x0)).max()
    result = minimize(rosen, x0, jac=rosen_der, optimizer="gd", max_iter=1, tol=0.0)
    np.testing.assert_allclose(result.learning_rates, 1 / (1.1 * largest), rtol=0.02)


def test_automatic_rates_of_adaptive_rules_follow_the_slope_at_the_end_of_steps():
    """From the length of the step to the minimum along the gradient, by a tenth up and three tenths down."""
    function, x0 = quadratic([1.0, 20.0]), np.array([3.0, -2.0])
    assert set(ADAPTIVE) == {"adagrad", "rmsprop", "adam", "amsgrad", "nadam", "adadelta", "adamw"}
    for name in ADAPTIVE:
        result = minimize(function, x0, optimizer=name, max_iter=30, tol=0.0)
        slopes = [(b - a) @ function(b)[1] for a, b in itertools.pairwise(result.path)][:-1]
        factors = np.where(np.array(slopes) < 0.0, 1.1, 0.7)
        np.testing.assert_allclose(result.learning_rates[1:] / result.learning_rates[:-1], factors, rtol=1e-12)
        assert set(factors) == {1.1, 0.7}
        g = function(x0)[1]
        hessian = np.array([function(unit)[1] for unit in np.eye(2)])
        length = np.linalg.norm(g) ** 3 / (g @ hessian @ g) / math.sqrt(2.0)
        first = result.learning_rates[0] / (math.sqrt(0.1 / 1e-6) if name == "adadelta" else 1.0)
        assert first == pytest.approx(length, rel=1e-3)


def valley_along_an_axis(x):
    return x[0] ** 2 / 20 + x[1] ** 2, np.array([x[0] / 10, 2 * x[1]])


def himmelblau(p):
    x, y = p
    a, b = x * x + y - 11, x + y * y - 7
    return a * a + b * b, np.array([4 * a * x + 2 * b, 2 * a + 4 * b * y])


def beale(p):
    x, y = p
    parts = [1.5 - x * (1 - y), 2.25 - x * (1 - y**2), 2.625 - x * (1 - y**3)]
    dx = [-(1 - y), -(1 - y**2), -(1 - y**3)]
    dy = [x, 2 * x * y, 3 * x * y**2]
    return sum(a * a for a in parts), 2 * np.array([np.dot(parts, dx), np.dot(parts, dy)])


def booth(p):
    a, b = p[0] + 2 * p[1] - 7, 2 * p[0] + p[1] - 5
    return a * a + b * b, np.array([2 * a + 4 * b, 4 * a + 2 * b])


def matyas(p):
    x, y = p
    return 0.26 * (x * x + y * y) - 0.48 * x * y, np.array([0.52 * x - 0.48 * y, 0.52 * y - 0.48 * x])


def styblinski_tang(x):
    return np.sum(x**4 - 16 * x**2 + 5 * x) / 2, (4 * x**3 - 32 * x + 5) / 2


def scaled(condition):
    return lambda x: (0.5 * (x[0] ** 2 + condition * x[1] ** 2), x * [1.0, condition])


#: Functions, starts, and the minima that the way down leads to.
STANDARD = {
    "valley": (valley_along_an_axis, [-7.0, 2.0], [0.0, 0.0]),
    "quadratic, condition 10": (scaled(10.0), [5.0, -3.0], [0.0, 0.0]),
    "quadratic, condition 1e4": (scaled(1e4), [5.0, -3.0], [0.0, 0.0]),
    "Himmelblau": (himmelblau, [0.0, 0.0], [3.0, 2.0]),
    "Beale": (beale, [1.0, 1.0], [3.0, 0.5]),
    "Booth": (booth, [0.0, 0.0], [1.0, 3.0]),
    "Matyas": (matyas, [8.0, -6.0], [0.0, 0.0]),
    "Styblinski-Tang": (styblinski_tang, [-1.0, -1.0], [-2.903534, -2.903534]),
}


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize("optimizer", sorted(set(ADAPTIVE) - {"adamw"}))
def test_automatic_rates_of_adaptive_rules_reach_the_minima_of_standard_functions(optimizer, name):
    function, x0, minimum = STANDARD[name]
    result = minimize(function, x0, optimizer=optimizer)
    assert result.success, result.message
    np.testing.assert_allclose(result.x, minimum, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "amsgrad"])
def test_adam_ends_in_the_valley_of_rosenbrock(optimizer):
    result = minimize(rosen, [-1.2, 1.0], jac=rosen_der, optimizer=optimizer, max_iter=4000)
    assert result.success, result.message
    np.testing.assert_allclose(result.x, 1.0, atol=1e-4)


def test_schedules_take_an_automatic_first_rate():
    function = quadratic([1.0, 20.0])
    follow = minimize(function, [1.0, 1.0], optimizer="adam", max_iter=1, tol=0.0).learning_rates[0]
    for kind, first in ((Momentum, 1 / 22), (Adam, follow)):
        optimizer = kind(ExponentialDecay(factor=0.5))
        result = minimize(function, [1.0, 1.0], optimizer=optimizer, max_iter=4, tol=0.0)
        np.testing.assert_allclose(result.learning_rates, first * 0.5 ** np.arange(4), rtol=0.02)


def test_an_automatic_rate_that_diverges_is_halved():
    """At the inflection of (x^2 - 1)^2 there is no curvature: 1 / L is a leap from which the quartic throws x out."""
    x0 = math.sqrt(1 / 3) + 1e-6

    def well(x):
        return (x[0] ** 2 - 1) ** 2, 4 * x * (x**2 - 1)

    for name in ("gd", "momentum", "nesterov"):
        result = minimize(well, x0, optimizer=name, max_iter=5000)
        assert result.success
        assert abs(abs(result.x[0]) - 1) < 1e-6
        assert result.path[0, 0] == x0
        # All calls count, those of the runs that were given up as well.
        assert result.nfev > result.nit + 1
        assert result.learning_rates[0] < 0.5


def test_rounding_at_the_optimum_restarts_no_run():
    function, x0 = logcosh()
    for name in ("gd", "momentum", "nesterov"):
        short, long = (minimize(function, x0, optimizer=name, max_iter=k, tol=0.0) for k in (60, 1500))
        assert np.abs(long.jac).max() < 1e-12
        assert long.learning_rates[0] == short.learning_rates[0]
        # Fewer calls than iterations, where x does not move any more; twice as many after a new beginning.
        assert long.nfev - short.nfev <= 1500 - 60


def test_the_message_reports_that_no_automatic_rate_is_small_enough():
    """A gradient that turns at every call."""
    calls = []

    def function(x):
        calls.append(x)
        return 0.0, np.full(1, (-1.0) ** len(calls))

    result = minimize(function, 1.0, optimizer="gd")
    assert (result.success, result.status) == (False, 3)
    assert "no automatic rate is small enough: give one" in result.message
    assert f"with learning_rate={result.learning_rates[-1]:.6g}" in result.message


def test_without_curvature_at_the_start_the_first_step_is_as_long_as_x():
    """A straight slope that ends in a parabola."""

    def function(x):
        return (0.5 * x[0] ** 2, x) if x[0] < 1 else (x[0] - 0.5, np.ones(1))

    result = minimize(function, 3.0, optimizer="gd", max_iter=1)
    np.testing.assert_allclose(result.path[1], 3.0 - (1 + 3.0))
    assert minimize(function, 3.0).success
