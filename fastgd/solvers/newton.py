"""Newton's method: safeguarded steps in the metric of a curvature."""

import math
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np

from fastgd.arrays import EPS, Array
from fastgd.objective.objective import ROUNDING, Objective
from fastgd.objective.problem import Evaluation
from fastgd.solvers.cost_model import FIRST_COLUMNS, FIRST_ROWS, MOST_COLUMNS, Shape
from fastgd.solvers.metric import Metric, Metrics, make_metric
from fastgd.solvers.progress import MOST_FAILURES, Monitor, Progress, Solution

#: Share of its first value to which a slope has to fall, and slopes at most.
_FLAT, _SLOPES = 0.05, 60
#: Factor by which a bracket with an open end grows, and by which one that reaches down to 0 shrinks.
_GROWTH, _SHRINKAGE = 4.0, 0.1


def step_to_line_minimum(objective: Objective, at: Evaluation, step: Array) -> Array:
    """Return the step (K, d + 1), each output scaled to end at about the minimum of F along it.

    The step is unchanged if that would take more than a pass. The search is Newton's method on the slope, safeguarded
    by a bracket: the slope of the Huber loss has kinks, and that of the L1 norm has jumps.
    """
    line = objective.along(at, step)
    if line is None:
        return step
    t, low, high = np.ones(len(step)), np.zeros(len(step)), np.full(len(step), np.inf)
    slope, jump = _with_l1(objective, at, step, np.zeros(len(step)))
    first = np.abs(line(np.zeros(len(step)))[0] + slope + jump)
    for _ in range(_SLOPES):
        slope, curvature = line(t)
        extra, jump = _with_l1(objective, at, step, t)
        slope = slope + extra
        # NaN shows an overflow, of too long a step.
        searching = ~(np.abs(slope) <= _FLAT * first + jump)
        if not searching.any():
            break
        low, high = np.where(slope < 0.0, t, low), np.where(slope < 0.0, high, t)
        t = np.where(searching, _next_length(t, low, high, slope, curvature), t)
    return np.where(first > 0.0, t, 1.0)[:, None] * step


def _with_l1(objective: Objective, at: Evaluation, step: Array, t: Array) -> tuple[Array, Array]:
    """Return the L1 norm's part of the slopes at t (K,), the middle of a jump, and half the heights of jumps."""
    if not objective.has_l1:
        return np.zeros(len(t)), np.zeros(len(t))
    point = at.theta + t[:, None] * step
    rates = objective.l1 * step
    return (rates * np.sign(point)).sum(axis=1), np.where(point == 0.0, np.abs(rates), 0.0).sum(axis=1)


def _next_length(t: Array, low: Array, high: Array, slope: Array, curvature: Array) -> Array:
    """Return Newton's root of the slope if that is inside the bracket, else a point inside it."""
    closed = np.isfinite(high)
    end = np.where(closed, high, _GROWTH * t)
    with np.errstate(invalid="ignore", over="ignore"):
        newton = t - np.divide(slope, curvature, out=np.full(len(t), np.inf), where=curvature > 0.0)
    middle = np.where(low > 0.0, 0.5 * (low + end), _SHRINKAGE * end)
    inside: Array = np.where((newton > low) & (newton < np.where(closed, high, _GROWTH * end)), newton, np.nan)
    return np.where(np.isnan(inside), np.where(closed, middle, end), inside)


#: Share of the predicted decrease that a step must reach (Armijo 1966).
_ENOUGH = 1e-4
#: Ratio of the slopes at the end and at the start of a step that accepts it if rounding hides the decrease.
_FLATTENED = 0.5
#: Least and largest factor by which a rejected step is shortened, and the least where F is linear beyond its minimum.
_CUTS, _LEAST_CUT = (0.1, 0.5), 1e-3
#: Most growth of the next step's length, and that after steps with more than a share of their first-order decrease,
#: along which F is almost linear.
_LONGER, _MUCH_LONGER, _ALMOST_LINEAR = 2.0, 10.0, 0.9
#: Most recent steps that correct the model's predictions.
_LAST_STEPS = 3


def first_order_change(objective: Objective, at: Evaluation, step: Array) -> float:
    """Return the change of F along a step to first order, L1 exactly: negative for a descent."""
    if not objective.has_l1:
        return float(np.vdot(at.slope, step))
    return float(first_order_changes(objective, at, step).sum())


