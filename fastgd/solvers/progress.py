"""Track a fit: record its epochs, keep the best iterate and decide when to stop."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgd.arrays import Array
from fastgd.callbacks import Callback, EpochState, ends_fit
from fastgd.exceptions import DivergenceError
from fastgd.history import Epoch, History
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.objective.rule_state import RuleState

#: Epochs after which a fit without penalty is asked for the first time whether it has an optimum.
FIRST_LOOK = 16
#: Steps taken back in a row after which nothing more is to be gained.
MOST_FAILURES = 20
#: Rounding of a loss, in units of eps.
ROUNDING = 4.0
#: A fit has diverged when its loss is this many times that of its start.
DIVERGED = 10.0


class Plateau:
    """Says when a loss has stopped falling."""

    def __init__(self, tolerance: float, patience: int) -> None:
        self._tolerance = tolerance
        self._patience = patience
        self.restart()

    def restart(self) -> None:
        """Forget what was seen."""
        self._best = math.inf
        self._waited = 0

    def observe(self, loss: float) -> bool:
        """Take an epoch's loss; True after `patience` epochs without enough improvement. Never with tolerance 0."""
        if loss < self._best - self._tolerance:
            self._best = loss
            self._waited = 0
        else:
            self._waited += 1
        return self._tolerance > 0.0 and self._waited >= self._patience


@dataclass(frozen=True)
class Deadline:
    """When a fit has to end: a time of a clock, which tests replace; never, unless told."""

    at: float = math.inf
    clock: Callable[[], float] = time.perf_counter

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.clock() >= self.at


NEVER = Deadline()


@dataclass
class Monitor:
    """Watches a fit from epoch to epoch.

    validation: mean loss at theta on validation rows, where there are any. plateau: of the validation loss with
    `early_stopping`, else of the training loss of mini-batches. to_raw: coefficients and intercepts from theta.
    """

    history: History
    plateau: Plateau
    to_raw: Callable[[Array], tuple[Array, Array]]
    validation: Callable[[Array], float] | None = None
    early_stopping: bool = False
    callbacks: tuple[Callback, ...] = ()
    deadline: Deadline = NEVER
    #: Whether there is no optimum to be found, from theta; asked after 16 epochs, 32, 64 and so on.
    is_hopeless: Callable[[Array], bool] | None = None
    #: What ended the fit and is to be raised once the model is usable.
    error: BaseException | None = None
    #: Of the last epoch: the validation loss where there is one, else the training loss.
    metric: float = math.nan
    #: Parameters at the end of the last epoch that left them finite.
    last_finite: Array | None = None
    _theta: Callable[[], Array | None] | None = None
    _best: tuple[float, Array | None] = field(default=(math.inf, None))

    def begin_run(self, theta: Callable[[], Array | None]) -> None:
        """Begin a run, whose parameters `theta` tells once there are any; forget the epochs of one that diverged."""
        self._theta = theta
        self._best = (math.inf, None)
        self.last_finite = None
        self.history.clear()
        self.plateau.restart()

    @property
    def theta(self) -> Array | None:
        """Where the fit stands; with early stopping where its validation loss was least."""
        best = self._best[1]
        if best is not None:
            return best
        return None if self._theta is None else self._theta()

    @property
    def certified_reason(self) -> str:
        """Why a fit ends whose certificate is met: with early stopping it returns to its best epoch all the same."""
        return "early stopping" if self.early_stopping else "certificate"

    def end_epoch(self, epoch: Epoch, theta: Array) -> str | None:
        """Take an epoch's numbers and parameters; why to stop, or None."""
        validation_loss = math.nan if self.validation is None else self.validation(theta)
        row = self.history.add(epoch, validation_loss)
        if np.isfinite(theta).all():
            self.last_finite = theta.copy()
        self.metric = epoch.loss if self.validation is None else validation_loss
        if self.early_stopping and validation_loss < self._best[0]:
            self._best = (validation_loss, theta.copy())
        reason = self._call_back(row, theta)
        if reason is None and self.early_stopping and self.plateau.observe(validation_loss):
            reason = "early stopping"
        if reason is None and self.deadline.passed:
            reason = "max_seconds"
        if reason is None and self._asks_for_hope and self.is_hopeless is not None and self.is_hopeless(theta):
            reason = "no optimum"
        return reason

    @property
    def _asks_for_hope(self) -> bool:
        epochs = len(self.history)
        return epochs >= FIRST_LOOK and epochs & (epochs - 1) == 0

    def is_flat(self, loss: float) -> bool:
        """Whether the training loss has stopped falling; with early stopping it is not asked."""
        return not self.early_stopping and self.plateau.observe(loss)

    def _call_back(self, row: dict[str, Any], theta: Array) -> str | None:
        if not self.callbacks:
            return None
        reason = None
        # The rule goes on with its array; who keeps the state keeps this epoch's.
        theta = theta.copy()
        state = EpochState(len(self.history), self.history.max_iter, _raw=lambda: self.to_raw(theta), **row)
        for callback in self.callbacks:
            try:
                if ends_fit(callback.on_epoch_end(state)):
                    reason = "callback"
            except BaseException as error:
                # Raised again by the estimator, once its attributes are set.
                self.error = error
                return "interrupted" if isinstance(error, KeyboardInterrupt) else "callback error"
        return reason


