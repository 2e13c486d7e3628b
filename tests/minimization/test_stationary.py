"""Classification of stationary points, and functions of extreme scales."""

import numpy as np
import pytest
from scipy import optimize

from fastgd import minimize

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
        assert minimize(optimize.rosen, x0, jac=optimize.rosen_der, optimizer="lbfgs").status in (0, 2)
        rastrigin = minimize(lambda x: np.sum(x**2 - 10 * np.cos(2 * np.pi * x)), 2 * x0, optimizer="accelerated")
        assert rastrigin.success, rastrigin.message
