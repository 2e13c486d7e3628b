"""One run of `fastgd.minimize` from one start: its steps, its path, and its reason to stop."""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from typing import NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult

from fastgd.history import logger
from fastgd.minimization._function import (
    Array,
    Evaluation,
    Function,
    curvature_downhill,
    extreme_curvatures,
    falls_nearby,
    invertible,
    is_plateau,
    largest_curvature,
)
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import LBFGS, Accelerated, GradientDescent, Optimizer, WithRate
from fastgd.schedules import is_auto
from fastgd.solvers.accelerated import Momentum, secant_curvature
from fastgd.solvers.lbfgs import run_lbfgs
from fastgd.solvers.learning_rate import RunningSchedule
from fastgd.solvers.line_search import HALVINGS, Trial, backtrack, root_of_slope

#: How often an automatic rate is halved.
_RESTARTS = 20
#: Relative excess of a curvature over 1 / rate from which an automatic rate is too large; rounding stays below.
_EXCESS = 1.02
#: Changes of the gradient, relative to the largest one so far, from which a curvature is taken: smaller ones may be
#: rounding, or errors of differences.
_VISIBLE = 1e-4
#: Factors by which an adaptive rate grows and falls.
_LONGER, _SHORTER = 1.1, 0.7
#: Rounding of values, relative to the first one: later ones may be small differences of large terms.
_ROUNDING = 8.0 * float(np.finfo(np.float64).eps)
#: Factor of the curvature estimate of an accelerated run after each step.
_LOWER = 0.9


class Status(IntEnum):
    """Why a run ended; the first four are those of scipy's BFGS."""

    CONVERGED = 0
    MAX_ITER = 1
    NO_STEP = 2
    DIVERGED = 3
    NO_MINIMUM = 4
    PLATEAU = 5
    CALLBACK = 99


@dataclass(frozen=True)
class RunOptions:
    """The optimizer, the limits of a run, and a callback that may end it."""

    optimizer: Optimizer
    max_iter: int
    tol: float
    ends_run: Callable[[OptimizeResult], bool]

    def met(self, at: Evaluation) -> bool:
        """Whether the gradient is within the tolerance."""
        return self.tol > 0.0 and at.steepness <= self.tol


@dataclass
class Path:
    """The iterates of a run; `failed_rate` is that of a step that ended where the function is not finite."""

    at: Evaluation
    points: list[Array] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    failed_rate: float = math.nan

    def __post_init__(self) -> None:
        self._append(self.at)

    def add(self, step: "Step") -> None:
        """Go on to the end of a step."""
        self.rates.append(step.rate)
        self._append(step.end)

    def _append(self, at: Evaluation) -> None:
        self.at = at
        self.points.append(at.x)
        self.values.append(at.value)

    def last_iterate(self) -> OptimizeResult:
        """Return the last iterate, in arrays that a callback may keep or change."""
        at = self.at
        numbers = {"fun": at.value, "nit": len(self.rates), "learning_rate": self.rates[-1]}
        return OptimizeResult(x=at.x.copy(), jac=at.gradient.copy(), **numbers)


class Run(NamedTuple):
    """The path of a run and why it ended."""

    path: Path
    status: Status


class Step(NamedTuple):
    """A learning rate, and the point that the step ended at."""

    rate: float
    end: Evaluation


def descend(function: Function, start: Evaluation, options: RunOptions) -> Run:
    """Minimise from a start, and distinguish a minimum from other points of gradient 0."""
    # A run may overflow before it is found to diverge.
    with np.errstate(all="ignore"):
        run = _descend(function, start, options)
        return Run(run.path, _kind_of(function, run.path.at, options.tol)) if run.status == Status.CONVERGED else run


