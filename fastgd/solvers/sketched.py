"""Full gradients in the metric of a sample's curvature; with all rows as the sample, Newton's method.

Newton's method on a small sample and one step of it on the real one give a start whose distance to the optimum is the
sample's own error, about d / rows of the loss, and a metric in which the condition number of the whole problem is near
1 + 2 sqrt(d / rows) (Marchenko and Pastur 1967), so that a pass or two a digit are left, whatever the data's condition.
"""

import math

import numpy as np

from fastgd.exceptions import DivergenceError
from fastgd.history import Epoch, logger
from fastgd.objective import Evaluation, Objective
from fastgd.scaling import Array
from fastgd.solvers.costs import sample_size
from fastgd.solvers.descent import Descent, promised, smooth_gradient, value_of
from fastgd.solvers.metric import Metric, make_metric
from fastgd.stopping import Monitor, Solution

#: Rows a column of the first sample, on which Newton's method runs to its end.
_FIRST_ROWS = 20
_FIRST_STEPS = 30
#: Steps on the sample end when they promise less than this share of the sample's own error.
_OF_ERROR = 0.05
_SAMPLE_STEPS = 8
#: Halvings of a step of Newton's method.
_HALVINGS = 40
#: Passes after which the promise must have fallen to a share, else the sample grows, and how much.
_WINDOW, _SHARE, _GROWTH = 4, 0.1, 4
#: Passes without any progress after which rounding is all that is left.
_STUCK = 4


def solve_sketched(
    objective: Objective,
    theta: Array,
    tol: float,
    monitor: Monitor,
    sample_rows: int | str = "auto",
    memory: int = 10,
) -> Solution:
    """Minimise from theta until the certificate is at most tol or `monitor.history.max_iter` passes are done."""
    rows = sample_size(objective) if isinstance(sample_rows, str) else int(sample_rows)
    sample = objective.sampled(rows)
    if sample is objective:
        return solve_newton(objective, theta, tol, monitor)
    start, metric = _learn_from(objective, sample, theta, memory)
    return _Passes(objective, rows, memory, tol, monitor).run(start, metric)


def solve_newton(objective: Objective, theta: Array, tol: float, monitor: Monitor) -> Solution:
    """Newton's method on all rows: gradient and curvature from one pass."""
    course = _Course(objective, tol, monitor)
    at, curvature = objective.second_order(theta)
    reason = course.seen(at)
    while reason is None:
        found = _newton_step(objective, at, make_metric(objective, curvature, 0, sampled=False))
        if found is None:
            return course.solution("no step")
        at, curvature = found
        reason = course.seen(at)
    return course.solution(reason)


def _newton_step(objective: Objective, at: Evaluation, metric: Metric) -> tuple[Evaluation, Array] | None:
    """The end of a step that lowers F, halved until it does; None where none is found."""
    step = metric.step(at)
    slope = promised(objective, at, step)
    rounding = 4.0 * float(np.finfo(float).eps) * abs(value_of(at))
    if -slope <= 0.25 * rounding:
        return None
    for halvings in range(_HALVINGS):
        trial, curvature = objective.second_order(at.theta + 0.5**halvings * step)
        if value_of(trial) <= value_of(at) + 1e-4 * 0.5**halvings * slope + rounding:
            return trial, curvature
    return None


def _learn_from(objective: Objective, sample: Objective, theta: Array, memory: int) -> tuple[Array, Metric]:
    """About the sample's optimum, and its metric there."""
    first = objective.sampled(_FIRST_ROWS * (objective.data.d + 1))
    at, curvature = first.second_order(theta)
    for _ in range(_FIRST_STEPS):
        metric = make_metric(first, curvature, 0, sampled=True)
        found = _newton_step(first, at, metric)
        if found is None or value_of(at) - value_of(found[0]) < _error(first, at):
            at = at if found is None else found[0]
            break
        at, curvature = found
    at, curvature = sample.second_order(at.theta)
    metric = make_metric(sample, curvature, memory, sampled=True)
    descent = Descent(sample, sample.evaluate, at, metric)
    for _ in range(_SAMPLE_STEPS):
        descent.advance()
        if descent.promise < _error(sample, descent.at):
            break
    return descent.at.theta, metric