def first_order_changes(objective: Objective, at: Evaluation, step: Array) -> Array:
    """Return the first-order change of each output's F (K,), in working units."""
    total: Array = (at.slope * step + objective.l1 * (np.abs(at.theta + step) - np.abs(at.theta))).sum(axis=1)
    return total


def half_decrements(objective: Objective, at: Evaluation, metric: Metric) -> Array:
    """Return half the squared Newton decrement of each output (K,): the suboptimality of the metric's model."""
    half: Array = np.maximum(-0.5 * first_order_changes(objective, at, metric.step(at)), 0.0)
    return half


def attach_suboptimality(solution: Solution, estimate: Callable[[Evaluation], Array | None]) -> Solution:
    """Set the estimated suboptimality of a solution that has an evaluation."""
    solution.gain = None if solution.evaluation is None else estimate(solution.evaluation)
    return solution


#: Most share of all passes to wait for a gap where there is no metric.
_WAIT = 0.2
#: Passes that a metric takes in whose place a solver goes on until a duality gap meets the tolerance.
_LONG_METRIC = 20.0


class SampledEstimate:
    """The estimated suboptimality of solvers without a metric: by the curvature of a sample of rows.

    It is taken at the first evaluation to estimate, once the certificate is met: along nearly dependent columns the
    gradient is small far from an optimum, too. A duality gap that meets the tolerance takes its place, since it costs
    nothing, and so does any gap for elastic nets of coupled outputs.

    more_rows: factor of the number of sampled rows. patient: whether more evaluations follow, so that gaps may shrink.
    """

    def __init__(self, objective: Objective, tol: float, more_rows: float = 1.0, patient: bool = True) -> None:
        self._objective, self._tol, self._more_rows, self._patient = objective, tol, more_rows, patient
        self._metric: Metric | None = None
        #: How often a gap was given since there is no metric, or since that would take long.
        self._waited = 0

    def __call__(self, at: Evaluation) -> Array | None:
        """Return the suboptimality of each output (K,) in working units, or a bound of it; None if unknown."""
        objective, data, problem = self._objective, self._objective.data, self._objective.problem
        nets = problem.loss.couples_outputs and objective.has_l1
        gaps = objective.ridge_gaps(at) if problem.l2.all() else None
        if nets or (gaps is not None and objective.is_close(gaps, at, self._tol)):
            return gaps
        # With fewer rows than columns a second-order model is only local.
        if data.n <= data.d or data.d >= MOST_COLUMNS:
            return gaps if gaps is not None and self._waits(_WAIT * data.rows_read / data.n) else None
        if self._metric is None:
            shape = Shape.of(objective)
            rows = int(self._more_rows * FIRST_ROWS * shape.parameters * math.sqrt(shape.rarity))
            passes = shape.passes_of_metric(min(rows, data.n))
            if gaps is not None and passes > _LONG_METRIC and self._waits(passes):
                return gaps
            sample = objective.sampled(rows)
            self._metric = Metrics(objective, shape, memory=0).at(sample, at.theta)[1]
        return self.by_curvature(at)

    def _waits(self, passes: float) -> bool:
        """Whether to go on until a gap meets the tolerance, for at most so many passes."""
        self._waited += 1
        return self._patient and self._waited <= passes

    def by_curvature(self, at: Evaluation) -> Array | None:
        """Return the estimate (K,) by the sample's curvature if that was needed."""
        if self._metric is None:
            return None
        return half_decrements(self._objective, at, self._metric)


