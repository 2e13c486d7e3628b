"""Colours, line styles, fonts and axes that all pictures share."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastgd.parameters import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, which people with any kind of colour blindness distinguish: those that are dark enough for a
#: light background, and those that are light enough for a dark one.
_ON_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_ON_DARK = ("#56B4E9", "#E69F00", "#2BC79A", "#CC79A7", "#F0E442", "#E8743B", "#FFFFFF")
#: Styles that stay apart in print without colours.
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: Foreground, background, and the grey of grids and level sets.
_BACKGROUNDS = {"light": ("#1a1a1a", "#ffffff", "#8c8c8c"), "dark": ("#e8e8e8", "#16181d", "#8a8f98")}
#: Colours of the light style, in lower case -> those of the dark style.
DARK_COLORS = {
    light.lower(): dark
    for light, dark in zip((*_ON_LIGHT, *_BACKGROUNDS["light"]), (*_ON_DARK, *_BACKGROUNDS["dark"]), strict=True)
}
#: Fonts with Hangul of the usual systems, the best first.
_HANGUL_FONTS = (
    "NanumGothic",
    "NanumBarunGothic",
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "UnDotum",
    "Baekmuk Gulim",
)


class LineStyle(NamedTuple):
    """Colour, dashes and marker of a curve."""

    color: str
    dashes: Any
    marker: str


def require_matplotlib() -> None:
    """Raise an ImportError that says how to install matplotlib if it is missing."""
    try:
        import matplotlib.figure
        import matplotlib.ticker  # noqa: F401
    except ModuleNotFoundError as error:
        package = (error.name or "matplotlib").partition(".")[0]
        raise ImportError(f"plots need {package}: pip install '.[plot]' in the checkout", name=package) from error


@contextmanager
def style(background: str = "light") -> Iterator[None]:
    """Draw all pictures of a ``with`` block for a light or a dark background.

    Outside such a block pictures follow matplotlib's settings (``rcParams``).

    Parameters
    ----------
    background : {"light", "dark"}, default="light"
        The background of the page.

    Yields
    ------
    None

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the background is neither.

    Examples
    --------
    >>> from fastgd import plots
    >>> with plots.style("dark"):
    ...     (ax,) = plots.plot_history({"loss": [0.7, 0.3, 0.2]})
    >>> ax.figure.get_facecolor()[0] < 0.1
    True
    """
    if background not in _BACKGROUNDS:
        raise ValueError(f"background must be 'light' or 'dark', got {shown(background)}")
    require_matplotlib()
    from cycler import cycler
    from matplotlib import rc_context

    front, back, grid = _BACKGROUNDS[background]
    fronts = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    settings: Any = dict.fromkeys(fronts, front)
    settings |= dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), back)
    settings |= {"grid.color": grid, "legend.edgecolor": grid, "hatch.color": front, "lines.color": front}
    settings["axes.prop_cycle"] = cycler(color=_ON_DARK if background == "dark" else _ON_LIGHT)
    with rc_context(settings):
        yield


def line_styles(axes: Axes, count: int) -> list[LineStyle]:
    """Return styles for a number of curves; colours and dashes repeat with other partners after seven."""
    colors = _ON_DARK if is_dark(axes) else _ON_LIGHT
    size = len(colors)
    return [
        LineStyle(colors[k % size], _DASHES[(k + k // size) % size], _MARKERS[(k + k // size) % size])
        for k in range(count)
    ]


def is_dark(axes: Axes) -> bool:
    """Whether the background of axes is dark; a transparent one is that of the figure."""
    from matplotlib.colors import to_rgba

    color = to_rgba(axes.get_facecolor())
    if color[3] == 0.0 and axes.figure is not None:
        color = to_rgba(axes.figure.get_facecolor())
    return bool(color[3] > 0.0 and 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 0.5)


def foreground(axes: Axes) -> str:
    """Return the colour of marks that belong to no curve."""
    return _BACKGROUNDS["dark" if is_dark(axes) else "light"][0]


def background(axes: Axes) -> str:
    """Return the colour that sets marks off from what is below them."""
    return _BACKGROUNDS["dark" if is_dark(axes) else "light"][1]


def muted(axes: Axes) -> str:
    """Return the colour of level sets and guides."""
    return _BACKGROUNDS["dark" if is_dark(axes) else "light"][2]


def one_axes(ax: Axes | None, size: tuple[float, float] = (7.0, 5.0)) -> Axes:
    """Return the given axes, or those of a new figure, which pyplot does not know."""
    if ax is None:
        return new_figure(size).add_subplot()
    return check_axes(ax)


def check_axes(ax: Any) -> Axes:
    """Return axes, or raise a TypeError."""
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be matplotlib axes, got {shown(ax)}")
    return ax


def new_figure(size: tuple[float, float]) -> Figure:
    """Return a figure that needs neither a display nor pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="compressed")


