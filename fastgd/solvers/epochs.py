"""Run the batches of an epoch in slices that can be interrupted."""

import time
from typing import NamedTuple

import numpy as np

from fastgd.arrays import Array
from fastgd.objective.dataset import Epochs
from fastgd.objective.rule_state import RuleState
from fastgd.solvers.learning_rate import RunningSchedule
from fastgd.solvers.progress import NEVER, Deadline

#: Seconds of a compiled call, which delays Ctrl-C and the deadline.
_SLICE_SECONDS = 0.1
_FIRST_SLICE_BYTES = 1 << 24


class RunDiverged(Exception):
    """Raised inside a run that diverges, with the epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


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
        last = batches if epochs.whole else min(first + slices.length, batches)
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
