"""Paths of optimizers step by step, as GIF or HTML."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.files import whole_file
from fastgd.parameters import is_positive_integer, shown
from fastgd.plots._paths import END, TRACK, plot_path
from fastgd.plots._style import require_matplotlib

Array = NDArray[np.float64]

_ENDINGS = (".gif", ".html")


def animate_path(
    fun: Callable[[Array], Any],
    results: Any,
    path: str | Path,
    *,
    most_frames: int = 80,
    frames_per_second: int = 10,
    size: tuple[float, float] | None = None,
    **options: Any,
) -> Path:
    """Write an animation of `plot_path`, in which all paths take a step per frame.

    Parameters
    ----------
    fun : callable
        As for `plot_path`.
    results : result, array, `fastgd.callbacks.Iterates`, or a sequence or mapping of these
        As for `plot_path`.
    path : str or Path
        The file: ".gif", written by Pillow, or ".html", a page with controls.
    most_frames : int, default=80
        Longer paths take several steps per frame.
    frames_per_second : int, default=10
        Speed.
    size : tuple of float, default=None
        Width and height in inches of a new figure, at 100 dots per inch.
    **options
        Other arguments of `plot_path`, such as `side_by_side` or `gradients`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError, TypeError
        If an argument cannot be used; the message names it.

    Examples
    --------
    >>> from fastgd import minimize, plots
    >>> ravine = plots.examples.ravine
    >>> result = minimize(ravine, ravine.start, optimizer="gd", max_iter=5)
    >>> plots.animate_path(ravine, {"GD": result}, "descent.gif")  # doctest: +SKIP
    PosixPath('descent.gif')
    """
    path = Path(path)
    if path.suffix.lower() not in _ENDINGS:
        raise ValueError(f"path must end in one of {', '.join(_ENDINGS)}, got {shown(str(path))}")
    for name, value in (("most_frames", most_frames), ("frames_per_second", frames_per_second)):
        if not is_positive_integer(value):
            raise ValueError(f"{name} must be a positive integer, got {shown(value)}")
    require_matplotlib()
    figure = np.ravel(plot_path(fun, results, **options))[0].figure
    if size is not None:
        figure.set_size_inches(size)
    from matplotlib.animation import FuncAnimation, HTMLWriter, PillowWriter

    draw, length = _steps(figure)
    numbers = np.unique(np.linspace(1, length, min(length, most_frames)).round().astype(int)).tolist()
    animation = FuncAnimation(figure, draw, [*numbers, *[length] * frames_per_second])
    kind = PillowWriter if path.suffix.lower() == ".gif" else partial(HTMLWriter, embed_frames=True)
    with whole_file(path) as temporary:
        animation.save(temporary, writer=kind(frames_per_second), dpi=100)
    return path


def _steps(figure: Any) -> tuple[Callable[[int], list[Any]], int]:
    """Return a function that shows the first iterates of each path, and the number of iterates of the longest."""
    lines = [line for axes in figure.axes for line in axes.lines]
    tracks = [(line, line.get_xydata().copy()) for line in lines if line.get_gid() == TRACK]
    ends = [line for line in lines if line.get_gid() == END]
    length = max(len(points) for _, points in tracks)
    # The layout would follow the contents from frame to frame.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")

    def draw(number: int) -> list[Any]:
        for line, points in tracks:
            line.set_data(*points[:number].T)
        for line in ends:
            line.set_visible(number == length)
        return lines

    return draw, length