def _error(sample: Objective, at: Evaluation) -> float:
    """What of F need not be gained on a sample, whose optimum is about d / rows from that of all rows."""
    return _OF_ERROR * (sample.data.d + 1) / sample.data.n * value_of(at)


class _Course:
    """What a monitor sees of passes, and where they stop."""

    def __init__(self, objective: Objective, tol: float, monitor: Monitor) -> None:
        self._objective, self._tol, self._monitor = objective, tol, monitor
        self.best: Evaluation | None = None
        self.certificate = math.inf
        self._current: list[Array] = []
        monitor.watch(lambda: self._current[0])

    def seen(self, at: Evaluation) -> str | None:
        """Note a pass's evaluation, of which the best stays; why to stop, or None."""
        objective, monitor = self._objective, self._monitor
        certificate = objective.certificate(at)
        if not math.isfinite(certificate):
            raise DivergenceError(
                "loss or gradient overflow: scale down columns of extreme values", epoch=len(monitor.history)
            )
        if certificate < self.certificate:
            self.best, self.certificate, self._current = at, certificate, [at.theta]
        norm = float(np.linalg.norm(smooth_gradient(objective, at)))
        reason = monitor.end_epoch(Epoch(objective.value(at), 1.0, norm, certificate), at.theta)
        if certificate <= self._tol and self._tol > 0.0:
            return monitor.certified
        if reason is None and len(monitor.history) >= monitor.history.max_iter:
            return "max_iter"
        return reason

    def solution(self, reason: str) -> Solution:
        """The best evaluation's, or with early stopping the monitor's."""
        theta = self._monitor.theta
        assert theta is not None
        at = self.best if self.best is not None and theta is self.best.theta else None
        return Solution(theta, reason in ("certificate", "early stopping"), reason, 1.0, evaluation=at)


class _Passes:
    """Full gradients in a sample's metric; the sample grows where progress is poor."""

    def __init__(self, objective: Objective, rows: int, memory: int, tol: float, monitor: Monitor) -> None:
        self._objective, self._rows, self._memory = objective, rows, memory
        self._course = _Course(objective, tol, monitor)

    def run(self, start: Array, metric: Metric) -> Solution:
        objective, course = self._objective, self._course
        at = self._first(start)
        reason = course.seen(at)
        descent = Descent(objective, objective.evaluate, at, metric)
        promises: list[float] = []
        stuck = 0
        while reason is None:
            before = course.certificate
            reason = course.seen(descent.advance())
            promises.append(descent.promise)
            stuck = 0 if course.certificate < before else stuck + 1
            if reason is None and stuck >= _STUCK and self._rows >= objective.data.n:
                reason = "no step"
            if len(promises) > _WINDOW and promises[-1] > _SHARE * promises[-1 - _WINDOW]:
                descent.metric = self._grown(descent.at.theta)
                promises.clear()
        return course.solution(reason)

    def _first(self, start: Array) -> Evaluation:
        """The evaluation at the start, or halfway to the origin where that is no better than the constant model."""
        objective = self._objective
        at = objective.evaluate(start)
        for _ in range(_HALVINGS):
            if not objective.in_target_units(at.losses) > objective.start_value():
                return at
            start = 0.5 * start
            at = objective.evaluate(start)
        return at

    def _grown(self, theta: Array) -> Metric:
        """The metric of a larger sample; of all rows once that is most of them."""
        self._rows = min(_GROWTH * self._rows, self._objective.data.n)
        sample = self._objective.sampled(self._rows)
        if sample is self._objective:
            self._rows = self._objective.data.n
        logger.debug("poor progress: the metric is taken from %d rows", sample.data.n)
        return make_metric(self._objective, sample.second_order(theta)[1], self._memory, sampled=True)