def _descend(function: Function, start: Evaluation, options: RunOptions) -> Run:
    if not start.finite:
        return Run(Path(start), Status.DIVERGED)
    if options.met(start):
        return Run(Path(start), Status.CONVERGED)
    if isinstance(options.optimizer, LBFGS):
        return _by_scipy(function, start, options, options.optimizer.memory)
    if searches_steps(options.optimizer):
        return _follow(start, _searching_steps(function, start, options.optimizer), options)
    return _by_rule(function, start, options)


def _kind_of(function: Function, at: Evaluation, tol: float) -> Status:
    """Classify a point with a gradient of at most tol by the extreme curvatures there, and by values nearby."""
    curvatures = extreme_curvatures(function, at)
    if curvatures.values.size == 0 or not np.all(np.isfinite(curvatures.values)):
        return Status.CONVERGED
    if is_plateau(at, curvatures, tol):
        return Status.PLATEAU
    return Status.NO_MINIMUM if falls_nearby(function, at, curvatures) else Status.CONVERGED


def searches_steps(optimizer: Optimizer) -> bool:
    """Whether an optimizer finds the length of each step itself."""
    line_search = isinstance(optimizer, GradientDescent) and optimizer.line_search is not None
    return isinstance(optimizer, Accelerated | LBFGS) or line_search


def _follow(start: Evaluation, steps: Iterator[Step], options: RunOptions) -> Run:
    """Take steps until there is a reason to stop."""
    path = Path(start)
    for step in islice(steps, options.max_iter):
        status = _take(path, step, options)
        if status is not None:
            return Run(path, status)
    return Run(path, Status.MAX_ITER if len(path.rates) == options.max_iter else Status.NO_STEP)


def _take(path: Path, step: Step, options: RunOptions) -> Status | None:
    """Take a step; return the reason to stop, or None."""
    if not step.end.finite:
        path.failed_rate = step.rate
        return Status.DIVERGED
    path.add(step)
    if options.ends_run(path.last_iterate()):
        return Status.CALLBACK
    return Status.CONVERGED if options.met(path.at) else None


def _by_rule(function: Function, start: Evaluation, options: RunOptions) -> Run:
    """Run an update rule; an automatic rate that proves too large is halved, and begins again at the start."""
    optimizer = options.optimizer
    assert isinstance(optimizer, WithRate)
    rate = _automatic_rate(optimizer, function, start) if optimizer.schedule.automatic else None
    for _ in range(_RESTARTS):
        # Steps of adaptive rules hardly depend on the size of gradients, and a user's rate is taken as given.
        limit = math.inf if rate is None or optimizer.adaptive else _EXCESS / rate
        rates = _rates(optimizer, rate, options.max_iter)
        run = _follow(start, _rule_steps(function, optimizer, rates, start, limit), options)
        if rate is None or run.status not in (Status.NO_STEP, Status.DIVERGED):
            break
        logger.info("rate %.6g, too large in iteration %d, is halved", rate, len(run.path.rates))
        rate *= 0.5
    return Run(run.path, Status.DIVERGED) if run.status == Status.NO_STEP else run


def _automatic_rate(optimizer: WithRate, function: Function, at: Evaluation) -> float:
    """Return 1 / L, L the largest curvature found at the start, or the rate of an adaptive rule's first step.

    That step leads to the minimum along the gradient; it is at most 1 + |x| long, shared among coordinates.
    """
    if optimizer.adaptive is None:
        return invertible(1.0 / largest_curvature(function, at))
    length = min(at.slope / curvature_downhill(function, at), at.reach) / math.sqrt(at.x.size)
    return invertible(optimizer.rate_of_first_step(length))


class _ScheduledRates:
    """The rates of a schedule, an iteration being an epoch of one update."""

    def __init__(self, optimizer: WithRate, rate: float | None, max_iter: int) -> None:
        self._schedule = RunningSchedule(optimizer.schedule.bind(rate, max_iter), 1, check=optimizer.check_rates)
        self._done = 0

    def next(self) -> float:
        """Return the rate of the next step."""
        self._schedule.begin(self._done, self._done)
        return float(self._schedule.rates(0, 1)[0])

    def observe(self, start: Evaluation, end: Evaluation) -> None:
        """Take the step's result into account."""
        self._schedule.end(end.value)
        self._done += 1


