"""What solvers report while they run, and how they are told to stop."""

import logging
import math
import time
from dataclasses import dataclass, field

from fastgd.scaling import Array

logger = logging.getLogger("fastgd")

#: Epochs without an improvement of `tol` times the constant model's loss after which mini-batch rules stop.
FLAT_EPOCHS = 5
#: A fit has diverged when its loss is this many times that of its start, margins 0.
DIVERGED = 10.0


@dataclass
class Monitor:
    """Collects the history of a fit and logs it, an entry an epoch.

    With `verbose` records are INFO, else DEBUG; each carries its numbers in `record.fastgd`.
    """

    max_iter: int
    verbose: bool = False
    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    certificate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    #: Where the fit stands: what an interrupted one returns.
    theta: Array | None = None
    _last: float = field(default_factory=time.perf_counter)

    def record(self, loss: float, rate: float, certificate: float = math.nan) -> None:
        """Add an epoch."""
        now = time.perf_counter()
        self.loss.append(loss)
        self.learning_rate.append(rate)
        self.certificate.append(certificate)
        self.seconds.append(now - self._last)
        self._last = now
        level = logging.INFO if self.verbose else logging.DEBUG
        if logger.isEnabledFor(level):
            numbers = {
                "epoch": len(self.loss),
                "max_iter": self.max_iter,
                "loss": loss,
                "learning_rate": rate,
                "certificate": certificate,
                "seconds": self.seconds[-1],
            }
            logger.log(
                level,
                "epoch %d of at most %d: loss %.9g, rate %.3g, certificate %.3g",
                *(numbers[name] for name in ("epoch", "max_iter", "loss", "learning_rate", "certificate")),
                extra={"fastgd": numbers},
            )

    def restart(self) -> None:
        """Forget the epochs of a run that diverged."""
        self.loss.clear()
        self.learning_rate.clear()
        self.certificate.clear()
        self.seconds.clear()


class FlatLoss:
    """Says when the training loss has stopped falling."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._best = math.inf
        self._waited = 0

    def seen(self, loss: float) -> bool:
        """Take an epoch's loss; True after `FLAT_EPOCHS` epochs without enough improvement. Never with tolerance 0."""
        if loss < self._best - self._tolerance:
            self._best = loss
            self._waited = 0
        else:
            self._waited += 1
        return self._tolerance > 0.0 and self._waited >= FLAT_EPOCHS


def diverged(loss: float, start: float) -> bool:
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
    #: Why it ended: "certificate", "flat loss", "max_iter" or "interrupted".
    reason: str
    #: The learning rate of the first update.
    rate: float
    seed: int | None = None
