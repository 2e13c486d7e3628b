"""Optima that races run to and that reports are checked by: against scipy, scikit-learn, the reference, and bounds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import ElasticNet

from bench.optimum import distances, find_optimum
from bench.real_optima import find
from fastgd import reference
from fastgd.bench.objective import Objective
from fastgd.bench.problems import Problem

TASKS = ["linear", "logistic", "softmax"]


def objective_of(task: str, alpha: float = 0.01, l1_ratio: float = 0.0) -> Objective:
    return Objective(Problem(task, 400, 5, "f8", classes=3).make(), alpha, l1_ratio)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_values_are_those_of_the_reference(task: str, l1_ratio: float) -> None:
    objective = objective_of(task, 0.01, l1_ratio)
    loss = {"linear": "squared"}.get(task, task)
    y = objective.data.signs() if task == "logistic" else objective.data.y
    problem = reference.make_problem(objective.data.X, y, loss, alpha=0.01, l1_ratio=l1_ratio)
    thetas = np.random.default_rng(0).standard_normal((4, *objective.shape))
    expected = [reference.objective(problem, theta) for theta in thetas]
    np.testing.assert_allclose(objective.values(thetas), expected, rtol=1e-13)


@pytest.mark.parametrize("alpha", [0.0, 0.01])
@pytest.mark.parametrize("task", TASKS)
def test_smooth_optimum_is_the_one_that_scipy_finds(task: str, alpha: float) -> None:
    objective = objective_of(task, alpha)
    optimum, exact = find_optimum(objective), find(objective)

    def value(flat: np.ndarray) -> float:
        return float(objective.values(flat.reshape(1, *objective.shape))[0])

    found = minimize(value, np.zeros(optimum.theta.size), tol=1e-9)
    assert optimum.value == pytest.approx(found.fun, rel=1e-9)
    assert optimum.value == pytest.approx(value(optimum.theta), rel=1e-14)
    assert found.fun >= optimum.value - optimum.left
    assert 0.0 <= optimum.left <= 1e-10 * optimum.value
    assert found.fun - 1e-9 * found.fun <= exact.value <= found.fun + 1e-14
    assert exact.attained
    assert exact.left <= 1e-10 * (exact.constant - exact.value)
    assert exact.constant == pytest.approx(objective.constant, rel=1e-12)


def test_without_penalty_it_is_least_squares() -> None:
    objective = objective_of("linear", 0.0)
    X = np.column_stack([objective.data.X, np.ones(400)])
    expected = np.linalg.lstsq(X, objective.data.y.astype(float), rcond=None)[0]
    np.testing.assert_allclose(find_optimum(objective).theta[0], expected, atol=1e-7)


def test_elastic_net_is_that_of_scikit_learn_with_its_zeros() -> None:
    objective = objective_of("linear", 0.3, 0.5)
    optimum = find_optimum(objective)
    model = ElasticNet(alpha=0.3, l1_ratio=0.5, tol=1e-14).fit(objective.data.X, objective.y[:, 0])
    np.testing.assert_allclose(optimum.theta[0], [*model.coef_, model.intercept_], atol=1e-8)
    assert 0 < np.sum(optimum.theta[0, :-1] == 0) < 5
    expected = objective.values(np.append(model.coef_, model.intercept_)[None])[0]
    assert find(objective).value == pytest.approx(expected, rel=1e-12)


def test_the_gap_of_an_elastic_net_bounds_what_is_left() -> None:
    objective = objective_of("logistic", 0.1, 0.5)
    optimum = find_optimum(objective)
    signs = objective.data.signs()
    problem = reference.make_problem(objective.data.X, signs, "logistic", alpha=0.1, l1_ratio=0.5)
    assert reference.certificate(problem, optimum.theta) < 1e-5
    assert reference.duality_gap(problem, optimum.theta).bound <= 1e-10 * optimum.value


def test_columns_of_any_scale() -> None:
    plain = objective_of("logistic", 0.0)
    scaled = replace(plain, data=replace(plain.data, X=plain.data.X * 10.0 ** np.array([-3, 3, 0, -2, 2])))
    assert find_optimum(scaled).value == pytest.approx(find_optimum(plain).value, rel=1e-9)


def test_the_constant_model_is_the_best_without_coefficients() -> None:
    for task in TASKS:
        objective = objective_of(task)
        theta = objective.constant_theta()
        assert np.all(theta[:, :-1] == 0)
        nudged = np.array([theta, *(theta + step * np.eye(1, 6, 5) for step in (-1e-3, 1e-3))])
        assert np.argmin(objective.values(nudged)) == 0


def test_distances_are_relative_to_the_optimum_or_where_that_is_tiny_to_the_constant_model() -> None:
    objective = objective_of("logistic")
    optimum = find_optimum(objective)
    found = distances(objective, optimum, np.array([optimum.theta, np.zeros((1, 6)), np.full((1, 6), np.nan)]))
    assert found[0] == pytest.approx(0.0, abs=1e-12)
    assert found[1] == pytest.approx(np.log(2) / optimum.value - 1)
    assert np.isnan(found[2])
    data = objective.data
    exact = Objective(replace(data, problem=replace(data.problem, task="linear"), y=data.X @ data.coef[0] + 1.0), 1e-9)
    tiny = find_optimum(exact)
    assert tiny.value < 1e-3 * exact.constant
    assert distances(exact, tiny, exact.constant_theta()[None])[0] == pytest.approx(1.0, rel=1e-3)
