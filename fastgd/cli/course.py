"""How a fit went from epoch to epoch, in the few numbers that its page shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.options import FitOptions


class EarlyStop(NamedTuple):
    """What early stopping came to."""

    stopped: bool
    """Whether it ended the fit."""
    best_epoch: int
    """Counted from 1; the model is that of this epoch."""
    best_loss: float
    last_loss: float


class Course(NamedTuple):
    """The course of a fit."""

    epochs: int
    schedule: str | None
    """As the user asked for it."""
    first_rate: float
    last_rate: float
    early_stop: EarlyStop | None


def course_of(history: Mapping[str, NDArray[Any]], stopped_by: str, options: FitOptions) -> Course:
    """Sum up a fit.

    Parameters
    ----------
    history : mapping of str to ndarray of shape (n_iter,)
        The estimator's `history_`.
    stopped_by : str
        From its report.
    options : FitOptions
        What the user asked for.

    Returns
    -------
    Course
    """
    rates = history["learning_rate"]
    early_stop = None
    if options.early_stopping:
        losses = history["validation_loss"]
        best = int(np.nanargmin(losses))
        early_stop = EarlyStop(stopped_by == "early stopping", best + 1, float(losses[best]), float(losses[-1]))
    return Course(len(rates), options.schedule, float(rates[0]), float(rates[-1]), early_stop)


def course_lines(course: Course) -> list[tuple[str, str]]:
    """Return the lines of the page, with their labels."""
    lines = []
    if course.schedule is not None:
        rates = f"learning rate {course.first_rate:.3g} in the first epoch, {course.last_rate:.3g} in the last"
        lines.append(("schedule", f"{course.schedule}: {rates}"))
    if course.early_stop is not None:
        stop = course.early_stop
        what = f"early stopping after epoch {course.epochs:,}" if stop.stopped else "no early stopping"
        losses = f"loss {stop.best_loss:.5g} there, {stop.last_loss:.5g} in the last epoch"
        lines.append(("validation", f"{what}, the model is that of epoch {stop.best_epoch:,}: {losses}"))
    return lines


def course_facts(course: Course) -> dict[str, Any]:
    """Return the same for programs."""
    stop = course.early_stop
    return {
        "epochs": course.epochs,
        "schedule": course.schedule,
        "learning_rate": {"first": course.first_rate, "last": course.last_rate},
        "early_stopping": None if stop is None else stop._asdict(),
    }
