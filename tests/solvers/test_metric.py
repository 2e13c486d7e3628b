"""Metrics: factors of singular matrices, pairs against dense BFGS, prox steps against every sign pattern."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from fastgd.exceptions import DivergenceError
from fastgd.losses import find_loss
from fastgd.objective.problem import Evaluation
from fastgd.penalties import subgradient_distance
from fastgd.reference import hessian
from fastgd.solvers import metric as metrics
from fastgd.solvers.metric import Factor, ProxMetric, SmoothMetric, make_metric
from tests.estimators.fits import problem_for
from tests.objective_of import objective_of, working
from tests.reference.problems import KINDS, random_theta


def definite(D=5, seed=0, condition=1e4):
    """Return a random matrix of this condition, in different units."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((D, D)))[0]
    B = (Q * np.geomspace(1.0, condition, D)) @ Q.T
    units = 10.0 ** rng.uniform(-4, 4, D)
    return B * units * units[:, None]


def at_point(theta, slope):
    """Return an evaluation with the two fields that metrics read."""
    zeros = np.zeros(len(theta))
    return Evaluation(theta, zeros, zeros, slope, slope, 0.0)


@pytest.mark.parametrize("sampled", [True, False])
def test_a_factor_solves(sampled):
    B, g = definite(), np.random.default_rng(1).standard_normal((3, 5))
    expected = np.linalg.solve(B, g.T).T
    found = Factor(B, sampled).solve(g)
    scale = np.sqrt(np.diag(B))
    np.testing.assert_allclose(found * scale, expected * scale, rtol=1e-9, atol=1e-9 * np.abs(expected * scale).max())


@pytest.mark.parametrize("sampled", [True, False])
def test_rows_of_zeros_are_left_alone(sampled):
    """As of constant columns and of an intercept that is not fitted."""
    B, g = np.zeros((5, 5)), np.random.default_rng(1).standard_normal((2, 5))
    live = [0, 2, 3]
    B[np.ix_(live, live)] = definite(3)
    found = Factor(B, sampled).solve(g)
    assert np.all(found[:, [1, 4]] == 0.0)
    np.testing.assert_allclose(found[:, live], np.linalg.solve(B[np.ix_(live, live)], g[:, live].T).T, rtol=1e-8)


def singular(D=6, rank=4):
    """Return a matrix of unit diagonal with a null space, and that space (D, D - rank)."""
    rows = np.random.default_rng(2).standard_normal((rank, D))
    rows /= np.linalg.norm(rows, axis=0)
    return rows.T @ rows, np.linalg.svd(rows)[2][rank:].T


def test_flat_directions_are_left_alone():
    """The step has least norm, without a part in the null space for any gradient."""
    B, null = singular()
    g = np.random.default_rng(3).standard_normal((2, 6))
    found = Factor(B, sampled=False).solve(g)
    np.testing.assert_allclose(found, g @ np.linalg.pinv(B), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found @ null, 0.0, atol=1e-10)


def test_flat_directions_of_a_sample_are_followed():
    """Other rows may have curvature there: the curvature is 1e-6 of the largest."""
    B, null = singular()
    g = np.random.default_rng(3).standard_normal((1, 6))
    found = Factor(B, sampled=True).solve(g)
    largest = np.linalg.eigvalsh(B)[-1]
    np.testing.assert_allclose(found @ null, (g @ null) / (1e-6 * largest), rtol=1e-6)
    across = np.eye(6) - null @ null.T
    np.testing.assert_allclose(found @ across, g @ np.linalg.pinv(B), atol=1e-6 * np.abs(found).max())


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_a_metric_has_the_penaltys_curvature_too(loss, outputs):
    """Per block of the reference's Hessian with L2; a shared block serves each output."""
    problem = problem_for(loss, outputs, alpha=0.3)
    objective, (its, _) = objective_of(problem), working(problem)
    theta = random_theta(its)
    at, curvature = objective.second_order(theta)
    step = make_metric(objective, curvature, 5, sampled=False).step(at)
    for k in range(outputs):
        block = curvature[k if len(curvature) > 1 else 0]
        ridge = np.append(its.l2[k], 0.0)
        np.testing.assert_allclose((block + np.diag(ridge)) @ step[k], -at.slope[k], rtol=1e-9, atol=1e-12)


