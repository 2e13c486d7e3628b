"""Newton steps in the metric of a sample of rows, checked by full gradients."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from fastgd.arrays import Array
from fastgd.history import logger
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.solvers.accelerated import Momentum, accelerate
from fastgd.solvers.cost_model import Shape, informed_parameters
from fastgd.solvers.metric import Metric, ProxMetric, make_metric
from fastgd.solvers.newton import Descent, Newton, promised, solve_newton
from fastgd.solvers.progress import Course, Deadline, Monitor, Solution

#: Share of the metric's curvature from which it is raised, and by which it falls at a pass in hope.
_EXCESS, _HOPE = 1.0, 0.03
#: Passes in a row of which none was the best so far, after which rounding is all that is left.
_STUCK_ACCELERATED = 50


def accelerate_in(metric: ProxMetric, objective: Objective, at: Evaluation, tol: float, course: Course) -> Solution:
    """Minimise from an evaluation, of which the course knows, until the course says why to end."""
    rms = objective.problem.constant.rms
    course.end_after(_STUCK_ACCELERATED)
    x, momentum, hope, settle = at.theta, Momentum(), _HOPE, tol
    while True:
        step = metric.step(at)
        end, force = at.theta + step, metric.product(step)
        if float((force * (end - x)).sum()) < 0.0:
            momentum.restart()
            hope = _HOPE
        onward = momentum.extrapolate(end, x)
        if abs(force).max() <= settle * rms:
            # Only a step's end has exact zeros: look there next, and not again before steps are half as long.
            momentum.restart()
            onward, settle = end, 0.5 * settle
        x = end
        trial = objective.evaluate(onward)
        reason = course.seen(trial)
        if reason is not None:
            return course.solution(reason)
        seen = _share_seen(metric, at, trial)
        if seen > _EXCESS:
            metric.scale(1.1 * seen)
            momentum.restart()
            hope = 0.5 * hope
        elif seen > 0.0:
            metric.scale(max(seen, 1.0 - hope))
        at = trial


def _share_seen(metric: ProxMetric, before: Evaluation, now: Evaluation) -> float:
    """Curvature along the last move as a share of the metric's."""
    move, change = now.theta - before.theta, now.slope - before.slope
    promised, found = float((move * metric.product(move)).sum()), float((move * change).sum())
    return found / promised if promised > 0.0 else 0.0


#: What a fit is told to have chosen.
_ALL_ROWS = "Newton's method on all rows"
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
    shape = Shape.of(objective).in_its_metric
    rows = shape.sample_rows if isinstance(sample_rows, str) else int(sample_rows)
    sample = objective.sampled(rows)
    couples = objective.problem.loss.couples_outputs and not shape.joint
    if sample is objective and not couples:
        return replace(solve_newton(objective, theta, tol, monitor, shape.joint), note=_ALL_ROWS)
    metrics = _Metrics(objective, shape, memory)
    passes = _Passes(metrics, sample, rows, tol, monitor)
    if sample is objective:
        return passes.run(*metrics.at(objective, theta))

    def find(theta: Array) -> tuple[Evaluation, Metric]:
        if shape.has_first_sample:
            first = objective.sampled(min(shape.first_rows, rows))
            start, metric = _newton(metrics, first, sample, theta, monitor.deadline)
        else:
            start, metric = _descend(metrics, sample, theta, monitor.deadline)
        return _no_worse_than_constant(objective, start), metric

    return passes.run_from(theta, find) if theta.any() else passes.run(*find(theta))


class _Metrics(NamedTuple):
    """What metrics are made of: the objective of all rows, what its curvature is to be, and the steps remembered."""

    whole: Objective
    shape: Shape
    memory: int

    def at(self, rows: Objective, theta: Array) -> tuple[Evaluation, Metric]:
        """The evaluation of these rows at theta and the metric of their curvature there."""
        joint, couplings = self.shape.joint, None
        at, curvature = rows.joint_quadratic(theta) if joint else rows.smoothed_quadratic(theta)
        if rows.problem.loss.couples_outputs and not joint and not rows.has_l1:
            # With L1 a step would no longer be one of each output alone.
            couplings = rows.couplings(theta)
        return at, make_metric(rows, curvature(), self.memory, rows is not self.whole, couplings)


def _newton(
    metrics: _Metrics, first: Objective, sample: Objective, theta: Array, deadline: Deadline
) -> tuple[Array, Metric]:
    """About the sample's optimum, and its metric there, by way of a smaller sample's."""
    newton = Newton(first, theta, sampled=True, joint=metrics.shape.joint)
    for _ in range(_FIRST_STEPS):
        newton.advance()
        if newton.promise < _error(first, newton.at) or newton.idle or deadline.passed:
            break
    at, metric = metrics.at(sample, newton.at.theta)
    return _to_the_end(sample, at, metric, _SAMPLE_STEPS, deadline)


