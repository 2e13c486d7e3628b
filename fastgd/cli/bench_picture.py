"""The picture of ``fastgd bench``: seconds by job and device, and a roofline of the memory's bandwidth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastgd.bench.devices import COPY, FIT, Line
from fastgd.bench.ours import NAME
from fastgd.plots import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"cpu": "#3465a4", "cuda": "#4e9a06"}
_RIVAL = "#babdb6"


def draw(lines: list[Line], devices: dict[str, str], title: str, path: Path) -> None:
    """Draw bars and roofline into a file.

    Parameters
    ----------
    lines : list of Line
    devices : dict of str to str
        The name of each device.
    title : str
        Above the picture.
    path : Path
        A .png file.

    Raises
    ------
    ImportError
        If matplotlib is not installed; the message says how to install it.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    shown = [line for line in lines if not line.is_yardstick]
    figure = Figure(figsize=(11.0, 1.6 + max(3.2, 0.42 * len(shown))), layout="constrained")
    bars, roof = figure.subplots(1, 2, width_ratios=[1.6, 1.0])
    figure.suptitle(title, fontsize=10)
    _bars(bars, shown)
    _roofline(roof, lines, devices)
    figure.savefig(path, format="png", dpi=120)


def _bars(axes: Axes, lines: list[Line]) -> None:
    """Draw median seconds, a bar per job and device."""
    jobs = list(dict.fromkeys(line.job for line in lines))
    ordered = sorted(lines, key=lambda line: (jobs.index(line.job), line.who != NAME, line.device))
    heights = np.arange(len(ordered))
    medians = [line.median for line in ordered]
    spread = [
        [line.median - min(line.seconds) for line in ordered],
        [max(line.seconds) - line.median for line in ordered],
    ]
    colours = [_COLOURS[line.device] if line.who == NAME else _RIVAL for line in ordered]
    axes.barh(heights, medians, xerr=spread, color=colours, error_kw={"elinewidth": 0.8})
    axes.set_yticks(heights, [f"{line.job}\n{line.who} on {line.device}" for line in ordered], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("seconds: median, least and largest")
    axes.grid(axis="x", alpha=0.3)


def _roofline(axes: Axes, lines: list[Line], devices: dict[str, str]) -> None:
    """Draw operations per second over operations per byte of X, with the limit that the memory's bandwidth sets."""
    limits = {line.device: line for line in lines if line.is_yardstick}
    points = [line for line in lines if line.who == NAME and line.intensity and not line.job.startswith(FIT)]
    widest = max((line.intensity for line in points), default=1.0)
    span = np.array([0.1, 10.0]) * widest
    for device in devices:
        bandwidth, colour = (limits[device].bandwidth or 0.0) / 1e9, _COLOURS[device]
        what = "copies" if limits[device].job == COPY else "memory"
        axes.plot(span, bandwidth * span, color=colour, label=f"{device}: {what} at {bandwidth:.3g} GB/s")
        mine = [line for line in points if line.device == device]
        for line, marker in zip(mine, "osD^v", strict=False):
            height = (line.bandwidth or 0.0) / 1e9 * line.intensity
            axes.plot(line.intensity, height, marker, color=colour, label=f"{device}: {line.job}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter("")
    axes.set_xlabel("operations per byte of X")
    axes.set_ylabel("10⁹ operations per second")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=7)
