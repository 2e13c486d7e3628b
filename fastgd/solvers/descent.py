"""Steps in a metric, safeguarded: a step that does not lower the objective teaches the metric and is taken back."""

import math
from collections import deque
from collections.abc import Callable

import numpy as np

from fastgd.objective import Evaluation, Objective
from fastgd.scaling import Array
from fastgd.solvers.metric import Metric
from fastgd.stopping import Solution

#: Share of the decrease that the model promises for which a step is taken (Armijo 1966).
_ENOUGH = 1e-4
#: Slope at the end of a step, relative to its start's, up to which the loss need not be asked.
_FLATTENED = 0.5
#: Least and largest share to which a step of a metric that learns nothing is cut, and how much longer the next may be.
_CUTS, _LONGER = (0.1, 0.5), 2.0
#: Steps by which a model's expectations are corrected.
_LAST_STEPS = 3
#: Steps taken back in a row after which nothing more is to be gained.
MOST_FAILURES = 20
#: Rounding of a loss, in units of eps.
ROUNDING = 4.0


def promised(objective: Objective, at: Evaluation, step: Array) -> float:
    """The change of F along a step to first order, L1 exactly: negative for a descent."""
    if not objective.has_l1:
        return float(np.vdot(at.slope, step))
    return float(promised_by_output(objective, at, step).sum())


def promised_by_output(objective: Objective, at: Evaluation, step: Array) -> Array:
    """The same of each output (K,), in working units."""
    total: Array = (at.slope * step + objective.l1 * (np.abs(at.theta + step) - np.abs(at.theta))).sum(axis=1)
    return total


def is_finite(at: Evaluation) -> bool:
    """Whether neither F nor its gradient overflows there."""
    return math.isfinite(at.total) and bool(np.isfinite(at.slope).all())


class Descent:
    """From an evaluation to better ones.

    Parameters
    ----------
    objective : Objective
        Of all rows or a sample of them.
    evaluate : callable
        Gives the evaluation at theta; a pass.
    at : Evaluation
        Where to start.
    metric : Metric
    remembers : bool, default=True
        Whether the metric is to last: else it learns nothing, and a step too long is cut to where its slope ends.
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
        self._length = 1.0
        self._objective, self._evaluate = objective, evaluate
        self.noise = ROUNDING * float(np.finfo(objective.data.dtype).eps)
        self.failures = 0
        #: At the starts of the last steps what F was expected to fall, and F.
        self._expected: deque[tuple[float, float]] = deque(maxlen=_LAST_STEPS)
        #: What the model expected of the last step, as a share of F: twice the distance to the optimum, about.
        self.promise = np.inf

    @property
    def idle(self) -> bool:
        """Whether the last step promised less than rounding, or was the last of many that failed."""
        return self.failures >= MOST_FAILURES or self.rounded

    @property
    def rounded(self) -> bool:
        """Whether the last step promised less than rounding."""
        return self.promise <= self.noise * abs(self.at.total)

    def told(self, solution: Solution) -> Solution:
        """A solution with what F is expected to fall still: half the Newton decrement's square, as far as it held."""
        at, data = solution.evaluation, self._objective.data
        # Of fewer rows than columns a model of second order knows only what is near.
        if at is None or data.n <= data.d:
            return solution
        promise = promised_by_output(self._objective, at, self.metric.step(at))
        gain = np.maximum(-0.5 * promise, 0.0)
        solution.gain = gain * self._honesty(float(gain.sum()))
        return solution

    def _honesty(self, gain: float) -> float:
        """How many times what the model expected F has fallen since any of the last steps; 1 at least."""
        fell = [
            (total - self.at.total) / (expected - gain)
            for expected, total in self._expected
            if expected > gain and total - self.at.total > self.noise * abs(total)
        ]
        return max([1.0, *fell])

    def use(self, metric: Metric) -> None:
        """Go on in another metric."""
        self.metric, self.failures = metric, 0
        self._length = 1.0 if self._remembers else min(_LONGER * self._length, 1.0)

    def advance(
        self, lengthened: Callable[[Evaluation, Array], Array] | None = None, enough: float = _ENOUGH
    ) -> Evaluation:
        """One pass: go to the end of a step, `lengthened` where that is asked for, or stay and know better.

        enough: share of the promised decrease for which the step is taken; 0 where it ends at the line's minimum.
        """
        objective, at = self._objective, self.at
        step = self._length * self.metric.step(at)
        slope = promised(objective, at, step)
        self.promise = -slope
        if lengthened is not None:
            step = lengthened(at, step)
            slope = promised(objective, at, step)
        trial = self._evaluate(at.theta + step)
        if is_finite(trial) and self._remembers:
            self.metric.learn(step, trial.slope - at.slope)
        if self._is_better(trial, step, slope, enough):
            # Of a step of a share t of the model's the promise is t times that of the whole.
            self._expected.append((0.5 * self.promise / self._length, self.at.total))
            self.at, self.failures = trial, 0
            if self._remembers:
                self._length = 1.0
        else:
            self.failures += 1
            self._length *= 0.5 if self._remembers else self._cut(trial, step, slope)
        return trial

    def _cut(self, trial: Evaluation, step: Array, slope: float) -> float:
        """The share of a failed step at which its slope is expected to be 0, as if it grew evenly along the step."""
        end = -promised(self._objective, trial, -step)
        if not end > 0.0 > slope:
            return _CUTS[1]
        return min(max(slope / (slope - end), _CUTS[0]), _CUTS[1])

    def _is_better(self, trial: Evaluation, step: Array, slope: float, enough: float) -> bool:
        if not is_finite(trial):
            return False
        if trial.total < self.at.total + enough * slope:
            return True
        # Where rounding hides the decrease, the slope tells.
        close = trial.total <= self.at.total + self.noise * abs(trial.total)
        return close and promised(self._objective, trial, -step) >= _FLATTENED * slope
