"""The objective against sums by hand, scipy and finite differences; the penalty against brute force."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from fastgd.reference import (
    best_constant,
    constant_gradient_rms,
    elastic_net,
    hessian,
    make_problem,
    margins,
    mean_loss,
    objective,
    prox,
    smooth_gradient,
    solve_intercept,
    subgradient_distance,
)
from tests.reference.problems import KINDS, gradient, random_problem, random_theta


def by_hand(x, y, s, loss, theta, delta):
    """The mean loss with Python's own arithmetic."""
    total = 0.0
    for i in range(len(x)):
        z = [sum(w * v for w, v in zip(row[:-1], x[i], strict=True)) + row[-1] for row in theta]
        if loss == "softmax":
            value = math.log(sum(math.exp(v) for v in z)) - z[y[i]]
        elif loss == "logistic":
            value = math.log(1 + math.exp(-y[i][0] * z[0]))
        else:
            value = 0.0
            for a, b in zip(z, y[i], strict=True):
                r = abs(a - b)
                value += r * r / 2 if loss == "squared" or r <= delta else delta * r - delta**2 / 2
        total += s[i] * value
    return total / sum(s)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_objective_by_hand(loss, outputs):
    p = random_problem(loss, outputs, alpha=0.3, l1_ratio=0.25)
    theta = random_theta(p)
    w = theta[:, :-1]
    expected = by_hand(p.x.tolist(), p.y.tolist(), p.weight.tolist(), loss, theta.tolist(), 0.8)
    expected += 0.3 * (0.25 * np.abs(w).sum() + 0.75 / 2 * (w**2).sum())
    assert objective(p, theta) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_gradient_and_hessian_against_finite_differences(loss, outputs, fit_intercept):
    p = random_problem(loss, outputs, n=25, alpha=0.3, fit_intercept=fit_intercept)
    theta = random_theta(p)
    if loss == "huber":
        # No residual may cross Huber's kink within a difference step.
        near = np.abs(np.abs(margins(p.x, theta) - p.y) - p.delta) < 0.02
        p = replace(p, y=p.y + 0.05 * near)
    g = gradient(lambda t: objective(p, t), theta, 1e-4)
    h = gradient(lambda t: smooth_gradient(p, t).ravel(), theta, 1e-5).reshape(theta.size, theta.size)
    if not fit_intercept:
        assert not smooth_gradient(p, theta)[:, -1].any()
        g[:, -1] = 0.0
        h.reshape(*theta.shape, theta.size)[:, -1] = 0.0
    np.testing.assert_allclose(smooth_gradient(p, theta), g, rtol=1e-7, atol=1e-8)
    if loss == "huber":
        h += curvature_beyond_delta(p, theta)
    np.testing.assert_allclose(hessian(p, theta), h, rtol=1e-6, atol=1e-7)


def curvature_beyond_delta(p, theta):
    """Newton's model of the Huber loss minus its second derivative, by the rows beyond delta, where that is 0."""
    blocks = np.zeros((*theta.shape, *theta.shape))
    residuals = margins(p.x, theta) - p.y
    assert 0 < (np.abs(residuals) > p.delta).sum() < residuals.size
    for row, weight, r in zip(p.x, p.weight / p.weight.sum(), residuals, strict=True):
        row = np.append(row, float(p.fit_intercept))
        for k in np.flatnonzero(np.abs(r) > p.delta):
            blocks[k, :, k] += weight * 0.05 * p.delta / abs(r[k]) * np.outer(row, row)
    return blocks.reshape(theta.size, theta.size)


def test_batches_sum_to_the_whole():
    """Batch means weighted by their rows average to the mean over all, whatever the weights."""
    p = random_problem("logistic", alpha=0.2)
    theta = random_theta(p)
    parts = [np.arange(0, 13), np.arange(13, 40), np.arange(40, 60)]
    g = sum(len(rows) * smooth_gradient(p, theta, rows) for rows in parts) / 60
    np.testing.assert_allclose(g, smooth_gradient(p, theta), rtol=1e-12, atol=1e-14)
    f = sum(len(rows) * objective(p, theta, rows) for rows in parts) / 60
    assert f == pytest.approx(objective(p, theta), rel=1e-13)


