"""The mini-batch loop against a recomputation from single rows, and its choice of batches."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from fastgd.reference import (
    LOSSES,
    RULES,
    Plan,
    batches,
    certificate,
    duality_gap,
    epoch_order,
    fit_scaling,
    make_problem,
    objective,
    raw_theta,
    run,
    smooth_gradient,
    working_problem,
)
from tests.reference.problems import KINDS, random_problem, random_theta

# The rules again, each from the whole past: no state, sums over all gradients and iterates so far, prox by cases.
MU, BETA1, BETA2 = 0.9, 0.9, 0.999


class Past(NamedTuple):
    """Iterates from the start on, and the gradients that the rule was given at its point: as many as there are."""

    thetas: list[np.ndarray]
    gs: list[np.ndarray]


def shrink(v, a):
    return np.where(v > a, v - a, np.where(v < -a, v + a, 0.0))


def fading(values, keep):
    """sum over ages k = 0, 1, ... of (1 - keep) keep^k times the value of that age; 0 of none."""
    return sum(((1 - keep) * keep**k * value for k, value in enumerate(reversed(values))), start=0.0)


def last_difference(thetas):
    return thetas[-1] - thetas[-2] if len(thetas) > 1 else 0.0 * thetas[0]


def slow_point(rule, thetas):
    return thetas[-1] + MU * last_difference(thetas) if rule == "lookahead" else thetas[-1]


def slow_reported(rule, thetas):
    return np.mean(thetas[1:], axis=0) if rule == "averaged" else thetas[-1]


def gd(past, rate):
    return past.thetas[-1] - rate * past.gs[-1], rate


def momentum(past, rate):
    return past.thetas[-1] + MU * last_difference(past.thetas) - rate * past.gs[-1], rate


def nesterov(past, rate):
    """v' = (mu v + theta' - theta) / (1 + mu): the rule's v with p eliminated."""
    steps = np.diff(past.thetas, axis=0)
    v = sum((MU / (1 + MU)) ** k * step / (1 + MU) for k, step in enumerate(steps[::-1]))
    return past.thetas[-1] + MU**2 * v - (1 + MU) * rate * past.gs[-1], (1 + MU) * rate


def adagrad(past, rate):
    step = rate / (np.sqrt(sum(g**2 for g in past.gs)) + 1e-10)
    return past.thetas[-1] - step * past.gs[-1], step


def rmsprop(past, rate):
    step = rate / (np.sqrt(fading([g**2 for g in past.gs], 0.9)) + 1e-8)
    return past.thetas[-1] - step * past.gs[-1], step


def second_moment(gs):
    return fading([g**2 for g in gs], BETA2)


def adam(past, rate):
    t = len(past.gs)
    step = rate / (np.sqrt(second_moment(past.gs) / (1 - BETA2**t)) + 1e-8)
    return past.thetas[-1] - step * fading(past.gs, BETA1) / (1 - BETA1**t), step


def amsgrad(past, rate):
    t = len(past.gs)
    largest = np.max([second_moment(past.gs[:k]) for k in range(1, t + 1)], axis=0)
    step = rate / (np.sqrt(largest / (1 - BETA2**t)) + 1e-8)
    return past.thetas[-1] - step * fading(past.gs, BETA1) / (1 - BETA1**t), step


def nadam(past, rate):
    t = len(past.gs)
    mu = [BETA1 * (1 - 0.96 ** (0.004 * i) / 2) for i in range(1, t + 2)]
    mean = (1 - mu[-2]) / (1 - math.prod(mu[:-1])) * past.gs[-1] + mu[-1] / (1 - math.prod(mu)) * fading(past.gs, BETA1)
    step = rate / (np.sqrt(second_moment(past.gs) / (1 - BETA2**t)) + 1e-8)
    return past.thetas[-1] - step * mean, step


def adadelta(past, rate):
    deltas = []
    for k, g in enumerate(past.gs, start=1):
        squares = fading([seen**2 for seen in past.gs[:k]], 0.9)
        ratio = np.sqrt((fading([delta**2 for delta in deltas], 0.9) + 1e-6) / (squares + 1e-6))
        deltas.append(ratio * g)
    return past.thetas[-1] - rate * deltas[-1], rate * ratio


def adamw(past, rate):
    decayed = (1 - 0.01 * rate) * past.thetas[-1]
    decayed[:, -1] = past.thetas[-1][:, -1]
    return adam(Past([decayed], past.gs), rate)


