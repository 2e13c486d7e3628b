"""Record and log per-epoch metrics."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import numpy as np

from fastgd.arrays import Array

logger = logging.getLogger("fastgd")


def printed(verbose: bool) -> AbstractContextManager[None]:
    """Print records on stderr, if `verbose` and if no logging has been set up that would show them."""
    return _on_stderr() if verbose and not logger.hasHandlers() else nullcontext()


@contextmanager
def _on_stderr() -> Iterator[None]:
    handler, level = logging.StreamHandler(), logger.level
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class Epoch(NamedTuple):
    """The metrics of an epoch that a solver reports."""

    loss: float
    learning_rate: float
    gradient_norm: float
    certificate: float = math.nan


class History:
    """Record and log the metrics of a fit's epochs.

    With `verbose` log records are INFO, else DEBUG; `record.fastgd` holds their numbers. recorded: rows of an earlier
    fit that this one repeats, which are not logged again and keep their seconds; new rows are added to the list.
    """

    def __init__(self, max_iter: int, verbose: bool = False, recorded: list[dict[str, float]] | None = None) -> None:
        self.max_iter = max_iter
        self._level = logging.INFO if verbose else logging.DEBUG
        self._rows: list[dict[str, float]] = []
        self._recorded: list[dict[str, float]] = [] if recorded is None else recorded
        #: Rows added so far, also those that were forgotten.
        self._added = 0
        self._last = time.perf_counter()

    @property
    def is_repeating(self) -> bool:
        """Whether the next epoch was recorded by an earlier fit."""
        return self._added < len(self._recorded)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, epoch: Epoch, validation_loss: float, is_whole: bool = True) -> dict[str, float]:
        """Add an epoch and return its metrics by name; one that is not whole will be continued, and is not recorded."""
        now, repeats = time.perf_counter(), self.is_repeating
        row = {**epoch._asdict(), "validation_loss": validation_loss, "seconds": now - self._last}
        self._last = now
        self._rows.append(row)
        if repeats:
            row["seconds"] = self._recorded[self._added]["seconds"]
        elif is_whole:
            self._recorded.append(row)
        self._added += repeats or is_whole
        if not repeats and logger.isEnabledFor(self._level):
            shown = ["loss", "validation_loss", "learning_rate", "gradient_norm", "certificate"]
            text = ", ".join(f"{name.replace('_', ' ')} {row[name]:.6g}" for name in shown if not math.isnan(row[name]))
            numbers = {"epoch": len(self._rows), "max_iter": self.max_iter, **row}
            logger.log(
                self._level, "epoch %d of at most %d: %s", len(self), self.max_iter, text, extra={"fastgd": numbers}
            )
        return row

    def conclude(self, reason: str, certificate: float, gap: float | None) -> None:
        """Log the end of the fit."""
        if logger.isEnabledFor(self._level):
            text = f"certificate {certificate:.6g}" + ("" if gap is None else f", duality gap {gap:.6g}")
            numbers = {"stopped_by": reason, "certificate": certificate, "duality_gap": gap}
            logger.log(
                self._level, "ended by %s after %d epochs: %s", reason, len(self), text, extra={"fastgd": numbers}
            )

    def clear(self) -> None:
        """Forget the epochs of a run that diverged."""
        self._rows.clear()

    @property
    def last_loss(self) -> float:
        """The training loss of the last epoch."""
        return self._rows[-1]["loss"]

    @property
    def largest_rate(self) -> float:
        """The largest learning rate that an epoch began with."""
        return max((row["learning_rate"] for row in self._rows), default=math.nan)

    def arrays(self) -> dict[str, Array]:
        """Return an array per metric with an entry per epoch; metrics that no epoch has are left out."""
        found: dict[str, Array] = {}
        for name in ("loss", "validation_loss", "learning_rate", "gradient_norm", "seconds", "certificate"):
            column = [row[name] for row in self._rows]
            if name not in ("validation_loss", "certificate") or not all(map(math.isnan, column)):
                found[name] = np.array(column, dtype=np.float64)
        return found
