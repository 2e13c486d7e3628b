"""The certificate and the duality gap at optima found by other means."""

import numpy as np
import pytest

from fastgd.reference import (
    Plan,
    best_constant,
    certificate,
    constant_gradient_rms,
    duality_gap,
    largest_curvature,
    make_problem,
    objective,
    raw_theta,
    relative_suboptimality,
    run,
    standard_scaling,
    working_problem,
    working_theta,
)
from tests.reference.problems import KINDS, gradient, random_problem, random_theta, scipy_optimum


def standardised(loss, outputs, **options):
    raw = random_problem(loss, outputs, **options)
    return working_problem(raw, standard_scaling(raw))


PENALTIES = [(0.1, 0.0), (0.1, 0.5), (0.05, 1.0)]


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
@pytest.mark.parametrize(("alpha", "l1_ratio"), PENALTIES)
def test_zero_at_scipys_optimum_and_only_there(loss, outputs, alpha, l1_ratio):
    problem = standardised(loss, outputs, alpha=alpha, l1_ratio=l1_ratio)
    best = scipy_optimum(problem)
    assert certificate(problem, best) < 1e-5
    # Without L2 the dual point is scaled, and the bound falls only in proportion to what scipy left of the gradient.
    assert -1e-13 < duality_gap(problem, best).bound < (1e-9 if l1_ratio < 1 else 1e-6)
    for seed in range(3):
        assert certificate(problem, best + random_theta(problem, seed, 0.1)) > 1e-3


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
@pytest.mark.parametrize(("alpha", "l1_ratio"), PENALTIES)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_gap_bounds_the_true_gap(loss, outputs, alpha, l1_ratio, fit_intercept):
    problem = standardised(loss, outputs, alpha=alpha, l1_ratio=l1_ratio, fit_intercept=fit_intercept)
    optimum = objective(problem, scipy_optimum(problem))
    for seed, size in enumerate([1e-2, 0.1, 1.0, 3.0]):
        gap = duality_gap(problem, random_theta(problem, seed, size))
        true = objective(problem, gap.theta) - optimum
        assert true >= -1e-9
        assert gap.bound >= true - 1e-9


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_gap_closes_along_a_fit(loss):
    """A bound that were merely large would not fall to rounding with the true gap."""
    problem = standardised(loss, 1, alpha=0.1, l1_ratio=0.5)
    rate = 1 / largest_curvature(problem)
    bounds = [
        duality_gap(problem, run(problem, np.zeros(problem.shape), Plan("gd", rate, epochs)).theta).bound
        for epochs in (5, 50, 1500)
    ]
    assert bounds[0] > bounds[1] > bounds[2]
    assert bounds[2] < 1e-13


@pytest.mark.parametrize("l1_ratio", [0.0, 0.6, 1.0])
def test_gap_is_the_same_in_raw_and_working_columns(l1_ratio):
    raw = random_problem("logistic", alpha=0.2, l1_ratio=l1_ratio)
    scaling = standard_scaling(raw)
    theta = random_theta(raw)
    ours = duality_gap(working_problem(raw, scaling), theta)
    theirs = duality_gap(raw, raw_theta(theta, scaling))
    assert ours.bound == pytest.approx(theirs.bound, rel=1e-9)


def test_gap_without_l1_is_the_squared_gradient():
    problem = random_problem("huber", 2, alpha=0.3)
    gap = duality_gap(problem, random_theta(problem))
    f = gradient(lambda t: objective(problem, t), gap.theta, 1e-7)
    assert gap.bound == pytest.approx((f**2).sum() / (2 * 0.3), rel=1e-5)


def test_no_gap_without_penalty():
    problem = random_problem("squared")
    with pytest.raises(ValueError, match="alpha must be above 0"):
        duality_gap(problem, random_theta(problem))


def test_ridge_in_closed_form():
    """(X'X / n + alpha I) w = X'y / n on centered data."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)) + 1.0, rng.standard_normal(40)
    raw = make_problem(x, y, alpha=0.3)
    xc, yc = x - x.mean(axis=0), y - y.mean()
    w = np.linalg.solve(xc.T @ xc / 40 + 0.3 * np.eye(3), xc.T @ yc / 40)
    solution = np.append(w, y.mean() - x.mean(axis=0) @ w)[None]
    scaling = standard_scaling(raw)
    problem = working_problem(raw, scaling)
    assert certificate(problem, working_theta(solution, scaling)) < 1e-14
    assert duality_gap(raw, solution).bound == pytest.approx(0.0, abs=1e-15)
    solution[0, 0] += 1e-3
    assert certificate(problem, working_theta(solution, scaling)) > 1e-4


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_elastic_net_on_an_orthogonal_design_in_closed_form(l1_ratio):
    """With X'X / n = I: w = soft(X'y / n, a1) / (1 + a2)."""
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(np.column_stack([np.ones(50), rng.standard_normal((50, 4))]))
    x, y = q[:, 1:] * np.sqrt(50), rng.standard_normal(50) + 2.0
    a1, a2 = 0.15 * l1_ratio, 0.15 * (1 - l1_ratio)
    problem = make_problem(x, y, alpha=0.15, l1_ratio=l1_ratio)
    c = x.T @ y / 50
    w = np.sign(c) * np.maximum(abs(c) - a1, 0) / (1 + a2)
    assert (w != 0).any()
    assert (w == 0).any() or l1_ratio < 1
    solution = np.append(w, y.mean())[None]
    assert certificate(problem, solution) < 1e-14
    assert duality_gap(problem, solution).bound == pytest.approx(0.0, abs=1e-14)


def test_certificate_by_hand():
    """x = -1, 1; y = -2, 2; w = 1 and b = 0.5: g_w = -1 + 0.2 w, + 0.3; g_b = 0.5; rms at the constant 0 is 2."""
    problem = make_problem([[-1.0], [1.0]], [-2.0, 2.0], alpha=0.5, l1_ratio=0.6)
    assert certificate(problem, np.array([[1.0, 0.5]])) == pytest.approx(0.5 / 2.0, rel=1e-14)
    assert certificate(problem, np.array([[0.0, 0.5]])) == pytest.approx((2.0 - 0.3) / 2.0, rel=1e-14)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_certificate_has_no_units(loss, outputs):
    """Columns in other units (the penalty mapped), weights times a constant, y of linear losses in other units."""
    raw = random_problem(loss, outputs)
    theta = random_theta(raw)
    expected = certificate(working_problem(raw, standard_scaling(raw)), theta)
    factor = 1000.0 if loss in ("squared", "huber") else 1
    other = make_problem(
        raw.x * np.array([1e-3, 1.0, 7.0, 1e4]) + 5.0,
        raw.y * factor,
        loss,
        delta=0.8 * factor,
        sample_weight=raw.weight * 12.0,
    )
    assert certificate(working_problem(other, standard_scaling(other)), theta) == pytest.approx(expected, rel=1e-8)


def test_exact_constant_model_leaves_the_numerator():
    problem = make_problem([[1.0], [2.0]], [3.0, 3.0])
    assert constant_gradient_rms(problem) == 0.0
    assert certificate(problem, best_constant(problem)) == 0.0
    assert certificate(problem, np.array([[0.0, 4.0]])) == pytest.approx(1.5)


def test_relative_suboptimality():
    assert relative_suboptimality(1.1, 1.0, 2.0) == pytest.approx(0.1)
    assert relative_suboptimality(2e-4, 1e-4, 1.0) == pytest.approx(1e-4)