SLOW_RULES = {
    "gd": gd,
    "averaged": gd,
    "momentum": momentum,
    "lookahead": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "amsgrad": amsgrad,
    "nadam": nadam,
    "adadelta": adadelta,
    "adamw": adamw,
}


def slow_theta(rule, past, rate, l1):
    """The iterate after the last gradient."""
    moved, step = SLOW_RULES[rule](past, rate)
    return shrink(moved, step * l1)


def rows_of(problem, plan, epoch):
    return [rows.tolist() for rows in batches(problem.n_rows, plan, epoch)]


def test_batches_by_hand():
    p = make_problem(np.zeros((7, 1)), np.zeros(7))
    assert rows_of(p, Plan("gd", 0.1, 1, 3, shuffle=False), 0) == [[0, 1, 2], [3, 4, 5], [6]]
    assert rows_of(p, Plan("gd", 0.1, 1, 3, shuffle=False, drop_last=True), 0) == [[0, 1, 2], [3, 4, 5]]
    assert rows_of(p, Plan("gd", 0.1, 1, 7, shuffle=False, drop_last=True), 0) == [[0, 1, 2, 3, 4, 5, 6]]
    assert rows_of(p, Plan("gd", 0.1, 1, 99, shuffle=False), 0) == [[0, 1, 2, 3, 4, 5, 6]]
    assert rows_of(p, Plan("gd", 0.1, 1, "full"), 0) == [[0, 1, 2, 3, 4, 5, 6]]
    shuffled = rows_of(p, Plan("gd", 0.1, 1, 3, seed=9), 4)
    assert [i for rows in shuffled for i in rows] == epoch_order(7, 9, 4).tolist()
    assert [len(rows) for rows in shuffled] == [3, 3, 1]


@pytest.mark.parametrize("size", [0, -1])
def test_bad_batches_are_refused(size):
    with pytest.raises(ValueError, match="batch_size"):
        batches(5, Plan("gd", 0.1, 1, size), 0)
    with pytest.raises(ValueError, match="batch_size"):
        batches(5, Plan("gd", 0.1, 1, 6, drop_last=True), 0)


def slow_batch(problem, theta, rows):
    """Loss and gradient of a batch, row by row from the loss's value and gradient, penalty by Python sums."""
    s_mean = problem.weight.sum() / problem.n_rows
    loss, total, g = LOSSES[problem.loss], 0.0, np.zeros(theta.shape)
    for i in rows:
        z = np.array([[w[:-1] @ problem.x[i] + w[-1] for w in theta]])
        total += problem.weight[i] * loss.value(z, problem.y[i : i + 1], problem.delta)[0]
        r = loss.gradient(z, problem.y[i : i + 1], problem.delta)[0]
        for k in range(len(theta)):
            g[k, :-1] += problem.weight[i] * r[k] * problem.x[i]
            g[k, -1] += problem.weight[i] * r[k] * problem.fit_intercept
    g /= len(rows) * s_mean
    g[:, :-1] += problem.l2 * theta[:, :-1]
    w = theta[:, :-1]
    return total / (len(rows) * s_mean) + (problem.l1 * abs(w) + problem.l2 * w**2 / 2).sum(), g


def check_run(problem, plan, start):
    """A run of 3 epochs against its recomputation."""
    result = run(problem, start, plan, trace=True)
    past, t, l1 = Past([start], []), 0, np.column_stack([problem.l1, np.zeros(len(start))])
    n, full = problem.n_rows, plan.batch_size == "full"
    size = n if full else plan.batch_size
    for epoch in range(3):
        order = np.arange(n) if full else epoch_order(n, plan.seed, epoch)
        parts = [order[i : i + size] for i in range(0, n, size)]
        parts = [rows for rows in parts if len(rows) == size or not plan.drop_last]
        seen = []
        for rows in parts:
            value, g = slow_batch(problem, slow_point(plan.rule, past.thetas), rows)
            seen += [value] * len(rows)
            past.gs.append(g)
            t += 1
            past.thetas.append(slow_theta(plan.rule, past, plan.rate(t), l1))
            np.testing.assert_allclose(result.steps[t - 1], past.thetas[-1], rtol=1e-9, atol=1e-11)
        assert result.losses[epoch] == pytest.approx(np.mean(seen), rel=1e-11)
    assert len(result.steps) == t
    np.testing.assert_array_equal(result.theta, result.steps[-1])
    np.testing.assert_allclose(result.reported, slow_reported(plan.rule, past.thetas), rtol=1e-9, atol=1e-11)