class Descent:
    """Safeguarded steps in a metric.

    Parameters
    ----------
    objective : Objective
        On all rows or on a sample.
    evaluate : callable
        Returns the evaluation at theta; a pass.
    at : Evaluation
        The start.
    metric : Metric
    remembers : bool, default=True
        Whether the metric learns from steps and rejected steps are halved. Else the caller changes the metric.
    """

    def __init__(
        self,
        objective: Objective,
        evaluate: Callable[[Array], Evaluation],
        at: Evaluation,
        metric: Metric,
        remembers: bool = True,
    ) -> None:
        self.at, self.metric, self._remembers = at, metric, remembers
        self.length = 1.0
        self._objective, self._evaluate = objective, evaluate
        self.noise = ROUNDING * EPS[objective.data.dtype]
        self.failures = 0
        #: At the starts of the last steps the predicted suboptimality, and F.
        self._expected: deque[tuple[float, float]] = deque(maxlen=_LAST_STEPS)
        #: First-order decrease of F along the last step: about twice the suboptimality.
        self.predicted_decrease = np.inf
        #: Actual decrease by the last accepted step relative to the first-order one: 1/2 for a quadratic. After a
        #: rejected step the share of it where its slope, interpolated linearly, is 0.
        self.achieved, self.cut = 0.5, 1.0

    @property
    def is_stalled(self) -> bool:
        """Whether the last step predicted less than rounding, or too many steps failed."""
        return self.failures >= MOST_FAILURES or self.is_at_rounding

    @property
    def is_at_rounding(self) -> bool:
        """Whether the last step predicted a decrease below rounding."""
        return self.predicted_decrease <= self.noise * abs(self.at.total)

    def suboptimality(self, at: Evaluation, metric: Metric | None = None) -> Array | None:
        """Estimate the suboptimality of each output (K,): half the squared Newton decrement, corrected by past steps.

        None with fewer rows than columns, where a second-order model is only local. metric: instead of the present one.
        """
        if self._objective.data.n <= self._objective.data.d:
            return None
        gain = half_decrements(self._objective, at, self.metric if metric is None else metric)
        return gain * self._correction(float(gain.sum()))

    def _correction(self, gain: float) -> float:
        """Return the largest ratio of actual to predicted decreases since the last steps; at least 1."""
        fell = [
            (total - self.at.total) / (expected - gain)
            for expected, total in self._expected
            if expected > gain and total - self.at.total > self.noise * abs(total)
        ]
        return max([1.0, *fell])

    def use_metric(self, metric: Metric) -> None:
        """Continue in another metric."""
        self.metric, self.failures = metric, 0
        growth = _MUCH_LONGER if self.achieved > _ALMOST_LINEAR else _LONGER
        self.length = 1.0 if self._remembers else min(growth * self.length, 1.0)

    def shorten(self) -> None:
        """Try a shorter step after a rejected one."""
        self.length *= self.cut

    def use_damped_metric(self, metric: Metric) -> None:
        """Try a whole step in another metric after a rejected one."""
        self.metric, self.length = metric, 1.0

    def advance(
        self, adjust: Callable[[Evaluation, Array], Array] | None = None, enough: float = _ENOUGH
    ) -> Evaluation:
        """Try a step, at the cost of a pass; return its evaluation, accepted or not.

        adjust: changes the length of the step. enough: share of the predicted decrease that accepts the step; 0 if
        `adjust` ends it at the line's minimum.
        """
        objective, at = self._objective, self.at
        step = self.length * self.metric.step(at)
        slope = first_order_change(objective, at, step)
        self.predicted_decrease = -slope
        if adjust is not None:
            step = adjust(at, step)
            slope = first_order_change(objective, at, step)
        trial = self._evaluate(at.theta + step)
        finite = trial.is_finite
        if finite and self._remembers:
            self.metric.learn(step, trial.slope - at.slope)
        if finite and self._is_better(trial, step, slope, enough):
            # A step of t times the model's has a prediction of t times the whole step's.
            self._expected.append((0.5 * self.predicted_decrease / self.length, self.at.total))
            self.achieved = (self.at.total - trial.total) / -slope if slope < 0.0 else 0.0
            self.at, self.failures = trial, 0
            if self._remembers:
                self.length = 1.0
        else:
            self.failures += 1
            self.cut = self._share_to_keep(trial, step, slope)
            if self._remembers:
                self.length *= 0.5
        return trial

    def _share_to_keep(self, trial: Evaluation, step: Array, slope: float) -> float:
        """Return the share of a rejected step where its slope, interpolated linearly, is 0.

        F is convex, so that it is lower than at the start only before its tangent at the end reaches that level: far
        beyond the minimum, where F is about linear, that share is much smaller.
        """
        end = -first_order_change(self._objective, trial, -step)
        if not end > 0.0 > slope:
            return _CUTS[1]
        share = min(max(slope / (slope - end), _CUTS[0]), _CUTS[1])
        level = 1.0 - (trial.total - self.at.total) / end
        return min(share, max(0.5 * level, _LEAST_CUT))

    def _is_better(self, trial: Evaluation, step: Array, slope: float, enough: float) -> bool:
        if trial.total < self.at.total + enough * slope:
            return True
        # If rounding hides the decrease, slopes decide.
        close = trial.total <= self.at.total + self.noise * abs(trial.total)
        return close and first_order_change(self._objective, trial, -step) >= _FLATTENED * slope


