"""Safeguarded steps: acceptance, rejection, and updates of the metric."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastgd.objective.problem import Evaluation
from fastgd.solvers.metric import Factor, SmoothMetric
from fastgd.solvers.newton import Descent, first_order_change
from fastgd.solvers.progress import MOST_FAILURES
from tests.estimators.fits import problem_for
from tests.objective_of import objective_of, working
from tests.reference.problems import random_theta


class Watched(SmoothMetric):
    """A metric that records its updates."""

    def __init__(self, B, memory=5):
        super().__init__([Factor(B, sampled=False)], len(B), memory)
        self.taught = []

    def learn(self, step, change):
        self.taught.append((step, change))
        super().learn(step, change)


def descent_on(f, gradient, start, metric, dtype="f8", remembers=True):
    """Return a descent on a function of a vector."""
    count = []

    def evaluate(theta):
        count.append(theta)
        g = np.atleast_2d(gradient(theta[0]))
        value = float(f(theta[0]))
        return Evaluation(theta, np.array([value]), np.zeros(1), g, g, value)

    objective = SimpleNamespace(data=SimpleNamespace(dtype=dtype), has_l1=False, l1=np.zeros((1, len(start))))
    descent = Descent(objective, evaluate, evaluate(np.array([start])), metric, remembers)
    count.clear()
    return descent, count


def test_step_in_the_exact_metric_is_accepted_unscaled():
    B = np.diag([1.0, 100.0])
    descent, count = descent_on(lambda x: x @ B @ x / 2, lambda x: B @ x, [3.0, -2.0], Watched(B))
    trial = descent.advance()
    assert descent.at is trial
    assert len(count) == 1
    np.testing.assert_allclose(trial.theta, 0.0, atol=1e-12)
    # Twice what is gained: 3^2 + 100 2^2.
    assert descent.predicted_decrease == pytest.approx(409.0)
    assert descent.failures == 0


def test_rejected_step_updates_the_metric():
    """The metric has a tenth of the curvature: its step is ten times too long."""
    metric = Watched(np.eye(1) * 0.1)
    descent, _ = descent_on(lambda x: 0.5 * x @ x, lambda x: x, [1.0], metric)
    before = descent.at
    trial = descent.advance()
    np.testing.assert_allclose(trial.theta, -9.0)
    assert descent.at is before
    assert descent.failures == 1
    ((step, change),) = metric.taught
    np.testing.assert_allclose(step, -10.0)
    np.testing.assert_allclose(change, -10.0)
    # It knows the curvature now; the next step is half of the one in the new metric.
    descent.advance()
    np.testing.assert_allclose(descent.at.theta, 0.5)
    assert descent.failures == 0
    descent.advance()
    np.testing.assert_allclose(descent.at.theta, 0.0, atol=1e-12)


def test_shortened_step_is_bounded_by_the_tangent_where_the_function_is_linear():
    """The minimum of log cosh is at 0; a step of 500 ends where it is linear, and half of the tangent's bound helps."""
    start, metric = 1.0, Watched(np.eye(1) * np.tanh(1.0) / 500.0)
    descent, _ = descent_on(
        lambda x: np.logaddexp(x, -x).sum() - np.log(2.0), lambda x: np.tanh(x), [start], metric, remembers=False
    )
    descent.advance()
    assert descent.failures == 1
    # The tangent at the end, |x| - log 2, reaches the start's level at x = -log cosh(1) - log 2.
    level = (start + np.log(np.cosh(1.0)) + np.log(2.0)) / 500.0
    assert descent.cut == pytest.approx(max(0.5 * level, 1e-3), rel=1e-9)
    descent.shorten()
    descent.advance()
    assert descent.failures == 0
    # The length grows tenfold only where F fell almost linearly.
    assert descent.achieved < 0.9
    before = descent.length
    descent.use_metric(metric)
    assert descent.length == 2.0 * before


def test_length_grows_tenfold_after_an_almost_linear_decrease():
    metric = Watched(np.eye(1))
    descent, _ = descent_on(lambda x: 0.5 * x @ x, lambda x: x, [1.0], metric, remembers=False)
    descent.length = 1e-3
    descent.advance()
    assert descent.achieved == pytest.approx(1.0, abs=1e-3)
    descent.use_metric(metric)
    assert descent.length == pytest.approx(1e-2)


def test_non_finite_steps_are_halved():
    """The function is infinite outside an interval; the metric is not updated there."""

    def f(x):
        return 0.5 * x[0] ** 2 if abs(x[0]) < 1.4 else np.inf

    descent, count = descent_on(f, lambda x: x if np.isfinite(f(x)) else x * np.nan, [1.0], Watched(np.eye(1) * 0.1))
    while descent.failures or len(count) < 1:
        descent.advance()
        assert len(count) < MOST_FAILURES
    assert abs(descent.at.theta[0, 0]) < 1.0
    np.testing.assert_allclose(np.ravel(count), [-9.0, -4.0, -1.5, -0.25])


def test_slopes_decide_if_rounding_hides_the_decrease():
    """Values of 1e9 + x^2 / 2 at x = 1e-4 and 0 are equal in float64."""
    descent, _ = descent_on(lambda x: 1e9 + 0.5 * x @ x, lambda x: x, [1e-4], Watched(np.eye(1)))
    descent.advance()
    np.testing.assert_allclose(descent.at.theta, 0.0, atol=1e-16)
    overshooting, _ = descent_on(lambda x: 1e9 + 0.5 * x @ x, lambda x: x, [1e-4], Watched(np.eye(1) * 0.1, 0))
    before = overshooting.at
    overshooting.advance()
    assert overshooting.at is before


def test_descent_stalls_at_rounding_or_after_many_failures():
    descent, _ = descent_on(lambda x: 1.0 + 0.5 * x @ x, lambda x: x, [1e-3], Watched(np.eye(1)))
    descent.advance()
    assert not descent.is_stalled
    descent.advance()
    assert descent.is_stalled
    # A function whose gradient is a lie: nothing ever lowers it.
    lying, _ = descent_on(lambda x: 1.0 + abs(x[0]), lambda x: x * 0 - 1.0, [0.0], Watched(np.eye(1), 0))
    for _ in range(MOST_FAILURES):
        assert not lying.is_stalled
        lying.advance()
    assert lying.is_stalled
    lying.use_metric(Watched(np.eye(1)))
    assert lying.failures == 0


def test_first_order_change_includes_the_exact_l1_term():
    problem = problem_for("huber", 2, alpha=0.3, l1_ratio=0.5)
    objective, (its, _) = objective_of(problem), working(problem)
    theta, step = random_theta(its), random_theta(its, seed=2)
    theta[0, 1] = 0.0
    at = objective.evaluate(theta)
    small = 1e-7
    difference = (objective.evaluate(theta + small * step).total - at.total) / small
    assert first_order_change(objective, at, small * step) / small == pytest.approx(difference, rel=1e-5)
    whole = np.vdot(at.slope, step) + np.sum(objective.l1 * (np.abs(theta + step) - np.abs(theta)))
    assert first_order_change(objective, at, step) == pytest.approx(whole, rel=1e-12)
