"""Adapt an automatic rate of a mini-batch rule to the losses and moves of its epochs."""

import math

import numpy as np

from fastgd.arrays import Array
from fastgd.history import logger
from fastgd.objective.rule_state import RuleState
from fastgd.schedules import is_auto
from fastgd.solvers.epochs import RunDiverged
from fastgd.solvers.learning_rate import ENDLESS, Cooldown, RulePlan, RunningSchedule

#: Cosine between the moves of two epochs above which the rate grows, and the factor.
_SAME_WAY, _GROWTH = 0.5, 2.0
#: Epochs in a row without a new least loss after which the rate shrinks, and the factor.
_PATIENCE, _SHRINKAGE = 3, 0.5
#: Share of the fall of F so far by which a loss may exceed the least one and count as equal: that of SAGA
#: becomes constant.
_SLACK = 1e-6
#: Share of the fall of F so far by which a loss may exceed the least one before its epoch is undone; the factor of the
#: rate then, and the most that it may grow from there.
_RISE, _CUT, _MOST_GROWTH = 0.2, 0.25, 1.5
#: Epochs that are undone in a row: if the loss stays large at small rates, the state to return to is worse than it was
#: on the average of its epoch.
_MOST_UNDONE = 2
#: Loss of a first epoch relative to that of its start from which the rate is too large.
_FIRST_RISE = 1.5
#: Share of the epochs during which the rate falls to 0 at the end, and its factor after a fall that ended too far off.
_LAST, _FEW_EPOCHS, _AGAIN = 0.3, 2, 0.25
#: Share of the rule's largest rate up to which a rate grows: a factor times the first rate is rounded.
_BELOW_LARGEST = 1.0 - 1e-12


def is_controlled(plan: RulePlan) -> bool:
    """Whether the rate follows losses: "auto" on mini-batches, in fits of known length."""
    return is_auto(plan.optimizer.learning_rate) and plan.batch_size is not None and plan.max_iter != ENDLESS


class RateControl:
    """Control the factor of an automatic rate and its final fall to 0, from epoch to epoch.

    The first rate suits the largest row and the largest curvature of the loss. With heavy tails, rare categories or
    margins where the loss is flat it is far too small. So the rate doubles after two epochs that lower the loss and
    move theta in similar directions (as Jacobs 1988 does for each coordinate), and halves after three epochs without a
    new least loss. An epoch whose loss rises far is undone and the rate cut (Battiti 1989). In the last epochs, or once
    the loss is flat, the rate falls to 0 along a straight line.

    Parameters
    ----------
    plan : RulePlan
    rule : RuleState
        At its start; the control returns it to earlier states.
    schedule : RunningSchedule
        Its constant rate is the first one.
    start : float
        The loss of margins 0 or, if larger, of a user's start.
    constant : float
        F of the best constant model.
    """

    def __init__(
        self, plan: RulePlan, rule: RuleState, schedule: RunningSchedule, start: float, constant: float
    ) -> None:
        self._plan, self._rule, self._schedule, self._start, self._constant = plan, rule, schedule, start, constant
        self._factor, self._ceiling = 1.0, math.inf
        #: The least loss of an epoch, and the rule at the beginning of that epoch.
        self.least_loss = math.inf
        self._kept: RuleState | None = None
        self._begun = rule
        #: Consecutive epochs that were undone; the least loss since the rate last shrank, and epochs since then.
        self._undone, self._least_recent, self._idle = 0, math.inf, 0
        self._move: Array | None = None
        self._last_epochs = min(math.ceil(_LAST * plan.max_iter) + _FEW_EPOCHS, plan.max_iter)

    def states(self) -> dict[str, RuleState]:
        """Return the earlier states of the rule that the control may return to."""
        kept = {} if self._kept is None else {"kept": self._kept}
        return {"begun": self._begun, **kept}

    @property
    def has_ended(self) -> bool:
        """Whether the rate has fallen to 0."""
        return self._schedule.cooldown is not None and self._schedule.cooldown.end <= self._epoch + 1

    @property
    def has_undone(self) -> bool:
        """Whether the last epoch was undone."""
        return self._undone > 0

    def begin(self, epoch: int, loss_factor: float) -> None:
        """Begin an epoch; loss_factor: the factor of the rate that belongs to the loss of the model."""
        left = self._plan.max_iter - epoch
        if left <= self._last_epochs and self._schedule.cooldown is None:
            self._schedule.cooldown = Cooldown(epoch, epoch + left)
        self._schedule.factor = self._factor * loss_factor
        self._epoch, self._begun = epoch, self._rule.copy()

    def end(self, loss: float) -> float:
        """End an epoch with its loss, infinite if it diverged; return the loss from which the fit continues.

        Raises
        ------
        RunDiverged
            If the loss rises and there is no earlier epoch to return to.
        """
        if not loss <= self.largest_loss:
            if self._undone < _MOST_UNDONE or not math.isfinite(loss):
                self._undo()
                return self.least_loss
            self.least_loss = math.inf
        self._undone = 0
        move = self._rule.theta - self._begun.theta
        if loss <= self.least_loss:
            self.least_loss, self._kept = loss, self._begun
        if loss <= self._least_recent:
            self._least_recent, self._idle = loss, 0
        elif loss > self._least_recent + _SLACK * (self._constant - self._least_recent):
            self._idle += 1
        if self._schedule.cooldown is None:
            self._adapt(move)
        self._move = move
        return loss

    @property
    def largest_loss(self) -> float:
        """The largest loss of an epoch, or F at the end, that is not undone."""
        if self._kept is None:
            return _FIRST_RISE * self._start
        return self.least_loss + _RISE * max(self._constant - self.least_loss, 0.0)

    def _undo(self) -> None:
        if self._kept is None:
            raise RunDiverged(self._epoch)
        self._rule.restore(self._kept)
        self._factor *= _CUT
        self._undone += 1
        self._ceiling, self._move = _MOST_GROWTH * self._factor, None
        logger.info("the loss rose in epoch %d, which is undone; the rate is cut to %g times", self._epoch, _CUT)

    def _adapt(self, move: Array) -> None:
        before = self._move
        if self._idle >= _PATIENCE:
            self._factor *= _SHRINKAGE
            self._idle, self._least_recent = 0, math.inf
        elif self._idle == 0 and before is not None:
            size = float(np.linalg.norm(before) * np.linalg.norm(move))
            if float(np.vdot(before, move)) > _SAME_WAY * size:
                largest = max(_BELOW_LARGEST * self._plan.optimizer.largest_rate / self._schedule.first, self._factor)
                self._factor = min(_GROWTH * self._factor, self._ceiling, largest)

    def cool(self) -> None:
        """Let the rate fall to 0 after this epoch, unless it falls already."""
        after = self._epoch + 1
        if self._schedule.cooldown is None:
            self._schedule.cooldown = Cooldown(after, after + min(self._last_epochs, self._plan.max_iter - after))

    def resume(self) -> None:
        """Continue at a smaller rate after a fall to 0 that ended far from the optimum."""
        self._schedule.cooldown, self._move = None, None
        self._factor *= _AGAIN

    def return_to_best(self) -> None:
        """Return the rule to the beginning of the epoch of least loss."""
        if self._kept is not None:
            self._rule.restore(self._kept)