class _Passes:
    """Evaluations, each with its curvature.

    A class of its own, since `Descent` refers to it: in a reference cycle with `Newton` a GPU's memory would wait for
    Python's garbage collector.
    """

    def __init__(self, quadratic: Callable[[Array], tuple[Evaluation, Callable[[], Array]]]) -> None:
        self._quadratic = quadratic

    def evaluate(self, theta: Array) -> Evaluation:
        """Return the evaluation at theta and keep its curvature."""
        at, self.curvature = self._quadratic(theta)
        return at


#: Damping after a first rejected step relative to the curvature at the constant model, the growth until a step is short
#: enough, and the share that remains after a step that achieves enough.
_DAMPING, _MORE, _LESS = 1e-5, 4.0, 0.1
#: Share to which a joint curvature's step may be shortened; below it the curvature is damped instead.
_SHORTEST = 3e-2
#: Largest tol with which fits of small data go on to a relative error of coefficients; and steps for it at most:
#: Newton's method doubles the digits at each.
_PRECISE_TOL, _MORE_STEPS = 1e-4, 3
#: That error by the dtype of X, and the share of the largest coefficient, in columns of unit scale, below which others
#: count with that share.
_DIGITS, _COUNTED = {"f4": 1e-4, "f8": 1e-7}, 1e-3
#: Shares of the first-order decrease, 1/2 on a quadratic, from which steps achieve enough and below which little.
_ACHIEVED, _POOR = 0.35, 0.15


