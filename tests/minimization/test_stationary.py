"""Points of gradient 0 that are no minimum are reported as what they are, and hostile functions do no harm."""

import numpy as np
import pytest

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
    "50 dimensions": (lambda x: (np.sum(np.cosh(x)), np.sinh(x)), np.linspace(-1.0, 1.0, 50), 0),
}


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("optimizer", ["accelerated", "lbfgs", "adam"])
def test_a_point_of_gradient_0_is_reported_as_what_it_is(optimizer, name):
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
def test_no_scale_of_x_or_of_the_function_is_an_accident(optimizer, scale):
    """1 / curvature, and lengths divided by gradients, overflowed or were divided by 0."""
    functions = (lambda x: (scale * (x @ x), 2 * scale * x), lambda x: (scale * np.sum(np.abs(x)), scale * np.sign(x)))
    for function in functions:
        for x0 in (0.0, 5e-324, 1e-160, 1e-8, 1.0):
            result = minimize(function, x0, optimizer=optimizer, n_starts=3, max_iter=1, tol=0.0, random_state=0)
            assert np.isfinite(result.fun)
            assert minimize(function, x0, optimizer=optimizer, max_iter=30).status in (0, 1, 2, 3, 5)
