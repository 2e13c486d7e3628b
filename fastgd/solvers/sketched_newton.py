"""Newton steps in the metric of a sample of rows, checked by full gradients."""

import math
from collections.abc import Callable
from dataclasses import replace

from fastgd.arrays import Array
from fastgd.history import logger
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.objective.sampling import most_rows
from fastgd.solvers.accelerated import Momentum, accelerate
from fastgd.solvers.cost_model import FIRST_COLUMNS, Shape, informed_parameters
from fastgd.solvers.metric import Metric, Metrics, ProxMetric
from fastgd.solvers.newton import (
    Descent,
    Newton,
    SampledEstimate,
    attach_suboptimality,
    first_order_change,
    solve_newton,
)
from fastgd.solvers.progress import Deadline, Monitor, Progress, Solution
from fastgd.solvers.separation import is_separated_by_columns

#: Ratio of the observed to the metric's curvature from which the metric is scaled up, and its decay per pass.
_EXCESS, _DECAY = 1.0, 0.03
#: Consecutive passes of accelerated steps without improvement after which only rounding is left.
_MOST_IDLE_ACCELERATED = 50
#: Passes of accelerated steps after which the joint curvature of all outputs takes over if it fits into memory.
_MOST_ACCELERATED = 40


def accelerate_in_metric(
    metric: ProxMetric, objective: Objective, at: Evaluation, tol: float, progress: Progress, most: float = math.inf
) -> Solution | None:
    """Minimise by accelerated steps in a metric, from a recorded evaluation, until a reason to stop.

    Return None after `most` passes without one.
    """
    rms = objective.problem.constant.rms
    progress.limit_idle_passes(_MOST_IDLE_ACCELERATED)
    progress.estimate = SampledEstimate(objective, tol)
    x, momentum, decay, zero_tol, passes = at.theta, Momentum(), _DECAY, tol, 0
    while passes < most:
        passes += 1
        step = metric.step(at)
        end, force = at.theta + step, metric.product(step)
        if float((force * (end - x)).sum()) < 0.0:
            momentum.restart()
            decay = _DECAY
        onward = momentum.extrapolate(end, x)
        if abs(force).max() <= zero_tol * rms:
            # Only a step's end has exact zeros: evaluate there, and not again before steps are half as long.
            momentum.restart()
            onward, zero_tol = end, 0.5 * zero_tol
        x = end
        trial = objective.evaluate(onward)
        reason = progress.record_pass(trial)
        if reason is not None:
            return progress.make_solution(reason)
        seen = _curvature_ratio(metric, at, trial)
        if seen > _EXCESS:
            metric.scale(1.1 * seen)
            momentum.restart()
            decay = 0.5 * decay
        elif seen > 0.0:
            metric.scale(max(seen, 1.0 - decay))
        at = trial
    return None


def _curvature_ratio(metric: ProxMetric, before: Evaluation, now: Evaluation) -> float:
    """Return the ratio of the curvature along the last move to the metric's."""
    move, change = now.theta - before.theta, now.slope - before.slope
    predicted, found = float((move * metric.product(move)).sum()), float((move * change).sum())
    return found / predicted if predicted > 0.0 else 0.0


#: Note in the report on the solver's choice.
_ALL_ROWS = "Newton's method on all rows"
#: Most steps of Newton's method on the first sample.
_FIRST_STEPS = 30
#: Steps on the sample end when the predicted decrease is below this share of the sampling error; most steps.
_OF_ERROR = 0.05
_SAMPLE_STEPS, _COUPLED_STEPS = 8, 20
#: Most halvings of a start that is worse than the constant model.
_HALVINGS = 40
#: Growth of a sample whose metric is poor, the passes to judge it by, and the ratio of the expected times with this and
#: with a better metric from which it is replaced.
_GROWTH, _WINDOW, _LONGER = 4, 2, 1.5
#: Least growth of a sample, and the last predicted decreases that show how fast they fall.
_LEAST_GROWTH, _RECENT = 1.5, 6
#: Logarithm of the decrease to expect of a fit without tolerance.
_AHEAD = 30.0
#: Rarity of informative rows from which classes need their joint curvature: on shuttle, where it is 15, the metric that
#: they share is 9e-3 from the optimum after 60 passes.
_HEAVY = 5.0
#: Share of the constant model's loss below which most rows are predicted with confidence.
_CONFIDENT = 0.1
#: Consecutive passes without improvement after which the metric is poor or only rounding is left.
_MOST_IDLE = 4


