"""Track a fit: record its epochs, keep the best iterate and decide when to stop."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from fastgd.arrays import EPS, Array, all_finite
from fastgd.callbacks import Callback, EpochState, StepCallback, StepState, ends_fit
from fastgd.exceptions import DivergenceError
from fastgd.history import Epoch, History
from fastgd.objective.objective import ROUNDING, Objective
from fastgd.objective.problem import Evaluation
from fastgd.objective.record import Record
from fastgd.objective.rule_state import RuleState
from fastgd.solvers.collinearity import Collinearity
from fastgd.solvers.recession import Recession

#: Passes up to which a fit that has no optimum may go on until its estimated suboptimality meets the tolerance.
_LAST_LOOK = 64
#: Share of tol that the estimated suboptimality has to meet without a certificate to confirm it.
_ALONE = 0.75
#: Consecutive rejected steps after which a solver stops.
MOST_FAILURES = 20
#: A fit has diverged when its loss is this many times that of its start.
DIVERGED = 10.0


class Plateau:
    """Detect when a loss has stopped falling."""

    def __init__(self, tolerance: float, patience: int) -> None:
        self._tolerance = tolerance
        self._patience = patience
        self.restart()

    def restart(self) -> None:
        """Forget all losses."""
        self._best = math.inf
        self._waited = 0

    def observe(self, loss: float) -> bool:
        """Record an epoch's loss; return True after `patience` epochs without enough improvement.

        A tolerance of 0 never gives True.
        """
        if loss < self._best - self._tolerance:
            self._best = loss
            self._waited = 0
        else:
            self._waited += 1
        return self._tolerance > 0.0 and self._waited >= self._patience


@dataclass(frozen=True)
class Deadline:
    """The time at which a fit has to end, by a clock that tests replace; never by default."""

    at: float = math.inf
    clock: Callable[[], float] = time.perf_counter
    #: Whether the fit repeats an earlier one, which takes no time and must not end before.
    waits: Callable[[], bool] = lambda: False

    @property
    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return self.clock() >= self.at and not self.waits()


NEVER = Deadline()


@dataclass
class Monitor:
    """Record and check the epochs of a fit.

    validation: mean loss at theta on validation rows, if there are any. plateau: for the validation loss with
    `early_stopping`, else for the training loss of mini-batches. to_raw: coefficients and intercepts from theta.
    """

    history: History
    plateau: Plateau
    to_raw: Callable[[Array], tuple[Array, Array]]
    validation: Callable[[Array], float] | None = None
    early_stopping: bool = False
    callbacks: tuple[Callback, ...] = ()
    deadline: Deadline = NEVER
    #: The search for a direction along which F falls without end, for classifiers without penalty.
    recession: Recession | None = None
    #: The exception that ended the fit, to be raised once the model is usable.
    error: BaseException | None = None
    #: The last epoch's validation loss, or its training loss without validation rows.
    metric: float = math.nan
    #: Parameters at the end of the last epoch that left them finite.
    last_finite: Array | None = None
    #: The record of passes and epochs, if there are checkpoints.
    record: Record | None = None
    #: Whether the last epoch ended before its last batch.
    is_cut: bool = False
    _theta: Callable[[], Array | None] | None = None
    _best: tuple[float, Array | None] = field(default=(math.inf, None))
    #: The reason to stop of a callback that observes updates.
    _step_reason: str | None = None

    def begin_run(self, theta: Callable[[], Array | None]) -> None:
        """Begin a run whose parameters `theta` returns; forget the epochs of a run that diverged."""
        self._theta = theta
        self._best = (math.inf, None)
        self._step_reason = None
        self.last_finite = None
        self.history.clear()
        self.plateau.restart()
        if self.history.is_repeating:
            return
        start = theta() if self._step_callbacks else None
        state = None if start is None else self._step_state(0, 0.0, math.nan, math.nan, start)
        for callback in self._step_callbacks:
            callback.on_run_begin(state)

    @property
    def _step_callbacks(self) -> list[StepCallback]:
        return [callback for callback in self.callbacks if isinstance(callback, StepCallback)]

    @property
    def most_steps(self) -> int:
        """The most mini-batch updates between calls of `end_steps`; 0 if nothing observes them."""
        return min((callback.every for callback in self._step_callbacks), default=0)

    def end_steps(self, step: int, epoch: float, loss: float, rate: float, theta: Array) -> bool:
        """Report some updates, after `step` in all; return whether a callback ends the fit."""
        state = self._step_state(step, epoch, loss, rate, theta)
        self._step_reason = self._first_reason(partial(callback.on_steps, state) for callback in self._step_callbacks)
        return self._step_reason is not None

    def _step_state(self, step: int, epoch: float, loss: float, rate: float, theta: Array) -> StepState:
        theta = theta.copy()
        return StepState(step, epoch, loss, rate, lambda: self.to_raw(theta))

    @property
    def theta(self) -> Array | None:
        """The current parameters; with early stopping those of the least validation loss."""
        best = self._best[1]
        if best is not None:
            return best
        return None if self._theta is None else self._theta()

    @property
    def certified_reason(self) -> str:
        """The reason to report for a met certificate; with early stopping the fit still returns to its best epoch."""
        return "early stopping" if self.early_stopping else "certificate"

    @property
    def needs_parameters(self) -> bool:
        """Whether the end of an epoch needs its parameters."""
        return bool(self.callbacks) or self.validation is not None or self.recession is not None

    def end_pass(self, epoch: Epoch) -> str | None:
        """Record an epoch whose parameters nothing needs; return the reason to stop, or None."""
        self.history.add(epoch, math.nan)
        self.metric = epoch.loss
        if len(self.history) >= self.history.max_iter:
            return "max_iter"
        return "max_seconds" if self.deadline.passed else None

    def end_epoch(self, epoch: Epoch, theta: Array) -> str | None:
        """Record an epoch and its parameters; return the reason to stop, or None."""
        validation_loss = math.nan if self.validation is None else self.validation(theta)
        repeats = self.history.is_repeating
        row = self.history.add(epoch, validation_loss, not self.is_cut)
        if all_finite(theta):
            self.last_finite = theta.copy()
        self.metric = epoch.loss if self.validation is None else validation_loss
        if self.early_stopping and validation_loss < self._best[0]:
            self._best = (validation_loss, theta.copy())
        reason = self._call_back(row, theta) if self.callbacks and not repeats else None
        reason = self._step_reason or reason
        if reason is None and self.early_stopping and self.plateau.observe(validation_loss):
            reason = "early stopping"
        if reason is None and self.deadline.passed:
            reason = "max_seconds"
        recession = self.recession
        if reason is None and recession is not None and recession.is_reached(theta, epoch.loss, len(self.history)):
            reason = "no optimum"
        if self.record is not None:
            self.record.save_if_due()
        return reason

    @property
    def has_no_optimum(self) -> bool:
        """Whether a direction along which F falls without end is known."""
        return self.recession is not None and self.recession.direction is not None

    def is_flat(self, loss: float) -> bool:
        """Whether the training loss has stopped falling; False with early stopping."""
        return not self.early_stopping and self.plateau.observe(loss)

    def _call_back(self, row: dict[str, Any], theta: Array) -> str | None:
        # The rule updates its array in place; a callback may keep the state.
        theta = theta.copy()
        state = EpochState(len(self.history), self.history.max_iter, _raw=lambda: self.to_raw(theta), **row)
        return self._first_reason(partial(callback.on_epoch_end, state) for callback in self.callbacks)

    def _first_reason(self, calls: Iterable[Callable[[], Any]]) -> str | None:
        """Call callbacks until one raises; return the reason to stop, or None."""
        reason = None
        for call in calls:
            try:
                if ends_fit(call()):
                    reason = "callback"
            except BaseException as error:
                # Raised again by the estimator, once its attributes are set.
                self.error = error
                return "interrupted" if isinstance(error, KeyboardInterrupt) else "callback error"
        return reason


def has_diverged(loss: float, start: float) -> bool:
    """Whether a loss shows that the fit has diverged.

    start: the loss of margins 0. The loss of the best constant model would not do: with very unequal class weights it
    is close to 0, and the first epochs stay above ten times that.
    """
    return not math.isfinite(loss) or (start > 0.0 and loss > DIVERGED * start)


@dataclass
class Solution:
    """The result of a solver."""

    theta: Array
    converged: bool
    #: The reason for stopping: "certificate", "flat loss", "early stopping", "callback", "no step", "max_iter",
    #: "max_seconds", "interrupted", "no optimum" or "optimum in doubt".
    reason: str
    #: The learning rate of the first update.
    rate: float
    #: The rule with its memory, and the state of its schedule; None for solvers that have neither.
    rule: RuleState | None = None
    schedule_state: dict[str, float] | None = None
    #: The value of "auto" in its schedule, which may begin at another rate; NaN if the user gave rates.
    automatic: float = math.nan
    #: The evaluation at theta, if the solver has one.
    evaluation: Evaluation | None = None
    #: The solver that ran, if it is not the requested one.
    solver: str | None = None
    #: The solver's own choices, for the report.
    note: str | None = None
    #: Estimated suboptimality of each output's F (K,), in working units.
    gain: Array | None = None
    #: Whether the suboptimality meets tol, as far as the solver estimates it.
    is_close: bool = True
    #: Whether the solver has shown that the columns are linearly independent.
    independent: bool = False
    #: Dependent columns, if the solver has found them.
    collinearity: Collinearity | None = None


class Progress:
    """Track a full-batch solve: keep the best evaluation and decide when to stop.

    Evaluations compare by F, and by certificate where rounding hides differences in F.

    Parameters
    ----------
    objective : Objective
    tol : float
        The certificate to reach; 0 for none.
    monitor : Monitor
        Records every pass; its history holds the most passes allowed.
    """

    def __init__(self, objective: Objective, tol: float, monitor: Monitor) -> None:
        self._objective, self._tol, self._monitor = objective, tol, monitor
        #: The best evaluation so far.
        self.best: Evaluation | None = None
        #: The best evaluation, shared with the monitor. The monitor must not refer to this object: memory of a GPU in
        #: a reference cycle would wait for Python's garbage collector, which runs in any thread.
        self._kept: list[Evaluation] = []
        self.certificate = math.inf
        #: Whether the last pass was the best so far.
        self.has_improved = False
        #: The metrics of the current epoch: those of the pass that it began with.
        self._begun: Epoch | None = None
        #: The monitor's reason to stop after the last epoch.
        self._epoch_reason: str | None = None
        self._rate = math.nan
        #: Consecutive steps that overflowed, consecutive passes without improvement, and the most of the latter.
        self._overflows = self._idle = 0
        self._patience = math.inf
        self._rounding = ROUNDING * EPS[objective.data.dtype]
        #: The solver's estimate of the suboptimality of each output (K,) at an evaluation, if it has one.
        self.estimate: Callable[[Evaluation], Array | None] | None = None
        kept = self._kept
        monitor.begin_run(lambda: kept[0].theta if kept else None)

    @property
    def _is_full(self) -> bool:
        """Whether `max_iter` passes are recorded."""
        return len(self._monitor.history) >= self._monitor.history.max_iter

    @property
    def has_no_optimum(self) -> bool:
        """Whether it is known that F falls without end."""
        return self._monitor.has_no_optimum

    @property
    def may_continue(self) -> bool:
        """Whether passes are left and neither a callback nor the time ended the last epoch."""
        return not self._is_full and self._epoch_reason is None

    def limit_idle_passes(self, passes: int) -> None:
        """Stop after this many consecutive passes without improvement, when only rounding is left."""
        self._patience, self._idle = passes if self._tol > 0.0 else math.inf, 0

    def record_pass(self, at: Evaluation, rate: float = 1.0) -> str | None:
        """Record a pass, which ends one epoch and begins the next; return the reason to stop, or None.

        rate: the learning rate of the epoch that begins.
        """
        objective, monitor = self._objective, self._monitor
        certificate, value = objective.certificate(at), objective.value(at)
        if not (math.isfinite(certificate) and math.isfinite(value)):
            message = "loss or gradient overflow: scale down columns of extreme values"
            raise DivergenceError(message, rate=rate, epoch=len(monitor.history))
        if self.best is None:
            self._rate = rate
        self._keep(at, certificate)
        if self._repeats_step():
            return None
        certified = self._tol > 0.0 and self._meets_tolerance(at, certificate)
        reason = self.end_epoch()
        if reason == "no optimum" and self._awaits_infimum:
            reason = None
        if reason is not None:
            return monitor.certified_reason if certified and reason == "max_seconds" else reason
        if not self._is_full:
            self._begun = Epoch(value, rate, math.sqrt(np.vdot(at.slope, at.slope)), certificate)
            if certified or monitor.deadline.passed:
                reason = self.end_epoch()
        else:
            reason = "max_iter"
        if certified:
            return monitor.certified_reason
        return "no step" if reason is None and self._idle >= self._patience else reason

    def record_trial(self, trial: Evaluation) -> str | None:
        """Record a trial step; one that overflows is rejected and counts as a pass at the best iterate."""
        self._overflows = 0 if trial.is_finite else self._overflows + 1
        taken_back = 0 < self._overflows < MOST_FAILURES
        return self.record_pass(self.best if taken_back and self.best is not None else trial)

    def end_epoch(self) -> str | None:
        """End the current epoch, if any, at the best iterate; return the reason to stop, or None."""
        if self._begun is None or self.best is None:
            return None
        begun, self._begun = self._begun, None
        self._epoch_reason = self._monitor.end_epoch(begun, self.best.theta)
        return self._epoch_reason

    def _keep(self, at: Evaluation, certificate: float) -> None:
        """Keep an evaluation that improves on the best one."""
        self.has_improved = self.best is None or certificate <= self._tol
        if self.best is not None and not self.has_improved:
            gain, rounding = self.best.total - at.total, self._rounding * abs(at.total)
            self.has_improved = gain > rounding or (gain > -rounding and certificate < self.certificate)
        self._idle = 0 if self.has_improved else self._idle + 1
        if self.has_improved:
            self.best, self.certificate = at, certificate
            self._kept[:] = [at]

    def _is_close(self, at: Evaluation) -> bool:
        """Whether the estimated suboptimality, if there is an estimate, meets the tolerance too."""
        gain = None if self.estimate is None else self.estimate(at)
        return gain is None or self._objective.is_close(gain, at, self._tol)

    def _meets_tolerance(self, at: Evaluation, certificate: float) -> bool:
        """Whether the tolerance is met: without an optimum by the estimated suboptimality alone."""
        if certificate <= self._tol:
            return self._is_close(at)
        if not self._monitor.has_no_optimum or self.estimate is None:
            return False
        gain = self.estimate(at)
        return gain is not None and self._objective.is_close(gain, at, _ALONE * self._tol)

    @property
    def _awaits_infimum(self) -> bool:
        """Whether a fit without an optimum goes on until its estimated suboptimality meets the tolerance."""
        recession = self._monitor.recession
        assert recession is not None
        return self.estimate is not None and not recession.is_complete and len(self._monitor.history) < _LAST_LOOK

    def _repeats_step(self) -> bool:
        """Whether the first epoch continues: its step has not lowered F, and a shorter one may."""
        may_repeat = self._begun is not None and 0 < self._idle < MOST_FAILURES
        return may_repeat and len(self._monitor.history) == 0 and not self._monitor.deadline.passed

    def make_solution(self, reason: str) -> Solution:
        """Return the solution at the best evaluation, or with early stopping at the monitor's best epoch."""
        self.end_epoch()
        theta = self._monitor.theta
        assert theta is not None
        at = self.best if self.best is not None and theta is self.best.theta else None
        solution = Solution(theta, reason in ("certificate", "early stopping"), reason, self._rate, evaluation=at)
        if at is not None and reason != "certificate" and self.certificate <= self._tol:
            solution.is_close = self._is_close(at)
        return solution