def test_with_couplings_softmax_has_newtons_step_where_all_rows_have_the_same_shares():
    """There the curvature is the product of two factors: the step of least norm by the reference's full Hessian.

    The shares of classes differ by a factor of a hundred.
    """
    problem = problem_for("softmax", 4)
    objective, (its, _) = objective_of(problem), working(problem)
    theta = np.zeros(its.shape)
    theta[:, -1] = [0.0, 1.0, -1.0, -4.0]
    at, curvature = objective.second_order(theta)
    step = make_metric(objective, curvature, 5, sampled=False, couplings=objective.couplings(theta)).step(at)
    newton = np.linalg.lstsq(hessian(its, theta), -at.slope.ravel(), rcond=1e-12)[0].reshape(theta.shape)
    np.testing.assert_allclose(step, newton, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_a_joint_metric_has_newtons_step(alpha):
    """By the reference's full Hessian, without equal changes of all classes."""
    problem = problem_for("softmax", 4, alpha=alpha)
    objective, (its, _) = objective_of(problem), working(problem)
    theta = random_theta(its)
    theta -= theta.mean(axis=0)
    at, curvature = objective.joint_quadratic(theta)
    step = make_metric(objective, curvature(), 0, sampled=False).step(at)
    newton = np.linalg.lstsq(hessian(its, theta), -at.slope.ravel(), rcond=1e-12)[0].reshape(theta.shape)
    np.testing.assert_allclose(step, newton, rtol=1e-8, atol=1e-10)


def test_joint_prox_step_includes_coupling_of_classes(monkeypatch):
    """The step minimises the joint model: the violation at its end is almost 0."""
    monkeypatch.setattr(metrics, "_PROX_ACCURACY", 1e-12)
    objective = objective_of(problem_for("softmax", 3, alpha=0.05, l1_ratio=0.5))
    theta = random_theta(problem_for("softmax", 3))
    at, curvature = objective.joint_quadratic(theta)
    (B,) = curvature()
    step = make_metric(objective, curvature(), 0, sampled=False).step(at)
    slope = at.slope + (B @ step.ravel()).reshape(theta.shape) + objective.l2 * step
    # What the intercepts have in common, of which the loss knows nothing, has a curvature all the same.
    left = subgradient_distance(theta + step, slope, objective.l1)
    assert left.max() <= 1e-8


def test_metric_inherits_pairs():
    rng = np.random.default_rng(0)
    old, new = (SmoothMetric([Factor(definite(), sampled=False)], 5, 3) for _ in range(2))
    for _ in range(5):
        step = rng.standard_normal((1, 5))
        old.learn(step, step @ definite(seed=4))
    at = at_point(np.zeros((1, 5)), rng.standard_normal((1, 5)))
    assert not np.allclose(new.step(at), old.step(at))
    new.inherit(old)
    assert np.array_equal(new.step(at), old.step(at))


def bfgs(H, pairs):
    """Return the inverse of a curvature after BFGS updates (Broyden, Fletcher, Goldfarb and Shanno, 1970)."""
    eye = np.eye(len(H))
    for s, y in pairs:
        rho = 1.0 / (s @ y)
        H = (eye - rho * np.outer(s, y)) @ H @ (eye - rho * np.outer(y, s)) + rho * np.outer(s, s)
    return H


@pytest.mark.parametrize("memory", [0, 1, 3, 10])
@pytest.mark.parametrize("outputs", [1, 2])
def test_pairs_equal_dense_bfgs(outputs, memory):
    rng = np.random.default_rng(4)
    blocks = np.array([definite(4, k, 10.0) for k in range(outputs)])
    truth = definite(4 * outputs, 7, 100.0)
    metric = SmoothMetric([Factor(B, sampled=False) for B in blocks], blocks.shape[1], memory)
    pairs = []
    for _ in range(5):
        step = rng.standard_normal((outputs, 4))
        pairs.append((step.ravel(), truth @ step.ravel()))
        metric.learn(step, pairs[-1][1].reshape(step.shape))
    # Pairs of which nothing can be seen, or that curve downwards, are not taken.
    metric.learn(np.ones((outputs, 4)), np.zeros((outputs, 4)))
    metric.learn(np.ones((outputs, 4)), -np.ones((outputs, 4)))
    H = np.zeros(2 * (4 * outputs,))
    for k in range(outputs):
        H[4 * k : 4 * k + 4, 4 * k : 4 * k + 4] = np.linalg.inv(blocks[k])
    H = bfgs(H, pairs[len(pairs) - memory if memory < 5 else 0 :] if memory else [])
    g = rng.standard_normal((outputs, 4))
    kept = g.copy()
    step = metric.step(at_point(np.zeros_like(g), g))
    expected = -(H @ g.ravel()).reshape(g.shape)
    np.testing.assert_allclose(step, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert np.array_equal(g, kept)


def objective_with(l1, loss="logistic"):
    """Return the part of an objective that a prox metric uses."""
    return SimpleNamespace(l1=l1, l2=np.zeros_like(l1), has_l1=True, problem=SimpleNamespace(loss=find_loss(loss)))


def best_of_all_signs(B, c, l1):
    """Return the minimiser of t'Bt / 2 + c't + l1 |t|, by enumeration of signs and zeros."""
    best, least = None, np.inf
    for signs in itertools.product((-1.0, 0.0, 1.0), repeat=len(c)):
        sign = np.array(signs)
        live = (sign != 0.0) | (l1 == 0.0)
        t = np.zeros(len(c))
        t[live] = np.linalg.solve(B[np.ix_(live, live)], -(c + l1 * sign)[live]) if live.any() else 0.0
        value = t @ B @ t / 2 + c @ t + l1 @ np.abs(t)
        if value < least:
            best, least = t, value
    return best


@pytest.mark.parametrize("seed", range(5))
def test_a_prox_step_is_the_best_of_all_sign_patterns(monkeypatch, seed):
    monkeypatch.setattr(metrics, "_PROX_ACCURACY", 1e-12)
    rng = np.random.default_rng(seed)
    theta, slope = rng.standard_normal((2, 4)), rng.standard_normal((2, 4))
    theta[0, 1] = theta[1, 2] = 0.0
    l1 = np.column_stack([rng.uniform(0.2, 1.5, (2, 3)), np.zeros(2)])
    blocks = np.array([np.cov(rng.standard_normal((4, 30))) for _ in range(2)])
    step = ProxMetric(blocks, objective_with(l1), 3).step(at_point(theta, slope))
    for k in range(2):
        exact = best_of_all_signs(blocks[k], slope[k] - blocks[k] @ theta[k], l1[k])
        np.testing.assert_allclose(theta[k] + step[k], exact, rtol=1e-9, atol=1e-10)
        assert np.array_equal(theta[k] + step[k] == 0.0, exact == 0.0)


def test_a_prox_step_leaves_a_thousandth_of_the_violation():
    rng = np.random.default_rng(0)
    theta, slope, l1 = rng.standard_normal((1, 6)), rng.standard_normal((1, 6)), np.full((1, 6), 0.3)
    B = np.cov(rng.standard_normal((6, 40)))
    step = ProxMetric(B[None], objective_with(l1), 3).step(at_point(theta, slope))
    end = subgradient_distance(theta + step, slope + step @ B, l1)
    assert end.max() <= 1e-3 * subgradient_distance(theta, slope, l1).max()


def test_subgradient_distance():
    theta = np.array([1.0, -1.0, 0.0, 0.0, 0.0])
    g = np.array([-0.5, 0.7, 0.3, -0.9, 2.0])
    l1 = np.array([0.5, 0.5, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(subgradient_distance(theta, g, l1), [0.0, 0.2, 0.0, 0.4, 2.0])


@pytest.mark.parametrize("memory", [0, 3])
def test_a_prox_metric_learns_as_dense_bfgs_does(monkeypatch, memory):
    """Per output, by its steps with almost no penalty."""
    monkeypatch.setattr(metrics, "_PROX_ACCURACY", 1e-13)
    rng = np.random.default_rng(5)
    blocks = np.array([np.cov(rng.standard_normal((4, 30))) for _ in range(2)])
    truth = np.array([np.cov(rng.standard_normal((4, 30))) for _ in range(2)])
    metric = ProxMetric(blocks, objective_with(np.full((2, 4), 1e-14)), memory)
    pairs = []
    for _ in range(4):
        step = rng.standard_normal((2, 4))
        change = np.einsum("kij,kj->ki", truth, step)
        pairs.append((step, change))
        metric.learn(step, change)
    metric.learn(np.ones((2, 4)), -np.ones((2, 4)))
    slope = rng.standard_normal((2, 4))
    step = metric.step(at_point(np.zeros((2, 4)), slope))
    for k in range(2):
        reported = [(s[k], y[k]) for s, y in pairs] if memory else []
        np.testing.assert_allclose(step[k], -bfgs(np.linalg.inv(blocks[k]), reported) @ slope[k], rtol=1e-6, atol=1e-8)


def test_of_coupled_outputs_only_the_size_of_the_curvature_is_learned(monkeypatch):
    monkeypatch.setattr(metrics, "_PROX_ACCURACY", 1e-13)
    B, slope = np.cov(np.random.default_rng(6).standard_normal((4, 30))), np.ones((3, 4))
    here = at_point(np.zeros((3, 4)), slope)
    for seen, factor in ((3.0, 3.0), (100.0, 10.0), (0.9, 0.9), (0.01, 0.8)):
        metric = ProxMetric(B[None], objective_with(np.full((3, 4), 1e-14), "softmax"), 3)
        before = metric.step(here)
        metric.learn(before, seen * before @ B)
        np.testing.assert_allclose(metric.step(here), before / factor, rtol=1e-6)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_curvature_that_is_no_number_is_raised(bad, l1_ratio):
    objective = objective_of(problem_for("logistic", alpha=0.1, l1_ratio=l1_ratio))
    curvature = np.eye(objective.data.d + 1)[None].copy()
    curvature[0, 1, 2] = curvature[0, 2, 1] = bad
    with pytest.raises(DivergenceError, match="overflow"):
        make_metric(objective, curvature, 3, sampled=True)
