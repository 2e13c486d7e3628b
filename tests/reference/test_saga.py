"""SAGA: its direction by hand and row by row, its table's fixed point, its linear convergence at a constant rate."""

import numpy as np
import pytest

from fastgd.reference import (
    LOSSES,
    Plan,
    batch_curvature,
    batches,
    certificate,
    fit_scaling,
    make_problem,
    mean_loss_gradient,
    prox,
    run,
    saga_direction,
    smooth_gradient,
    standard_scaling,
    working_problem,
)
from tests.reference.problems import KINDS, random_problem, random_theta


def test_direction_by_hand():
    """Rows x = 1 and 2 with y = 1 and 3, w = 1 and b = 0: derivatives z - y = 0 and -1.

    Weights 1 and 3, of mean 2, make them 0 and -3; against the second row's 1 in the table D is -4 (2, 1) / 2.
    """
    problem = make_problem([[1.0], [2.0]], [1.0, 3.0], alpha=0.5, sample_weight=[1.0, 3.0])
    theta, table, mean = np.array([[1.0, 0.0]]), np.array([[7.0], [1.0]]), np.array([[10.0, 20.0]])
    g, table_after, mean_after = saga_direction(problem, theta, np.array([1]), table, mean)
    np.testing.assert_allclose(g, [[-4 + 10 + 0.5, -2 + 20]], rtol=1e-15)
    np.testing.assert_allclose(table_after, [[7.0], [-3.0]], rtol=1e-15)
    np.testing.assert_allclose(mean_after, [[10 - 2, 20 - 1]], rtol=1e-15)
    np.testing.assert_array_equal(table, [[7.0], [1.0]])
    np.testing.assert_array_equal(mean, [[10.0, 20.0]])


def slow_run(problem, theta, plan, l1):
    """SAGA with a gradient vector kept for every row: no margins' table, the mean summed afresh before every update."""
    loss, s_mean, t, thetas = LOSSES[problem.loss], problem.weight.mean(), 0, []
    kept = np.zeros((problem.n_rows, *theta.shape))
    for epoch in range(plan.epochs):
        for rows in batches(problem.n_rows, plan, epoch):
            t += 1
            mean, change = kept.mean(axis=0), np.zeros(theta.shape)
            for i in rows:
                x = np.append(problem.x[i], float(problem.fit_intercept))
                r = loss.gradient(
                    (theta[:, :-1] @ problem.x[i] + theta[:, -1])[None], problem.y[i : i + 1], problem.delta
                )
                new = problem.weight[i] / s_mean * np.outer(r[0], x)
                change += (new - kept[i]) / len(rows)
                kept[i] = new
            g = change + mean
            g[:, :-1] += problem.l2 * theta[:, :-1]
            theta = prox(theta - plan.rate(t) * g, plan.rate(t), l1)
            thetas.append(theta)
    return thetas, kept.mean(axis=0)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 8}, {"batch_size": 8, "drop_last": True}])
def test_against_recomputation(loss, outputs, options):
    raw = random_problem(loss, outputs, n=35, alpha=0.2, l1_ratio=0.5, fit_intercept=options["batch_size"] == 8)
    problem = working_problem(raw, fit_scaling(raw))
    plan = Plan("saga", lambda t: 0.1 / (1 + 0.1 * t), 3, seed=5, **options)
    result = run(problem, random_theta(problem), plan, trace=True)
    thetas, mean = slow_run(problem, random_theta(problem), plan, np.column_stack([problem.l1, np.zeros(outputs)]))
    np.testing.assert_allclose(result.steps, thetas, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(result.state["mean"], mean, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(result.reported, result.theta)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_the_direction_at_a_full_table_is_the_full_gradient(loss, outputs):
    """After an epoch that stands still the table holds the derivatives at theta, and every batch gives the gradient."""
    problem = random_problem(loss, outputs, n=35, alpha=0.2)
    theta = random_theta(problem)
    plan = Plan("saga", lambda t: 0.0 if t <= 5 else 0.1, 2, 8, seed=3)
    result = run(problem, theta, plan, trace=True)
    np.testing.assert_array_equal(result.steps[4], theta)
    np.testing.assert_allclose(result.steps[5], theta - 0.1 * smooth_gradient(problem, theta), rtol=1e-11, atol=1e-12)
    still = run(problem, theta, plan._replace(epochs=1))
    np.testing.assert_allclose(still.state["mean"], mean_loss_gradient(problem, theta), rtol=1e-11, atol=1e-13)


def test_the_whole_data_as_one_batch_is_gradient_descent():
    problem = random_problem("huber", 2, alpha=0.2, l1_ratio=0.5)
    problem = working_problem(problem, fit_scaling(problem))
    theta = random_theta(problem)
    saga = run(problem, theta, Plan("saga", 0.2, 20), trace=True)
    np.testing.assert_allclose(saga.steps, run(problem, theta, Plan("gd", 0.2, 20), trace=True).steps, rtol=1e-11)


@pytest.mark.parametrize(("loss", "size", "every"), [("squared", 1, 10), ("squared", 7, 20), ("logistic", 1, 20)])
def test_converges_linearly_at_a_constant_rate(loss, size, every):
    """To the optimum of an elastic net, the same factor each `every` epochs; gd stays away by the same batches."""
    problem = random_problem(loss, alpha=0.1, l1_ratio=0.5)
    problem = working_problem(problem, standard_scaling(problem))
    plan = Plan("saga", 1 / (3 * batch_curvature(problem, size)), 4 * every, size)

    def distances(rule):
        steps = run(problem, np.zeros(problem.shape), plan._replace(rule=rule), trace=True).steps
        stride = every * len(batches(problem.n_rows, plan, 0))
        return np.array([certificate(problem, theta) for theta in steps[stride - 1 :: stride]])

    factors = np.diff(np.log10(distances("saga")))
    assert len(factors) == 3
    np.testing.assert_allclose(factors, factors[0], rtol=0.05)
    assert factors[0] < -1
    assert distances("gd").min() > 1e-3
