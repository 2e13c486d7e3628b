"""Automatic and safe learning rates, and the state of a running schedule."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd.arrays import Array
from fastgd.objective.objective import Objective
from fastgd.optimizers import WithRate
from fastgd.schedules import Constant, CosineDecay, InverseTimeDecay, Schedule, is_auto

#: `RulePlan.max_iter` of a stream, whose length is unknown.
ENDLESS = 1 << 30
#: Epochs to bind a stream's schedule to: a length that no schedule ends within.
_SHORTEST = 1e-9


@dataclass(frozen=True)
class RulePlan:
    """A rule with its batch size and limits; batch_size is None for the full batch."""

    optimizer: WithRate
    batch_size: int | None
    max_iter: int
    tol: float
    shuffle: bool = True
    drop_last: bool = False
    seed: int = 0

    def batches(self, n: int) -> int:
        """Return the number of batches per epoch."""
        size = self.batch_size or n
        return n // size if self.drop_last else -(-n // size)

    def is_full(self, n: int) -> bool:
        """Whether every batch holds all n rows."""
        return self.batch_size is None or self.batch_size >= n


class Cooldown(NamedTuple):
    """A fall of the rate to 0 along a straight line, between two epochs."""

    start: int
    end: int

    def shares(self, epochs: Array) -> Array:
        """Return the shares of the rate at some epochs, with fractions, from `start` on and before `end`."""
        return (self.end - epochs) / (self.end - self.start)


class RunningSchedule:
    """A bound schedule with its state from epoch to epoch.

    Parameters
    ----------
    schedule : Schedule
        Bound, see `Schedule.bind`.
    batches : int
        Updates per epoch.
    state : dict of str to float or None, default=None
        From an earlier run that this one continues.
    check : callable, default=None
        Raises for rates that the rule cannot run at, see `Optimizer.check_rates`.
    """

    def __init__(
        self,
        schedule: Schedule,
        batches: int,
        state: dict[str, float] | None = None,
        check: Callable[[Array], None] | None = None,
    ) -> None:
        self._schedule = schedule
        self._batches = batches
        self._check = check
        # A stream may have changed its schedule, which then starts anew.
        self.state = {**schedule.start(), **(state or {})}
        self._step, self._epoch = 0, 0
        #: Factor of the schedule's rates.
        self.factor = 1.0
        #: The fall of the rates to 0 that has begun.
        self.cooldown: Cooldown | None = None
        #: The rate of the first update of the run, and the largest so far.
        self.first, self.largest = float("nan"), 0.0

    def begin(self, step: int, epoch: int) -> None:
        """Begin an epoch, after `step` updates and `epoch` epochs."""
        self._step, self._epoch = step, epoch
        self.state = self._schedule.begin(self.state, step, epoch)

    def rates(self, first: int, last: int) -> Array:
        """Return the rates of the updates [first, last) of the epoch."""
        updates = np.arange(first, last)
        epochs = self._epoch + updates / self._batches
        rates = self._schedule.rates(self._step + updates, epochs, self.state)
        if self.factor != 1.0:
            rates = self.factor * rates
        if self.cooldown is not None:
            rates = self.cooldown.shares(epochs) * rates
        if np.isnan(self.first):
            self.first = float(rates[0])
        self.largest = max(self.largest, float(np.max(rates)))
        if self._check is not None:
            self._check(rates)
        return rates

    def end(self, metric: float) -> None:
        """End an epoch, with its validation or training loss."""
        self.state = self._schedule.observe(self.state, metric)


#: Batches for which the rates of adaptive rules hold; on smaller ones, whose gradients are noisier, they are
#: sqrt(rows / 256) times as large.
_USUAL_BATCH = 256
#: Fits of fewer updates than this take longer steps: all of them together must lead from 0 to the optimum.
_USUAL_UPDATES = 500


def is_automatic(plan: RulePlan) -> bool:
    """Whether the fit chooses the first rate."""
    return plan.optimizer.schedule.automatic


def bound_schedule(plan: RulePlan, rate: float) -> Schedule:
    """Return the schedule of a fit, with `rate` in place of "auto"."""
    automatic = is_auto(plan.optimizer.learning_rate)
    schedule = _automatic_decay(plan) if automatic else plan.optimizer.schedule
    # Streams refuse schedules whose length is that of the fit.
    return schedule.bind(rate, _SHORTEST if plan.max_iter == ENDLESS else plan.max_iter)


def rate_of_auto(objective: Objective, plan: RulePlan) -> float:
    """Return the value of "auto" in the schedule of a fit; NaN if the user gave rates."""
    return automatic_rate(objective, plan) if is_automatic(plan) else math.nan


def automatic_rate(objective: Objective, plan: RulePlan) -> float:
    """Return the constant of an adaptive rule, scaled to batches and updates, or the multiple of 1 / L of another."""
    adaptive, n = plan.optimizer.adaptive, objective.data.n
    if adaptive is not None:
        return adaptive.rate if adaptive.longest is None else adaptive.rate * _length(plan, n, adaptive.longest)
    unit = 1.0 / _curvature(objective, plan, share_at_start(objective))
    return plan.optimizer.automatic_rate(unit, plan.is_full(n), bounded_gradients=objective.problem.loss.has_flat_parts)


def _length(plan: RulePlan, n: int, longest: float) -> float:
    """Return how many times longer than usual the steps of an adaptive rule are."""
    noise = math.sqrt(min(plan.batch_size or n, _USUAL_BATCH) / _USUAL_BATCH)
    updates = plan.max_iter * plan.batches(n)
    return max(noise if plan.batch_size else 1.0, min(_USUAL_UPDATES / updates, longest))


def _automatic_decay(plan: RulePlan) -> Schedule:
    """Return the decay of an automatic rate.

    That of mini-batch fits follows the losses, see `rate_control`. Streams, whose length is unknown, need a decay for
    rules whose steps follow gradients; steps of adaptive rules do not shrink near the optimum by themselves.
    """
    if plan.max_iter == ENDLESS:
        return Constant() if plan.optimizer.adaptive else InverseTimeDecay()
    return CosineDecay() if plan.optimizer.adaptive and plan.batch_size is None else Constant()


#: Factor by which rows must be larger than all before for a stream's automatic rate to be derived again, factor by
#: which the curvature may exceed 1 / rate, and the least rate that shows rows without curvature.
_LARGER, _STABLE, _NO_CURVATURE = 1.05, 1.5, 1e300
#: Share of an adaptive rule's automatic rate with which a stream begins after a fit, which leaves a short way.
_AFTER_A_FIT = 1.0 / 30.0


class StreamRate(NamedTuple):
    """The automatic rate of a stream, and the largest mean square of rows that it suits; NaN without one."""

    rate: float
    size: float


#: The rate of a stream that has not begun or whose rates the user gives.
NO_RATE = StreamRate(math.nan, math.nan)


def next_stream_rate(objective: Objective, plan: RulePlan, before: StreamRate, from_zero: bool) -> StreamRate:
    """Return an automatic rate that suits the next chunk: that of earlier calls, or a lower one.

    1 / L of the first call diverges if later rows are larger. L is taken again if the mean square of rows exceeds all
    before. Adaptive rules, whose steps do not depend on the size of rows, keep their constant.

    from_zero: whether the stream's parameters are 0.
    """
    if not is_automatic(plan):
        return before
    if plan.optimizer.adaptive is not None:
        share = 1.0 if from_zero else _AFTER_A_FIT
        return before._replace(rate=automatic_rate(objective, plan) * share) if math.isnan(before.rate) else before
    size = _mean_square(objective)
    if size <= _LARGER * before.size:
        return before
    rate = automatic_rate(objective, plan)
    if rate > _NO_CURVATURE:
        # Rows of zeros change nothing, and give no information on the rate.
        return before if before.rate > 0.0 else StreamRate(1.0, 0.0)
    is_first = math.isnan(before.rate) or before.size == 0.0
    return StreamRate(rate if is_first or rate <= before.rate / _STABLE else before.rate, size)


def _mean_square(objective: Objective) -> float:
    """Return the mean square of rows in working coordinates, without the intercept. One pass."""
    moments, scaling = objective.data.moments(), objective.scaling
    return float(np.sum((moments.sd**2 + (moments.mean - scaling.center) ** 2) * scaling.inv_scale**2))


def safe_rate(objective: Objective, plan: RulePlan) -> float | None:
    """Return a rate strictly inside the rule's bound, see `WithRate.safe_rate`; None for rules without one."""
    if plan.optimizer.adaptive:
        return None
    return plan.optimizer.safe_rate(0.99 / _curvature(objective, plan), plan.is_full(objective.data.n))


def follows_losses(plan: RulePlan) -> bool:
    """Whether `rate_factor` applies: to automatic rates of rules whose steps are proportional to gradients."""
    return is_automatic(plan) and plan.optimizer.adaptive is None


def share_at_start(objective: Objective) -> float:
    """Return the mean curvature of the loss at the constant model as a share of its largest curvature."""
    return objective.problem.loss.curvature_share(objective.problem.constant)


def rate_factor(objective: Objective, losses: Array) -> float:
    """Return the factor of an automatic rate at mean losses (K,)."""
    return objective.problem.loss.rate_factor(objective.problem.constant, losses)


def _curvature(objective: Objective, plan: RulePlan, share: float = 1.0) -> float:
    return objective.batch_curvature(plan.batch_size or objective.data.n, share)
