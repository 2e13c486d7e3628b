"""Coefficients of fitted models: the largest beside each other, and their paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.parameters import is_positive_integer, shown
from fastgd.plots._labels import Texts
from fastgd.plots._style import finish, fonts_for, foreground, line_styles, muted, one_axes, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class _Row(NamedTuple):
    """The coefficients (d,) of an output of a model, by its name."""

    name: str
    values: Array


def plot_coefficients(
    models: Any,
    *,
    ax: Axes | None = None,
    top: int = 15,
    names: Sequence[str] | None = None,
    scales: ArrayLike | None = None,
    title: str | None = None,
    language: str = "en",
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """Draw the largest coefficients of one or several models, largest first.

    A single model has a colour and a marker for each sign; several have one for each model, or class.

    Parameters
    ----------
    models : fitted model, or a sequence or mapping of these
        All with the same columns. The keys of a mapping are the names in the legend.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; None makes a figure.
    top : int, default=15
        Number of columns, those with the largest coefficient of any model.
    names : sequence of str, default=None
        Names of the columns; None takes those of the fit, else numbers.
    scales : array-like of shape (d,), default=None
        Factors of the coefficients, such as the standard deviations of the columns, which make them comparable.
    title : str, default=None
        Title of the axes.
    language : {"en", "ko"}, default="en"
        Language of the texts.
    labels : mapping of str to str, default=None
        Texts to show in place of the English ones: "coefficient", "positive" and "negative".

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.figure.savefig(path)`` writes a file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If a model is not fitted, or an argument does not suit the models; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LinearRegression, plots
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> model = LinearRegression().fit(X, X @ [1.0, -3.0, 2.0])
    >>> ax = plots.plot_coefficients(model, names=["a", "b", "c"])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['b', 'c', 'a']
    """
    if not is_positive_integer(top):
        raise ValueError(f"top must be a positive integer, got {shown(top)}")
    rows, found = _rows(models)
    width = len(rows[0].values)
    columns = _names(names, found, width)
    factors = np.ones(width) if scales is None else np.asarray(scales, dtype=np.float64)
    if factors.shape != (width,):
        raise ValueError(f"scales must have the shape ({width},), got {factors.shape}")
    values = np.array([row.values * factors for row in rows])
    order = np.argsort(-np.abs(values).max(axis=0), kind="stable")[:top]
    require_matplotlib()
    texts = Texts(language, labels)
    with fonts_for([*texts.all, *columns, title or "", *(row.name for row in rows)]):
        axes = one_axes(ax, (7.0, 1.2 + 0.3 * len(order)))
        if len(rows) == 1:
            _draw_signs(axes, values[0, order], texts)
        else:
            _draw_models(axes, values[:, order], [row.name for row in rows])
        axes.axvline(0.0, color=foreground(axes), linewidth=0.8)
        axes.set_yticks(range(len(order)), [columns[j] for j in order], fontsize="small", parse_math=False)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlabel(texts("coefficient"))
        axes.grid(axis="x", alpha=0.3)
        finish(axes, title, legend=True)
    return axes


def plot_coefficient_path(
    source: Any,
    *,
    ax: Axes | None = None,
    top: int = 8,
    names: Sequence[str] | None = None,
    x: ArrayLike | None = None,
    title: str | None = None,
    language: str = "en",
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """Draw how coefficients change with the penalty, or from epoch to epoch.

    Parameters
    ----------
    source : sequence of fitted models or `fastgd.callbacks.Iterates`
        Models of several penalties, or the iterates of a fit; with one output.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; None makes a figure.
    top : int, default=8
        Number of columns with a colour and a name, those with the largest coefficient; others are grey.
    names : sequence of str, default=None
        Names of the columns; None takes those of the fit, else numbers.
    x : array-like of shape (m,), default=None
        Horizontal places; None is `alpha` of the models on a logarithmic axis, or the epochs of iterates.
    title : str, default=None
        Title of the axes.
    language : {"en", "ko"}, default="en"
        Language of the texts.
    labels : mapping of str to str, default=None
        Texts to show in place of the English ones: "coefficient" and "epoch".

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.figure.savefig(path)`` writes a file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an argument does not suit; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LinearRegression, plots
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> models = [LinearRegression(alpha=a, l1_ratio=1.0).fit(X, X[:, 0]) for a in (0.01, 0.1, 1.0)]
    >>> ax = plots.plot_coefficient_path(models)
    >>> ax.get_xlabel(), len(ax.lines)
    ('alpha', 3)
    """
    if not is_positive_integer(top):
        raise ValueError(f"top must be a positive integer, got {shown(top)}")
    if hasattr(source, "epochs"):
        if source.coef.ndim != 3 or source.coef.shape[1] != 1:
            raise ValueError(f"source must have one output and an iterate or more, got coef of {source.coef.shape}")
        values, places, axis, found = source.coef[:, 0], source.epochs, "epoch", None
    else:
        rows, found = _rows(source if isinstance(source, list | tuple) else [source])
        if len(rows) != len(source):
            raise ValueError("source must be models with one output")
        values, places, axis = np.array([row.values for row in rows]), [model.alpha for model in source], "alpha"
    places = np.asarray(places if x is None else x, dtype=np.float64)
    if places.shape != (len(values),):
        raise ValueError(f"x must have a number for each of {len(values)} places, got shape {places.shape}")
    columns = _names(names, found, values.shape[1])
    order = np.argsort(-np.abs(values).max(axis=0), kind="stable")
    require_matplotlib()
    texts = Texts(language, labels)
    with fonts_for([*texts.all, *columns, title or ""]):
        axes = one_axes(ax, (7.0, 4.5))
        for j in order[top:]:
            axes.plot(places, values[:, j], color=muted(axes), linewidth=0.7, label="_")
        shown_columns = order[:top]
        for j, style in zip(shown_columns, line_styles(axes, len(shown_columns)), strict=True):
            options: dict[str, Any] = {"marker": style.marker, "markersize": 4, "markevery": max(1, len(places) // 10)}
            axes.plot(places, values[:, j], color=style.color, linestyle=style.dashes, label=columns[j], **options)
        if axis == "alpha" and np.all(places > 0.0):
            axes.set_xscale("log")
        axes.set_xlabel(texts(axis) if axis == "epoch" else axis)
        axes.set_ylabel(texts("coefficient"))
        axes.grid(alpha=0.3)
        finish(axes, title, legend=True)
    return axes


def _rows(models: Any) -> tuple[list[_Row], Any]:
    """Return the coefficients of each output, and the names of the columns or None."""
    if isinstance(models, Mapping):
        named = {str(name): model for name, model in models.items()}
    elif isinstance(models, list | tuple):
        named = {str(number): model for number, model in enumerate(models, 1)}
    else:
        named = {"": models}
    rows, columns = [], None
    for name, model in named.items():
        if not hasattr(model, "coef_"):
            raise ValueError(f"models must be fitted, got {shown(model)}: call fit first")
        coef = model.coef_.toarray() if hasattr(model.coef_, "toarray") else np.asarray(model.coef_)
        coef = np.atleast_2d(coef.astype(np.float64))
        outputs = [str(label) for label in getattr(model, "classes_", range(len(coef)))] if len(coef) > 1 else [""]
        rows += [_Row(" ".join(filter(None, (name, one))), row) for one, row in zip(outputs, coef, strict=True)]
        if columns is None and hasattr(model, "feature_names_in_"):
            columns = model.coef_names_
    if not rows:
        raise ValueError("models must have one model or more, got none")
    if len({row.values.size for row in rows}) > 1:
        raise ValueError("models must have the same columns, got several numbers of coefficients")
    return rows, columns


def _names(given: Sequence[str] | None, found: Any, width: int) -> list[str]:
    names = given if given is not None else found if found is not None else [f"column {j}" for j in range(width)]
    if isinstance(names, str) or len(names) != width:
        raise ValueError(f"names must be {width} names, got {shown(names)}")
    return [str(name) for name in names]


def _draw_signs(axes: Axes, values: Array, texts: Texts) -> None:
    """Draw the coefficients of one model, with a colour and a marker for each sign."""
    styles = line_styles(axes, 2)
    for word, style, chosen in zip(("positive", "negative"), styles, (values > 0.0, values < 0.0), strict=True):
        places = np.flatnonzero(chosen)
        axes.hlines(places, 0.0, values[chosen], color=style.color, linewidth=2.0)
        options: dict[str, Any] = {"linestyle": "none", "color": style.color, "label": texts(word)}
        axes.plot(values[chosen], places, marker=style.marker, **options)
    zero = np.flatnonzero(values == 0.0)
    axes.plot(np.zeros(len(zero)), zero, "|", color=foreground(axes), label="_")


def _draw_models(axes: Axes, values: Array, names: list[str]) -> None:
    """Draw the coefficients of several models beside each other."""
    shifts = np.linspace(-0.3, 0.3, len(values))
    for row, name, shift, style in zip(values, names, shifts, line_styles(axes, len(values)), strict=True):
        places = np.arange(len(row)) + shift
        axes.hlines(places, 0.0, row, color=style.color, linewidth=1.2)
        axes.plot(row, places, marker=style.marker, markersize=5, linestyle="none", color=style.color, label=name)