def _descend(metrics: _Metrics, sample: Objective, theta: Array, deadline: Deadline) -> tuple[Array, Metric]:
    """The same with one metric from where the fit starts.

    Of a squared loss that is exact; of coupled outputs it is too rough for Newton's method; with many columns another
    one would cost more than the steps it saves.
    """
    at, metric = metrics.at(sample, theta)
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
    return _OF_ERROR * informed_parameters(sample) / sample.data.effective_rows * at.total


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

    def __init__(self, metrics: _Metrics, sample: Objective, rows: int, tol: float, monitor: Monitor) -> None:
        self._metrics, self._objective, self._sample, self._rows = metrics, metrics.whole, sample, rows
        self._course, self._tol = Course(metrics.whole, tol, monitor), tol

    def run_from(self, theta: Array, find: Callable[[Array], tuple[Evaluation, Metric]]) -> Solution:
        """From a user's start, or from the one that a sample finds where that is better.

        All rows tell first: a start nearer to their optimum than the sample's own has nothing to learn from that.
        """
        at = self._objective.evaluate(theta)
        reason = self._course.seen(at)
        if reason is not None:
            return self._course.solution(reason)
        metric = self._metrics.at(self._sample, theta)[1]
        if -promised(self._objective, at, metric.step(at)) > _error(self._sample, at) / _OF_ERROR:
            objective = self._objective
            # Where rows are certain of what is wrong there is no curvature to go by.
            poor = not objective.in_target_units(at.losses) <= objective.start_value()
            found, its = find(objective.start() if poor else theta)
            reason = self._course.seen(found)
            if found.total < at.total:
                at, metric = found, its
        return self._go_on(at, metric, reason)

    def run(self, at: Evaluation, metric: Metric) -> Solution:
        """From an evaluation until the course says why to end."""
        return self._go_on(at, metric, self._course.seen(at))

    def _go_on(self, at: Evaluation, metric: Metric, reason: str | None) -> Solution:
        solution = self._run(at, metric, reason)
        if solution.note is not None:
            return solution
        return replace(solution, note=f"a metric of {self._sample.data.n} of {self._objective.data.n} rows")

    def _run(self, at: Evaluation, metric: Metric, reason: str | None) -> Solution:
        objective, course, metrics = self._objective, self._course, self._metrics
        descent = Descent(objective, objective.evaluate, at, metric)
        if reason is None and isinstance(metric, ProxMetric) and metric.couples:
            # A metric of outputs one by one does not know how far the optimum is.
            return accelerate_in(metric, objective, at, self._tol, course)
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
                return self._on_all_rows(descent.at.theta)
            if stuck >= _STUCK or self._is_slow(promises):
                self._grow()
                if self._sample is objective and not metrics.shape.couples:
                    return self._on_all_rows(descent.at.theta)
                metric = metrics.at(self._sample, descent.at.theta)[1]
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

    def _on_all_rows(self, theta: Array) -> Solution:
        """Newton's method where what rows have in common tells too little, of softmax where its metric can be had.

        Else, or where that ends too soon, what always works, if slowly.
        """
        shape = self._metrics.shape
        whole = shape.jointly if shape.couples else shape
        if whole is not None:
            logger.debug("poor progress: Newton's method on all rows takes over")
            newton = Newton(self._objective, theta, sampled=False, joint=whole.joint)
            solution = replace(newton.to_the_end(self._course, self._tol, None), note=_ALL_ROWS)
            if solution.reason != "no step" or newton.rounded:
                return solution
        logger.info("the metric of all rows gets no further: accelerated gradient takes over")
        best = self._course.best
        assert best is not None
        solution = accelerate(self._objective, best.theta, self._tol, self._course)
        return replace(solution, solver="SketchedNewton, then Accelerated")

    def _passes_of_a_metric(self) -> float:
        """What the metric of a larger sample costs, in passes."""
        shape = self._metrics.shape
        return shape.curvature(min(_GROWTH * self._rows, shape.rows)) / shape.full_pass

    def _grow(self) -> None:
        """Take a larger sample; all rows once that is most of them."""
        self._rows = min(_GROWTH * self._rows, self._objective.data.n)
        self._sample = self._objective.sampled(self._rows)
        if self._sample is self._objective:
            self._rows = self._objective.data.n
        logger.debug("poor progress: the metric is taken from %d rows", self._sample.data.n)
