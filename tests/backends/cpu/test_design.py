"""Second-order passes: loss, gradient and curvature of every loss against the reference, on samples, in any order."""

import numpy as np
import pytest

from fastgd import reference
from fastgd.backends import design
from fastgd.backends.cpu.data import CpuData
from fastgd.objective import objective as objectives
from fastgd.objective.dataset import Runs
from fastgd.objective.objective import Objective
from fastgd.objective.problem import WorkingCoordinates
from fastgd.reference.losses import LOSSES
from tests.estimators.fits import LAYOUTS, problem_for
from tests.objective_of import objective_of, working
from tests.reference.problems import KINDS, random_theta

#: One block for each output's curvature, or one for all.
SHARED = ("squared", "softmax")
SETTINGS = [(standardize, intercept) for standardize in (True, False) for intercept in (True, False)]
RUNS = Runs(16, np.array([0, 3, 4, 9, 11]))


@pytest.fixture(params=[True, False], ids=["kept", "made"])
def kept(request, monkeypatch):
    """Use blocks of 16 rows, kept in working coordinates or computed for every use, on threads."""
    monkeypatch.setattr(design, "_BLOCK_NUMBERS", 1)
    monkeypatch.setattr(design, "_BLOCK_ROWS", 16)
    monkeypatch.setattr(design, "_SMALL", 0)
    monkeypatch.setattr(objectives, "_KEPT_NUMBERS", 1 << 17 if request.param else 0)
    return request.param


def curvature_of(its, theta):
    """Return diagonal blocks (K, D, D) of the reference's Hessian without L2, their mean if outputs share one."""
    outputs, columns = theta.shape
    ridge = np.diag(np.column_stack([its.l2, np.zeros(outputs)]).ravel())
    whole = (reference.hessian(its, theta) - ridge).reshape(outputs, columns, outputs, columns)
    blocks = np.array([whole[k, :, k] for k in range(outputs)])
    return blocks.mean(axis=0, keepdims=True) if its.loss in SHARED else blocks


@pytest.mark.parametrize(("standardize", "intercept"), SETTINGS)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_loss_gradient_and_curvature(kept, loss, outputs, standardize, intercept):
    problem = problem_for(loss, outputs, fit_intercept=intercept, alpha=0.2, l1_ratio=0.4)
    objective = objective_of(problem, standardize=standardize)
    its, _ = working(problem, standardize)
    theta = random_theta(its)
    at, curvature = objective.second_order(theta)
    exact = objective.evaluate(theta)
    for found, expected in zip(at, exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * np.max(np.abs(expected)))
    expected = curvature_of(its, theta)
    np.testing.assert_allclose(curvature, expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max())


def test_couplings_of_classes(kept):
    """The mean over rows of the curvature by margins in the reference."""
    problem = problem_for("softmax", 4)
    objective, (its, _) = objective_of(problem), working(problem)
    theta = random_theta(its)
    rows = LOSSES["softmax"].curvature(reference.margins(its.x, theta), its.y, its.delta)
    expected = np.average(rows, axis=0, weights=its.weight)
    np.testing.assert_allclose(objective.couplings(theta), expected, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("standardize", "intercept"), SETTINGS)
def test_the_joint_curvature_of_classes_is_the_references_hessian(kept, standardize, intercept, weighted):
    more = {} if weighted else {"sample_weight": None}
    problem = problem_for("softmax", 4, n=3000, fit_intercept=intercept, alpha=0.2, **more)
    objective, (its, _) = objective_of(problem, standardize=standardize), working(problem, standardize)
    theta = random_theta(its)
    at, curvature = objective.joint_quadratic(theta)
    ridge = np.diag(np.column_stack([its.l2, np.zeros(len(theta))]).ravel())
    expected = reference.hessian(its, theta) - ridge
    (found,) = curvature()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(at.slope, objective.evaluate(theta).slope, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_slope_and_curvature_along_a_line(loss, outputs):
    """As by the reference's gradient and Hessian there."""
    problem = problem_for(loss, outputs, alpha=0.2)
    objective, (its, _) = objective_of(problem), working(problem)
    theta, step = random_theta(its), random_theta(its, 1)
    along = objective._design.along(objective.problem.loss, theta, step)
    slope, curvature = (float(part.sum()) for part in along(np.array([0.7])))
    there = theta + 0.7 * step
    expected = np.vdot(reference.mean_loss_gradient(its, there), step)
    assert slope == pytest.approx(expected, rel=1e-10)
    ridge = np.diag(np.column_stack([its.l2, np.zeros(len(theta))]).ravel())
    hessian = reference.hessian(its, there) - ridge
    assert curvature == pytest.approx(step.ravel() @ hessian @ step.ravel(), rel=1e-10)


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
@pytest.mark.parametrize(("loss", "outputs"), [("squared", 2), ("logistic", 1), ("softmax", 3)])
def test_layouts(kept, loss, outputs, dtype, order):
    """Arithmetic is float64 for any X; only targets in working units are rounded to its dtype."""
    problem = problem_for(loss, outputs, dtype=dtype)
    objective = objective_of(problem, dtype=dtype, order=order)
    its, _ = working(problem)
    theta = random_theta(its)
    at, curvature = objective.second_order(theta)
    gradient = reference.mean_loss_gradient(its, theta)
    rounding = 1e-12 if dtype == "f8" or loss != "squared" else 1e-7
    np.testing.assert_allclose(at.gradient, gradient, rtol=0, atol=rounding)
    np.testing.assert_allclose(curvature, curvature_of(its, theta), rtol=1e-11, atol=1e-12)


def test_weights_may_be_absent(kept):
    problem = problem_for("logistic", sample_weight=None)
    weighted = objective_of(problem)
    data = CpuData(weighted.data.rows, weighted.data.data.y, None, 1)
    plain = Objective(data, weighted.problem, weighted.moments, WorkingCoordinates(weighted.scaling, weighted.shift))
    theta = random_theta(problem)
    for found, expected in zip(plain.second_order(theta), weighted.second_order(theta), strict=True):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13)


