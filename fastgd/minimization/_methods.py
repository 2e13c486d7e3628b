"""Ways to go from one iterate to the next: an update rule, a searched step, accelerated gradient."""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from fastgd.backends.rule_state import RuleState
from fastgd.minimization._function import Array, Evaluation, Function
from fastgd.optimizers import Optimizer
from fastgd.schedules import Schedule
from fastgd.solvers.accelerated import Momentum
from fastgd.solvers.line_search import HALVINGS, Trial, backtrack, root_of_slope
from fastgd.solvers.pace import Pace

#: Rounding of values, relative to the first one: later ones may be small differences of large terms.
_ROUNDING = 8.0 * float(np.finfo(np.float64).eps)
#: Changes of the gradient, relative to the largest one so far, from which a curvature is taken.
_VISIBLE = 1e-4
#: By what a followed rate grows and falls.
_LONGER, _SHORTER = 1.1, 0.7
#: What is left of an accelerated run's L after each step.
_LOWER = 0.9


class Step(NamedTuple):
    """A learning rate, and where it led."""

    rate: float
    end: Evaluation


class Method(Protocol):
    """Anything that moves."""

    def step(self, at: Evaluation) -> Step | None:
        """Go on from the last iterate; None where there is no step to take."""


class Rates(Protocol):
    """The learning rates of a run."""

    def next(self) -> float:
        """The rate of the next step."""

    def seen(self, start: Evaluation, end: Evaluation) -> None:
        """Take into account where the step led."""


class ScheduledRates:
    """The rates of a schedule, an iteration being an epoch of one update."""

    def __init__(self, optimizer: Optimizer, schedule: Schedule) -> None:
        self._pace = Pace(schedule, 1, check=optimizer.check_rates)
        self._done = 0

    def next(self) -> float:
        """The rate of the next step."""
        self._pace.begin(self._done, self._done)
        return float(self._pace.rates(0, 1)[0])

    def seen(self, start: Evaluation, end: Evaluation) -> None:
        """Take into account where the step led."""
        self._pace.end(end.value)
        self._done += 1


class FollowedRates:
    """Rates of an adaptive rule that grow while its steps end before the minimum along them, and else fall.

    The sign of the slope at a step's end along it decides, as the sign of a partial derivative does in Rprop
    (Riedmiller and Braun 1993).
    """

    def __init__(self, first: float, largest: float) -> None:
        self._rate = first
        self._largest = largest

    def next(self) -> float:
        """The rate of the next step."""
        self._rate = min(self._rate, self._largest)
        return self._rate

    def seen(self, start: Evaluation, end: Evaluation) -> None:
        """Take into account where the step led."""
        slope = float((end.x - start.x) @ end.gradient)
        self._rate = max(self._rate * (_LONGER if slope < 0.0 else _SHORTER), sys.float_info.min)


class RuleSteps:
    """An update rule.

    most: the largest curvature for which the rates are right. Where more is seen there is no step to take.
    """

    def __init__(self, function: Function, optimizer: Optimizer, rates: Rates, x: Array, most: float) -> None:
        self._function = function
        # The last column is the intercept, which AdamW does not decay: x has none.
        self._rule = RuleState(optimizer.recipe(1), np.append(x, 0.0)[None, :])
        self._no_l1 = np.zeros((1, x.size + 1))
        self._rates = rates
        self._curvature = CurvatureSeen()
        self._most = most

    def step(self, at: Evaluation) -> Step | None:
        """One update."""
        x = self._rule.point[0, :-1]
        point = at if np.array_equal(x, at.x) else self._function.evaluate(x)
        if self._curvature.since_last(point) > self._most:
            return None
        rate = self._rates.next()
        self._rule.update(np.append(point.gradient, 0.0)[None, :], rate, self._no_l1)
        end = self._function.evaluate(self._rule.reported[0, :-1].copy())
        self._rates.seen(at, end)
        return Step(rate, end)


class CurvatureSeen:
    """Curvatures from one point to the next, which the largest one bounds."""

    def __init__(self) -> None:
        self._last: Evaluation | None = None
        self._steepest = 0.0

    def since_last(self, point: Evaluation) -> float:
        """The mean curvature along the way from the point before, 0 where none can be seen."""
        last, self._last = self._last, point
        self._steepest = max(self._steepest, float(np.linalg.norm(point.gradient)))
        if last is None:
            return 0.0
        move, change = point.x - last.x, point.gradient - last.gradient
        # Small changes may be rounding, or errors of differences.
        if not float(np.linalg.norm(change)) > _VISIBLE * self._steepest:
            return 0.0
        squared = float(move @ move)
        return float(move @ change) / squared if squared > 0.0 else 0.0


