"""Hardness: what correlations, L2 and few rows make of it."""

import numpy as np
import pytest

from bench.primitives import objective_of
from bench.problems import Problem
from bench.shapes import Task
from fastgd.solvers.hardness import hardness


def of(problem: Problem, **penalty: float) -> float:
    return hardness(objective_of(Task(problem, **penalty)))


@pytest.mark.parametrize("condition", [2.0, 30.0, 1e3, 1e5])
def test_without_penalty_it_is_the_mean_square_eigenvalue_of_correlations(condition: float) -> None:
    problem = Problem("linear", 40_000, 60, "f8", condition=condition)
    X = problem.make().X
    values = np.linalg.eigvalsh(np.corrcoef(X.T))
    # Of 8128 pairs of rows.
    assert of(problem) == pytest.approx(np.mean(values**2), rel=0.15)


def test_few_rows_make_it_harder_and_a_penalty_easier() -> None:
    many, few = (Problem("linear", n, 60, "f8", condition=2.0) for n in (40_000, 120))
    assert of(few) > of(many) + 0.3
    assert of(many, alpha=1e-3) < of(many)
    assert of(many, alpha=1.0) < 0.8


def test_classes_have_less_curvature_for_the_penalty_to_beat() -> None:
    assert of(Problem("logistic", 5_000, 30, "f8"), alpha=0.05) < of(Problem("linear", 5_000, 30, "f8"), alpha=0.05)