def solve_sketched(
    objective: Objective,
    theta: Array,
    tol: float,
    monitor: Monitor,
    sample_rows: int | str = "auto",
    memory: int = 10,
) -> Solution:
    """Minimise from theta until the certificate is at most tol or `monitor.history.max_iter` passes are done."""
    shape = Shape.of(objective).quicker_curvature
    rows = shape.sample_rows if isinstance(sample_rows, str) else int(sample_rows)
    sample = objective.sampled(rows)
    wide = sample is not objective or shape.width > FIRST_COLUMNS
    if wide and is_separated_by_columns(sample):
        # The optimum of the sample is at infinity, and it has hardly any curvature there.
        whole = shape.with_joint_curvature
        if whole is not None and whole.width <= FIRST_COLUMNS and shape.rarity > _HEAVY:
            return replace(solve_newton(objective, theta, tol, monitor, joint=True), note=_ALL_ROWS)
        metrics = Metrics(objective, Shape.of(objective), memory)
        passes = _Passes(metrics, objective, objective.data.n, tol, monitor, keeps_metric=True)
        return passes.run(*metrics.at(objective, theta))
    couples = objective.problem.loss.couples_outputs and not shape.joint
    if sample is objective and not couples:
        return replace(solve_newton(objective, theta, tol, monitor, shape.joint), note=_ALL_ROWS)
    metrics = Metrics(objective, shape, memory)
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


def _newton(
    metrics: Metrics, first: Objective, sample: Objective, theta: Array, deadline: Deadline
) -> tuple[Array, Metric]:
    """Return about the sample's optimum and a metric there, starting with Newton's method on a smaller sample."""
    newton, error = Newton(first, theta, sampled=True, joint=metrics.shape.joint), _relative_error(first)
    for _ in range(_FIRST_STEPS):
        newton.advance()
        descent = newton.descent
        if descent.predicted_decrease < error * descent.at.total or descent.is_stalled or deadline.passed:
            break
    at, metric = metrics.at(sample, newton.descent.at.theta)
    return _minimise_on_sample(sample, at, metric, _SAMPLE_STEPS, deadline)


def _descend(metrics: Metrics, sample: Objective, theta: Array, deadline: Deadline) -> tuple[Array, Metric]:
    """Return about the sample's optimum, with one metric at the start of the fit.

    For a squared loss the metric is exact; for coupled outputs it is too rough for Newton's method; with many columns
    another metric would cost more than the steps it saves.
    """
    at, metric = metrics.at(sample, theta)
    return _minimise_on_sample(sample, at, metric, _COUPLED_STEPS, deadline)


def _minimise_on_sample(
    sample: Objective, at: Evaluation, metric: Metric, steps: int, deadline: Deadline
) -> tuple[Array, Metric]:
    """Minimise on the sample down to its sampling error, updating the metric."""
    descent, error = Descent(sample, sample.evaluate, at, metric), _relative_error(sample)
    for _ in range(steps):
        descent.advance()
        if descent.predicted_decrease < error * descent.at.total or deadline.passed:
            break
    return descent.at.theta, metric


def _relative_error(sample: Objective) -> float:
    """Return the share of F whose decrease to ignore on a sample: of its sampling error, parameters / rows."""
    return _OF_ERROR * informed_parameters(sample) / sample.data.effective_rows


