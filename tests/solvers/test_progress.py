"""Progress of a solver: steps that overflow are rejected, and fits without a finite step raise."""

import numpy as np
import pytest

from fastgd.exceptions import DivergenceError
from fastgd.history import History
from fastgd.solvers.newton import solve_newton
from fastgd.solvers.progress import MOST_FAILURES, Monitor, Plateau, Progress
from fastgd.solvers.sketched_newton import solve_sketched
from tests.estimators.fits import problem_for
from tests.objective_of import objective_of


def monitor_for(objective, max_iter=100):
    return Monitor(History(max_iter), Plateau(0.0, 10), objective.to_user)


def overflowing(objective, monkeypatch, numbers):
    """Return an objective whose losses and gradients overflow at these calls, counted from 0."""
    quadratic, evaluate, calls = objective.quadratic, objective.evaluate, []

    def spoilt(at):
        calls.append(len(calls))
        return at._replace(total=np.inf, losses=at.losses + np.inf, slope=at.slope * np.nan) if bad() else at

    def bad():
        return calls[-1] in numbers

    def quadratic_or_not(theta):
        at, curvature = quadratic(theta)
        return spoilt(at), curvature

    monkeypatch.setattr(objective, "quadratic", quadratic_or_not)
    monkeypatch.setattr(objective, "evaluate", lambda theta: spoilt(evaluate(theta)))
    return objective


@pytest.mark.parametrize(("loss", "solve"), [("logistic", solve_newton), ("softmax", solve_sketched)])
@pytest.mark.parametrize("numbers", [[1], [1, 2, 3], [2, 4]])
def test_steps_that_overflow_are_taken_back(monkeypatch, loss, solve, numbers):
    plain = objective_of(problem_for(loss, 3 if loss == "softmax" else 1, alpha=1e-3))
    objective = overflowing(objective_of(problem_for(loss, plain.outputs, alpha=1e-3)), monkeypatch, numbers)
    monitor = monitor_for(objective)
    found = solve(objective, objective.start(), 1e-8, monitor)
    expected = solve(plain, plain.start(), 1e-8, monitor_for(plain))
    assert found.reason == "certificate"
    np.testing.assert_allclose(plain.canonical(found.theta), plain.canonical(expected.theta), atol=1e-6)
    # Passes are counted, and reported as the position of the fit.
    history = monitor.history.arrays()
    assert np.all(np.isfinite(history["loss"]))
    assert np.all(np.isfinite(history["certificate"]))


def test_a_start_that_overflows_is_raised(monkeypatch):
    objective = overflowing(objective_of(problem_for("logistic")), monkeypatch, [0])
    with pytest.raises(DivergenceError, match="overflow"):
        solve_newton(objective, objective.start(), 1e-8, monitor_for(objective))


def test_nothing_but_overflow_is_raised(monkeypatch):
    objective = overflowing(objective_of(problem_for("logistic")), monkeypatch, range(1, 1000))
    with pytest.raises(DivergenceError, match="overflow"):
        solve_newton(objective, objective.start(), 1e-8, monitor_for(objective))


def test_overflows_that_are_not_in_a_row_are_not_counted_together():
    objective = objective_of(problem_for("logistic"))
    progress = Progress(objective, 0.0, monitor_for(objective))
    at = objective.evaluate(objective.start())
    spoilt = at._replace(total=np.inf, slope=at.slope * np.nan, gradient=at.gradient * np.nan)
    progress.record_pass(at)
    for _ in range(2):
        for _ in range(MOST_FAILURES - 1):
            assert progress.record_trial(spoilt) is None
            assert not progress.has_improved
        assert progress.record_trial(at) is None
    for _ in range(MOST_FAILURES - 1):
        progress.record_trial(spoilt)
    with pytest.raises(DivergenceError):
        progress.record_trial(spoilt)


def test_a_met_certificate_ends_a_fit_only_with_a_small_suboptimality():
    objective = objective_of(problem_for("logistic", alpha=1e-2))
    best = solve_newton(objective, objective.start(), 1e-10, monitor_for(objective)).evaluation
    progress = Progress(objective, 1e-3, monitor_for(objective))
    fall = objective.constant_value() - objective.value(best)
    progress.estimate = lambda at: np.array([2e-3 * fall])
    assert progress.record_pass(best) is None
    progress.estimate = lambda at: np.array([0.4e-3 * fall])
    assert progress.record_pass(best) == "certificate"
