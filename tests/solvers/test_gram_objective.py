"""Full-batch rules on a squared loss of many rows: one pass for all epochs, with the iterates of passes."""

from dataclasses import replace

import numpy as np
import pytest

from fastgd import LinearRegression
from fastgd.optimizers import Adam, GradientDescent, Momentum, Nesterov
from fastgd.solvers.gram_objective import GramObjective, gram_is_faster
from tests.estimators.fits import certificate_of, features, fit, problem_for, targets, theta_of, value_of
from tests.objective_of import objective_of
from tests.reference.problems import random_theta

RULES = [
    GradientDescent(),
    Momentum(),
    Nesterov(),
    Adam(),
    GradientDescent(line_search="backtracking"),
    GradientDescent(line_search="exact"),
]
MANY = 4000


#: Exact line searches refuse L1.
PENALISED = [rule for rule in RULES if getattr(rule, "line_search", None) != "exact"]


@pytest.mark.parametrize(("rule", "l1_ratio"), [*((r, 0.0) for r in RULES), *((r, 0.5) for r in PENALISED)], ids=str)
def test_the_course_is_that_of_passes(rule, l1_ratio, monkeypatch):
    problem = problem_for("squared", 2, n=MANY, alpha=0.05, l1_ratio=l1_ratio)
    options = {"optimizer": rule, "batch_size": "full", "tol": 1e-6, "max_iter": 5000}
    condensed = fit(problem, **options)
    assert condensed.fit_report_["solver"].endswith("full batch, gradients from the Gram matrix of one pass")
    monkeypatch.setattr("fastgd.solvers.first_order.gram_is_faster", lambda *_: False)
    passes = fit(problem, **options)
    assert passes.fit_report_["solver"].endswith("full batch")
    assert passes.fit_report_["passes"] > condensed.fit_report_["passes"] == 3.0
    assert condensed.n_iter_ == pytest.approx(passes.n_iter_, abs=1)
    epochs = min(condensed.n_iter_, passes.n_iter_)
    for name in ("loss", "learning_rate"):
        ours, theirs = condensed.history_[name][:epochs], passes.history_[name][:epochs]
        # Adam takes whole steps along an intercept whose gradient is rounding.
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    # The rounding, and so these steps, depend on the processor: intercepts of Adam differ by up to 2e-8.
    atol = 1e-7 if isinstance(rule, Adam) else 1e-9
    np.testing.assert_allclose(theta_of(condensed), theta_of(passes), rtol=1e-6, atol=atol)


def test_the_final_certificate_is_by_a_pass():
    problem = problem_for("squared", n=MANY, alpha=0.01)
    model = fit(problem, optimizer="gd", batch_size="full", tol=1e-6)
    assert model.fit_report_["certificate"] == pytest.approx(certificate_of(problem, model), rel=1e-6)
    assert model.fit_report_["objective"] == pytest.approx(value_of(problem, model), rel=1e-12)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
def test_evaluations_are_those_of_passes(order, intercept):
    problem = problem_for("squared", 3, alpha=0.05, l1_ratio=0.5, fit_intercept=intercept)
    objective = objective_of(problem, order=order)
    condensed = GramObjective(objective)
    theta = random_theta(problem)
    ours, theirs = condensed.evaluate(theta), objective.evaluate(theta)
    precise = condensed.precise(theta)
    for name in ("losses", "penalties", "gradient", "slope"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(getattr(precise, name), getattr(theirs, name), rtol=1e-11, atol=1e-12)
    direction = random_theta(problem, seed=1)
    for t in (0.0, 0.3):
        found = condensed.slope_along(theta, direction)(t)
        assert found == pytest.approx(objective.slope_along(theta, direction)(t), rel=1e-10)


@pytest.mark.parametrize("batch_size", ["auto", 8192])
def test_batches_are_batches(batch_size):
    problem = problem_for("squared", n=MANY)
    model = fit(problem, optimizer="gd", batch_size=batch_size, max_iter=40)
    assert "Gram" not in model.fit_report_["solver"]


def test_few_rows_few_epochs_other_losses_and_raw_columns_keep_to_passes():
    many = problem_for("squared", n=MANY)
    assert gram_is_faster(objective_of(many), 1000)
    assert not gram_is_faster(objective_of(many), 3)
    assert not gram_is_faster(objective_of(many, standardize=False), 1000)
    assert not gram_is_faster(objective_of(problem_for("squared", n=100)), 1000)
    assert not gram_is_faster(objective_of(problem_for("huber", n=MANY)), 1000)


def test_warm_starts_go_on():
    problem = problem_for("squared", n=MANY, alpha=0.01)
    model = LinearRegression(alpha=0.01, optimizer="gd", batch_size="full", warm_start=True, tol=1e-8, max_iter=5000)
    model.fit(features(problem), targets(problem), problem.weight)
    model.fit(features(problem), targets(problem), problem.weight)
    assert model.n_iter_ <= 2


def test_relative_error_bounds_that_of_a_polynomial():
    """Powers of integers with coefficients of 1 and targets without rounding, as the set Wampler1 of NIST."""
    x = np.repeat(np.arange(21.0), 1000)
    powers = np.stack([x**k for k in range(1, 6)], axis=1)
    problem = replace(
        problem_for("squared", n=len(x), d=5), x=powers, y=1.0 + powers.sum(axis=1)[:, None], weight=np.ones(len(x))
    )
    objective = objective_of(problem)
    condensed = GramObjective(objective)
    at = condensed.minimum(objective.start())
    coef, _ = condensed.to_user(at.theta)
    assert 0.01 * condensed.relative_error(at.theta) < np.abs(coef - 1.0).max() < condensed.relative_error(at.theta)


def test_large_data_are_refined_only_for_digits_that_rounding_of_the_gram_matrix_took():
    random = np.random.default_rng(0)
    x = random.uniform(0.0, 20.0, 300_000)
    found = []
    for X in (
        np.stack([x**k for k in range(1, 6)], axis=1),
        np.stack([x, x + 0.01 * random.standard_normal(x.size)], 1),
    ):
        X = np.hstack([X, random.standard_normal((len(x), 6 - X.shape[1]))])
        model = LinearRegression(alpha=0.0, optimizer="normal_equations").fit(X, X.sum(axis=1) + 1.0)
        found.append((model.fit_report_["passes"], float(np.abs(model.coef_ - 1.0).max())))
    (refined, error), (once, rough) = found
    assert refined > once == 2.0
    assert error < 1e-9
    assert rough < 1e-7