#: The length of a step along -g from a point, first tried at a length; None where none lowers the function.
Search = Callable[[Function, Evaluation, float], float | None]


def halved(function: Function, at: Evaluation, length: float) -> float | None:
    """The first of length, length / 2, ... that lowers the function by a share of what its gradient promises."""
    squared = float(at.gradient @ at.gradient)
    return backtrack(lambda t: Trial(t * t * squared, function.value(along(at, t))), at.value, length)


def exact(function: Function, at: Evaluation, length: float) -> float | None:
    """To a place where the slope is 0; where a hill lies before that, as `halved` goes from half way."""

    def slope(length: float) -> float:
        here = function.evaluate(along(at, length)) if length > 0.0 else at
        found = -float(here.gradient @ at.gradient)
        # Where the function ends it has a wall.
        return found if math.isfinite(found) else sys.float_info.max

    found = root_of_slope(slope, length)
    if found is None or function.value(along(at, found)) < at.value:
        return found
    return halved(function, at, 0.5 * found)


def along(at: Evaluation, length: float) -> Array:
    """The point that a step of this length against the gradient leads to."""
    return at.x - length * at.gradient


SEARCHES: dict[str, Search] = {"backtracking": halved, "exact": exact}


class LineSearch:
    """Steps of searched lengths; the first trial is twice the last step where it `grows`, else `length` each time."""

    def __init__(self, function: Function, search: Search, length: float, grows: bool) -> None:
        self._function = function
        self._search = search
        self._length = length
        self._grows = grows

    def step(self, at: Evaluation) -> Step | None:
        """The step that the search finds."""
        length = self._search(self._function, at, self._length)
        if length is None:
            return None
        if self._grows:
            self._length = 2.0 * length
        return Step(length, self._function.evaluate(along(at, length)))


class AcceleratedSteps:
    """FISTA: gradient steps of length 1 / L from a point ahead, L by backtracking, with restarts.

    L falls by a tenth with every step, since curvatures elsewhere say nothing here, and is doubled where that was too
    much (Becker, Candes and Grant 2011). Momentum starts anew where it points uphill (O'Donoghue and Candes 2015).
    Where it led uphill a plain gradient step is taken instead: whatever the function, each iterate is lower than the
    one before.
    """

    def __init__(self, function: Function, start: Evaluation, curvature: float) -> None:
        self._function = function
        self._curvature = curvature
        self._rounding = _ROUNDING * abs(start.value)
        self._momentum = Momentum()
        self._ahead: Array | None = None

    def step(self, at: Evaluation) -> Step | None:
        """The gradient step from the point ahead, or from the iterate itself."""
        origin, step = at, None
        if self._ahead is not None:
            origin = self._function.evaluate(self._ahead)
            step = self._descend(origin)
        if step is None or not step.end.value <= at.value + self._rounding:
            self._restart()
            origin, step = at, self._descend(at)
        if step is None:
            return None
        self._curvature = max(_LOWER / step.rate, sys.float_info.min)
        move = step.end.x - at.x
        if float(origin.gradient @ move) > 0.0:
            self._restart()
        else:
            self._ahead = self._momentum.extrapolate(step.end.x, at.x)
        return step

    def _restart(self) -> None:
        self._momentum.restart()
        self._ahead = None

    def _descend(self, origin: Evaluation) -> Step | None:
        """The gradient step with an L, doubled as often as needed, short enough for the curvature along it."""
        curvature = self._curvature
        for _ in range(HALVINGS):
            if not curvature < sys.float_info.max:
                return None
            x = along(origin, 1.0 / curvature)
            if self._is_low(origin, x, curvature):
                return Step(1.0 / curvature, self._function.evaluate(x))
            curvature *= 2.0
        return None

    def _is_low(self, origin: Evaluation, x: Array, curvature: float) -> bool:
        """Whether the function lies below its parabola at x.

        Where rounding hides that, whether the slope has not turned, which says the same of a parabola (Hager and Zhang
        2005).
        """
        value = self._function.value(x)
        if value <= origin.value - 0.5 * float(origin.gradient @ origin.gradient) / curvature:
            return True
        if not value <= origin.value + self._rounding:
            return False
        return float(self._function.evaluate(x).gradient @ origin.gradient) >= 0.0
