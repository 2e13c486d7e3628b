"""Generated problems have the properties of their names."""

from dataclasses import replace

import numpy as np
import pytest

from fastgd.bench.problems import PROBLEMS, Problem


@pytest.mark.parametrize("task", ["linear", "logistic", "softmax"])
def test_the_same_numbers_every_time_and_others_with_another_seed(task: str) -> None:
    problem = Problem(task, 500, 7, classes=4)
    first, second, other = problem.make(), problem.make(), replace(problem, seed=1).make()
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.y, second.y)
    assert not np.any(first.X == other.X)


def test_dtype_and_order_change_no_value() -> None:
    problem = Problem("logistic", 500, 7)
    X = problem.make().X
    other = replace(problem, dtype="f8", order="F").make().X
    assert X.dtype == np.float32
    assert other.dtype == np.float64
    assert X.flags.c_contiguous
    assert other.flags.f_contiguous
    np.testing.assert_array_equal(X, other)


def test_condition_number() -> None:
    X = Problem("linear", 200_000, 6, "f8", condition=400.0).make().X
    assert np.linalg.cond(X) ** 2 == pytest.approx(400.0, rel=0.02)


def test_units_scale_columns_and_leave_margins_and_labels() -> None:
    problem = Problem("logistic", 2000, 40)
    plain, scaled = problem.make(), replace(problem, units=1e3).make()
    factors = scaled.X[0] / plain.X[0]
    assert 1e-3 <= factors.min() < 1e-2
    assert 1e2 < factors.max() <= 1e3
    np.testing.assert_allclose(scaled.X, plain.X * factors, rtol=1e-5)
    np.testing.assert_allclose(scaled.X @ scaled.coef[0], plain.X @ plain.coef[0], rtol=1e-3, atol=1e-4)
    assert np.mean(scaled.y == plain.y) > 0.99


def test_linear_targets_follow_the_model() -> None:
    data = Problem("linear", 100_000, 5).make()
    fitted, residual, *_ = np.linalg.lstsq(data.X.astype(float), data.y.astype(float), rcond=None)
    np.testing.assert_allclose(fitted, data.coef[0], atol=0.05)
    assert residual[0] / 100_000 == pytest.approx(0.25, rel=0.02)


def test_labels_have_the_probabilities_of_the_model() -> None:
    data = Problem("logistic", 100_000, 5).make()
    margins = data.X @ data.coef[0]
    assert margins.std() == pytest.approx(2.0, rel=0.02)
    assert set(data.signs()) == {-1.0, 1.0}
    for low, high in ((-3.0, -2.0), (-0.5, 0.5), (1.0, 2.0)):
        chosen = (margins > low) & (margins < high)
        expected = np.mean(1.0 / (1.0 + np.exp(-margins[chosen])))
        assert data.y[chosen].mean() == pytest.approx(expected, abs=0.02)


def test_classes_have_the_probabilities_of_the_model() -> None:
    data = Problem("softmax", 100_000, 5, classes=3).make()
    weights = np.exp(data.X.astype(float) @ data.coef.T)
    expected = (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(np.bincount(data.y) / 100_000, expected, atol=0.005)


def test_named_problems_are_larger_than_caches() -> None:
    assert min(problem.nbytes for problem in PROBLEMS.values()) >= 200_000_000
    assert PROBLEMS["pass-20-f8"].nbytes == 800_000_000


def test_first_rows_are_not_copied() -> None:
    data = Problem("logistic", 500, 7).make()
    part = data.first(100)
    assert (part.problem.n, len(part.y)) == (100, 100)
    assert np.shares_memory(part.X, data.X)
    assert data.first(1000).problem.n == 500
