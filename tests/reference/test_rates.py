"""Curvature bounds against explicit Hessians; convergence below safe rates and divergence above."""

import numpy as np
import pytest

from fastgd.reference import (
    Plan,
    batch_curvature,
    certificate,
    fit_scaling,
    hessian,
    largest_curvature,
    largest_row_curvature,
    make_problem,
    objective,
    run,
    safe_rate,
    working_problem,
)
from tests.reference.problems import KINDS, random_problem, random_theta


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_bounds_the_hessian_everywhere(loss, outputs, fit_intercept):
    problem = random_problem(loss, outputs, alpha=0.3, fit_intercept=fit_intercept)
    bound = largest_curvature(problem)
    for seed in range(5):
        assert np.linalg.eigvalsh(hessian(problem, random_theta(problem, seed)))[-1] <= bound * (1 + 1e-12)


@pytest.mark.parametrize("loss", ["squared", "huber", "logistic"])
def test_is_reached_where_the_loss_curves_most(loss):
    """At theta = 0 logistic curves most; Huber with a large delta everywhere."""
    problem = random_problem(loss, alpha=0.3, delta=1e6)
    top = np.linalg.eigvalsh(hessian(problem, np.zeros(problem.shape)))[-1]
    assert largest_curvature(problem) == pytest.approx(top, rel=1e-12)


def test_softmax_reaches_its_bound_between_two_classes():
    problem = random_problem("softmax", 3)
    theta = np.zeros(problem.shape)
    theta[2, -1] = -60.0
    top = np.linalg.eigvalsh(hessian(problem, theta))[-1]
    assert largest_curvature(problem) == pytest.approx(top, rel=1e-10)


def test_penalty_is_optional():
    problem = make_problem([[1.0], [-1.0]], [1.0, 2.0], alpha=10.0, l1_ratio=0.5)
    assert largest_curvature(problem) == pytest.approx(6.0)
    assert largest_curvature(problem, penalty=False) == pytest.approx(1.0)
    assert largest_row_curvature(problem) == pytest.approx(7.0)
    assert largest_row_curvature(problem, penalty=False) == pytest.approx(2.0)


@pytest.mark.parametrize("weights", [None, "unlike"])
def test_row_curvature_is_the_largest_of_single_rows(weights):
    problem = random_problem("logistic", **({} if weights else {"sample_weight": None}))
    factor = problem.weight / problem.weight.mean()
    tops = [
        factor[i] * largest_curvature(make_problem(problem.x[i : i + 1], [1.0], "logistic"))
        for i in range(problem.n_rows)
    ]
    assert largest_row_curvature(problem) == pytest.approx(max(tops), rel=1e-12)


def test_batch_curvature_ends_and_middle():
    problem = random_problem("squared", alpha=0.2)
    whole, row, n = largest_curvature(problem), largest_row_curvature(problem), problem.n_rows
    assert batch_curvature(problem, 1) == pytest.approx(row, rel=1e-14)
    assert batch_curvature(problem, n) == pytest.approx(whole, rel=1e-14)
    assert batch_curvature(problem, 10 * n) == batch_curvature(problem, n)
    assert batch_curvature(problem, 2) == pytest.approx(n / (2 * (n - 1)) * whole + (n - 2) / (2 * (n - 1)) * row)
    values = [batch_curvature(problem, b) for b in range(1, n + 1)]
    assert np.all(np.diff(values) < 0)
    assert batch_curvature(make_problem([[2.0]], [1.0]), 1) == pytest.approx(5.0)
    with pytest.raises(ValueError, match="batch_size"):
        batch_curvature(problem, 0)


def test_batch_curvature_is_an_expected_smoothness():
    """E |g_B(theta) - g_B(best)|^2 <= 2 L_B (F(theta) - F(best)) over all batches of 2 (Gower et al. 2019)."""
    problem = random_problem("squared", n=12, d=2, sample_weight=None)
    x, n = np.column_stack([problem.x, np.ones(12)]), 12
    best = np.linalg.lstsq(x, problem.y[:, 0], rcond=None)[0]
    pairs = [[i, j] for i in range(n) for j in range(i)]
    for seed in range(5):
        theta = np.random.default_rng(seed).standard_normal(3)
        rows = x * (x @ (theta - best))[:, None]
        spread = np.mean([((rows[i] + rows[j]) ** 2).sum() / 4 for i, j in pairs])
        gap = ((x @ (theta - best)) ** 2).mean() / 2
        assert spread <= 2 * batch_curvature(problem, 2) * gap * (1 + 1e-12)


def test_safe_rates_by_hand():
    assert safe_rate(4.0) == safe_rate(4.0, nesterov=True) == 0.5
    assert safe_rate(4.0, 0.5) == 0.75
    assert safe_rate(4.0, 0.5, nesterov=True) == 0.375


@pytest.mark.parametrize("rule", ["gd", "momentum", "nesterov", "lookahead"])
def test_below_the_safe_rate_converges_and_above_it_diverges(rule):
    problem = random_problem("squared", alpha=0.5)
    problem = working_problem(problem, fit_scaling(problem))
    mu = 0.0 if rule == "gd" else 0.8
    hyper = {"momentum": mu} if mu else {}
    limit = safe_rate(largest_curvature(problem), mu, nesterov=rule in ("nesterov", "lookahead"))
    start = random_theta(problem)
    below = run(problem, start, Plan(rule, 0.98 * limit, 3000, hyper=hyper)).theta
    assert certificate(problem, below) < 1e-10
    above = run(problem, start, Plan(rule, 1.02 * limit, 1000, hyper=hyper)).theta
    assert objective(problem, above) > 1e3 * objective(problem, start)
