"""Full gradients in the metric of a sample's curvature; with all rows as the sample, Newton's method.

Newton's method on a small sample and one step of it on the real one give a start whose distance to the optimum is the
sample's own error, about d / rows of the loss, and a metric in which the condition number of the whole problem is near
1 + 2 sqrt(d / rows) (Marchenko and Pastur 1967), so that a pass or two a digit are left, whatever the data's condition.
"""

from dataclasses import replace

from fastgd.history import logger
from fastgd.objective import Evaluation, Objective
from fastgd.scaling import Array
from fastgd.solvers.accelerated import accelerate
from fastgd.solvers.costs import Shape
from fastgd.solvers.coupled import accelerate_in
from fastgd.solvers.course import Course
from fastgd.solvers.descent import Descent
from fastgd.solvers.metric import Metric, ProxMetric, make_metric
from fastgd.solvers.newton import Newton, solve_newton
from fastgd.stopping import Deadline, Monitor, Solution

#: Steps of Newton's method on the first sample.
_FIRST_STEPS = 30
#: Steps on the sample end when they promise less than this share of the sample's own error.
_OF_ERROR = 0.05
_SAMPLE_STEPS, _COUPLED_STEPS = 8, 20
#: Halvings of a start that is worse than the constant model.
_HALVINGS = 40
#: Passes after which the promise must have fallen to a share, else the sample grows, and how much.
_WINDOW, _SHARE, _GROWTH = 3, 0.1, 4
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
    shape = Shape.of(objective)
    rows = shape.sample_rows if isinstance(sample_rows, str) else int(sample_rows)
    sample = objective.sampled(rows)
    couples = objective.problem.loss == "softmax"
    if sample is objective and not couples:
        return replace(solve_newton(objective, theta, tol, monitor), note="Newton's method on all rows")
    passes = _Passes(objective, sample, rows, memory, tol, monitor)
    if sample is objective:
        return passes.run(*_metric_at(objective, objective, theta, memory, sampled=False))
    if shape.has_first_sample:
        first = objective.sampled(min(shape.first_rows, rows))
        theta, metric = _newton(first, sample, theta, memory, monitor.deadline)
    else:
        theta, metric = _descend(sample, theta, memory, monitor.deadline)
    return passes.run(_no_worse_than_constant(objective, theta), metric)


def _newton(first: Objective, sample: Objective, theta: Array, memory: int, deadline: Deadline) -> tuple[Array, Metric]:
    """About the sample's optimum, and its metric there, by way of a smaller sample's."""
    newton = Newton(first, theta, sampled=True)
    for _ in range(_FIRST_STEPS):
        newton.advance()
        if newton.promise < _error(first, newton.at) or newton.idle or deadline.passed:
            break
    at, metric = _metric_at(sample, sample, newton.at.theta, memory, sampled=True)
    return _to_the_end(sample, at, metric, _SAMPLE_STEPS, deadline)


def _metric_at(
    objective: Objective, rows: Objective, theta: Array, memory: int, sampled: bool
) -> tuple[Evaluation, Metric]:
    """The evaluation of these rows at theta and an objective's metric by their curvature there."""
    at, curvature = rows.second_order(theta)
    # With L1 a step would no longer be one of each output alone.
    couplings = rows.couplings(theta) if objective.problem.loss == "softmax" and not objective.has_l1 else None
    return at, make_metric(objective, curvature, memory, sampled, couplings)


def _descend(sample: Objective, theta: Array, memory: int, deadline: Deadline) -> tuple[Array, Metric]:
    """The same with one metric from where the fit starts.

    Of a squared loss that is exact; of coupled outputs it is too rough for Newton's method; with many columns another
    one would cost more than the steps it saves.
    """
    at, metric = _metric_at(sample, sample, theta, memory, sampled=True)
    return _to_the_end(sample, at, metric, _COUPLED_STEPS, deadline)


def _to_the_end(
    sample: Objective, at: Evaluation, metric: Metric, steps: int, deadline: Deadline
) -> tuple[Array, Metric]:
    """As far on the sample as it tells of all rows; the metric learns on the way."""
    descent = Descent(sample, sample.evaluate, at, metric)
    for _ in range(steps):
        descent.advance()
        if descent.promise < _error(sample, descent.at) or deadline.passed:
            break
    return descent.at.theta, metric