BATCHES = [{"batch_size": 8}, {"batch_size": 8, "drop_last": True}, {"batch_size": "full"}]


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
@pytest.mark.parametrize("options", BATCHES)
def test_losses_against_recomputation(loss, outputs, options):
    raw = random_problem(loss, outputs, n=35, alpha=0.2, l1_ratio=0.5)
    problem = working_problem(raw, fit_scaling(raw))
    check_run(problem, Plan("gd", lambda t: 0.1 / (1 + 0.1 * t), 3, seed=5, **options), random_theta(problem))


@pytest.mark.parametrize("rule", SLOW_RULES)
@pytest.mark.parametrize("options", BATCHES)
def test_rules_against_recomputation(rule, options):
    raw = random_problem("softmax", 3, n=35, alpha=0.2, l1_ratio=0.5, fit_intercept=rule != "momentum")
    problem = working_problem(raw, fit_scaling(raw))
    check_run(problem, Plan(rule, lambda t: 0.1 / (1 + 0.1 * t), 3, seed=5, **options), random_theta(problem))


def test_no_epoch_reports_the_start():
    problem = random_problem("squared")
    result = run(problem, random_theta(problem), Plan("averaged", 0.1, 0))
    np.testing.assert_array_equal(result.reported, random_theta(problem))


def test_full_batch_records_the_objective_at_the_start_of_each_epoch():
    problem = random_problem("logistic", alpha=0.1)
    result = run(problem, random_theta(problem), Plan("gd", 0.01, 4), trace=True)
    assert result.losses[0] == pytest.approx(objective(problem, random_theta(problem)), rel=1e-13)
    assert result.losses[3] == pytest.approx(objective(problem, result.steps[2]), rel=1e-13)


def test_losses_in_raw_units():
    raw = random_problem("squared", 3, alpha=0.1, l1_ratio=0.5)
    scaling = fit_scaling(raw)
    work = working_problem(raw, scaling)
    result = run(
        work,
        np.zeros(work.shape),
        Plan("gd", 0.1, 3),
        trace=True,
        batch_loss=lambda theta, rows: objective(raw, raw_theta(theta, scaling), rows),
    )
    assert result.losses[2] == pytest.approx(objective(raw, raw_theta(result.steps[1], scaling)), rel=1e-13)


def test_without_intercept_its_column_stays_zero():
    problem = random_problem("softmax", 3, fit_intercept=False)
    for rule in RULES:
        result = run(problem, np.zeros(problem.shape), Plan(rule, 0.01, 2, 16))
        assert not result.theta[:, -1].any()
        assert result.theta[:, :-1].all()


def test_start_of_another_shape_is_refused():
    problem = random_problem("softmax", 3)
    with pytest.raises(ValueError, match="theta must have shape"):
        run(problem, np.zeros((1, 5)), Plan("gd", 0.1, 1))


def lasso_1d():
    """(w - 2)^2 / 2 + |w| / 2 up to a constant: the optimum is 1.5."""
    return make_problem([[1.0]], [2.0], alpha=0.5, l1_ratio=1.0, fit_intercept=False)


@pytest.mark.parametrize(
    ("rule", "rate"), [("gd", 0.3), ("momentum", 0.1), ("lookahead", 0.1), ("nesterov", 0.1), ("adam", 0.02)]
)
def test_lasso_in_one_dimension_reaches_the_certified_optimum(rule, rate):
    problem = lasso_1d()
    plan = Plan(rule, lambda t: rate / (1 + 0.001 * t), 3000)
    theta = run(problem, np.zeros((1, 2)), plan).theta
    assert theta[0, 0] == pytest.approx(1.5, abs=1e-6)
    assert certificate(problem, theta) < 1e-6
    assert duality_gap(problem, theta).bound < 1e-10


def test_momentum_before_the_prox_would_miss_the_optimum():
    """The classical V, kept before the prox, settles at 1.95: why the rule keeps the difference after it."""
    problem, theta, v = lasso_1d(), np.zeros((1, 2)), np.zeros((1, 2))
    for _ in range(3000):
        v = 0.9 * v - 0.1 * smooth_gradient(problem, theta)
        theta = np.sign(theta + v) * np.maximum(np.abs(theta + v) - 0.1 * 0.5 * np.array([[1.0, 0.0]]), 0.0)
    assert theta[0, 0] == pytest.approx(1.95, abs=1e-6)
    assert certificate(problem, theta) > 0.1