def has_diverged(loss: float, start: float) -> bool:
    """Whether a loss says that the fit has diverged.

    start is the loss of margins 0: no less than the best constant model's, and with very unequal class weights, where
    that is close to 0, so much more that the first epochs stay above ten times the latter.
    """
    return not math.isfinite(loss) or (start > 0.0 and loss > DIVERGED * start)


@dataclass
class Solution:
    """What a solver returns."""

    theta: Array
    converged: bool
    #: Why it ended: "certificate", "flat loss", "early stopping", "callback", "no step", "max_iter", "max_seconds",
    #: "interrupted", "no optimum" or "optimum in doubt".
    reason: str
    #: The learning rate of the first update.
    rate: float
    #: The rule with its memory, and what its schedule remembers; None for solvers that keep neither.
    rule: RuleState | None = None
    schedule_state: dict[str, float] | None = None
    #: What "auto" stood for in its schedule, which may begin at another rate; NaN where the user gave rates.
    automatic: float = math.nan
    #: The evaluation at theta, where the solver has one.
    evaluation: Evaluation | None = None
    #: What ran, where that is not what was asked for.
    solver: str | None = None
    #: What it chose of its own accord.
    note: str | None = None
    #: What a step is expected to gain of each output's F (K,), in working units: how far it is from its minimum.
    gain: Array | None = None
    #: Whether the solver has seen that no column is a combination of others.
    independent: bool = False


class Progress:
    """Keeps the best evaluation, by F and by certificate where rounding hides F, and says when to stop.

    Parameters
    ----------
    objective : Objective
    tol : float
        The certificate to reach; 0 for none.
    monitor : Monitor
        Told of every pass; its history says how many there may be.
    """

    def __init__(self, objective: Objective, tol: float, monitor: Monitor) -> None:
        self._objective, self._tol, self._monitor = objective, tol, monitor
        #: The best evaluation so far.
        self.best: Evaluation | None = None
        #: The same for the monitor, which this object holds: in a reference cycle the memory of a GPU would wait for
        #: Python's collector, which runs in any thread.
        self._kept: list[Evaluation] = []
        self.certificate = math.inf
        #: Whether the last pass was the best so far.
        self.has_improved = False
        #: The numbers of the epoch under way: those of the pass that it began with.
        self._begun: Epoch | None = None
        self._rate = math.nan
        #: Steps in a row that overflowed, and passes that were not the best; how many of these end the progress.
        self._overflows = self._idle = 0
        self._patience = math.inf
        self._rounding = ROUNDING * float(np.finfo(objective.data.dtype).eps)
        kept = self._kept
        monitor.begin_run(lambda: kept[0].theta if kept else None)

    def limit_idle_passes(self, passes: int) -> None:
        """From here on as many passes in a row of which none is the best so far leave nothing but rounding to gain."""
        self._patience, self._idle = passes if self._tol > 0.0 else math.inf, 0

    def record_pass(self, at: Evaluation, rate: float = 1.0) -> str | None:
        """Record a pass, which ends one epoch and begins the next; return why to stop, or None.

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
        certified = certificate <= self._tol and self._tol > 0.0
        reason = self.end_epoch()
        if reason is not None:
            return monitor.certified_reason if certified and reason == "max_seconds" else reason
        if len(monitor.history) < monitor.history.max_iter:
            self._begun = Epoch(value, rate, math.sqrt(np.vdot(at.slope, at.slope)), certificate)
            if certified or monitor.deadline.passed:
                reason = self.end_epoch()
        else:
            reason = "max_iter"
        if certified:
            return monitor.certified_reason
        return "no step" if reason is None and self._idle >= self._patience else reason

    def record_trial(self, trial: Evaluation) -> str | None:
        """Record the end of a step that is taken back where it overflows: the pass then counts as one of the best."""
        self._overflows = 0 if trial.is_finite else self._overflows + 1
        taken_back = 0 < self._overflows < MOST_FAILURES
        return self.record_pass(self.best if taken_back and self.best is not None else trial)

    def end_epoch(self) -> str | None:
        """End the epoch under way, if any, at the best iterate; return why to stop, or None."""
        if self._begun is None or self.best is None:
            return None
        begun, self._begun = self._begun, None
        return self._monitor.end_epoch(begun, self.best.theta)

    def _keep(self, at: Evaluation, certificate: float) -> None:
        """Keep a pass that is the best so far."""
        self.has_improved = self._is_better(at, certificate)
        self._idle = 0 if self.has_improved else self._idle + 1
        if self.has_improved:
            self.best, self.certificate = at, certificate
            self._kept[:] = [at]

    def _repeats_step(self) -> bool:
        """Whether the first epoch goes on: its step has not lowered F, and a shorter one may."""
        first = self._begun is not None and len(self._monitor.history) == 0
        return first and 0 < self._idle < MOST_FAILURES and not self._monitor.deadline.passed

    def _is_better(self, at: Evaluation, certificate: float) -> bool:
        if self.best is None or certificate <= self._tol:
            return True
        gain, rounding = self.best.total - at.total, self._rounding * abs(at.total)
        return gain > rounding or (gain > -rounding and certificate < self.certificate)

    def make_solution(self, reason: str) -> Solution:
        """The best evaluation's, or with early stopping the monitor's."""
        self.end_epoch()
        theta = self._monitor.theta
        assert theta is not None
        at = self.best if self.best is not None and theta is self.best.theta else None
        return Solution(theta, reason in ("certificate", "early stopping"), reason, self._rate, evaluation=at)
