"""Run the batches of an epoch in slices that can be interrupted."""

import time
from typing import NamedTuple

import numpy as np

from fastgd.arrays import Array
from fastgd.objective.dataset import Epochs
from fastgd.objective.objective import Objective
from fastgd.objective.rule_state import RuleState
from fastgd.solvers.learning_rate import RulePlan, RunningSchedule
from fastgd.solvers.progress import NEVER, Deadline, has_diverged

#: Seconds of a compiled call, which delays Ctrl-C and the deadline.
_SLICE_SECONDS = 0.1
_FIRST_SLICE_BYTES = 1 << 24


class RunDiverged(Exception):
    """Raised inside a run that diverges, with the epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


class EpochResult(NamedTuple):
    """Mean losses (K,) of an epoch's batches before their updates, their sum in the user's units, and |gradient|."""

    mean_losses: Array
    loss: float
    gradient_norm: float


class BatchLoop:
    """The mini-batch loop of a fit, from theta, which it changes in place."""

    def __init__(self, objective: Objective, theta: Array, plan: RulePlan, deadline: Deadline) -> None:
        assert plan.batch_size is not None
        self._objective, self._deadline, self._batch_size = objective, deadline, plan.batch_size
        #: The loss of margins 0 or, if larger, of theta.
        self.start = starting_loss(objective, theta)
        #: Updates per epoch.
        self.batches = plan.batches(objective.data.n)
        self.rule = objective.data.rule_state(plan.optimizer.recipe(plan.batch_size), theta)
        self._epochs = objective.epochs(plan.batch_size, plan.seed, plan.shuffle)
        self._slices = Slices(objective.data.nbytes / objective.data.n * plan.batch_size)

    def run(self, epoch: int, schedule: RunningSchedule) -> EpochResult:
        """Run an epoch that the schedule has begun; raise `RunDiverged` if it diverges."""
        done = run_epoch(self._epochs, epoch, self.batches, schedule, self.rule, self._slices, self._deadline)
        mean_losses = done.losses / min(done.batches * self._batch_size, self._objective.data.n)
        loss = self._objective.in_target_units(mean_losses)
        if has_diverged(loss, self.start) or not np.all(np.isfinite(self.rule.theta)):
            raise RunDiverged(epoch)
        return EpochResult(mean_losses, loss, float(np.linalg.norm(done.gradient)) / done.batches)


def starting_loss(objective: Objective, theta: Array) -> float:
    """Return the loss to compare with for divergence: that of margins 0, or of theta if larger."""
    start = objective.start_value()
    return max(start, objective.value(objective.evaluate(theta))) if np.any(theta) else start


class EpochSums(NamedTuple):
    """Sums of losses (K,) and gradients (K, d + 1) over an epoch, and the number of batches before the deadline."""

    losses: Array
    gradient: Array
    batches: int


def run_epoch(
    epochs: Epochs,
    epoch: int,
    batches: int,
    schedule: RunningSchedule,
    rule: RuleState,
    slices: "Slices",
    deadline: Deadline = NEVER,
) -> EpochSums:
    """Run the batches of an epoch in slices short enough to be interrupted."""
    first, sums = 0, None
    while sums is None or first < batches:
        length = -(-slices.length // epochs.unit) * epochs.unit
        last = batches if epochs.whole else min(first + length, batches)
        began = time.perf_counter()
        sums = epochs.run(epoch, first, last, schedule.rates(first, last), rule, sums)
        slices.adapt(last - first, time.perf_counter() - began)
        if not np.all(np.isfinite(sums.seen)):
            raise RunDiverged(epoch)
        first = last
        if deadline.passed:
            break
    return EpochSums(sums.seen, sums.gradient, first)


class Slices:
    """The number of batches per call, adapted to the seconds of calls; results do not depend on it."""

    def __init__(self, batch_bytes: float) -> None:
        self.length = max(1, int(_FIRST_SLICE_BYTES / batch_bytes))

    def adapt(self, batches: int, seconds: float) -> None:
        """Adapt the length to the seconds of a call."""
        wanted = batches * _SLICE_SECONDS / max(seconds, 1e-9)
        self.length = max(1, int(min(wanted, 2.0 * self.length)))
