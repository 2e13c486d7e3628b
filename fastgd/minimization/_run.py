"""One run from one start: how it is stepped, when it stops, and where it has been."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult

from fastgd.history import logger
from fastgd.minimization import _rates as rates
from fastgd.minimization._function import Array, Evaluation, Function
from fastgd.minimization._methods import (
    SEARCHES,
    AcceleratedSteps,
    FollowedRates,
    LineSearch,
    Method,
    Rates,
    RuleSteps,
    ScheduledRates,
    Step,
)
from fastgd.minimization._stationary import kind_of
from fastgd.optimizers import LBFGS, Accelerated, GradientDescent, Optimizer, WithRate
from fastgd.schedules import is_auto
from fastgd.solvers.lbfgs import run_lbfgs

#: Numbers by which results say why they ended; the first four are those of scipy's BFGS.
CONVERGED, MAX_ITER, NO_STEP, DIVERGED, CALLBACK = 0, 1, 2, 3, 99
#: How often an automatic rate is halved.
_RESTARTS = 20
#: Relative excess of a curvature over 1 / rate from which an automatic rate is too large; rounding stays below.
_EXCESS = 1.02


@dataclass(frozen=True)
class Orders:
    """How to run: the optimizer, when to stop at the latest, and who is told of each iterate and may stop."""

    optimizer: Optimizer
    max_iter: int
    tol: float
    stops: Callable[[OptimizeResult], bool]


@dataclass
class Trace:
    """Where a run has been; `failed` is the rate of a step that led nowhere finite."""

    at: Evaluation
    path: list[Array] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    failed: float = math.nan

    def __post_init__(self) -> None:
        self._note()

    def add(self, rate: float, at: Evaluation) -> None:
        """Take a step."""
        self.at = at
        self.rates.append(rate)
        self._note()

    def _note(self) -> None:
        self.path.append(self.at.x)
        self.values.append(self.at.value)

    def as_callbacks_see_it(self) -> OptimizeResult:
        """The last iterate, in arrays that a callback may keep or change."""
        at = self.at
        numbers = {"fun": at.value, "nit": len(self.rates), "learning_rate": self.rates[-1]}
        return OptimizeResult(x=at.x.copy(), jac=at.gradient.copy(), **numbers)


class Run(NamedTuple):
    """A trace and why it ended."""

    trace: Trace
    status: int


def descend(function: Function, start: Evaluation, orders: Orders) -> Run:
    """Minimise from a start, and distinguish a minimum from other points of gradient 0."""
    # A run that diverges may overflow before it is seen to.
    with np.errstate(all="ignore"):
        run = _descend(function, start, orders)
        return Run(run.trace, kind_of(function, run.trace.at, orders.tol)) if run.status == CONVERGED else run


def _descend(function: Function, start: Evaluation, orders: Orders) -> Run:
    if not start.finite:
        return Run(Trace(start), DIVERGED)
    if _flat(start, orders.tol):
        return Run(Trace(start), CONVERGED)
    if isinstance(orders.optimizer, LBFGS):
        return _by_scipy(function, start, orders, orders.optimizer.memory)
    if searches(orders.optimizer):
        return _follow(start, _searching(function, start, orders.optimizer), orders)
    return _by_rule(function, start, orders)


def searches(optimizer: Optimizer) -> bool:
    """Whether an optimizer finds the length of each step itself."""
    line_search = isinstance(optimizer, GradientDescent) and optimizer.line_search is not None
    return isinstance(optimizer, Accelerated | LBFGS) or line_search


def _searching(function: Function, start: Evaluation, optimizer: Optimizer) -> Method:
    if isinstance(optimizer, Accelerated):
        return AcceleratedSteps(function, start, rates.curvature_downhill(function, start))
    params = optimizer.get_params(deep=False)
    given = params["learning_rate"]
    automatic = isinstance(given, str)
    length = 1.0 / rates.curvature_downhill(function, start) if automatic else float(given)
    return LineSearch(function, SEARCHES[params["line_search"]], length, grows=automatic)


def _by_rule(function: Function, start: Evaluation, orders: Orders) -> Run:
    """Run an update rule; an automatic rate that proves too large is halved, and begins again at the start."""
    optimizer = orders.optimizer
    assert isinstance(optimizer, WithRate)
    rate = rates.automatic_rate(optimizer, function, start) if optimizer.schedule.automatic else None
    # Steps of adaptive rules hardly depend on the size of gradients; a user's rate is the user's.
    takes_any = rate is None or optimizer.adaptive is not None
    for _ in range(_RESTARTS):
        most = math.inf if takes_any or rate is None else _EXCESS / rate
        method = RuleSteps(function, optimizer, _rates(optimizer, rate, orders.max_iter), start.x, most)
        run = _follow(start, method, orders)
        if rate is None or run.status not in (NO_STEP, DIVERGED):
            break
        logger.info("rate %.6g, too large in iteration %d, is halved", rate, len(run.trace.rates))
        rate *= 0.5
    return Run(run.trace, DIVERGED) if run.status == NO_STEP else run


def _rates(optimizer: WithRate, rate: float | None, max_iter: int) -> Rates:
    if rate is not None and optimizer.adaptive and is_auto(optimizer.learning_rate):
        return FollowedRates(rate, optimizer.largest_rate)
    return ScheduledRates(optimizer, optimizer.schedule.bind(rate, max_iter))


def _follow(start: Evaluation, method: Method, orders: Orders) -> Run:
    """Step by step until there is a reason to stop."""
    trace = Trace(start)
    for _ in range(orders.max_iter):
        step = method.step(trace.at)
        if step is None:
            return Run(trace, NO_STEP)
        status = _taken(trace, step, orders)
        if status is not None:
            return Run(trace, status)
    return Run(trace, MAX_ITER)


def _taken(trace: Trace, step: Step, orders: Orders) -> int | None:
    """Take a step; why to stop, or None."""
    if not step.end.finite:
        trace.failed = step.rate
        return DIVERGED
    trace.add(*step)
    if orders.stops(trace.as_callbacks_see_it()):
        return CALLBACK
    return CONVERGED if _flat(trace.at, orders.tol) else None


def _by_scipy(function: Function, start: Evaluation, orders: Orders, memory: int) -> Run:
    """Follow scipy's L-BFGS-B, whose own reasons to stop are off but for a line search that finds no step."""
    trace = Trace(start)
    status: int | None = None

    def value_and_gradient(x: Array) -> tuple[float, Array]:
        at = function.evaluate(x)
        if at.finite:
            return at.value, at.gradient
        # Where the function ends it has a wall, as high as the way down was to be deep.
        return trace.at.value + abs(float(trace.at.gradient @ (x - trace.at.x))), np.zeros_like(x)

    def follow(intermediate_result: OptimizeResult) -> None:
        nonlocal status
        at, before = function.evaluate(intermediate_result.x.copy()), trace.at
        steepness = float(np.linalg.norm(before.gradient))
        rate = float(np.linalg.norm(at.x - before.x)) / steepness if steepness > 0.0 else 0.0
        status = _taken(trace, Step(rate, at), orders)
        if status is None and len(trace.rates) == orders.max_iter:
            status = MAX_ITER
        if status is not None:
            raise StopIteration

    run_lbfgs(value_and_gradient, start.x, memory, follow)
    return Run(trace, NO_STEP if status is None else status)


def _flat(at: Evaluation, tol: float) -> bool:
    return tol > 0.0 and at.steepness <= tol