def _no_worse_than_constant(objective: Objective, start: Array) -> Evaluation:
    """Return the evaluation at the start, halved until it is no worse than the constant model."""
    at = objective.evaluate(start)
    for _ in range(_HALVINGS):
        # A comparison with NaN is false.
        if objective.in_target_units(at.losses) <= objective.start_value():
            break
        start = 0.5 * start
        at = objective.evaluate(start)
    return at


class _Passes:
    """Steps of full gradients in a sample's metric; the sample grows if progress is poor."""

    def __init__(
        self,
        metrics: Metrics,
        sample: Objective,
        rows: int,
        tol: float,
        monitor: Monitor,
        keeps_metric: bool = False,
    ) -> None:
        self._keeps_metric = keeps_metric
        self._metrics, self._objective, self._sample, self._rows = metrics, metrics.whole, sample, rows
        self._progress, self._tol = Progress(metrics.whole, tol, monitor), tol
        #: Whether the last new metric has the rows of the one before.
        self._is_refreshed = False

    def run_from(self, theta: Array, find: Callable[[Array], tuple[Evaluation, Metric]]) -> Solution:
        """Minimise from a user's start, or from the sample's optimum if that is better.

        A pass over all rows comes first: a sample cannot improve on a start that is nearer to the optimum than its own
        sampling error.
        """
        at = self._objective.evaluate(theta)
        reason = self._progress.record_pass(at)
        if reason is not None:
            return self._progress.make_solution(reason)
        metric = self._metrics.at(self._sample, theta)[1]
        error = _relative_error(self._sample) * at.total
        if -first_order_change(self._objective, at, metric.step(at)) > error / _OF_ERROR:
            objective = self._objective
            # Confident wrong predictions have almost no curvature to form a metric from.
            poor = not objective.in_target_units(at.losses) <= objective.start_value()
            found, its = find(objective.start() if poor else theta)
            reason = self._progress.record_pass(found)
            if found.total < at.total:
                at, metric = found, its
        return self._go_on(self._begin(at, metric), reason)

    def run(self, at: Evaluation, metric: Metric) -> Solution:
        """Minimise from an evaluation until there is a reason to stop."""
        return self._go_on(self._begin(at, metric), self._progress.record_pass(at))

    def _begin(self, at: Evaluation, metric: Metric) -> Descent:
        descent = Descent(self._objective, self._objective.evaluate, at, metric)
        self._progress.estimate = descent.suboptimality
        return descent

    def _go_on(self, descent: Descent, reason: str | None) -> Solution:
        solution = self._run(descent, reason)
        if solution.note is not None:
            return solution
        return replace(solution, note=f"a metric of {self._sample.data.n} of {self._objective.data.n} rows")

    def _run(self, descent: Descent, reason: str | None) -> Solution:
        objective, progress, metrics, metric = self._objective, self._progress, self._metrics, descent.metric
        if reason is None and isinstance(metric, ProxMetric) and metric.couples:
            # A metric without the coupling of outputs cannot scale steps.
            most = math.inf if metrics.shape.with_joint_curvature is None else _MOST_ACCELERATED
            found = accelerate_in_metric(metric, objective, descent.at, self._tol, progress, most)
            assert progress.best is not None
            return found or self._on_all_rows(progress.best.theta)
        decreases: list[float] = []
        idle = 0
        while reason is None:
            reason = progress.record_trial(descent.advance())
            decreases.append(descent.predicted_decrease)
            idle = 0 if progress.has_improved else idle + 1
            if reason is not None:
                break
            if idle >= _MOST_IDLE and descent.is_stalled and self._tol > 0.0:
                return attach_suboptimality(progress.make_solution("no step"), descent.suboptimality)
            if idle >= _MOST_IDLE and not descent.is_stalled and self._rows >= objective.data.n:
                return self._on_all_rows(descent.at.theta)
            rows = self._rows_of_next_metric(decreases, idle, descent)
            if rows:
                self._take(rows)
                if self._sample is objective and not metrics.shape.couples:
                    return self._on_all_rows(descent.at.theta)
                metric = metrics.at(self._sample, descent.at.theta)[1]
                if idle < _MOST_IDLE:
                    # The remembered pairs remain valid; without them metrics of coupled outputs would start anew.
                    metric.inherit(descent.metric)
                descent.use_metric(metric)
                decreases.clear()
                idle = 0
        return attach_suboptimality(progress.make_solution(reason), descent.suboptimality)

    @property
    def _is_confident(self) -> bool:
        """Whether classes without a penalty nearly separate, so that rows have hardly any curvature left."""
        objective, best = self._objective, self._progress.best
        if self._sample is not objective or not objective.problem.loss.couples_outputs or objective.l2.any():
            return False
        return best is not None and objective.value(best) < _CONFIDENT * objective.constant_value()

    @property
    def _larger_sample(self) -> int:
        """Rows of the next larger sample; all rows if the largest sample is hardly larger than the present one."""
        rows, most = self._metrics.shape.rows, most_rows(self._metrics.shape.rows)
        return min(_GROWTH * self._rows, most) if _LEAST_GROWTH * self._rows <= most else rows

    def _rows_of_next_metric(self, decreases: list[float], idle: int, descent: Descent) -> int:
        """Return the rows of a new metric if that is expected to end the fit sooner than the present one, else 0."""
        shape = self._metrics.shape
        larger = self._larger_sample
        if idle < _MOST_IDLE and (self._keeps_metric or self._is_confident):
            return 0
        if idle >= _MOST_IDLE:
            return larger
        # A step may fail once; the curvature of all rows changes only with theta.
        least = max(_WINDOW, shape.passes_of_metric(larger)) if larger == self._rows else _WINDOW
        if len(decreases) < least or descent.failures == 1:
            return 0
        # The predicted decrease falls with the square of the certificate.
        ahead = 2.0 * math.log(max(self._progress.certificate / self._tol, 2.0)) if self._tol > 0.0 else _AHEAD
        recent = decreases[-_RECENT:]
        fell = math.log(recent[0] / recent[-1]) / (len(recent) - 1) if recent[-1] > 0.0 else math.inf
        sizes = {larger, shape.rows}
        if not self._is_refreshed and not self._objective.problem.loss.couples_outputs:
            # The curvature has changed with theta; if another metric of this sample is poor too, the sample is.
            sizes.add(self._rows)
        passes = {rows: shape.passes_in_new_metric(rows, ahead) for rows in sizes}
        best = min(passes, key=lambda rows: passes[rows])
        return best if ahead > _LONGER * passes[best] * fell else 0

    def _on_all_rows(self, theta: Array) -> Solution:
        """Minimise by Newton's method on all rows after samples failed, with softmax's joint curvature if that fits.

        Fall back on the accelerated gradient if Newton's method cannot be used or stops early.
        """
        shape = self._metrics.shape
        whole = shape.with_joint_curvature if shape.couples else shape
        if whole is not None:
            logger.debug("poor progress: Newton's method on all rows takes over")
            newton = Newton(self._objective, theta, sampled=False, joint=whole.joint)
            solution = replace(newton.run_to_end(self._progress, self._tol, begins=False), note=_ALL_ROWS)
            if solution.reason != "no step" or newton.descent.is_at_rounding:
                return solution
        logger.info("the metric of all rows gets no further: accelerated gradient takes over")
        best = self._progress.best
        assert best is not None
        solution = accelerate(self._objective, best.theta, self._tol, self._progress)
        return replace(solution, solver="SketchedNewton, then Accelerated")

    def _take(self, rows: int) -> None:
        """Take a sample of this size, or all rows if that is most of them."""
        self._is_refreshed = rows == self._rows
        if self._is_refreshed:
            logger.debug("poor progress: the metric is taken again from the same rows")
            return
        self._rows = rows
        self._sample = self._objective.sampled(self._rows)
        if self._sample is self._objective:
            self._rows = self._objective.data.n
        logger.debug("poor progress: the metric is taken from %d rows", self._sample.data.n)