class Newton:
    """Newton's method from theta, with a new metric at every iterate; `joint` takes softmax's joint curvature.

    A rejected step is repeated with a damped curvature (Levenberg 1944), which shortens the step along directions of
    little curvature and hardly along others. With a joint curvature the whole step is shortened down to a thirtieth: on
    the data set shuttle, whose classes are rare and whose columns have outliers, that takes a sixth of the passes.
    """

    def __init__(self, objective: Objective, theta: Array, sampled: bool, joint: bool = False) -> None:
        self._objective, self._sampled, self._joint = objective, sampled, joint
        self._passes = _Passes(objective.joint_quadratic if joint else objective.quadratic)
        at = self._passes.evaluate(theta)
        self._damping = 0.0
        #: The curvature of the iterate as a callable, and as a matrix once it was needed.
        self._curvature: tuple[Callable[[], Array], Array | None] = (self._passes.curvature, None)
        #: The curvature of the constant model, the unit of damping.
        self._usual = float(objective.problem.constant.curvatures.mean())
        #: The iterate, and the outcome of the last step.
        self.descent = Descent(objective, self._passes.evaluate, at, self._metric(), remembers=False)
        #: Whether the metric belongs to the iterate, and whether no step was taken yet.
        self._fresh = self._first = True

    def _metric(self) -> Metric:
        return self._damped_by(self._damping)

    def _damped_by(self, damping: float) -> Metric:
        compute, matrix = self._curvature
        if matrix is None:
            matrix = compute()
            self._curvature = compute, matrix
        return make_metric(self._objective, matrix, 0, self._sampled, damping=damping)

    def _adapt_damping(self) -> None:
        """Damp less after a step that achieves what the curvature promises, and more after one that achieves little."""
        least = _DAMPING * self._usual
        if self.descent.achieved >= _ACHIEVED:
            self._damping = _LESS * self._damping if self._damping > least else 0.0
        elif self.descent.achieved < _POOR:
            self._damping = max(_MORE * self._damping, least)

    def _damp(self) -> None:
        """Damp the curvature until the step from the iterate is as short as the rejected one shows."""
        descent = self.descent
        # Much less would shorten the step in all directions by what one direction requires.
        longest = max(descent.cut, _CUTS[0]) * descent.length * self._length(descent.metric)
        while True:
            self._damping = max(_MORE * self._damping, _DAMPING * self._usual)
            metric = self._metric()
            if self._length(metric) <= longest or self._damping > self._usual / _DAMPING:
                break
        descent.use_damped_metric(metric)

    @property
    def _keeps_direction(self) -> bool:
        """Whether the rest of a rejected step is long enough to show that its direction is good."""
        return self.descent.cut * self.descent.length >= _SHORTEST

    def _length(self, metric: Metric) -> float:
        """Return the rms of the change of margins along the metric's step if columns were uncorrelated."""
        return float(np.sqrt((metric.step(self.descent.at) ** 2 @ self._objective.squares).sum()))

    def advance(self) -> Evaluation:
        """Try a step in the metric of the iterate; return its evaluation."""
        if not self._fresh:
            self.descent.use_metric(self._metric())
        if self._objective.problem.loss.has_flat_parts:
            trial = self.descent.advance(partial(step_to_line_minimum, self._objective), enough=0.0)
        else:
            trial = self.descent.advance(self._objective.lengthen_step if self._first else None)
        self._first = False
        self._fresh = self.descent.failures > 0
        if not self._fresh:
            self._curvature = self._passes.curvature, None
            if not self._joint or self._damping > 0.0:
                self._adapt_damping()
        elif self._joint and self._damping == 0.0 and self._keeps_direction:
            self.descent.shorten()
        elif not self.descent.is_at_rounding:
            self._damp()
        return trial

    def run_to_end(self, progress: Progress, tol: float, begins: bool) -> Solution:
        """Step until the progress gives a reason to stop, or rounding does.

        begins: whether the start is not yet recorded.
        """
        progress.estimate = self.suboptimality
        reason = progress.record_pass(self.descent.at) if begins else None
        while reason is None:
            reason = progress.record_trial(self.advance())
            if reason is None and tol > 0.0 and self.descent.is_stalled and not progress.has_improved:
                reason = "no step"
        if reason == "certificate" and tol <= _PRECISE_TOL and self._is_cheap and not progress.has_no_optimum:
            self._add_digits(progress)
        return attach_suboptimality(progress.make_solution(reason), self.suboptimality)

    @property
    def _is_cheap(self) -> bool:
        """Whether digits cost little: smooth losses of small data without a wide joint curvature."""
        objective = self._objective
        wide = self._joint and self.descent.at.theta.size > FIRST_COLUMNS
        return objective.is_small and not objective.has_l1 and not wide

    def _add_digits(self, progress: Progress) -> None:
        """Take more steps after the certificate is met until coefficients have their digits, if the fit may go on."""
        digits = _DIGITS[self._objective.data.dtype]
        for _ in range(_MORE_STEPS):
            if not progress.may_continue or self._relative_error() <= digits:
                break
            self.advance()
            progress.record_pass(self.descent.at)
            if self.descent.failures > 0:
                break

    def _relative_error(self) -> float:
        """Return the largest relative error of a coefficient, by the step without damping."""
        at, units = self.descent.at, np.sqrt(self._objective.squares)
        metric = self._undamped or self.descent.metric
        sizes, errors = np.abs(at.theta) * units, np.abs(metric.step(at)) * units
        largest = float(sizes.max())
        return float((errors / np.maximum(sizes, _COUNTED * largest)).max()) if largest > 0.0 else 0.0

    @property
    def _undamped(self) -> Metric | None:
        """The metric of the iterate without damping if steps are damped."""
        return None if self._damping == 0.0 else self._damped_by(0.0)

    def suboptimality(self, at: Evaluation) -> Array | None:
        """As `Descent.suboptimality`, by the curvature without damping."""
        return self.descent.suboptimality(at, self._undamped)


def solve_newton(objective: Objective, theta: Array, tol: float, monitor: Monitor, joint: bool = False) -> Solution:
    """Minimise from theta until the certificate is at most tol or `monitor.history.max_iter` passes are done.

    joint: whether to take softmax's joint curvature.
    """
    newton = Newton(objective, theta, sampled=False, joint=joint)
    return newton.run_to_end(Progress(objective, tol, monitor), tol, begins=True)