def test_one_row_batch_divides_by_the_mean_weight():
    p = make_problem([[2.0], [1.0]], [1.0, 0.0], sample_weight=[3.0, 1.0], fit_intercept=False)
    g = smooth_gradient(p, np.array([[1.0, 0.0]]), np.array([0]))
    np.testing.assert_allclose(g, [[3.0 / 2.0 * (2.0 - 1.0) * 2.0, 0.0]])


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_weights_count_rows(loss, outputs):
    """Integer weights do what repeated rows do, and a common factor does nothing."""
    p = random_problem(loss, outputs, sample_weight=None, alpha=0.1)
    counts = np.random.default_rng(4).integers(0, 4, p.n_rows)
    rows = np.repeat(np.arange(p.n_rows), counts)
    repeated = make_problem(p.x[rows], p.y[rows], loss, alpha=0.1, delta=0.8)
    theta = random_theta(p)
    for factor in (1.0, 1e-3):
        weighted = make_problem(p.x, p.y, loss, alpha=0.1, delta=0.8, sample_weight=factor * counts)
        assert objective(weighted, theta) == pytest.approx(objective(repeated, theta), rel=1e-12)
        assert constant_gradient_rms(weighted) == pytest.approx(constant_gradient_rms(repeated), rel=1e-9)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_solved_intercept_is_scipys(loss, outputs):
    p = random_problem(loss, outputs, alpha=0.1)
    theta = random_theta(p)

    def value(b):
        return mean_loss(p, np.column_stack([theta[:, :-1], b]))

    def slope(b):
        return smooth_gradient(p, np.column_stack([theta[:, :-1], b]))[:, -1]

    found = minimize(value, np.zeros(outputs), jac=slope, method="BFGS", options={"gtol": 1e-9})
    solved = solve_intercept(p, theta)
    np.testing.assert_array_equal(solved[:, :-1], theta[:, :-1])
    np.testing.assert_allclose(smooth_gradient(p, solved)[:, -1], 0.0, atol=1e-12)
    expected = found.x - found.x.mean() if loss == "softmax" else found.x
    np.testing.assert_allclose(solved[:, -1], expected, atol=1e-7)


@pytest.mark.parametrize("size", [1.0, 100.0])
def test_softmax_intercept_of_saturated_margins(size):
    """Margins of hundreds: Newton's curvature is all but 0 at the start."""
    p = random_problem("softmax", 3)
    theta = size * random_theta(p)
    solved = solve_intercept(p, theta)
    np.testing.assert_allclose(smooth_gradient(p, solved)[:, -1], 0.0, atol=1e-10)
    assert solved[:, -1].sum() == pytest.approx(0.0, abs=1e-12 * size)


def test_best_constants_by_hand():
    s = np.array([1.0, 2.0, 3.0, 2.0])
    x = np.zeros((4, 1))
    squared = best_constant(make_problem(x, [1.0, 2.0, 3.0, 10.0], sample_weight=s))
    assert squared[0, 1] == pytest.approx(34 / 8, rel=1e-15)
    logistic = make_problem(x, [1.0, 1.0, -1.0, 1.0], "logistic", sample_weight=s)
    assert best_constant(logistic)[0, 1] == pytest.approx(math.log(5 / 3), rel=1e-14)
    assert constant_gradient_rms(logistic) == pytest.approx(math.sqrt(15 / 64), rel=1e-14)
    softmax = make_problem(x, [0, 1, 1, 2], "softmax", sample_weight=s)
    b, logs = best_constant(softmax)[:, 1], np.log([1 / 8, 5 / 8, 2 / 8])
    np.testing.assert_allclose(b, logs - logs.mean(), rtol=1e-13)


def test_huber_constant_by_hand():
    # Slopes at b = 1.5, clipped to [-1, 1]: 1 + 0.5 - 0.5 - 1 = 0.
    p = make_problem(np.zeros((4, 1)), [0.0, 1.0, 2.0, 50.0], "huber", delta=1.0)
    assert best_constant(p)[0, 1] == pytest.approx(1.5, rel=1e-14)
    assert constant_gradient_rms(p) == pytest.approx(math.sqrt(2.5 / 4), rel=1e-14)


def test_constant_model_without_intercept_is_zero():
    p = make_problem(np.ones((3, 2)), [1.0, 2.0, 2.0], fit_intercept=False)
    np.testing.assert_array_equal(best_constant(p), 0.0)
    assert constant_gradient_rms(p) == pytest.approx(math.sqrt(3.0), rel=1e-15)


