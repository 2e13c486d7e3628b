"""Run the batches of an epoch in slices that can be interrupted."""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from fastgd.arrays import Array
from fastgd.objective.dataset import BatchSums, Epochs
from fastgd.objective.objective import Objective
from fastgd.objective.record import DoneEpoch, Record, key_of
from fastgd.objective.rule_state import RuleState
from fastgd.solvers.learning_rate import RulePlan, RunningSchedule
from fastgd.solvers.progress import NEVER, Deadline, Monitor, has_diverged

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

    def __init__(self, objective: Objective, theta: Array, plan: RulePlan, monitor: Monitor) -> None:
        assert plan.batch_size is not None
        self._objective, self._monitor, self._batch_size = objective, monitor, plan.batch_size
        #: The loss of margins 0 or, if larger, of theta.
        self.start = starting_loss(objective, theta)
        #: Updates per epoch.
        self.batches = plan.batches(objective.data.n)
        self.rule = objective.data.rule_state(plan.optimizer.recipe(plan.batch_size), theta)
        self._epochs = objective.epochs(plan.batch_size, plan.seed, plan.shuffle)
        self._slices = Slices(objective.data.nbytes / objective.data.n * plan.batch_size)
        #: Earlier states of the rule that the caller may return to, by name.
        self.earlier_states: Callable[[], dict[str, RuleState]] = dict

    def run(self, epoch: int, schedule: RunningSchedule) -> EpochResult:
        """Run an epoch that the schedule has begun; raise `RunDiverged` if it diverges."""
        record = self._monitor.record
        if record is None:
            return self._run(epoch, schedule, Slicing(self._monitor.deadline))
        key = key_of(epoch, self.batches, float(schedule.rates(0, 1)[0]), self.rule.theta)
        earlier = record.next_epoch(key)
        if isinstance(earlier, DoneEpoch):
            self._count(record, earlier.rows)
            return self._repeat(epoch, earlier)
        data, deadline = self._objective.data, self._monitor.deadline
        read, slicing = data.rows_read, Slicing(deadline, after=partial(self._copy_state, record, key))
        if earlier is not None:
            earlier.restore(self._states)
            self._count(record, min(earlier.batches * self._batch_size, data.n))
            slicing = slicing._replace(first=earlier.batches, sums=earlier.sums)
        try:
            result = self._run(epoch, schedule, slicing)
        except RunDiverged:
            record.end_epoch(DoneEpoch(key, data.rows_read - read))
            raise
        if not self._monitor.is_cut:
            record.end_epoch(DoneEpoch.of(key, data.rows_read - read, self.rule, result))
        return result

    def _repeat(self, epoch: int, earlier: DoneEpoch) -> EpochResult:
        """Repeat a recorded epoch without its batches."""
        if earlier.theta is None or earlier.mean_losses is None:
            raise RunDiverged(epoch)
        earlier.repeat(self.rule)
        return EpochResult(earlier.mean_losses, earlier.loss, earlier.gradient_norm)

    def _count(self, record: Record, rows: int) -> None:
        """Count rows that the earlier fit has read."""
        self._objective.data.count_rows(rows)
        record.resumed_rows += rows

    @property
    def _states(self) -> dict[str, RuleState]:
        return {"rule": self.rule, **self.earlier_states()}

    def _copy_state(self, record: Record, key: str, batches: int, sums: BatchSums) -> None:
        record.end_slice(key, self._states, batches, sums, batches == self.batches)

    def _run(self, epoch: int, schedule: RunningSchedule, slicing: "Slicing") -> EpochResult:
        every = self._monitor.most_steps
        if every:
            slicing = slicing._replace(steps=Steps(every, partial(self._observe, epoch)))
        done = run_epoch(self._epochs, epoch, self.batches, schedule, self.rule, self._slices, slicing)
        self._monitor.is_cut = done.batches < self.batches
        mean_losses = done.losses / min(done.batches * self._batch_size, self._objective.data.n)
        loss = self._objective.in_target_units(mean_losses)
        if has_diverged(loss, self.start) or not np.all(np.isfinite(self.rule.theta)):
            raise RunDiverged(epoch)
        return EpochResult(mean_losses, loss, float(np.linalg.norm(done.gradient)) / done.batches)

    def _observe(self, epoch: int, done: "Slice") -> bool:
        """Report the updates of a slice to the callbacks; return whether one ends the fit."""
        rows = min(done.last * self._batch_size, self._objective.data.n) - done.first * self._batch_size
        loss = self._objective.in_target_units(done.losses / rows)
        step, epochs = epoch * self.batches + done.last, epoch + done.last / self.batches
        return self._monitor.end_steps(step, epochs, loss, done.rate, self.rule.reported)


def starting_loss(objective: Objective, theta: Array) -> float:
    """Return the loss to compare with for divergence: that of margins 0, or of theta if larger."""
    start = objective.start_value()
    return max(start, objective.value(objective.evaluate(theta))) if np.any(theta) else start


class EpochSums(NamedTuple):
    """Sums of losses (K,) and gradients (K, d + 1) over an epoch, and the number of batches before the deadline."""

    losses: Array
    gradient: Array
    batches: int


class Slice(NamedTuple):
    """The batches [first, last) of an epoch, the sums of their losses (K,), and the rate of the last update."""

    first: int
    last: int
    losses: Array
    rate: float


class Steps(NamedTuple):
    """A function of a slice of at most `every` batches that returns whether to end the epoch there."""

    every: int
    end: Callable[[Slice], bool]


class Slicing(NamedTuple):
    """How an epoch is cut into slices: its deadline, observers, and the batches that were run before, with their sums.

    after: called with the batches so far and their sums after every slice.
    """

    deadline: Deadline = NEVER
    steps: Steps | None = None
    after: Callable[[int, BatchSums], None] | None = None
    first: int = 0
    sums: BatchSums | None = None


#: An epoch from its first batch, without an observer.
WHOLE = Slicing()


def run_epoch(
    epochs: Epochs,
    epoch: int,
    batches: int,
    schedule: RunningSchedule,
    rule: RuleState,
    slices: "Slices",
    slicing: Slicing = WHOLE,
) -> EpochSums:
    """Run the batches of an epoch in slices short enough to be interrupted and to be observed."""
    deadline, steps, after, first, sums = slicing
    seen = np.zeros(0) if sums is None else sums.seen.copy()
    while sums is None or first < batches:
        length = batches if epochs.whole else slices.length
        length = length if steps is None else min(length, steps.every)
        last = min(first + -(-length // epochs.unit) * epochs.unit, batches)
        began, rates = time.perf_counter(), schedule.rates(first, last)
        sums = epochs.run(epoch, first, last, rates, rule, sums)
        slices.adapt(last - first, time.perf_counter() - began)
        if not np.all(np.isfinite(sums.seen)):
            raise RunDiverged(epoch)
        losses = sums.seen - seen if first else sums.seen
        done = Slice(first, last, losses, float(rates[-1]))
        # The next call adds to the sums in place.
        first, seen = last, sums.seen.copy()
        if after is not None:
            after(first, sums)
        if (steps is not None and steps.end(done)) or deadline.passed:
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
