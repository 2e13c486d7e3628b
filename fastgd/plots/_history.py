"""Losses, certificates, gradient norms and learning rates of fits by epoch, pass or second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.parameters import shown
from fastgd.plots._labels import Texts
from fastgd.plots._style import LineStyle, finish, fonts_for, foreground, line_styles, many_axes, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

#: Values that span more than this factor are drawn on a logarithmic axis.
_WIDE = 10.0
#: Up to so many epochs, each has a marker; longer curves have about `_SPARSE`.
_DOTS, _SPARSE = 25, 12
#: A rate below this share of the one before is a cut, unless the one before fell by more than `_STEADY` itself.
_CUT, _STEADY = 0.75, 0.9
#: Panel -> its label and its curves.
_PANELS = {
    "loss": ("loss", ("loss", "validation_loss")),
    "certificate": ("certificate", ("certificate",)),
    "gradient_norm": ("gradient norm", ("gradient_norm",)),
    "learning_rate": ("learning rate", ("learning_rate",)),
}
_CURVES = tuple(name for _, names in _PANELS.values() for name in names)
_UNITS = {"epoch": "epoch", "pass": "pass", "seconds": "seconds"}


class Course(NamedTuple):
    """The metrics of a fit by name, and what a report adds: passes in all, and the reason to stop.

    seconds: of each epoch. A `loss` with one entry more than `epochs` begins at epoch 0.
    """

    name: str
    epochs: int
    metrics: dict[str, Array]
    seconds: Array | None
    passes: float | None
    reason: str | None
    unit: str


def plot_history(
    fits: Any,
    *,
    ax: Any = None,
    x: str = "epoch",
    panels: tuple[str, ...] | None = None,
    marks: bool = True,
    title: str | None = None,
    language: str = "en",
    labels: Mapping[str, str] | None = None,
) -> NDArray[Any]:
    """Draw the course of one or several fits: losses, certificates or gradient norms, and learning rates.

    Training and validation losses share a panel. Axes are logarithmic where values span more than a factor of 10.
    Marks are a circle at the least validation loss, the model that early stopping returns; a triangle at each cut of
    the learning rate by more than a quarter; and a cross at the end.

    Parameters
    ----------
    fits : fitted model, its `history_`, result of `fastgd.minimize`, or a sequence or mapping of these
        The keys of a mapping are the names in the legend.
    ax : figure or array of axes, default=None
        Where to draw: axes for each panel, or a figure to make them on; None makes a figure.
    x : {"epoch", "pass", "seconds"}, default="epoch"
        The unit of the horizontal axis. Passes over the data are those of the fit report, spread evenly over the
        epochs; for `fastgd.minimize` they are calls of the function. Seconds need a `history_`.
    panels : tuple of str, default=None
        Of "loss", "certificate", "gradient_norm" and "learning_rate". None: all that fits have, without the gradient
        norm if every fit has certificates.
    marks : bool, default=True
        Whether to mark best epochs, cuts of the rate and ends.
    title : str, default=None
        Title of the first panel.
    language : {"en", "ko"}, default="en"
        Language of the texts.
    labels : mapping of str to str, default=None
        Texts to show in place of the English ones, such as "loss" or "training".

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        The panels from top to bottom. ``axes[0].figure.savefig(path)`` writes a file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError, TypeError
        If an argument cannot be used, or a history holds no loss or arrays that do not go together.

    Examples
    --------
    >>> from fastgd.plots import plot_history
    >>> axes = plot_history({"loss": [0.7, 0.3, 0.2], "learning_rate": [0.1, 0.1, 0.05]})
    >>> [ax.lines[0].get_ydata().tolist() for ax in axes]
    [[0.7, 0.3, 0.2], [0.1, 0.1, 0.05]]
    """
    courses = _courses(fits)
    if x not in _UNITS:
        raise ValueError(f"x must be one of {', '.join(map(repr, _UNITS))}, got {shown(x)}")
    chosen = _panels(courses, panels)
    require_matplotlib()
    from matplotlib.ticker import MaxNLocator

    texts = Texts(language, labels)
    with fonts_for([*texts.all, title or "", *(course.name for course in courses)]):
        heights = [2.6 if name == "loss" else 1.3 for name in chosen]
        size = (7.0, 1.2 + sum(heights))
        rows = many_axes(ax, len(chosen), 1, size, sharex=True, height_ratios=heights)
        for axes, name in zip(rows, chosen, strict=True):
            _draw_panel(axes, name, courses, x, marks, texts)
        _add_legend(rows, courses, texts)
        rows[-1].set_xlabel(texts("iteration" if _are_iterations(courses, x) else x))
        if x == "epoch":
            rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in rows:
            finish(axes, title if axes is rows[0] else None)
    return np.array(rows, dtype=object)


def _are_iterations(courses: list[Course], x: str) -> bool:
    return x == "epoch" and all(course.unit == "iteration" for course in courses)


def _courses(fits: Any) -> list[Course]:
    """Return the courses of one fit or several."""
    if isinstance(fits, Mapping) and not {"loss", "path_fun"} & set(fits):
        named = {str(name): fit for name, fit in fits.items()}
    elif isinstance(fits, list | tuple):
        named = {str(number): fit for number, fit in enumerate(fits, 1)}
    else:
        named = {"": fits}
    if not named:
        raise ValueError(f"{_WANTED}, got {shown(fits)}")
    return [_course(name, fit) for name, fit in named.items()]


_WANTED = "fits must be fitted models, their history_ with 'loss', or results of fastgd.minimize"


def _course(name: str, fit: Any) -> Course:
    if isinstance(fit, Mapping) and "path_fun" in fit:
        metrics = {"loss": fit["path_fun"], "learning_rate": fit["learning_rates"]}
        reason = "tol" if fit["success"] else str(fit["message"]).split(",")[0].split(":")[0]
        return _checked(Course(name, int(fit["nit"]), metrics, None, float(fit["nfev"]), reason, "iteration"))
    if isinstance(fit, Mapping) and "loss" in fit:
        return _of_history(name, fit, {})
    if hasattr(fit, "history_"):
        return _of_history(name, fit.history_, getattr(fit, "fit_report_", {}))
    if hasattr(fit, "fit") and hasattr(fit, "get_params"):
        raise ValueError(f"{type(fit).__name__} is not fitted: call fit first; {_WANTED}")
    raise ValueError(f"{_WANTED}, got {shown(fit)}")


def _of_history(name: str, history: Mapping[str, ArrayLike], report: Mapping[str, Any]) -> Course:
    metrics = {metric: np.asarray(history[metric], dtype=np.float64) for metric in _CURVES if metric in history}
    seconds = np.asarray(history["seconds"], dtype=np.float64) if "seconds" in history else None
    passes, reason = report.get("passes"), report.get("stopped_by")
    return _checked(Course(name, metrics["loss"].size, metrics, seconds, passes, reason, "epoch"))


def _checked(course: Course) -> Course:
    """Return a course without metrics that have no finite number."""
    shape = np.shape(course.metrics["loss"])
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"history['loss'] must hold a number for each of one or more epochs, got shape {shape}")
    for name, values in course.metrics.items():
        if course.unit == "epoch" and values.shape != shape:
            raise ValueError(f"history[{name!r}] must have the shape of history['loss'], {shape}, got {values.shape}")
    kept = {name: values for name, values in course.metrics.items() if name == "loss" or np.isfinite(values).any()}
    return course._replace(metrics=kept)


def _panels(courses: list[Course], asked: tuple[str, ...] | None) -> list[str]:
    """Return the panels to draw."""
    if asked is not None:
        unknown = [name for name in asked if name not in _PANELS]
        if unknown or not asked:
            raise ValueError(f"panels must be some of {', '.join(map(repr, _PANELS))}, got {shown(asked)}")
        absent = [name for name in asked if not any(name in course.metrics for course in courses)]
        if absent:
            raise ValueError(f"panels has {absent[0]!r}, which no fit has: leave it out")
        return list(asked)
    found = [name for name in _PANELS if any(name in course.metrics for course in courses)]
    if "gradient_norm" in found and all("certificate" in course.metrics for course in courses):
        found.remove("gradient_norm")
    return found


def _times(course: Course, count: int, x: str) -> Array:
    """Return the horizontal places of `count` values, the last at the end of the course."""
    epochs = np.arange(course.epochs + 1 - count, course.epochs + 1, dtype=np.float64)
    if x == "epoch":
        return epochs
    if x == "pass":
        if course.passes is None:
            raise ValueError("x='pass' needs fitted models or results of fastgd.minimize, whose passes are known")
        return epochs * (course.passes / max(course.epochs, 1))
    if course.seconds is None:
        raise ValueError("x='seconds' needs a history_ with 'seconds', which results of fastgd.minimize have not")
    return np.concatenate([[0.0], np.cumsum(course.seconds)])[-count:]


def _draw_panel(axes: Axes, panel: str, courses: list[Course], x: str, marks: bool, texts: Texts) -> None:
    label, names = _PANELS[panel]
    styles = _styles(axes, courses)
    for course, pair in zip(courses, styles, strict=True):
        for name, style in zip(names, pair, strict=False):
            if name in course.metrics:
                _draw_curve(axes, course, name, style, x, _label(course, name, courses, texts))
                if marks:
                    _draw_marks(axes, course, name, style, x, texts if len(courses) == 1 else None)
    drawn = [course.metrics[name] for course in courses for name in names if name in course.metrics]
    if _spans_widely(np.concatenate(drawn)):
        axes.set_yscale("log")
    axes.set_ylabel(texts(label).replace(" ", "\n"), fontsize="small")
    axes.grid(alpha=0.3)


def _styles(axes: Axes, courses: list[Course]) -> list[tuple[LineStyle, LineStyle]]:
    """Return styles of the training and the validation loss of each course."""
    if len(courses) == 1:
        first, second = line_styles(axes, 2)
        return [(first, second)]
    return [(style._replace(dashes="-"), style._replace(dashes="--")) for style in line_styles(axes, len(courses))]


def _label(course: Course, name: str, courses: list[Course], texts: Texts) -> str:
    if len(courses) == 1:
        return texts({"loss": "training", "validation_loss": "validation"}[name]) if "loss" in name else f"_{name}"
    return course.name if name == "loss" else f"_{course.name} {name}"


def _draw_curve(axes: Axes, course: Course, name: str, style: LineStyle, x: str, label: str) -> None:
    values = course.metrics[name]
    every = 1 if len(values) <= _DOTS else -(-len(values) // _SPARSE)
    options: dict[str, Any] = {"marker": style.marker, "markevery": every, "markersize": 4, "linewidth": 1.5}
    if name == "validation_loss":
        options["fillstyle"] = "none"
    times = _times(course, len(values), x)
    axes.plot(times, values, color=style.color, linestyle=style.dashes, label=label, **options)


def _draw_marks(axes: Axes, course: Course, name: str, style: LineStyle, x: str, texts: Texts | None) -> None:
    """Draw the marks of a curve; with `texts`, those of a single course, they have labels of their own."""
    values = course.metrics[name]
    times = _times(course, len(values), x)
    options: dict[str, Any] = {"linestyle": "none", "fillstyle": "none", "color": foreground(axes), "zorder": 4}

    def mark(places: Any, shape: str, label: str) -> None:
        axes.plot(times[places], values[places], marker=shape, markersize=9, label=label, **options)

    if name == "validation_loss":
        best = int(np.nanargmin(values))
        at = "" if texts is None else f"{texts('epoch')} {best + 1}"
        mark([best], "o", "_best" if texts is None else texts("best, {at}", at=at))
    if name == "learning_rate" and (cuts := rate_cuts(values)):
        mark(cuts, "v", "_rate cut" if texts is None else texts("rate cut"))
    if name == "loss" and course.reason is not None:
        mark([-1], "x", "_stop" if texts is None else texts("stop: {reason}", reason=course.reason))


def rate_cuts(rates: Array) -> list[int]:
    """Return the epochs that begin with a rate cut, as indices."""
    before = np.concatenate([rates[:1], rates[:-1]])
    earlier = np.concatenate([before[:1], before[:-1]])
    return np.flatnonzero((rates < _CUT * before) & (before >= _STEADY * earlier)).tolist()


def _add_legend(rows: list[Axes], courses: list[Course], texts: Texts) -> None:
    """Add one legend: the curves and marks of a single fit; else the names, validation and the kinds of marks."""
    from matplotlib.lines import Line2D

    color = foreground(rows[0])
    handles: list[Any] = [handle for axes in rows for handle in axes.get_legend_handles_labels()[0]]
    handles.sort(key=lambda handle: handle.get_linestyle() == "None")
    if len(courses) > 1 and any("validation_loss" in course.metrics for course in courses):
        handles.append(Line2D([], [], color=color, linestyle="--", label=texts("validation")))
    for shape, (word, label) in zip("ovx", _UNLABELLED.items(), strict=True):
        if any(line.get_label() == label for axes in rows for line in axes.lines):
            ring: dict[str, Any] = {"linestyle": "none", "marker": shape, "fillstyle": "none", "markersize": 8}
            handles.append(Line2D([], [], color=color, label=texts(word).split("{")[0].rstrip(" ,:"), **ring))
    if len(handles) > 1:
        finish(rows[0], legend=True, handles=handles)


#: Labels of the marks of several fits, which matplotlib leaves out of legends.
_UNLABELLED = {"best, {at}": "_best", "rate cut": "_rate cut", "stop: {reason}": "_stop"}


def _spans_widely(values: Array) -> bool:
    """Return whether a logarithmic axis helps, and can show all of the values."""
    finite = values[np.isfinite(values)]
    return finite.size > 0 and bool(finite.min() > 0.0 and finite.max() > _WIDE * finite.min())