@pytest.mark.parametrize(("y", "loss"), [([1.0, 1.0, -1.0], "logistic"), ([0, 0, 1], "softmax")])
def test_no_best_constant_for_an_empty_class(y, loss):
    p = make_problem(np.ones((3, 1)), y, loss, sample_weight=[1.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="1 of 2 classes"):
        best_constant(p)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"loss": "hinge"}, "loss must be one of"),
        ({"alpha": -1.0}, "alpha >= 0"),
        ({"l1_ratio": 1.5}, "l1_ratio"),
        ({"delta": 0.0}, "delta > 0"),
        ({"x": [[np.nan], [1.0]]}, "x must be a finite"),
        ({"x": [1.0, 2.0]}, "x must be a finite"),
        ({"y": [1.0, 2.0, 3.0]}, "y must hold one finite row"),
        ({"y": [0.0, 1.0], "loss": "logistic"}, r"-1 or \+1"),
        ({"y": [0.0, 0.5], "loss": "softmax"}, "class numbers"),
        ({"sample_weight": [1.0, -1.0]}, "sample_weight"),
        ({"sample_weight": [0.0, 0.0]}, "sample_weight"),
    ],
)
def test_bad_input_is_refused(change, match):
    arguments = {"x": [[1.0], [2.0]], "y": [1.0, 2.0], **change}
    with pytest.raises(ValueError, match=match):
        make_problem(**arguments)


def test_penalty_by_hand():
    w = np.array([[2.0, -3.0, 0.0]])
    l1, l2 = np.array([[1.0, 0.5, 7.0]]), np.array([[0.1, 1.0, 7.0]])
    assert elastic_net(w, l1, l2) == pytest.approx(2.0 + 1.5 + 0.2 + 4.5, rel=1e-15)


def test_prox_minimises_by_brute_force():
    rng = np.random.default_rng(0)
    v, step, l1 = 2 * rng.standard_normal(40), rng.uniform(0.1, 2, 40), rng.uniform(0, 1.5, 40)
    l1[:4] = 0.0
    grid = np.linspace(-8, 8, 160_001)
    for k, x in enumerate(prox(v, step, l1)):
        cost = (grid - v[k]) ** 2 / 2 + step[k] * l1[k] * np.abs(grid)
        assert x == pytest.approx(grid[cost.argmin()], abs=1e-4)
        assert (x - v[k]) ** 2 / 2 + step[k] * l1[k] * abs(x) <= cost.min() + 1e-15


def test_prox_is_exactly_zero_inside_and_exactly_v_without_l1():
    np.testing.assert_array_equal(prox(np.array([0.3, -0.3, 0.5]), 0.5, 1.0), 0.0)
    v = np.array([0.1, -7.3])
    np.testing.assert_array_equal(prox(v, 3.0, 0.0), v)


def test_subgradient_distance_by_brute_force():
    """The subdifferential of l1 |w| at 0 is [-l1, l1]; elsewhere the slope."""
    rng = np.random.default_rng(1)
    g, l1 = 2 * rng.standard_normal(30), rng.uniform(0, 2, 30)
    at_zero = np.abs(g[:, None] + l1[:, None] * np.linspace(-1, 1, 20_001)).min(axis=1)
    np.testing.assert_allclose(subgradient_distance(np.zeros(30), g, l1), at_zero, atol=2e-4)
    w = rng.standard_normal(30)
    slope = (l1 * np.abs(w + 1e-6) - l1 * np.abs(w - 1e-6)) / 2e-6
    np.testing.assert_allclose(subgradient_distance(w, g, l1), np.abs(g + slope), rtol=1e-6, atol=1e-8)


def test_prox_point_is_certified():
    """x = prox(v) solves its own problem, so 0 is in (x - v) + step l1 d|x|."""
    rng = np.random.default_rng(2)
    v, step, l1 = rng.standard_normal(50), rng.uniform(0.1, 2, 50), rng.uniform(0, 1, 50)
    x = prox(v, step, l1)
    np.testing.assert_allclose(subgradient_distance(x, x - v, step * l1), 0.0, atol=1e-15)


PROGRAM = """
import sys
import fastgd.reference
loaded = {name.split(".")[0] for name in sys.modules} & {"numba", "scipy", "sklearn", "torch"}
ours = {name for name in sys.modules if name.startswith("fastgd.") and not name.startswith("fastgd.reference")}
ours -= {"fastgd._version"}
sys.exit(f"{loaded} {ours}" if loaded or ours else 0)
"""


def test_the_reference_imports_numpy_only(python):
    python("-c", PROGRAM)