def many_axes(ax: Any, rows: int, columns: int, size: tuple[float, float], **options: Any) -> list[Axes]:
    """Return rows x columns axes: the given ones in order, or those of a new or given figure."""
    import numpy as np
    from matplotlib.figure import FigureBase

    if ax is None:
        ax = new_figure(size)
    if isinstance(ax, FigureBase):
        return list(ax.subplots(rows, columns, squeeze=False, **options).ravel())
    found = [check_axes(one) for one in np.atleast_1d(np.asarray(ax, dtype=object)).ravel()]
    if len(found) != rows * columns:
        raise ValueError(f"ax must be None, a figure or {rows * columns} axes, got {len(found)}")
    return found


def finish(axes: Axes, title: str | None = None, legend: bool = False, handles: list[Any] | None = None) -> None:
    """Set title and legend; fix colours of ticks and fonts of labels, which matplotlib would choose when it draws."""
    from matplotlib import rcParams

    for axis, color in ((axes.xaxis, rcParams["xtick.color"]), (axes.yaxis, rcParams["ytick.color"])):
        axis.set_tick_params(which="both", color=color, labelcolor=color)
    if title is not None:
        axes.set_title(title, parse_math=False)  # names may hold dollar signs
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_fontfamily(rcParams["font.family"])
    if legend:
        _add_legend(axes, axes.get_legend_handles_labels()[0] if handles is None else handles)


def _add_legend(axes: Axes, handles: list[Any]) -> None:
    """Add a legend: beside the axes if it is long and the figure makes room for it."""
    options: dict[str, Any] = {"fontsize": "small", "framealpha": 0.85, "handlelength": 2.6}
    if len(handles) > _INSIDE and axes.figure.get_layout_engine() is not None:
        options |= {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False}
    for text in axes.legend(handles=handles, **options).get_texts():
        text.set_parse_math(False)


#: Most entries of a legend inside the axes.
_INSIDE = 2


def has_hangul(text: str) -> bool:
    """Whether a text has letters of Hangul."""
    return any("가" <= letter <= "힣" or "ㄱ" <= letter <= "ㆎ" for letter in text)


@contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[None]:
    """Choose a font with Hangul if a text needs one; warn if there is none."""
    from matplotlib import rc_context, rcParams

    settings: Any = {}
    if any(map(has_hangul, texts)):
        family = hangul_font()
        if family is None:
            warnings.warn(NO_HANGUL, UserWarning, stacklevel=4)
        else:
            settings["font.family"] = [*rcParams["font.family"], family]
    with rc_context(settings):
        yield


#: The remedy where no font has Hangul.
NO_HANGUL = (
    "no font with Hangul is installed, so Korean letters are missing: install Debian's fonts-nanum, or pip install "
    "koreanize-matplotlib, whose fonts fastgd finds"
)


@cache
def hangul_font() -> str | None:
    """Return the name of a font with Hangul; None if matplotlib knows none, nor the files of its usual folders."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    for paths in ((), _packaged_fonts(), font_manager.findSystemFonts()):
        known = {font.fname for font in manager.ttflist}
        for path in paths:
            if str(path) not in known and "nanum" in Path(path).name.lower():
                manager.addfont(path)
        names = {font.name for font in manager.ttflist}
        found = next((name for name in _HANGUL_FONTS if name in names), None)
        if found is not None:
            return found
    return None


def _packaged_fonts() -> list[Path]:
    """Return the font files of a package that pip installs."""
    found = importlib.util.find_spec("koreanize_matplotlib")
    folders = [] if found is None or found.submodule_search_locations is None else found.submodule_search_locations
    return [path for folder in folders for path in sorted(Path(folder).rglob("*.ttf"))]
