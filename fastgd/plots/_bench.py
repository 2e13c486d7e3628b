"""Results of benchmarks: fits against rivals, jobs by device, and a roofline of the memory's bandwidth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd.parameters import shown
from fastgd.plots._labels import Texts
from fastgd.plots._style import (
    check_axes,
    finish,
    fonts_for,
    foreground,
    is_dark,
    line_styles,
    many_axes,
    new_figure,
    require_matplotlib,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The endings of the findings that are drawn: whole fits to this distance from the optimum, (F - F*) / F*.
TARGET = ", fit to 0.0001 of the optimum"
#: Jobs of `fastgd bench` that others are measured against, and the beginning of whole fits, which have no intensity.
_YARDSTICKS, _COPY, _FIT = ("read X", "copy to the GPU"), "copy to the GPU", "fit"
_OWN = "fastgd"
#: Width of figures in inches from which texts are of usual size, and letters in a line of a name.
_WIDE, _LINE = 8.0, 40
#: Grey of rivals on light and dark backgrounds.
_RIVALS = ("#b5b8b1", "#6a6e76")


def plot_bench(
    results: Any,
    *,
    ax: Any = None,
    target: str = TARGET,
    title: str | None = None,
    language: str = "en",
    labels: Mapping[str, str] | None = None,
) -> NDArray[Any]:
    """Draw results of benchmarks.

    Results of ``fastgd bench`` have two panels: seconds of each job by device and library, and a roofline, operations
    per second over operations per byte with the limits that the memory's bandwidth sets. Results of ``bench.run
    --rivals`` in the checkout have one: how many times as fast as the fastest rival fastgd is, with both names.

    Parameters
    ----------
    results : path, mapping, or a sequence of these
        The file `bench.json` of ``fastgd bench`` or its content; files of `bench/results`, their contents, or that
        folder, whose files without fitting findings are left out.
    ax : figure or array of axes, default=None
        Where to draw: one or two axes, or a figure to make them on; None makes a figure. Names take space: figures
        should be 8 inches wide or more.
    target : str, default=", fit to 0.0001 of the optimum"
        The ending of the findings that are drawn; the labels go without it.
    title : str, default=None
        Title of the figure; None is the data of ``fastgd bench``.
    language : {"en", "ko"}, default="en"
        Language of the texts.
    labels : mapping of str to str, default=None
        Texts to show in place of the English ones.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        The panels. ``axes[0].figure.savefig(path)`` writes a file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is nothing to draw, or results of both kinds.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> from fastgd import plots
    >>> finding = {"what": "ridge, fit to 0.0001 of the optimum", "against": "glum (2 threads), 9 ms", "in_table": True}
    >>> finding |= {"kind": "times", "ratio": {"median": 3.0, "min": 2.5, "max": 3.5}}
    >>> (ax,) = plots.plot_bench({"findings": [finding]})
    >>> [label.get_text() for label in ax.get_yticklabels()], ax.texts[0].get_text()
    (['ridge'], '3.0x glum')
    """
    contents = _contents(results)
    reports = [content for content in contents if "lines" in content]
    if reports and len(contents) > 1:
        raise ValueError("results must be one report of fastgd bench, or files of bench/results, got several reports")
    require_matplotlib()
    texts = Texts(language, labels)
    with fonts_for([*texts.all, title or ""]):
        if reports:
            return _draw_report(reports[0], ax, title, texts)
        return np.array([_draw_races(contents, ax, target, title, texts)], dtype=object)


def _contents(results: Any) -> list[Mapping[str, Any]]:
    """Return the contents of files, each a report of the command or a result with findings."""
    if isinstance(results, Mapping):
        found = [results]
    elif isinstance(results, str | Path):
        path = Path(results)
        paths = sorted(path.glob("*.json")) if path.is_dir() else [path]
        found = [json.loads(one.read_text(encoding="utf-8")) for one in paths]
        found = [one for one in found if not path.is_dir() or "findings" in one]
    elif isinstance(results, list | tuple):
        found = [content for one in results for content in _contents(one)]
    else:
        raise ValueError(f"results must be a path, a mapping or a sequence of these, got {shown(results)}")
    for content in found:
        if not isinstance(content, Mapping) or not {"findings", "lines"} & content.keys():
            raise ValueError("results must be of fastgd bench, with 'lines', or of bench/results, with 'findings'")
    if not found:
        raise ValueError("results must have one result or more, got none")
    return found


def races(contents: Any, target: str = TARGET) -> list[dict[str, Any]]:
    """Return the comparisons with the fastest rival that a table shows, the best ratio first."""
    found = [
        finding
        for content in contents
        for finding in content["findings"]
        if finding.get("in_table", True)
        and finding["what"].endswith(target)
        and finding.get("ratio")
        and finding["kind"] == "times"
    ]
    return sorted(found, key=lambda finding: -finding["ratio"]["median"])


def words(finding: Mapping[str, Any], target: str = TARGET) -> tuple[str, str]:
    """Return the texts beside a bar: the problem, and the ratio with the rival."""
    ratio, rival = finding["ratio"]["median"], finding["against"].split(" (")[0].split(",")[0]
    return finding["what"].removesuffix(target), f"{ratio:.{2 if ratio < 2.0 else 1}f}x {rival}"


def _draw_races(contents: Any, ax: Any, target: str, title: str | None, texts: Texts) -> Axes:
    found = races(contents, target)
    if not found:
        raise ValueError(f"results have no comparison of a fit whose name ends in {target!r}")
    size = (10.0, 0.32 * len(found) + 1.2)
    axes = many_axes(new_figure(size) if ax is None else ax, 1, 1, size)[0]
    ratios = np.array([finding["ratio"]["median"] for finding in found])
    faster, slower = line_styles(axes, 2)
    bars = axes.barh(range(len(found)), ratios - 1.0, left=1.0, height=0.65)
    for bar, ratio in zip(bars, ratios, strict=True):
        bar.set_facecolor(faster.color if ratio >= 1.0 else slower.color)
        bar.set_hatch("" if ratio >= 1.0 else "///")
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, 0.8 * ratios.min()), 8.0 * max(ratios.max(), 2.0))
    axes.axvline(1.0, color=foreground(axes), linewidth=0.8)
    low, high = axes.get_xlim()
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= tick <= high / 4.0]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks], minor=False)
    axes.minorticks_off()
    is_wide = axes.figure.bbox.width / axes.figure.dpi >= _WIDE
    small = "small" if is_wide else "xx-small"
    names = [words(finding, target)[0] for finding in found]
    axes.set_yticks(range(len(found)), names if is_wide else [fill(name, _LINE) for name in names], fontsize=small)
    axes.invert_yaxis()
    for place, finding in enumerate(found):
        axes.text(1.06 * max(ratios[place], 1.0), place, words(finding, target)[1], va="center", fontsize=small)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(texts("times as fast as the fastest rival"))
    finish(axes, title)
    return axes


def _draw_report(report: Mapping[str, Any], ax: Any, title: str | None, texts: Texts) -> NDArray[Any]:
    lines = [dict(line, median=float(np.median(line["seconds"]))) for line in report["lines"]]
    jobs = [line for line in lines if line["job"] not in _YARDSTICKS]
    size = (11.0, 1.6 + max(3.2, 0.42 * len(jobs)))
    panels = many_axes(new_figure(size) if ax is None else ax, 1, 2, size, width_ratios=[1.6, 1.0])
    bars, roof = (check_axes(axes) for axes in panels)
    heading = report.get("data") if title is None else title
    if heading and ax is None:
        bars.figure.suptitle(heading, fontsize="medium", parse_math=False)
    colors = dict(
        zip(report["devices"], (style.color for style in line_styles(bars, len(report["devices"]))), strict=True)
    )
    _draw_jobs(bars, jobs, colors, texts)
    _draw_roofline(roof, lines, colors, texts)
    return np.array(panels, dtype=object)


def _draw_jobs(axes: Axes, lines: list[dict[str, Any]], colors: Mapping[str, str], texts: Texts) -> None:
    """Draw median seconds, a bar per job, library and device; rivals are grey and hatched."""
    jobs = list(dict.fromkeys(line["job"] for line in lines))
    ordered = sorted(lines, key=lambda line: (jobs.index(line["job"]), line["who"] != _OWN, line["device"]))
    heights = np.arange(len(ordered))
    medians = np.array([line["median"] for line in ordered])
    spread = [
        medians - [min(line["seconds"]) for line in ordered],
        [max(line["seconds"]) for line in ordered] - medians,
    ]
    error: Any = {"elinewidth": 0.8, "ecolor": foreground(axes)}
    bars = axes.barh(heights, medians, xerr=spread, error_kw=error)
    for bar, line in zip(bars, ordered, strict=True):
        is_own = line["who"] == _OWN
        bar.set_facecolor(colors[line["device"]] if is_own else _RIVALS[is_dark(axes)])
        bar.set_hatch("" if is_own else "///")
    axes.set_yticks(
        heights, [f"{line['job']}\n{line['who']}, {line['device']}" for line in ordered], fontsize="x-small"
    )
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(texts("seconds: median, least and largest"))
    axes.grid(axis="x", alpha=0.3)
    finish(axes)


def _draw_roofline(axes: Axes, lines: list[dict[str, Any]], colors: Mapping[str, str], texts: Texts) -> None:
    """Draw operations per second over operations per byte of X, with the limit that the memory's bandwidth sets."""
    limits = {line["device"]: line for line in lines if line["job"] in _YARDSTICKS}
    points = [line for line in lines if line["who"] == _OWN and line["intensity"] and not line["job"].startswith(_FIT)]
    widest = max((line["intensity"] for line in points), default=1.0)
    span = np.array([0.1, 10.0]) * widest
    for device, color in colors.items():
        limit = limits[device]
        bandwidth = _bandwidth(limit) / 1e9
        what = "copies" if limit["job"] == _COPY else "memory"
        dashes = "-" if device == "cpu" else "--"
        axes.plot(span, bandwidth * span, dashes, color=color, label=f"{device}: {what}, {bandwidth:.3g} GB/s")
        mine = [line for line in points if line["device"] == device]
        for line, marker in zip(mine, "osD^v", strict=False):
            height = _bandwidth(line) / 1e9 * line["intensity"]
            axes.plot(line["intensity"], height, marker, color=color, label=f"{device}: {line['job']}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter("")
    axes.set_xlabel(texts("operations per byte of X"))
    axes.set_ylabel(texts("10⁹ operations per second"))
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="x-small")
    finish(axes)


def _bandwidth(line: Mapping[str, Any]) -> float:
    """Return bytes of X per second."""
    return 0.0 if line["nbytes"] is None else float(line["nbytes"] / line["median"])
