"""Level sets of a function of two variables, and the paths of optimizers over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.parameters import shown
from fastgd.plots._labels import Texts
from fastgd.plots._style import (
    LineStyle,
    background,
    finish,
    fonts_for,
    foreground,
    line_styles,
    many_axes,
    muted,
    one_axes,
    require_matplotlib,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Limits = tuple[float, float]

#: The name of the lines and marks of a picture that an animation draws step by step, and of ends.
TRACK, END = "track", "end"
#: Points per axis at which a function is evaluated for its level sets.
_GRID = 100
#: Up to so many iterates, each has a marker.
_MARKED = 80
#: Steps with an arrow of the gradient: later ones are too short to see.
_ARROWS = 7
#: How far paths are shown from the minimum, in multiples of the starts' distance.
_REACH = 1.5


class Track(NamedTuple):
    """The runs of an optimizer, each of shape (m, 2), by its name."""

    name: str
    runs: list[Array]


class View(NamedTuple):
    """The function on a grid, its level sets, and the point to mark as its minimum."""

    x: Array
    y: Array
    values: Array
    levels: Array
    minimum: Array | None


def plot_path(  # noqa: PLR0913
    fun: Callable[[Array], Any],
    results: Any,
    *,
    ax: Any = None,
    side_by_side: bool = False,
    gradients: bool = False,
    xlim: Limits | None = None,
    ylim: Limits | None = None,
    levels: int | ArrayLike = 14,
    minimum: ArrayLike | None = None,
    title: str | None = None,
    legend: bool = True,
    axis_names: Sequence[str] = ("x", "y"),
    language: str = "en",
    labels: Mapping[str, str] | None = None,
) -> Any:
    """Draw level sets of a function of two variables, and the paths of optimizers from start to end.

    Colours, dashes and markers all differ between paths. Several starts (`n_starts` of `fastgd.minimize`) are drawn
    alike.

    Parameters
    ----------
    fun : callable
        ``fun(x)`` with x of shape (2,): the value, or (value, gradient), as for `fastgd.minimize`.
    results : result, array, `fastgd.callbacks.Iterates`, or a sequence or mapping of these
        Results of `fastgd.minimize`, iterates of shape (m, 2), or the recorded iterates of a fit. The keys of a mapping
        are the names in the legend.
    ax : matplotlib axes, figure or array of axes, default=None
        Where to draw; None makes a figure. With `side_by_side` a figure, or axes for each result.
    side_by_side : bool, default=False
        One panel for each result, with its name as title and common limits.
    gradients : bool, default=False
        Also draw the negative gradient, perpendicular to its level set, at the first iterates; scales are then equal.
    xlim, ylim : tuple of float, default=None
        Limits of the axes. None: chosen to show starts, ends and most of the paths; those that diverge leave the
        picture.
    levels : int or array-like, default=14
        Number of level sets, denser near the minimum, or their values.
    minimum : array-like of shape (2,), default=None
        The point to mark. None: the ``minimum`` of `fun` if it has one, as examples and surfaces do, else the lowest
        end of the results that succeeded.
    title : str, default=None
        Title of the axes, of the figure with `side_by_side`.
    legend : bool, default=True
        Whether to add a legend; `side_by_side` has none.
    axis_names : sequence of two str, default=("x", "y")
        Names of the variables.
    language : {"en", "ko"}, default="en"
        Language of the texts.
    labels : mapping of str to str, default=None
        Texts to show in place of the English ones: "start", "end", "minimum" and "-gradient".

    Returns
    -------
    matplotlib.axes.Axes or ndarray of Axes
        The axes; with `side_by_side` an array, one for each result. ``ax.figure.savefig(path)`` writes a file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError, TypeError
        If an argument cannot be used; the message names it.

    Examples
    --------
    >>> from fastgd import minimize, optimizers, plots
    >>> rules = {
    ...     "GD": optimizers.GradientDescent(0.95),
    ...     "Momentum": optimizers.Momentum(0.1),
    ...     "AdaGrad": optimizers.AdaGrad(1.5),
    ...     "Adam": optimizers.Adam(0.3),
    ... }
    >>> ravine = plots.examples.ravine
    >>> paths = {name: minimize(ravine, ravine.start, optimizer=rule, max_iter=30) for name, rule in rules.items()}
    >>> ax = plots.plot_path(ravine, paths)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['GD', 'Momentum', 'AdaGrad', 'Adam', 'start', 'end', 'minimum']
    """
    require_matplotlib()
    tracks = tracks_of(results, fun)
    texts = Texts(language, labels)
    names = [*texts.all, *axis_names, title or "", *(track.name for track in tracks)]
    with fonts_for(names):
        view = view_of(fun, tracks, (xlim, ylim), levels, _minimum(fun, results, minimum))
        if not side_by_side:
            axes = one_axes(ax)
            _draw_tracks(axes, tracks, line_styles(axes, len(tracks)))
            _draw_panel(axes, fun, view, tracks, texts, gradients)
            name_axes(axes, axis_names)
            finish(axes, title, legend=legend)
            return axes
        panels = _panels(ax, len(tracks))
        for axes, track, style in zip(panels, tracks, line_styles(panels[0], len(tracks)), strict=True):
            _draw_tracks(axes, [track], [style._replace(dashes="-")])
            _draw_panel(axes, fun, view, [track], texts, gradients)
            name_axes(axes, axis_names)
            axes.label_outer()
            finish(axes, track.name)
        if title is not None:
            panels[0].figure.suptitle(title, parse_math=False)
        return np.array(panels, dtype=object)


def tracks_of(results: Any, fun: Any) -> list[Track]:
    """Return the named runs of results."""
    if isinstance(results, Mapping) and "path" not in results:
        named = {str(name): result for name, result in results.items()}
    elif isinstance(results, list | tuple) and not _is_points(results):
        named = {str(number): result for number, result in enumerate(results, 1)}
    else:
        named = {"": results}
    if not named:
        raise ValueError("results must have one result or more, got none")
    return [Track(name, _runs(result, fun)) for name, result in named.items()]


def _is_points(results: Any) -> bool:
    """Whether a sequence is one of points, each of two numbers."""
    return all(isinstance(point, list | tuple | np.ndarray) and np.shape(point) == (2,) for point in results)


def _runs(result: Any, fun: Any) -> list[Array]:
    if isinstance(result, Mapping) and "path" in result:
        return [_points(run["path"]) for run in result.get("starts", [result])]
    if hasattr(result, "coef") and hasattr(result, "intercept"):
        if hasattr(fun, "project"):
            return [_points(fun.project(result.coef, result.intercept))]
        return [_points(np.asarray(result.coef)[:, 0, :])]
    if hasattr(result, "coef_"):
        raise TypeError(
            f"{type(result).__name__} keeps no iterates: fit it with callbacks=fastgd.callbacks.Iterates() and give "
            "that object"
        )
    return [_points(result)]


def _points(path: Any) -> Array:
    try:
        found = np.asarray(path, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"results must be results of fastgd.minimize or arrays, got {shown(path)}") from None
    if found.ndim != 2 or found.shape[1] != 2 or len(found) == 0:
        raise ValueError(f"a path must have the shape (m, 2), m >= 1, got {found.shape}: take two variables")
    return found


def value_of(fun: Any, x: Array) -> float:
    """Return the value of a function that may return its gradient as well."""
    found = fun(x)
    return float(found[0] if isinstance(found, tuple) else found)


def downhill(fun: Any, x: Array) -> Array:
    """Return the negative gradient, by central differences if the function returns none."""
    found = fun(x)
    if isinstance(found, tuple):
        return -np.asarray(found[1], dtype=np.float64)
    steps = 1e-6 * np.maximum(1.0, np.abs(x)) * np.eye(2)
    return -np.array([(value_of(fun, x + h) - value_of(fun, x - h)) / (2.0 * h.sum()) for h in steps])


def _minimum(fun: Any, results: Any, given: ArrayLike | None) -> Array | None:
    """Return the point to mark as the minimum, if any."""
    if given is not None:
        return np.asarray(given, dtype=np.float64).reshape(2)
    own = getattr(fun, "minimum", None)
    if own is not None:
        return np.asarray(own, dtype=np.float64)
    several = results.values() if isinstance(results, Mapping) and "path" not in results else results
    found = [several] if isinstance(several, Mapping) else [one for one in several if isinstance(one, Mapping)]
    ends = [run for one in found for run in one.get("starts", [one]) if run.get("success")]
    return min(ends, key=lambda run: run["fun"])["x"] if ends else None


def view_of(
    fun: Any,
    tracks: Sequence[Track],
    limits: tuple[Limits | None, Limits | None],
    levels: int | ArrayLike,
    minimum: Array | None,
) -> View:
    """Evaluate a function on a grid around the paths."""
    x, y = (
        np.linspace(*(given or chosen), _GRID) for given, chosen in zip(limits, _limits(tracks, minimum), strict=True)
    )
    return View(x, y, *levels_of(fun, x, y, levels), minimum)


def levels_of(fun: Any, x: Array, y: Array, levels: int | ArrayLike) -> tuple[Array, Array]:
    """Return the values of a function on a grid, and those of its level sets."""
    with np.errstate(all="ignore"):
        values = np.array([[value_of(fun, np.array([a, b])) for a in x] for b in y])
    return values, _levels(values, levels)


def _limits(tracks: Sequence[Track], minimum: Array | None) -> list[Limits]:
    """Return limits that show starts, the minimum, and paths as far as these are near."""
    runs = [run[np.all(np.isfinite(run), axis=1)] for track in tracks for run in track.runs]
    points = np.concatenate(runs)
    starts = np.array([run[0] for run in runs])
    if minimum is None:
        # The ends stand for the minimum, unless a path has left.
        ends = np.array([run[-1] for run in runs])
        minimum = ends[np.argmin(np.linalg.norm(ends - starts, axis=1))]
    core = np.concatenate([starts, minimum[None]])
    half = np.abs(core - minimum).max(axis=0)
    half = np.maximum(half, max(0.25 * half.max(), 1e-3))
    low = np.minimum(np.maximum(points.min(axis=0), minimum - _REACH * half), core.min(axis=0))
    high = np.maximum(np.minimum(points.max(axis=0), minimum + _REACH * half), core.max(axis=0))
    margin = np.maximum(0.12 * (high - low), 0.1 * half)
    return [(float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True)]


def _levels(values: Array, levels: int | ArrayLike) -> Array:
    """Return the values of level sets: quantiles, so that they cover the picture, denser for low values."""
    if not isinstance(levels, int):
        return np.unique(np.asarray(levels, dtype=np.float64))
    finite = values[np.isfinite(values)]
    if levels < 1 or finite.size == 0:
        raise ValueError(f"levels must be a positive integer and fun finite somewhere, got levels={levels}")
    shares = ((np.arange(levels) + 0.6) / levels) ** 1.6
    return np.unique(np.quantile(finite, shares))


def _panels(ax: Any, count: int) -> list[Axes]:
    """Return axes in a row; on a new figure with common limits."""
    return many_axes(ax, 1, count, (3.6 * count, 3.6), sharex=True, sharey=True)


def _draw_tracks(axes: Axes, tracks: Sequence[Track], styles: Sequence[LineStyle]) -> None:
    """Draw paths; `TRACK` names their lines for animations."""
    for track, style in zip(tracks, styles, strict=True):
        for number, run in enumerate(track.runs):
            options: dict[str, Any] = {"marker": style.marker, "markevery": max(1, len(run) // _MARKED), "zorder": 3}
            label = track.name if number == 0 and track.name else "_"
            options |= {"color": style.color, "linestyle": style.dashes, "label": label, "gid": TRACK}
            axes.plot(*run.T, markersize=4, linewidth=1.4 if len(run) <= 2 * _MARKED else 0.8, **options)


def _draw_panel(axes: Axes, fun: Any, view: View, tracks: Sequence[Track], texts: Texts, gradients: bool) -> None:
    """Draw level sets, gradients, starts, ends and the minimum around the paths."""
    points = [x for track in tracks for x in track.runs[0][:_ARROWS]] if gradients else []
    levels = np.unique([value_of(fun, x) for x in points]) if points else view.levels
    axes.contour(view.x, view.y, view.values, levels, colors=muted(axes), linewidths=0.7, linestyles="solid", zorder=1)
    if gradients:
        for number, track in enumerate(tracks):
            _draw_gradients(axes, fun, view, track.runs[0], "_" if number else texts("-gradient"))
        axes.set_aspect("equal", adjustable="box")
    runs = [run for track in tracks for run in track.runs]
    color = foreground(axes)
    ring: dict[str, Any] = {"linestyle": "none", "color": color, "fillstyle": "none", "zorder": 5}
    axes.plot(*_unique([run[0] for run in runs]).T, marker="o", markersize=10, label=texts("start"), **ring)
    axes.plot(*_unique([run[-1] for run in runs]).T, marker="s", markersize=8, label=texts("end"), gid=END, **ring)
    if view.minimum is not None:
        star: dict[str, Any] = {"marker": "*", "markersize": 14, "linestyle": "none", "color": color, "zorder": 6}
        star["markeredgecolor"] = background(axes)
        axes.plot(*view.minimum[:, None], label=texts("minimum"), **star)
    axes.set_xlim(view.x[0], view.x[-1])
    axes.set_ylim(view.y[0], view.y[-1])


def _unique(points: list[Array]) -> Array:
    return np.unique(np.array(points), axis=0)


def _draw_gradients(axes: Axes, fun: Any, view: View, run: Array, label: str) -> None:
    """Draw the negative gradient at the first iterates, as arrows of one length."""
    from matplotlib.lines import Line2D

    points, color = run[:_ARROWS], foreground(axes)
    slopes = np.array([downhill(fun, x) for x in points])
    lengths = np.linalg.norm(slopes, axis=1, keepdims=True)
    arrows = 0.12 * (view.x[-1] - view.x[0]) * slopes / np.where(lengths > 0.0, lengths, 1.0)
    options: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1.0, "zorder": 4}
    options |= {"units": "inches", "width": 0.03}
    axes.quiver(*points.T, *arrows.T, color=color, **options)
    axes.add_line(Line2D([], [], color=color, marker=">", markevery=[1], label=label))


def name_axes(axes: Axes, names: Sequence[str]) -> None:
    if len(names) != 2:
        raise ValueError(f"axis_names must be two names, got {shown(names)}")
    axes.set_xlabel(names[0], parse_math=False)
    axes.set_ylabel(names[1], parse_math=False)
