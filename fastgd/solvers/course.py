"""Track a full-batch solve: keep the best iterate, record epochs and decide when to stop.

An epoch begins with a pass at an iterate and ends with the step from there, whose own pass begins the next epoch. The
first epoch lasts until a step has lowered F, so that a fit of one epoch moves. An epoch that begins at an optimum has
no step.
"""

import math

import numpy as np

from fastgd.exceptions import DivergenceError
from fastgd.history import Epoch
from fastgd.objective import Evaluation, Objective
from fastgd.solvers.descent import MOST_FAILURES, ROUNDING, is_finite
from fastgd.stopping import Monitor, Solution


class Course:
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
        #: The best evaluation, once there is one: apart from the course, since the monitor, which the course has, reads
        #: it. In a cycle a GPU's memory would wait for Python's collector, which runs in any thread.
        self._best: list[Evaluation] = []
        self.certificate = math.inf
        #: Whether the last pass was the best so far.
        self.improved = False
        #: The numbers of the epoch under way: those of the pass that it began with.
        self._begun: Epoch | None = None
        self._rate = math.nan
        #: Steps in a row that overflowed, and passes that were not the best; how many of these end the course.
        self._overflows = self._idle = 0
        self._patience = math.inf
        self._rounding = ROUNDING * float(np.finfo(objective.data.dtype).eps)
        best = self._best
        monitor.watch(lambda: best[0].theta if best else None)

    @property
    def best(self) -> Evaluation | None:
        """The best evaluation so far."""
        return self._best[0] if self._best else None

    def end_after(self, passes: int) -> None:
        """From here on as many passes in a row of which none is the best so far leave nothing but rounding to gain."""
        self._patience, self._idle = passes if self._tol > 0.0 else math.inf, 0

    def seen(self, at: Evaluation, rate: float = 1.0) -> str | None:
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
            return monitor.certified if certified and reason == "max_seconds" else reason
        if len(monitor.history) < monitor.history.max_iter:
            self._begun = Epoch(value, rate, math.sqrt(np.vdot(at.slope, at.slope)), certificate)
            if certified or monitor.deadline.passed:
                reason = self.end_epoch()
        else:
            reason = "max_iter"
        if certified:
            return monitor.certified
        return "no step" if reason is None and self._idle >= self._patience else reason

    def tried(self, trial: Evaluation) -> str | None:
        """Record the end of a step that is taken back where it overflows: the pass then counts as one of the best."""
        self._overflows = 0 if is_finite(trial) else self._overflows + 1
        taken_back = 0 < self._overflows < MOST_FAILURES
        return self.seen(self.best if taken_back and self.best is not None else trial)

    def end_epoch(self) -> str | None:
        """End the epoch under way, if any, at the best iterate; return why to stop, or None."""
        if self._begun is None or self.best is None:
            return None
        begun, self._begun = self._begun, None
        return self._monitor.end_epoch(begun, self.best.theta)

    def _keep(self, at: Evaluation, certificate: float) -> None:
        """Keep a pass that is the best so far."""
        self.improved = self._is_better(at, certificate)
        self._idle = 0 if self.improved else self._idle + 1
        if self.improved:
            self._best[:], self.certificate = [at], certificate

    def _repeats_step(self) -> bool:
        """Whether the first epoch goes on: its step has not lowered F, and a shorter one may."""
        first = self._begun is not None and len(self._monitor.history) == 0
        return first and 0 < self._idle < MOST_FAILURES and not self._monitor.deadline.passed

    def _is_better(self, at: Evaluation, certificate: float) -> bool:
        if self.best is None or certificate <= self._tol:
            return True
        gain, rounding = self.best.total - at.total, self._rounding * abs(at.total)
        return gain > rounding or (gain > -rounding and certificate < self.certificate)

    def solution(self, reason: str) -> Solution:
        """The best evaluation's, or with early stopping the monitor's."""
        self.end_epoch()
        theta = self._monitor.theta
        assert theta is not None
        at = self.best if self.best is not None and theta is self.best.theta else None
        return Solution(theta, reason in ("certificate", "early stopping"), reason, self._rate, evaluation=at)
