"""The course of a solver that finds its own steps, pass by pass: what the monitor is told, and where it ends."""

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
        """Note a pass and the learning rate to tell of it; why to stop, or None."""
        objective, monitor = self._objective, self._monitor
        certificate, value = objective.certificate(at), objective.value(at)
        if not (math.isfinite(certificate) and math.isfinite(value)):
            message = "loss or gradient overflow: scale down columns of extreme values"
            raise DivergenceError(message, rate=rate, epoch=len(monitor.history))
        self.improved = self._is_better(at, certificate)
        self._idle = 0 if self.improved else self._idle + 1
        if self.improved:
            self._best[:], self.certificate = [at], certificate
        if len(monitor.history) == 0:
            self._rate = rate
        norm = math.sqrt(np.vdot(at.slope, at.slope))
        reason = monitor.end_epoch(Epoch(value, rate, norm, certificate), at.theta)
        if certificate <= self._tol and self._tol > 0.0:
            return monitor.certified
        if reason is None and len(monitor.history) >= monitor.history.max_iter:
            return "max_iter"
        return "no step" if reason is None and self._idle >= self._patience else reason

    def tried(self, trial: Evaluation) -> str | None:
        """The same of the end of a step that is taken back where it overflows: the pass is told as one of the best."""
        self._overflows = 0 if is_finite(trial) else self._overflows + 1
        taken_back = 0 < self._overflows < MOST_FAILURES
        return self.seen(self.best if taken_back and self.best is not None else trial)

    def _is_better(self, at: Evaluation, certificate: float) -> bool:
        if self.best is None or certificate <= self._tol:
            return True
        gain, rounding = self.best.total - at.total, self._rounding * abs(at.total)
        return gain > rounding or (gain > -rounding and certificate < self.certificate)

    def solution(self, reason: str) -> Solution:
        """The best evaluation's, or with early stopping the monitor's."""
        theta = self._monitor.theta
        assert theta is not None
        at = self.best if self.best is not None and theta is self.best.theta else None
        return Solution(theta, reason in ("certificate", "early stopping"), reason, self._rate, evaluation=at)
