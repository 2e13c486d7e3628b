"""Draw the history of fits with matplotlib, which is the extra ``fastgd[plot]``; no display is needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_history", "require_matplotlib"]

Array = NDArray[np.float64]

#: Values that span more than this factor are drawn on a logarithmic axis.
_WIDE = 10.0
#: Up to so many epochs, each has a dot.
_DOTS = 50


class _Panel(NamedTuple):
    """One of the axes, which stand above each other; `curves` maps names of a history to labels."""

    label: str
    height: float
    curves: dict[str, str]


_PANELS = (
    _Panel("loss", 3.0, {"loss": "training", "validation_loss": "validation"}),
    _Panel("certificate", 1.0, {"certificate": "certificate"}),
    _Panel("learning rate", 1.0, {"learning_rate": "learning rate"}),
)


def require_matplotlib() -> None:
    """Raise an ImportError that says how to install matplotlib if it is missing."""
    try:
        import matplotlib.figure
        import matplotlib.ticker  # noqa: F401
    except ModuleNotFoundError as error:
        package = (error.name or "matplotlib").partition(".")[0]
        raise ImportError(f"plots need {package}: pip install '.[plot]' in the checkout", name=package) from error


def plot_history(
    history: Mapping[str, ArrayLike], path: str | Path | None = None, title: str | None = None
) -> "Figure":
    """Draw the history of a fit: training and validation loss by epoch, below them certificate and learning rate.

    Axes are logarithmic where values span more than a factor of 10. A circle marks the least validation loss: the epoch
    of the model that early stopping returns.

    Parameters
    ----------
    history : mapping of str to array-like of shape (n_iter,)
        The `history_` of a fitted estimator. Drawn are "loss", which must be there, "validation_loss", "certificate"
        and "learning_rate".
    path : str or Path, default=None
        Where to write the picture; the ending chooses the format, such as .png, .svg or .pdf. None writes none.
    title : str, default=None
        The title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Independent of pyplot: nothing is shown, and nothing needs closing.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the history holds no loss, or arrays that do not go together, or matplotlib does not know the format.

    Examples
    --------
    >>> from fastgd.plots import plot_history
    >>> figure = plot_history({"loss": [0.7, 0.3, 0.2], "learning_rate": [0.1, 0.1, 0.05]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'learning rate']
    """
    values = _checked(history)
    require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = [panel for panel in _PANELS if not values.keys().isdisjoint(panel.curves)]
    heights = [panel.height for panel in panels]
    figure = Figure(figsize=(7.0, 1.5 + sum(heights)), layout="constrained")
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        _draw(axes, panel, values)
    rows[-1].set_xlabel("epoch")
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    if title is not None:
        rows[0].set_title(title, parse_math=False)  # names of columns may hold dollar signs
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _checked(history: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Return the curves to draw by name, without those that have no finite number."""
    if not isinstance(history, Mapping) or "loss" not in history:
        raise ValueError("history must be the history_ of a fitted estimator, a mapping with 'loss'")
    names = [name for panel in _PANELS for name in panel.curves if name in history]
    found = {name: np.asarray(history[name], dtype=np.float64) for name in names}
    shape = found["loss"].shape
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"history['loss'] must hold a number for each of one or more epochs, got shape {shape}")
    for name, values in found.items():
        if values.shape != shape:
            raise ValueError(f"history[{name!r}] must have the shape of history['loss'], {shape}, got {values.shape}")
    return {name: values for name, values in found.items() if name == "loss" or np.any(np.isfinite(values))}


def _draw(axes: "Axes", panel: _Panel, values: Mapping[str, Array]) -> None:
    shown = {name: label for name, label in panel.curves.items() if name in values}
    for color, (name, label) in enumerate(shown.items()):
        curve = values[name]
        epochs = np.arange(1, len(curve) + 1)
        axes.plot(epochs, curve, color=f"C{color}", marker="." if len(curve) <= _DOTS else "", label=label)
        if name == "validation_loss":
            best = int(np.nanargmin(curve))
            label = f"least, epoch {best + 1}"
            axes.plot(epochs[[best]], curve[[best]], f"C{color}o", fillstyle="none", markersize=9, label=label)
    if _spans_widely(np.concatenate([values[name] for name in shown])):
        axes.set_yscale("log")
    axes.set_ylabel(panel.label)
    axes.grid(alpha=0.3)
    if len(shown) > 1:
        axes.legend()


def _spans_widely(values: Array) -> bool:
    """Return whether a logarithmic axis helps, and can show all of the values."""
    finite = values[np.isfinite(values)]
    return finite.size > 0 and bool(finite.min() > 0.0 and finite.max() > _WIDE * finite.min())
