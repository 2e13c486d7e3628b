"""Learning-rate schedules by epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.parameters import is_positive_integer, shown
from fastgd.plots._labels import Texts
from fastgd.plots._style import finish, fonts_for, line_styles, one_axes, require_matplotlib
from fastgd.schedules import Schedule, as_schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


def plot_schedule(  # noqa: PLR0913
    schedules: Any,
    *,
    ax: Axes | None = None,
    epochs: int = 50,
    batches: int = 10,
    rate: float = 1.0,
    losses: ArrayLike | None = None,
    log: bool = False,
    title: str | None = None,
    language: str = "en",
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """Draw learning rates of schedules by epoch.

    Parameters
    ----------
    schedules : schedule, number, function, or a sequence or mapping of these
        Learning rates as optimizers take them. The keys of a mapping are the names in the legend.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; None makes a figure.
    epochs : int, default=50
        Length of the fit.
    batches : int, default=10
        Updates per epoch.
    rate : float, default=1.0
        The value of "auto" in schedules.
    losses : array-like of shape (epochs,), default=None
        The loss of each epoch, on which `ReduceOnPlateau` and functions depend. None: losses that never fall, so that
        `ReduceOnPlateau` shows its fastest cuts.
    log : bool, default=False
        Whether the rate has a logarithmic axis.
    title : str, default=None
        Title of the axes.
    language : {"en", "ko"}, default="en"
        Language of the texts.
    labels : mapping of str to str, default=None
        Texts to show in place of the English ones: "epoch" and "learning rate".

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.figure.savefig(path)`` writes a file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an argument cannot be used; the message names it.

    Examples
    --------
    >>> from fastgd import plots, schedules
    >>> shapes = {"cosine": schedules.CosineDecay(0.1), "steps": schedules.StepDecay(0.1, every=20)}
    >>> ax = plots.plot_schedule(shapes, epochs=60)
    >>> [line.get_label() for line in ax.lines]
    ['cosine', 'steps']
    """
    for name, value in (("epochs", epochs), ("batches", batches)):
        if not is_positive_integer(value):
            raise ValueError(f"{name} must be a positive integer, got {shown(value)}")
    metrics = np.ones(epochs) if losses is None else np.asarray(losses, dtype=np.float64)
    if metrics.shape != (epochs,):
        raise ValueError(f"losses must have a number for each of {epochs} epochs, got shape {metrics.shape}")
    named = _named(schedules)
    curves = {name: _rates(schedule.bind(rate, epochs), batches, metrics) for name, schedule in named.items()}
    require_matplotlib()
    texts = Texts(language, labels)
    with fonts_for([*texts.all, title or "", *named]):
        axes = one_axes(ax, (7.0, 4.0))
        times = np.arange(epochs * batches) / batches
        for (name, rates), style in zip(curves.items(), line_styles(axes, len(curves)), strict=True):
            options: dict[str, Any] = {"marker": style.marker, "markevery": max(1, len(times) // 10), "markersize": 4}
            axes.plot(times, rates, color=style.color, linestyle=style.dashes, label=name or "_", **options)
        if log:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0.0)
        axes.set_xlabel(texts("epoch"))
        axes.set_ylabel(texts("learning rate"))
        axes.grid(alpha=0.3)
        finish(axes, title, legend=any(curves))
    return axes


def _named(given: Any) -> dict[str, Schedule]:
    """Return schedules by name."""
    if isinstance(given, Mapping):
        named = {str(name): as_schedule(schedule) for name, schedule in given.items()}
    elif isinstance(given, Sequence) and not isinstance(given, str):
        found = [as_schedule(schedule) for schedule in given]
        named = {_words(schedule): schedule for schedule in found}
        if len(named) < len(found):
            raise ValueError("schedules has one schedule twice: leave one out, or give a mapping of names")
    else:
        named = {"": as_schedule(given)}
    if not named:
        raise ValueError("schedules must have one schedule or more, got none")
    return named


def _words(schedule: Schedule) -> str:
    """Return the schedule's name with the parameters that are not the default."""
    fields = [field for field in dataclasses.fields(schedule) if getattr(schedule, field.name) != field.default]
    return f"{type(schedule).__name__}({', '.join(f'{one.name}={getattr(schedule, one.name)}' for one in fields)})"


def _rates(schedule: Schedule, batches: int, losses: Array) -> Array:
    """Return the rate of each update of a bound schedule."""
    state, found = schedule.start(), []
    for epoch, loss in enumerate(losses):
        state = schedule.begin(state, epoch * batches, epoch)
        steps = epoch * batches + np.arange(batches)
        found.append(schedule.rates(steps, steps / batches, state))
        state = schedule.observe(state, float(loss))
    return np.concatenate(found)
