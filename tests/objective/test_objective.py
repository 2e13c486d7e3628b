"""The objective of the solvers against the reference: values, gradients, certificates, curvature bounds."""

from dataclasses import replace

import numpy as np
import pytest

from fastgd import reference
from tests.estimators.fits import problem_for
from tests.objective_of import objective_of, working
from tests.reference.problems import KINDS, random_theta

SETTINGS = [(standardize, intercept) for standardize in (True, False) for intercept in (True, False)]
PENALTY = {"alpha": 0.2, "l1_ratio": 0.4}


@pytest.mark.parametrize(("standardize", "intercept"), SETTINGS)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_value_gradient_and_certificate(loss, outputs, standardize, intercept):
    problem = problem_for(loss, outputs, fit_intercept=intercept, **PENALTY)
    objective = objective_of(problem, standardize=standardize)
    its, scaling = working(problem, standardize)
    theta = random_theta(its)
    found = objective.evaluate(theta)
    raw = reference.raw_theta(theta, scaling)
    assert objective.value(found) == pytest.approx(reference.objective(problem, raw), rel=1e-12)
    expected = reference.mean_loss_gradient(its, theta)
    np.testing.assert_allclose(found.gradient, expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max())
    smooth = found.gradient + objective.l2 * theta
    np.testing.assert_allclose(smooth, reference.smooth_gradient(its, theta), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(objective.l1, reference.l1_thresholds(its), rtol=1e-12)
    standard = reference.standard_scaling(problem)
    there = reference.certificate(reference.working_problem(problem, standard), reference.working_theta(raw, standard))
    assert objective.certificate(found) == pytest.approx(there, rel=1e-9)


def test_certificates_belong_to_their_evaluations():
    """The objective keeps the last one."""
    problem = problem_for("logistic")
    objective, theta = objective_of(problem), random_theta(working(problem, True)[0])
    first, second = objective.evaluate(theta), objective.evaluate(2.0 * theta)
    expected = [objective_of(problem).certificate(at) for at in (first, second)]
    assert expected[0] != expected[1]
    assert [objective.certificate(at) for at in (first, first, second, first)] == [
        *expected[:1],
        *expected,
        expected[0],
    ]


@pytest.mark.parametrize("zeros", [2, 4])
def test_certificate_takes_the_nearest_subgradient_at_zeros(zeros):
    problem = problem_for("squared", alpha=0.5, l1_ratio=1.0)
    objective, (its, _) = objective_of(problem), working(problem)
    theta = random_theta(its)
    theta[:, :zeros] = 0.0
    found = objective.certificate(objective.evaluate(theta))
    assert found == pytest.approx(reference.certificate(its, theta), rel=1e-9)


@pytest.mark.parametrize(("dtype", "order"), [("f4", "C"), ("f4", "F"), ("f8", "F")])
@pytest.mark.parametrize(("loss", "outputs"), [("huber", 2), ("softmax", 3)])
def test_other_layouts(loss, outputs, dtype, order):
    problem = problem_for(loss, outputs, dtype=dtype, **PENALTY)
    objective, (its, _) = objective_of(problem, dtype=dtype, order=order), working(problem)
    theta = random_theta(its)
    # Coefficients and targets are rounded to the dtype, then each term of a mean of 200 rows.
    tolerance = 1e-12 if dtype == "f8" else 32 * np.finfo("f4").eps
    found = objective.evaluate(theta).gradient
    np.testing.assert_allclose(found, reference.mean_loss_gradient(its, theta), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("standardize", "intercept"), SETTINGS)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_best_constant_model(loss, outputs, standardize, intercept):
    problem = problem_for(loss, outputs, fit_intercept=intercept, seed=5)
    objective, (its, scaling) = objective_of(problem, standardize=standardize), working(problem, standardize)
    best = reference.raw_theta(reference.best_constant(its), scaling)
    assert objective.constant_value() == pytest.approx(reference.objective(problem, best), rel=1e-12)
    start = reference.raw_theta(np.zeros(its.shape), scaling)
    assert objective.start_value() == pytest.approx(reference.objective(problem, start), rel=1e-12)
    if standardize:
        rms = reference.constant_gradient_rms(its)
        assert objective.problem.constant.rms == pytest.approx(rms, rel=1e-9)


@pytest.mark.parametrize(("standardize", "intercept"), SETTINGS)
def test_targets_of_a_squared_loss_are_certified_each_alone(standardize, intercept):
    problem = problem_for("squared", 3, fit_intercept=intercept)
    theta = np.random.default_rng(0).standard_normal((3, problem.x.shape[1] + 1)) * [[1.0], [0.1], [0.01]]
    together = objective_of(problem, standardize=standardize)
    alone = [
        objective_of(
            replace(problem, y=problem.y[:, [k]], l1=problem.l1[[k]], l2=problem.l2[[k]]), standardize=standardize
        )
        for k in range(3)
    ]
    found = [one.certificate(one.evaluate(row[None])) for one, row in zip(alone, theta, strict=True)]
    assert together.certificate(together.evaluate(theta)) == pytest.approx(max(found), rel=1e-9)


@pytest.mark.parametrize("y", [[7.0, 7.0, 7.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_constant_targets_leave_a_scale_of_one(loss, y):
    objective = objective_of(reference.make_problem(np.arange(6.0).reshape(3, 2), y, loss))
    assert objective.problem.constant.rms == 1.0
    assert objective.constant_value() == 0.0


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("loss", "seed"), [("squared", 0), ("squared", 1), ("logistic", 2), ("huber", 3)])
def test_curvature_bounds_the_largest_eigenvalue(loss, seed, intercept, standardize):
    problem = problem_for(loss, d=7, seed=seed, fit_intercept=intercept, **PENALTY)
    its, _ = working(problem, standardize)
    exact = reference.largest_curvature(its, penalty=False)
    assert exact <= objective_of(problem, standardize=standardize).curvature <= 1.3 * exact


def test_curvature_bounds_that_of_softmax():
    problem = problem_for("softmax", 3)
    exact = reference.largest_curvature(working(problem)[0], penalty=False)
    assert exact <= objective_of(problem).curvature <= 1.3 * exact


def test_curvature_of_many_rows_is_that_of_a_sample():
    """Return more bytes than a sample holds, sorted by a column, so that one end is no sample."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150_000, 20))
    X = X[np.argsort(X[:, 0])]
    problem = reference.make_problem(X, X[:, 0], "squared")
    exact = reference.largest_curvature(working(problem)[0], penalty=False)
    assert exact <= objective_of(problem).curvature <= 1.3 * exact


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("loss", "outputs"), [("squared", 2), ("logistic", 1)])
def test_row_and_batch_curvature(loss, outputs, intercept, standardize, order):
    problem = problem_for(loss, outputs, fit_intercept=intercept, **PENALTY)
    objective, (its, _) = objective_of(problem, order=order, standardize=standardize), working(problem, standardize)
    for size in (1, 2, 50, 200, 1000):
        exact = reference.batch_curvature(its, size)
        assert exact * (1 - 1e-9) <= objective.batch_curvature(size) <= 1.3 * exact


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
def test_row_curvature_is_exact_but_for_the_intercept_of_weighted_rows(intercept, standardize):
    weighted = problem_for("logistic", fit_intercept=intercept)
    equal = replace(weighted, weight=np.full(weighted.n_rows, 3.0))
    exact = reference.largest_row_curvature(working(equal, standardize)[0])
    assert objective_of(equal, standardize=standardize).row_curvature == pytest.approx(exact, rel=1e-12)
    exact = reference.largest_row_curvature(working(weighted, standardize)[0])
    room = 0.25 * weighted.weight.max() / weighted.weight.mean() if intercept else 0.0
    found = objective_of(weighted, standardize=standardize).row_curvature
    assert exact * (1 - 1e-12) <= found <= exact * (1 + 1e-12) + room
