"""Working coordinates of the library against the reference's."""

import numpy as np
import pytest

from fastgd import reference
from fastgd.objective.coordinates import Moments, Scaling, TargetScaling, load_shift
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
    l1, l2 = ours.penalty_weights(np.array([0.3, 0.1]), np.array([0.7, 2.0]))
    assert not l1[:, -1].any()
    assert not l2[:, -1].any()
    np.testing.assert_allclose(l1[:, :-1], [0.3 / theirs.scale, 0.1 / theirs.scale], rtol=1e-13)
    np.testing.assert_allclose(l2[:, :-1], [0.7 / theirs.scale**2, 2.0 / theirs.scale**2], rtol=1e-13)
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


def rows_and_weights(dtype, order, weighted, n=400):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, 5)) * [1.0, 1e-6, 1e6, 1.0, 0.0] + [0.0, 3.0, 1e7, 1e3, 0.1]
    # A first row far from all others.
    X[0, 3] = 1e6
    s = rng.uniform(0.1, 3.0, n) if weighted else None
    if weighted:
        s[:50] = 0.0
        X[:50] = 1e15
    return np.asarray(X, dtype, order=order), None if s is None else s.astype(dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "order"), [("f4", "C"), ("f4", "F"), ("f8", "C"), ("f8", "F")])
def test_moments_of_few_rows(dtype, order, weighted):
    X, s = rows_and_weights(dtype, order, weighted)
    x = X.astype(np.longdouble)
    shares = np.ones(len(x), np.longdouble) if s is None else s.astype(np.longdouble)
    weight, shares = shares.sum(), shares / shares.sum()
    mean = shares @ x
    sd = np.sqrt(shares @ (x - mean) ** 2)
    found = Moments.of(X, s)
    assert found.weight == pytest.approx(float(weight), rel=1e-14)
    assert found.mean == pytest.approx(mean.astype(float), rel=1e-13, abs=1e-12)
    assert found.sd[:4] == pytest.approx(sd[:4].astype(float), rel=1e-11)
    assert found.mean[4] == X[-1, 4]
    assert found.sd[4] == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_moments_of_few_rows_are_not_finite_where_these_are_not(bad):
    X = np.ones((7, 3))
    X[4, 1] = bad
    for s in (None, np.array([1.0, 2.0, 1.0, 1.0, 1e-3, 1.0, 1.0])):
        found = Moments.of(X, s)
        assert np.isfinite(found.sd).tolist() == [True, False, True]


def test_moments_of_one_row():
    found = Moments.of(np.array([[2.0, 0.1]]), None)
    assert found.mean.tolist() == [2.0, 0.1]
    assert found.sd.tolist() == [0.0, 0.0]


def test_sparse_columns_are_not_centred():
    rng = np.random.default_rng(5)
    X = np.where(rng.random((500, 4)) < 0.1, rng.standard_normal((500, 4)), 0.0)
    X[:, 2] = rng.standard_normal(500) + 3.0
    X[:, 3] = 7.0
    moments = Moments.of(X, None)
    found = Scaling.of_sparse(moments, True)
    np.testing.assert_array_equal(found.center[:2], 0.0)
    np.testing.assert_allclose(found.inv_scale[:2], 1.0 / np.sqrt(np.mean(X[:, :2] ** 2, axis=0)), rtol=1e-12)
    np.testing.assert_allclose([found.center[2], found.inv_scale[2]], [X[:, 2].mean(), 1.0 / X[:, 2].std()], rtol=1e-12)
    assert found.inv_scale[3] == 0.0
    without = Scaling.of_sparse(moments, False)
    np.testing.assert_array_equal(without.center, 0.0)
    np.testing.assert_allclose(without.inv_scale, 1.0 / np.sqrt(np.mean(X**2, axis=0)), rtol=1e-12)
