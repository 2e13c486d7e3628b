"""Working coordinates of the library against the reference's."""

import numpy as np
import pytest

from fastgd import reference
from fastgd.scaling import Moments, Scaling, TargetScaling, load_shift
from tests.estimators.fits import problem_for


def moments_of(values, weight):
    return Moments(float(weight.sum()), *reference.column_moments(values, weight))


@pytest.mark.parametrize("intercept", [True, False])
def test_columns(intercept):
    problem = problem_for("squared", fit_intercept=intercept)
    ours = Scaling.standard(moments_of(problem.x, problem.weight), intercept)
    theirs = reference.standard_scaling(problem)
    np.testing.assert_allclose(ours.center, theirs.center, rtol=1e-13)
    np.testing.assert_allclose(1.0 / ours.inv_scale, theirs.scale, rtol=1e-13)
    l1, l2 = ours.penalty_weights(np.array([0.3]), 0.7)
    assert l1[0, -1] == l2[0, -1] == 0.0
    np.testing.assert_allclose(l1[0, :-1], 0.3 / theirs.scale, rtol=1e-13)
    np.testing.assert_allclose(l2[0, :-1], 0.7 / theirs.scale**2, rtol=1e-13)
    theta = np.random.default_rng(1).standard_normal((1, 5))
    raw = reference.raw_theta(theta, theirs._replace(y_center=np.zeros(1), y_scale=np.ones(1)))
    np.testing.assert_allclose(np.column_stack(ours.to_raw(theta)), raw, rtol=1e-13)


def test_a_constant_column_is_zero_there():
    moments = moments_of(np.column_stack([np.full(5, 3.0), np.arange(5.0)]), np.ones(5))
    assert np.array_equal(moments.constant, [True, False])
    assert np.array_equal(Scaling.standard(moments, True).inv_scale == 0.0, [True, False])
    # Without an intercept it is not: it can stand for one.
    assert Scaling.standard(moments, False).inv_scale[0] == pytest.approx(1 / 3, rel=1e-15)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_targets(loss, intercept):
    problem = problem_for(loss, 3, fit_intercept=intercept)
    scale = np.array([1.0, 1e3, 1e-3])
    problem = reference.make_problem(
        problem.x, problem.y * scale, loss, fit_intercept=intercept, sample_weight=problem.weight
    )
    ours = TargetScaling.standard(moments_of(problem.y, problem.weight), intercept, shared=loss == "huber")
    theirs = reference.standard_scaling(problem)
    np.testing.assert_allclose(ours.center, theirs.y_center, rtol=1e-12)
    np.testing.assert_allclose(ours.scale, theirs.y_scale, rtol=1e-12)


def test_columns_are_shifted_where_digits_would_be_lost():
    far = Moments(1.0, np.array([1.0, 31.0, 5.0]), np.array([1.0, 1.0, 0.0]))
    assert np.array_equal(load_shift(far, "f8"), np.zeros(3))
    assert np.array_equal(load_shift(far, "f4"), far.mean)
    near = Moments(1.0, np.array([1.0, 29.0, 1e9]), np.array([1.0, 1.0, 0.0]))
    assert np.array_equal(load_shift(near, "f4"), np.zeros(3))
    third = Moments(1.0, np.array([100.0 / 3.0]), np.array([1e-3]))
    assert load_shift(third, "f4")[0] == float(np.float32(100.0 / 3.0))
