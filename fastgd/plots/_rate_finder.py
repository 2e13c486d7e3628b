"""The learning-rate range test: losses of a fit whose rate grows from update to update."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.callbacks import EpochState, StepState
from fastgd.exceptions import DivergenceError
from fastgd.optimizers import BY_NAME, WithRate
from fastgd.parameters import is_number, is_positive_integer, shown
from fastgd.plots._labels import Texts
from fastgd.plots._style import finish, fonts_for, foreground, line_styles, one_axes, require_matplotlib
from fastgd.schedules import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

#: The test ends where the smoothed loss is this many times its least value.
_DIVERGED = 4.0
#: Weight of the past in the smoothed loss of mini-batches.
_MEMORY = 0.9
#: Updates over which the fall of the smoothed loss is taken.
_WINDOW = 10
#: Share of the updates after which the smoothed loss is taken seriously.
_SETTLED = 0.05


class RateTest(NamedTuple):
    """The result of a learning-rate range test.

    Attributes
    ----------
    rates, losses, smoothed : ndarray of shape (m,)
        Learning rates, the loss of each batch before its update, and the same smoothed.
    suggested : float
        The rate at which the smoothed loss falls most steeply.
    limit : float
        The rate of the least smoothed loss: larger ones raise it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LinearRegression, plots
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = X.sum(axis=1) + np.random.default_rng(1).normal(size=200)
    >>> test = plots.find_rates(LinearRegression(optimizer="gd", batch_size=20, random_state=0), X, y)
    >>> test.rates.shape == test.losses.shape == test.smoothed.shape
    True
    """

    rates: Array
    losses: Array
    smoothed: Array
    suggested: float
    limit: float


@dataclass(frozen=True)
class _Growing(Schedule):
    """A rate that grows by a constant factor per update, from `initial` to `highest` after some epochs."""

    initial: float = 1e-5
    highest: float = 100.0
    epochs: float = 1.0
    kind: ClassVar[str] = "growing"

    def _values(self, epochs: Array, state: Mapping[str, float]) -> Array:
        return self.initial * (self.highest / self.initial) ** (epochs / self.epochs)


class _Losses:
    """Record rates and losses of updates, and end the fit when the loss has risen or the rates are done."""

    every = 1

    def __init__(self, updates: int) -> None:
        self._updates, self._mean = updates, 0.0
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []

    def on_run_begin(self, start: StepState | None) -> None:
        """Forget an earlier run."""

    def on_steps(self, state: StepState) -> bool:
        """Record an update; return whether the loss has risen or all updates are done."""
        self.rates.append(state.learning_rate)
        self.losses.append(state.loss)
        self._mean = _MEMORY * self._mean + (1.0 - _MEMORY) * state.loss
        self.smoothed.append(self._mean / (1.0 - _MEMORY ** len(self.losses)))
        done, least = len(self.losses), min(self.smoothed)
        has_risen = done > _SETTLED * self._updates and self.smoothed[-1] > _DIVERGED * least
        return has_risen or done >= self._updates or not math.isfinite(state.loss)

    def on_epoch_end(self, state: EpochState) -> None:
        """Leave epochs alone."""


def find_rates(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    lowest: float = 1e-5,
    highest: float = 100.0,
    updates: int = 200,
) -> RateTest:
    """Run a learning-rate range test: one fit whose rate grows by a constant factor per update.

    The fit is that of the model's rule with its batch size and penalty, on a copy, and ends where the loss rises. It
    costs `updates` updates. Batches must be smaller than the data: their noise shows which rates are unstable.

    Parameters
    ----------
    model : LinearRegression or LogisticRegression
        With an update rule as `optimizer`, such as "gd" or "adam", whose learning rate is not used, and mini-batches.
    X, y : array-like
        The data of the fit.
    lowest, highest : float, default=1e-5 and 100.0
        The first and the last rate.
    updates : int, default=200
        Number of updates.

    Returns
    -------
    RateTest
        Rates and losses, with a suggested rate; `plot_rate_finder` draws it.

    Raises
    ------
    ValueError
        If the optimizer is no update rule, a batch holds all rows, or an argument is out of range.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LinearRegression, plots
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = X.sum(axis=1) + np.random.default_rng(1).normal(size=200)
    >>> test = plots.find_rates(LinearRegression(optimizer="gd", batch_size=20, random_state=0), X, y)
    >>> test.suggested < test.limit < 2.0  # 2 / L of all rows, whose L is close to 1
    True
    """
    if not (is_number(lowest) and is_number(highest) and 0.0 < lowest < highest < math.inf):
        raise ValueError(f"lowest and highest must be rates, 0 < lowest < highest, got {lowest!r} and {highest!r}")
    if not (is_positive_integer(updates) and updates >= 10):
        raise ValueError(f"updates must be an integer of 10 or more, got {shown(updates)}")
    from sklearn.base import clone

    from fastgd._config import FitConfig

    rule = _rule_of(model)
    size = FitConfig.of(clone(model).set_params(optimizer=rule)).batch_size
    rows = len(np.asarray(y))
    if size is None or size >= rows:
        raise ValueError(
            f"batch_size must be below the {rows} rows for a range test, got {shown(model.batch_size)}: a full batch "
            "has no noise to show that a rate is unstable; there learning_rate='auto' is 1 / L, half the limit"
        )
    batches = -(-rows // size)
    epochs = updates / batches
    growing = dataclasses.replace(rule, learning_rate=_Growing(lowest, highest, epochs))
    options = {"optimizer": growing, "max_iter": math.ceil(epochs), "tol": 0.0, "early_stopping": False}
    losses = _Losses(updates)
    with warnings.catch_warnings(), np.errstate(all="ignore"), suppress(DivergenceError):
        warnings.simplefilter("ignore")  # a fit that is ended has not converged
        clone(model).set_params(**options).fit(X, y, callbacks=losses)
    return _result(losses)


def _rule_of(model: Any) -> WithRate:
    given = getattr(model, "optimizer", None)
    rule = BY_NAME[given]() if isinstance(given, str) and given in BY_NAME else given
    if not isinstance(rule, WithRate) or getattr(rule, "line_search", None) is not None:
        raise ValueError(f"model must have an update rule as optimizer, such as 'gd' or 'adam', got {shown(given)}")
    return rule


def _result(found: _Losses) -> RateTest:
    rates, losses, smoothed = (np.array(part) for part in (found.rates, found.losses, found.smoothed))
    if len(rates) < 3:
        raise ValueError(f"the fit diverges at the lowest rates ({len(rates)} updates): lower `lowest`")
    best = int(np.nanargmin(smoothed))
    # The first means are of few batches.
    falls = smoothed[_WINDOW : best + 1 - _WINDOW] - smoothed[2 * _WINDOW : best + 1]
    steepest = 3 * _WINDOW // 2 + int(np.nanargmax(falls)) if falls.size else best // 2
    return RateTest(rates, losses, smoothed, float(rates[steepest]), float(rates[best]))


def plot_rate_finder(
    model: Any,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    language: str = "en",
    labels: Mapping[str, str] | None = None,
    **options: Any,
) -> Axes:
    """Draw a learning-rate range test, with the suggested rate and the limit of stability.

    Parameters
    ----------
    model : LinearRegression, LogisticRegression or RateTest
        As for `find_rates`, or its result.
    X, y : array-like, default=None
        The data, with a model.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; None makes a figure.
    title : str, default=None
        Title of the axes.
    language : {"en", "ko"}, default="en"
        Language of the texts.
    labels : mapping of str to str, default=None
        Texts to show in place of the English ones.
    **options
        Other arguments of `find_rates`.

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.figure.savefig(path)`` writes a file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the optimizer is no update rule, data are missing, or an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LinearRegression, plots
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> model = LinearRegression(optimizer="gd", batch_size=50, random_state=0)
    >>> ax = plots.plot_rate_finder(model, X, X.sum(axis=1))
    >>> [text.get_text().split(" 0")[0] for text in ax.get_legend().get_texts()][:3]
    ['batch loss', 'smoothed', 'suggested']
    """
    require_matplotlib()
    texts = Texts(language, labels)
    test = model if isinstance(model, RateTest) else None
    if test is None:
        if X is None or y is None:
            raise ValueError("X and y must be given with a model: plot_rate_finder(model, X, y)")
        test = find_rates(model, X, y, **options)
    with fonts_for([*texts.all, title or ""]):
        axes = one_axes(ax, (7.0, 4.2))
        noisy, smooth, good, bad = line_styles(axes, 4)
        axes.plot(test.rates, test.losses, color=noisy.color, linewidth=0.8, alpha=0.6, label=texts("batch loss"))
        axes.plot(test.rates, test.smoothed, color=smooth.color, label=texts("smoothed"))
        for rate, text, style in (
            (test.suggested, "suggested {rate}", good),
            (test.limit, "stability limit {rate}", bad),
        ):
            height = np.interp(rate, test.rates, test.smoothed)
            label = texts(text, rate=f"{rate:.2g}")
            axes.axvline(rate, color=foreground(axes), linewidth=0.8, linestyle=style.dashes, label="_")
            marker: dict[str, Any] = {"markersize": 8, "markeredgecolor": foreground(axes), "zorder": 4}
            axes.plot(
                rate, height, marker=style.marker, color=style.color, linestyle=style.dashes, label=label, **marker
            )
        axes.set_xscale("log")
        low, start = float(np.nanmin(test.smoothed)), float(test.smoothed[0])
        margin = 0.15 * max(start - low, 1e-12 * abs(start))
        axes.set_ylim(low - margin, start + 4.0 * margin)
        axes.set_xlabel(texts("learning rate"))
        axes.set_ylabel(texts("loss"))
        axes.grid(alpha=0.3)
        finish(axes, title, legend=True)
    return axes
