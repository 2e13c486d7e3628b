"""Full-batch gradient descent with a line search: backtracking, or the exact minimum along the gradient."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize

from fastgd.arrays import Array
from fastgd.history import Epoch
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.penalties import soft_threshold
from fastgd.solvers.learning_rate import RulePlan
from fastgd.solvers.progress import Deadline, Monitor, Solution

#: Share of the first-order decrease that a step must reach (Armijo 1966), and most halvings of a step.
_ARMIJO = 1e-4
HALVINGS = 50
#: An exact search ends when the slope along the line is this share of the first one.
_FLAT = 1e-6


class Step(NamedTuple):
    """The length of an accepted step, and the evaluation at its end."""

    length: float
    evaluation: Evaluation


def solve_line_search(objective: Objective, theta: Array, plan: RulePlan, monitor: Monitor) -> Solution:
    """Minimise from theta until the certificate is at most plan.tol, or no step lowers the loss."""
    params = plan.optimizer.get_params(deep=False)
    search = _backtrack if params["line_search"] == "backtracking" else _exact
    given = params["learning_rate"]
    length = 1.0 / objective.batch_curvature(objective.data.n) if given == "auto" else float(given)
    evaluation = objective.evaluate(theta)
    current = [theta]
    monitor.begin_run(lambda: current[0])
    first, reason = math.nan, "max_iter"
    for _ in range(plan.max_iter):
        g = evaluation.slope
        certificate = objective.certificate(evaluation)
        done = certificate <= plan.tol and plan.tol > 0.0
        step = None if done else search(objective, evaluation, g, length, monitor.deadline)
        rate = 0.0 if step is None else step.length
        first = rate if math.isnan(first) else first
        numbers = Epoch(objective.value(evaluation), rate, float(np.linalg.norm(g)), certificate)
        if step is not None:
            evaluation = step.evaluation
            current[0] = evaluation.theta
        stop = monitor.end_epoch(numbers, evaluation.theta)
        if done or stop is not None or step is None:
            reason = monitor.certified_reason if done else stop or "no step"
            break
        # Start from twice the last length, or from the user's.
        length = 2.0 * step.length if given == "auto" else float(given)
    found = monitor.theta
    assert found is not None
    return Solution(found, reason in ("certificate", "early stopping"), reason, first)


class Trial(NamedTuple):
    """The squared length of a trial step, and the value at its end."""

    squared_move: float
    value: float


def backtrack(
    attempt: Callable[[float], Trial], value: float, length: float, gives_up: Callable[[], bool] = lambda: False
) -> float | None:
    """Return the first of length, length / 2, ... that lowers a value by `_ARMIJO` |move|^2 / length or more.

    Without a prox that is Armijo's `_ARMIJO` length |gradient|^2.

    Parameters
    ----------
    attempt : callable
        Tries a step of a length.
    value : float
        At the start of the step.
    length : float
        The first one to try.
    gives_up : callable, optional
        Whether to stop after a step that was too long.

    Returns
    -------
    float or None
        None where no step lowers the value.
    """
    for _ in range(HALVINGS):
        trial = attempt(length)
        enough = _ARMIJO / length * trial.squared_move
        if enough > 0.0 and trial.value <= value - enough:
            return length
        if gives_up():
            return None
        length *= 0.5
    return None


def _backtrack(objective: Objective, at: Evaluation, g: Array, length: float, deadline: Deadline) -> Step | None:
    """Return a prox step that lowers F enough, or None where there is none before the deadline."""
    found = at

    def attempt(length: float) -> Trial:
        nonlocal found
        moved = soft_threshold(at.theta - length * g, length * objective.l1)
        found = objective.evaluate(moved)
        return Trial(float(np.sum((moved - at.theta) ** 2)), found.total)

    taken = backtrack(attempt, at.total, length, lambda: deadline.passed)
    return None if taken is None else Step(taken, found)


def _exact(objective: Objective, at: Evaluation, g: Array, length: float, deadline: Deadline) -> Step | None:
    """Return the minimum of F along -g, by Brent's method on the slope along the line, which takes no passes."""
    slope = objective.slope_along(at.theta, -g)
    found = root_of_slope(slope, length)
    if found is None:
        return None
    trial = objective.evaluate(at.theta - found * g)
    return Step(found, trial) if trial.total < at.total else None


def root_of_slope(slope: Callable[[float], float], length: float) -> float | None:
    """Return the root of an increasing slope that starts below 0, to `_FLAT` of its first value; None without a root.

    Brent's method (SciPy) needs no curvature and cannot leave its bracket, unlike Newton's.
    """
    start = slope(0.0)
    if not start < 0.0:
        return None

    def flattened(t: float) -> float:
        value = slope(t)
        return 0.0 if abs(value) <= _FLAT * abs(start) else value

    low = 0.0
    for _ in range(HALVINGS):
        value = flattened(length)
        if value >= 0.0:
            return length if value == 0.0 else float(optimize.brentq(flattened, low, length, xtol=1e-300, rtol=1e-15))
        low, length = length, 2.0 * length
    return None
