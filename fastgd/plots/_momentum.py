"""One step of momentum and of Nesterov's momentum as vectors, and two forms of the latter as one curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.parameters import is_number, shown
from fastgd.plots._labels import Texts
from fastgd.plots._paths import downhill, levels_of, plot_path
from fastgd.plots._style import finish, fonts_for, foreground, line_styles, many_axes, muted, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class _Step(NamedTuple):
    """A step: its points, from the start over the end of the momentum to the new point."""

    title: str
    points: Array


def plot_step(
    fun: Callable[[Array], Any],
    x: ArrayLike,
    velocity: ArrayLike,
    *,
    rate: float = 0.1,
    momentum: float = 0.9,
    ax: Any = None,
    language: str = "en",
    labels: Mapping[str, str] | None = None,
) -> NDArray[Any]:
    r"""Draw one step of momentum beside one of Nesterov's momentum, as vectors.

    Both move by mu V first. Momentum then follows the gradient of the start, Nesterov's momentum that of the point
    ahead, which corrects the step if mu V leads too far:

    .. math:: x' = x + \mu V - \eta \nabla f(x), \qquad x' = x + \mu V - \eta \nabla f(x + \mu V)

    Parameters
    ----------
    fun : callable
        ``fun(x)`` with x of shape (2,): the value, or (value, gradient).
    x, velocity : array-like of shape (2,)
        The start, and the velocity V.
    rate : float, default=0.1
        eta > 0.
    momentum : float, default=0.9
        mu in [0, 1).
    ax : figure or two axes, default=None
        Where to draw; None makes a figure.
    language : {"en", "ko"}, default="en"
        Language of the texts.
    labels : mapping of str to str, default=None
        Texts to show in place of the English ones, such as "momentum step".

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (2,)
        Momentum, and Nesterov's momentum. ``axes[0].figure.savefig(path)`` writes a file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an argument cannot be used; the message names it.

    Examples
    --------
    >>> from fastgd import plots
    >>> axes = plots.plot_step(plots.examples.ravine, [-3.0, 1.0], [1.0, -1.2], rate=0.3)
    >>> [ax.get_title() for ax in axes]
    ['momentum', 'Nesterov']
    """
    require_matplotlib()
    start, push = _pair(x, "x"), _check_momentum(momentum) * _pair(velocity, "velocity")
    rate = _check_rate(rate)
    ahead = start + push
    texts = Texts(language, labels)
    with fonts_for(texts.all):
        steps = [
            _Step(texts("momentum"), np.array([start, ahead, ahead + rate * downhill(fun, start)])),
            _Step(texts("Nesterov"), np.array([start, ahead, ahead + rate * downhill(fun, ahead)])),
        ]
        panels = many_axes(ax, 1, 2, (9.0, 4.2), sharex=True, sharey=True)
        points = np.concatenate([step.points for step in steps])
        center, half = (points.max(axis=0) + points.min(axis=0)) / 2.0, 0.65 * np.ptp(points, axis=0).max()
        for axes, step in zip(panels, steps, strict=True):
            _draw_levels(axes, fun, center, half)
            _draw_vectors(axes, step.points, texts)
            axes.label_outer()
            finish(axes, step.title)
        for axes in panels[1:]:
            finish(axes, legend=True)
    return np.array(panels, dtype=object)


def plot_nesterov(
    fun: Callable[[Array], Any],
    x0: ArrayLike,
    *,
    rate: float = 0.1,
    momentum: float = 0.9,
    steps: int = 20,
    language: str = "en",
    labels: Mapping[str, str] | None = None,
    **options: Any,
) -> Axes:
    r"""Draw two forms of Nesterov's momentum, which are one sequence up to a change of variable.

    Form "lookahead" iterates on x with gradients at the points ahead, y = x + mu V; Bengio's form "bengio" iterates on
    the points y themselves. The points ahead of the first are drawn as rings, and the path of the second leads through
    them.

    Parameters
    ----------
    fun : callable
        ``fun(x)`` with x of shape (2,): the value, or (value, gradient).
    x0 : array-like of shape (2,)
        The start.
    rate : float, default=0.1
        eta > 0.
    momentum : float, default=0.9
        mu in [0, 1).
    steps : int, default=20
        Number of updates.
    language : {"en", "ko"}, default="en"
        Language of the texts.
    labels : mapping of str to str, default=None
        Texts to show in place of the English ones.
    **options
        Other arguments of `plot_path`, such as `ax`, `title` or `minimum`.

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
    >>> from fastgd import plots
    >>> ravine = plots.examples.ravine
    >>> ax = plots.plot_nesterov(ravine, ravine.start, steps=10)
    >>> [line.get_label() for line in ax.lines][:2]
    ['x, lookahead', 'y, bengio']
    """
    require_matplotlib()
    from fastgd.minimization import minimize
    from fastgd.optimizers import Nesterov

    mu, rate = _check_momentum(momentum), _check_rate(rate)
    texts = Texts(language, labels)
    one, other = (
        minimize(fun, x0, optimizer=Nesterov(rate, momentum=mu, form=form), max_iter=steps, tol=0.0).path
        for form in ("lookahead", "bengio")
    )
    paths = {"x, lookahead": one, "y, bengio": other}
    axes: Axes = plot_path(fun, paths, language=language, labels=labels, **options)
    ahead = one + mu * np.diff(one, axis=0, prepend=one[:1])
    ring: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 9, "fillstyle": "none"}
    color = line_styles(axes, 1)[0].color
    with fonts_for(texts.all):
        axes.plot(*ahead.T, color=color, label="x + μV, lookahead", zorder=4, **ring)
        finish(axes, legend=True)
    return axes


def _pair(given: ArrayLike, name: str) -> Array:
    found = np.asarray(given, dtype=np.float64)
    if found.shape != (2,) or not np.all(np.isfinite(found)):
        raise ValueError(f"{name} must be two finite numbers, got {shown(given)}")
    return found


def _check_rate(rate: Any) -> float:
    if not (is_number(rate) and rate > 0.0):
        raise ValueError(f"rate must be a positive number, got {shown(rate)}")
    return float(rate)


def _check_momentum(momentum: Any) -> float:
    if not (is_number(momentum) and 0.0 <= momentum < 1.0):
        raise ValueError(f"momentum must be a number in [0, 1), got {shown(momentum)}")
    return float(momentum)


def _draw_levels(axes: Axes, fun: Any, center: Array, half: float) -> None:
    """Draw level sets in a square."""
    x, y = (np.linspace(middle - half, middle + half, 80) for middle in center)
    values, levels = levels_of(fun, x, y, 14)
    axes.contour(x, y, values, levels, colors=muted(axes), linewidths=0.7, linestyles="solid")
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel("x")
    axes.set_ylabel("y")


def _draw_vectors(axes: Axes, points: Array, texts: Texts) -> None:
    """Draw the vectors of a step, the step as a whole, and the points between."""
    start, ahead, end = points
    blue, red = (style.color for style in line_styles(axes, 2))
    front = foreground(axes)
    vectors = (
        (start, ahead, texts("momentum step"), blue, "--"),
        (ahead, end, texts("gradient step"), red, "-."),
        (start, end, texts("whole step"), front, "-"),
    )
    for tail, head, label, color, dashes in vectors:
        arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": color, "linestyle": dashes, "linewidth": 1.8}
        arrow |= {"shrinkA": 0.0, "shrinkB": 0.0, "mutation_scale": 14.0}
        axes.annotate("", head, tail, arrowprops=arrow)
        axes.plot([], [], color=color, linestyle=dashes, linewidth=1.8, label=label)
    axes.plot(*start, "o", color=front, label=texts("start"))
    axes.plot(*ahead, "o", color=front, fillstyle="none", markersize=8, label=texts("point ahead"))