class _AdaptedRates:
    """Rates of an adaptive rule that grow while its steps end before the minimum along them, and else fall.

    The sign of the slope at a step's end along it decides, as the sign of a partial derivative does in Rprop
    (Riedmiller and Braun 1993).
    """

    def __init__(self, first: float, largest: float) -> None:
        self._rate = first
        self._largest = largest

    def next(self) -> float:
        """Return the rate of the next step."""
        self._rate = min(self._rate, self._largest)
        return self._rate

    def observe(self, start: Evaluation, end: Evaluation) -> None:
        """Take the step's result into account."""
        slope = float((end.x - start.x) @ end.gradient)
        self._rate = max(self._rate * (_LONGER if slope < 0.0 else _SHORTER), sys.float_info.min)


def _rates(optimizer: WithRate, rate: float | None, max_iter: int) -> _ScheduledRates | _AdaptedRates:
    if rate is not None and optimizer.adaptive and is_auto(optimizer.learning_rate):
        return _AdaptedRates(rate, optimizer.largest_rate)
    return _ScheduledRates(optimizer, rate, max_iter)


def _rule_steps(
    function: Function, optimizer: WithRate, rates: _ScheduledRates | _AdaptedRates, start: Evaluation, limit: float
) -> Iterator[Step]:
    """Yield updates of a rule; end where the curvature from one gradient to the next exceeds a limit."""
    # The last column is the intercept, which AdamW does not decay: x has none.
    rule = RuleState(optimizer.recipe(1), np.append(start.x, 0.0)[None, :])
    no_l1 = np.zeros((1, start.x.size + 1))
    at, before, steepest = start, start, 0.0
    while True:
        x = rule.point[0, :-1]
        point = at if np.array_equal(x, at.x) else function.evaluate(x)
        steepest = max(steepest, point.slope)
        if secant_curvature(point.x - before.x, point.gradient - before.gradient, _VISIBLE * steepest) > limit:
            return
        before, rate = point, rates.next()
        rule.update(np.append(point.gradient, 0.0)[None, :], rate, no_l1)
        end = function.evaluate(rule.reported[0, :-1].copy())
        rates.observe(at, end)
        yield Step(rate, end)
        at = end


def _searching_steps(function: Function, start: Evaluation, optimizer: Optimizer) -> Iterator[Step]:
    if not isinstance(optimizer, GradientDescent):
        return _accelerated_steps(function, start, curvature_downhill(function, start))
    search = _halve if optimizer.line_search == "backtracking" else _minimise_along
    if is_auto(optimizer.learning_rate):
        return _line_search_steps(function, search, start, 1.0 / curvature_downhill(function, start), grows=True)
    assert isinstance(optimizer.learning_rate, float | int)
    return _line_search_steps(function, search, start, float(optimizer.learning_rate), grows=False)


#: Returns the length of a step along -g from a point, given a first length to try; None where none lowers the function.
Search = Callable[[Function, Evaluation, float], float | None]


def _line_search_steps(
    function: Function, search: Search, at: Evaluation, length: float, grows: bool
) -> Iterator[Step]:
    """Yield steps of searched lengths, each first tried at `length` or, where that `grows`, at twice the last step."""
    while (found := search(function, at, length)) is not None:
        if grows:
            length = 2.0 * found
        at = function.evaluate(at.along(found))
        yield Step(found, at)


def _halve(function: Function, at: Evaluation, length: float) -> float | None:
    """Return the first of length, length / 2, ... that lowers the function by a share of its first-order decrease."""
    squared = float(at.gradient @ at.gradient)
    return backtrack(lambda t: Trial(t * t * squared, function.value(at.along(t))), at.value, length)


