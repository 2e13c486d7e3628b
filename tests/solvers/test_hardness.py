"""Hardness as a function of correlations, L2 and rows."""

from dataclasses import replace

import numpy as np
import pytest

from bench.cases.choice import Task
from bench.primitives import objective_of
from fastgd import LogisticRegression
from fastgd.bench.problems import Problem
from fastgd.solvers.select import hardness
from tests.estimators.fits import problem_for
from tests.objective_of import objective_of as objective_of_reference


def of(problem: Problem, **penalty: float) -> float:
    return hardness(objective_of(Task(problem, **penalty)))


@pytest.mark.parametrize("condition", [2.0, 30.0, 1e3, 1e5])
def test_hardness_is_the_mean_square_eigenvalue_of_correlations(condition: float) -> None:
    problem = Problem("linear", 40_000, 60, "f8", condition=condition)
    X = problem.make().X
    values = np.linalg.eigvalsh(np.corrcoef(X.T))
    # Of 8128 pairs of rows.
    assert of(problem) == pytest.approx(np.mean(values**2), rel=0.15)


def test_hardness_grows_with_few_rows_and_falls_with_a_penalty() -> None:
    many, few = (Problem("linear", n, 60, "f8", condition=2.0) for n in (40_000, 120))
    assert of(few) > of(many) + 0.3
    assert of(many, alpha=1e-3) < of(many)
    assert of(many, alpha=1.0) < 0.8


def test_penalty_lowers_hardness_more_for_classes() -> None:
    assert of(Problem("logistic", 5_000, 30, "f8"), alpha=0.05) < of(Problem("linear", 5_000, 30, "f8"), alpha=0.05)


def test_hardness_with_weights_on_a_single_class() -> None:
    """Any penalty exceeds a curvature of 0; without a penalty only the columns count."""
    made = {}
    for alpha in (0.0, 0.1):
        problem = problem_for("logistic", alpha=alpha)
        one_class = replace(problem, weight=(problem.y[:, 0] > 0.0).astype(np.float64))
        made[alpha] = hardness(objective_of_reference(one_class))
    assert made[0.1] == pytest.approx(0.0, abs=1e-100)
    assert made[0.0] >= 0.5


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # the optimum is at infinity
@pytest.mark.parametrize("optimizer", ["gd", "nesterov"])
def test_fits_with_weights_on_a_single_class_predict_it(optimizer: str) -> None:
    X, y = np.random.default_rng(0).uniform(size=(10, 3)), np.arange(10) % 2
    model = LogisticRegression(optimizer=optimizer, max_iter=5, random_state=0).fit(X, y, y)
    assert np.all(model.predict(X) == 1)