def _error(sample: Objective, at: Evaluation) -> float:
    """What of F need not be gained on a sample, whose optimum is about parameters / rows from that of all rows."""
    return _OF_ERROR * Shape.of(sample).parameters / sample.data.effective_rows * at.total


def _no_worse_than_constant(objective: Objective, start: Array) -> Evaluation:
    """The evaluation at the start, or halfway to the origin where that is no better than the constant model."""
    at = objective.evaluate(start)
    for _ in range(_HALVINGS):
        # A comparison with what overflowed is false.
        if objective.in_target_units(at.losses) <= objective.start_value():
            break
        start = 0.5 * start
        at = objective.evaluate(start)
    return at


class _Passes:
    """Full gradients in a sample's metric; the sample grows where progress is poor."""

    def __init__(
        self, objective: Objective, sample: Objective, rows: int, memory: int, tol: float, monitor: Monitor
    ) -> None:
        self._objective, self._sample, self._rows, self._memory = objective, sample, rows, memory
        self._course, self._tol = Course(objective, tol, monitor), tol

    def run(self, at: Evaluation, metric: Metric) -> Solution:
        """From an evaluation until the course says why to end."""
        solution = self._run(at, metric)
        return replace(solution, note=f"a metric of {self._sample.data.n} of {self._objective.data.n} rows")

    def _run(self, at: Evaluation, metric: Metric) -> Solution:
        objective, course = self._objective, self._course
        reason = course.seen(at)
        descent = Descent(objective, objective.evaluate, at, metric)
        if reason is None and isinstance(metric, ProxMetric) and metric.couples:
            return descent.told(accelerate_in(metric, objective, at, self._tol, course))
        promises: list[float] = []
        stuck = 0
        while reason is None:
            reason = course.tried(descent.advance())
            promises.append(descent.promise)
            stuck = 0 if course.improved else stuck + 1
            if reason is not None:
                break
            if stuck >= _STUCK and descent.idle and self._tol > 0.0:
                return descent.told(course.solution("no step"))
            if stuck >= _STUCK and not descent.idle and self._rows >= objective.data.n:
                logger.info("the metric of all rows gets no further: accelerated gradient takes over")
                return self._accelerated(descent.at.theta)
            if stuck >= _STUCK or self._is_slow(promises):
                metric = self._grown(descent.at.theta)
                if stuck < _STUCK:
                    # What steps have shown stays true; without it each metric of coupled outputs would begin anew.
                    metric.inherit(descent.metric)
                descent.use(metric)
                promises.clear()
                stuck = 0
        return descent.told(course.solution(reason))

    def _is_slow(self, promises: list[float]) -> bool:
        """Whether another metric is worth its price: of more rows, or of all where the fit has come to since."""
        if len(promises) <= max(_WINDOW, self._passes_of_a_metric()):
            return False
        return promises[-1] > _SHARE * promises[-1 - _WINDOW]

    def _accelerated(self, theta: Array) -> Solution:
        """What always works, if slowly."""
        solution = accelerate(self._objective, theta, self._tol, self._course)
        return replace(solution, solver="SketchedNewton, then Accelerated")

    def _passes_of_a_metric(self) -> float:
        """What the metric of a larger sample costs, in passes."""
        shape = Shape.of(self._objective)
        return shape.curvature(min(_GROWTH * self._rows, shape.rows)) / shape.full_pass

    def _grown(self, theta: Array) -> Metric:
        """The metric of a larger sample; of all rows once that is most of them."""
        self._rows = min(_GROWTH * self._rows, self._objective.data.n)
        sample = self._sample = self._objective.sampled(self._rows)
        if sample is self._objective:
            self._rows = self._objective.data.n
        logger.debug("poor progress: the metric is taken from %d rows", sample.data.n)
        sampled = sample is not self._objective
        return _metric_at(self._objective, sample, theta, self._memory, sampled)[1]