def _minimise_along(function: Function, at: Evaluation, length: float) -> float | None:
    """Return a length at which the slope is 0; half of it, halved further, where the function is not lower there."""

    def slope(length: float) -> float:
        here = function.evaluate(at.along(length)) if length > 0.0 else at
        found = -float(here.gradient @ at.gradient)
        # Outside its domain the function counts as rising steeply.
        return found if math.isfinite(found) else sys.float_info.max

    found = root_of_slope(slope, length)
    if found is None or function.value(at.along(found)) < at.value:
        return found
    return _halve(function, at, 0.5 * found)


def _accelerated_steps(function: Function, at: Evaluation, curvature: float) -> Iterator[Step]:
    """Yield FISTA's gradient steps of length 1 / L from a point ahead, L by backtracking, with restarts.

    L falls by a tenth with every step, since curvatures elsewhere say nothing here, and is doubled where that was too
    much (Becker, Candes and Grant 2011). Momentum restarts if it points uphill (O'Donoghue and Candes 2015). If it led
    uphill a plain gradient step is taken instead: for any function, each iterate is lower than the one before.
    """
    momentum, rounding = Momentum(), _ROUNDING * abs(at.value)
    ahead: Array | None = None
    while True:
        origin, step = at, None
        if ahead is not None:
            origin = function.evaluate(ahead)
            step = _gradient_step(function, origin, curvature, rounding)
        if step is None or not step.end.value <= at.value + rounding:
            momentum.restart()
            origin, step = at, _gradient_step(function, at, curvature, rounding)
        if step is None:
            return
        curvature = max(_LOWER / step.rate, sys.float_info.min)
        if float(origin.gradient @ (step.end.x - at.x)) > 0.0:
            momentum.restart()
            ahead = None
        else:
            ahead = momentum.extrapolate(step.end.x, at.x)
        at = step.end
        yield step


def _gradient_step(function: Function, origin: Evaluation, curvature: float, rounding: float) -> Step | None:
    """Return the gradient step with an L, doubled as often as needed, short enough for the curvature along it."""
    for _ in range(HALVINGS):
        if not curvature < sys.float_info.max:
            return None
        x = origin.along(1.0 / curvature)
        if _is_below_parabola(function, origin, x, curvature, rounding):
            return Step(1.0 / curvature, function.evaluate(x))
        curvature *= 2.0
    return None


def _is_below_parabola(function: Function, origin: Evaluation, x: Array, curvature: float, rounding: float) -> bool:
    """Whether the function lies below its parabola at x.

    Where rounding hides that, whether the slope has not turned, which says the same of a parabola (Hager and Zhang
    2005).
    """
    value = function.value(x)
    if value <= origin.value - 0.5 * float(origin.gradient @ origin.gradient) / curvature:
        return True
    if not value <= origin.value + rounding:
        return False
    return float(function.evaluate(x).gradient @ origin.gradient) >= 0.0


def _by_scipy(function: Function, start: Evaluation, options: RunOptions, memory: int) -> Run:
    """Follow scipy's L-BFGS-B, which itself stops only if its line search finds no step."""
    path = Path(start)
    status: Status | None = None

    def value_and_gradient(x: Array) -> tuple[float, Array]:
        at = function.evaluate(x)
        if at.finite:
            return at.value, at.gradient
        # Outside its domain the function counts as risen by as much as the step was to lower it.
        return path.at.value + abs(float(path.at.gradient @ (x - path.at.x))), np.zeros_like(x)

    def follow(intermediate_result: OptimizeResult) -> None:
        nonlocal status
        at, before = function.evaluate(intermediate_result.x.copy()), path.at
        rate = float(np.linalg.norm(at.x - before.x)) / before.slope if before.slope > 0.0 else 0.0
        status = _take(path, Step(rate, at), options)
        if status is None and len(path.rates) == options.max_iter:
            status = Status.MAX_ITER
        if status is not None:
            raise StopIteration

    run_lbfgs(value_and_gradient, start.x, memory, follow)
    return Run(path, Status.NO_STEP if status is None else status)
