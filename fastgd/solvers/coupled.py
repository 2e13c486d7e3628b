"""Accelerated proximal steps in a metric: for outputs that couple, of whose curvature the metric is one factor.

FISTA (Beck and Teboulle 2009) with restarts (O'Donoghue and Candes 2015), in the metric's own inner product: the
condition of the columns is the metric's matter, and of what couples the outputs only the root counts.
"""

import math

from fastgd.objective import Evaluation, Objective
from fastgd.solvers.course import Course
from fastgd.solvers.metric import ProxMetric
from fastgd.stopping import Solution

#: Share of the metric's curvature from which it is raised, and by which it falls at a pass in hope.
_EXCESS, _HOPE = 1.0, 0.03
#: Passes in a row of which none was the best so far, after which rounding is all that is left.
_STUCK = 50


def accelerate_in(metric: ProxMetric, objective: Objective, at: Evaluation, tol: float, course: Course) -> Solution:
    """Minimise from an evaluation, of which the course knows, until the course says why to end."""
    rms = objective.problem.constant.rms
    course.end_after(_STUCK)
    x, inertia, hope, settle = at.theta, 1.0, _HOPE, tol
    while True:
        step = metric.step(at)
        end, force = at.theta + step, metric.product(step)
        if float((force * (end - x)).sum()) < 0.0:
            inertia, hope = 1.0, _HOPE
        following = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * inertia * inertia))
        onward = end + (inertia - 1.0) / following * (end - x)
        if abs(force).max() <= settle * rms:
            # Only a step's end has exact zeros: look there next, and not again before steps are half as long.
            onward, following, settle = end, 1.0, 0.5 * settle
        x, inertia = end, following
        trial = objective.evaluate(onward)
        reason = course.seen(trial)
        if reason is not None:
            return course.solution(reason)
        seen = _share_seen(metric, at, trial)
        if seen > _EXCESS:
            metric.scale(1.1 * seen)
            inertia, hope = 1.0, 0.5 * hope
        elif seen > 0.0:
            metric.scale(max(seen, 1.0 - hope))
        at = trial


def _share_seen(metric: ProxMetric, before: Evaluation, now: Evaluation) -> float:
    """Curvature along the last move as a share of the metric's."""
    move, change = now.theta - before.theta, now.slope - before.slope
    promised, found = float((move * metric.product(move)).sum()), float((move * change).sum())
    return found / promised if promised > 0.0 else 0.0
