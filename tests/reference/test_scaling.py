"""Working coordinates leave the objective and its optimum alone."""

from fractions import Fraction

import numpy as np
import pytest

from fastgd.reference import (
    column_moments,
    fit_scaling,
    identity_scaling,
    make_problem,
    margins,
    objective,
    raw_theta,
    smooth_gradient,
    standard_scaling,
    working_problem,
    working_theta,
)
from tests.reference.problems import KINDS, gradient, random_problem, random_theta


def test_moments_by_hand_and_by_repetition():
    x = np.array([[1.0, 5.0], [4.0, 5.0], [7.0, -1.0]])
    mean, sd = column_moments(x, np.array([1.0, 1.0, 2.0]))
    np.testing.assert_allclose(mean, [19 / 4, 2.0], rtol=1e-15)
    np.testing.assert_allclose(sd, np.std([[1.0, 5.0], [4.0, 5.0], [7.0, -1.0], [7.0, -1.0]], axis=0), rtol=1e-15)


def test_moments_keep_digits_under_a_large_mean():
    """Against rational arithmetic: though the mean is 2^30 standard deviations."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal(1000) + 2.0**30, rng.integers(1, 9, 1000)
    pairs = [(Fraction(v), int(s)) for v, s in zip(x, weight, strict=True)]
    exact = sum(v * s for v, s in pairs) / int(weight.sum())
    variance = sum((v - exact) ** 2 * s for v, s in pairs) / int(weight.sum())
    mean, sd = column_moments(x[:, None], weight.astype(np.float64))
    assert mean[0] == pytest.approx(float(exact), rel=1e-15)
    assert sd[0] == pytest.approx(float(variance) ** 0.5, rel=1e-13)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e30, -7.0, 0.0])
def test_constant_column_is_exactly_zero(value):
    x = np.column_stack([np.full(9, value), np.arange(9.0)])
    x[4, 0] = 12.0
    weight = np.array([1.0, 0.3, 0.7, 1.0, 0.0, 1.1, 2.0, 3.0, 0.9])
    problem = make_problem(x, np.arange(9.0), sample_weight=weight)
    scaling = standard_scaling(problem)
    assert scaling.scale[0] == 1.0
    assert scaling.center[0] == value
    np.testing.assert_array_equal(working_problem(problem, scaling).x[weight > 0, 0], 0.0)


def test_without_intercept_columns_are_scaled_by_their_rms_and_stay_where_they_are():
    x = np.array([[3.0, 0.0, 2.0], [4.0, 0.0, 2.0]])
    problem = make_problem(x, [1.0, 7.0], fit_intercept=False)
    scaling = standard_scaling(problem)
    np.testing.assert_array_equal(scaling.center, 0.0)
    np.testing.assert_allclose(scaling.scale, [np.sqrt(12.5), 1.0, 2.0], rtol=1e-15)
    np.testing.assert_allclose(scaling.y_scale, [5.0], rtol=1e-15)
    np.testing.assert_array_equal(scaling.y_center, 0.0)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_working_columns_are_standardised(loss, outputs, fit_intercept):
    problem = random_problem(loss, outputs, fit_intercept=fit_intercept)
    work = working_problem(problem, standard_scaling(problem))
    share = problem.weight / problem.weight.sum()
    np.testing.assert_allclose(share @ work.x**2, 1.0, rtol=1e-12)
    if fit_intercept:
        np.testing.assert_allclose(share @ work.x, 0.0, atol=1e-13)
    if loss == "squared":
        np.testing.assert_allclose(share @ work.y**2, 1.0, rtol=1e-12)
    if loss == "huber":
        assert (share @ work.y**2).mean() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_objective_is_invariant(loss, outputs, fit_intercept):
    """F at raw_theta(theta) over y_scale^2 is the working objective; summed over targets that have their own scales."""
    problem = random_problem(loss, outputs, alpha=0.4, l1_ratio=0.3, fit_intercept=fit_intercept)
    scaling = standard_scaling(problem)
    work, theta = working_problem(problem, scaling), random_theta(problem)
    raw = raw_theta(theta, scaling)
    if loss == "squared":
        parts = []
        for k in range(outputs):
            one = make_problem(
                problem.x,
                problem.y[:, k],
                alpha=0.4,
                l1_ratio=0.3,
                fit_intercept=fit_intercept,
                sample_weight=problem.weight,
            )
            parts.append(objective(one, raw[[k]]) / scaling.y_scale[k] ** 2)
        expected = sum(parts)
    else:
        expected = objective(problem, raw) / scaling.y_scale[0] ** 2
    assert objective(work, theta) == pytest.approx(expected, rel=1e-12)
    assert fit_intercept or not raw[:, -1].any()


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_maps_are_inverse_and_keep_predictions(loss, outputs):
    problem = random_problem(loss, outputs)
    scaling = standard_scaling(problem)
    theta = random_theta(problem)
    raw = raw_theta(theta, scaling)
    np.testing.assert_allclose(working_theta(raw, scaling), theta, rtol=1e-12, atol=1e-13)
    z = margins(working_problem(problem, scaling).x, theta) * scaling.y_scale + scaling.y_center
    np.testing.assert_allclose(margins(problem.x, raw), z, rtol=1e-11, atol=1e-11)


def test_working_gradient_is_the_derivative_of_the_raw_objective():
    problem = random_problem("huber", 2, alpha=0.4)
    scaling = standard_scaling(problem)
    theta, common = random_theta(problem), scaling.y_scale[0] ** 2
    expected = gradient(lambda t: objective(problem, raw_theta(t, scaling)) / common, theta, 1e-6)
    np.testing.assert_allclose(smooth_gradient(working_problem(problem, scaling), theta), expected, atol=1e-8)


def test_standardize_false_changes_nothing():
    problem = random_problem("squared", 2, alpha=0.4, l1_ratio=0.3)
    scaling = fit_scaling(problem, standardize=False)
    work, theta = working_problem(problem, scaling), random_theta(problem)
    for a, b in zip(scaling, identity_scaling(problem), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(work.x, problem.x)
    np.testing.assert_array_equal(work.l1, problem.l1)
    np.testing.assert_array_equal(raw_theta(theta, scaling), theta)


def test_scales_that_a_loss_cannot_have_are_refused():
    logistic = random_problem("logistic")
    with pytest.raises(ValueError, match="targets have no scale"):
        working_problem(logistic, standard_scaling(logistic)._replace(y_scale=np.array([2.0])))
    huber = random_problem("huber", 2)
    with pytest.raises(ValueError, match="delta is common"):
        working_problem(huber, standard_scaling(huber)._replace(y_scale=np.array([2.0, 1.0])))