def test_constant_columns_have_neither_gradient_nor_curvature(kept):
    problem = problem_for("logistic")
    problem.x[:, 1] = 3.7
    at, curvature = objective_of(problem).second_order(random_theta(problem))
    assert np.all(at.gradient[:, 1] == 0.0)
    assert np.all(curvature[:, 1] == 0.0)
    assert np.all(curvature[:, :, 1] == 0.0)


def sampled(objective, runs=RUNS):
    """Return the objective on runs of its rows in place."""
    return Objective(
        objective.data.sample(runs),
        objective.problem,
        objective.moments,
        WorkingCoordinates(objective.scaling, objective.shift),
    )


def gathered(objective, runs=RUNS):
    """Return the objective on a copy of these rows."""
    data, rows = objective.data, runs.rows
    copy = np.array(data.rows[rows], order=data.order)
    twin = CpuData(copy, data.data.y[:, rows].copy(), data.data.s[rows].copy(), data.n_threads)
    return Objective(twin, objective.problem, objective.moments, WorkingCoordinates(objective.scaling, objective.shift))


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
@pytest.mark.parametrize(("loss", "outputs"), [("squared", 2), ("huber", 2), ("logistic", 1), ("softmax", 3)])
def test_a_sample_in_place_is_a_copy_of_its_rows(kept, loss, outputs, dtype, order):
    objective = objective_of(problem_for(loss, outputs, dtype=dtype), dtype=dtype, order=order)
    theta = random_theta(working(problem_for(loss, outputs, dtype=dtype))[0])
    ours, theirs = sampled(objective), gathered(objective)
    assert ours.data.n == theirs.data.n == 80
    assert ours.data.weight == pytest.approx(theirs.data.weight, rel=1e-14)
    assert ours.data.nbytes == theirs.data.nbytes
    at, curvature = ours.second_order(theta)
    expected, matrix = theirs.second_order(theta)
    np.testing.assert_allclose(curvature, matrix, rtol=1e-14)
    np.testing.assert_allclose(at.gradient, expected.gradient, rtol=1e-13, atol=1e-15)
    tolerance = 1e-13 if dtype == "f8" else 2e-6
    by_kernel = ours.evaluate(theta)
    np.testing.assert_allclose(by_kernel.losses, theirs.evaluate(theta).losses, rtol=tolerance)
    np.testing.assert_allclose(by_kernel.gradient, theirs.evaluate(theta).gradient, rtol=0, atol=tolerance)
    moments, same = ours.data.moments(), theirs.data.moments()
    np.testing.assert_allclose(moments.mean, same.mean, rtol=1e-12)
    np.testing.assert_allclose(moments.sd, same.sd, rtol=1e-12)


@pytest.mark.parametrize("part", [lambda whole: whole, sampled], ids=["all rows", "sample"])
@pytest.mark.parametrize(("loss", "outputs"), [("squared", 2), ("huber", 2), ("logistic", 1), ("softmax", 3)])
def test_threads_change_no_bit(kept, loss, outputs, part):
    problem = problem_for(loss, outputs)
    theta = random_theta(problem)
    seen = []
    for threads in (1, 2, 3):
        objective = objective_of(problem)
        objective.data.n_threads = threads
        whole = part(objective)
        at, curvature = whole.second_order(theta)
        again = whole.evaluate(theta)
        seen.append([at.losses, at.gradient, curvature, again.losses, again.gradient])
    for others in seen[1:]:
        assert all(np.array_equal(one, other) for one, other in zip(seen[0], others, strict=True))


def test_few_lanes_are_the_same_sums(kept, monkeypatch):
    """With large matrices each lane adds several blocks."""
    problem = problem_for("huber", 2)
    theta = random_theta(problem)
    usual = objective_of(problem).second_order(theta)[1]
    monkeypatch.setattr(design, "_LANES", 3)
    np.testing.assert_allclose(objective_of(problem).second_order(theta)[1], usual, rtol=1e-13)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_the_curvature_of_long_rows_of_a_sample_may_be_rounded(kept, monkeypatch, loss):
    """A sample's curvature is rounded to the dtype of X; that of all rows is not."""
    monkeypatch.setattr(design, "LONG", 5)
    problem = problem_for(loss, dtype="f4", n=600)
    objective = objective_of(problem, dtype="f4")
    theta = random_theta(problem)
    exact = gathered(objective, objective.sampled(100).data._runs).second_order(theta)[1]
    found = objective.sampled(100).second_order(theta)[1]
    assert 0.0 < np.abs(found - exact).max() <= 1e-5 * np.abs(exact).max()
    whole = objective.second_order(theta)[1]
    np.testing.assert_allclose(whole, curvature_of(working(problem)[0], theta), rtol=1e-11, atol=1e-12)
