"""Draw docs/benchmarks.svg, the chart of whole fits against the fastest rivals: python -m bench.chart."""

from pathlib import Path

import matplotlib

from fastgd.bench.result import RESULTS, Finding, read

CHART = RESULTS.parents[1] / "docs" / "benchmarks.svg"
#: The distance from the optimum, (F - F*) / F*, of the fits that are shown.
TARGET = ", fit to 0.0001 of the optimum"
_FASTER, _SLOWER = "#2a78b5", "#c8553d"


def races(folder: Path = RESULTS) -> list[Finding]:
    """Return the comparison with the fastest rival of every tracked race of default fits, the best ratio first."""
    shown = [
        finding
        for path in folder.glob("optimum_*.json")
        for finding in read(path)[1]
        if finding.in_table and finding.what.endswith(TARGET) and finding.ratio is not None
    ]
    return sorted(shown, key=lambda finding: -finding.judged)


def labels(finding: Finding) -> tuple[str, str]:
    """Return the texts beside a bar: the problem, and the ratio with the rival."""
    rival = finding.against.split(" (")[0]
    return finding.what.removesuffix(TARGET), f"{finding.ratio_words[0].removesuffix(' times')}x {rival}"


def draw(path: Path = CHART) -> None:
    """Write the chart; the same results and version of matplotlib give the same bytes."""
    matplotlib.use("svg")
    from matplotlib import pyplot

    found = races()
    # Text stays text, so that the file is small and can be searched.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fastgd", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(10.0, 0.32 * len(found) + 1.2))
        ratios = [finding.judged for finding in found]
        colors = [_FASTER if ratio >= 1.0 else _SLOWER for ratio in ratios]
        axes.barh(range(len(found)), [ratio - 1.0 for ratio in ratios], left=1.0, color=colors, height=0.65)
        axes.set_xscale("log")
        axes.set_xlim(0.5, 150.0)
        axes.axvline(1.0, color="black", linewidth=0.8)
        ticks = (0.5, 1, 2, 5, 10, 20, 50)
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks], minor=False)
        axes.minorticks_off()
        axes.set_yticks(range(len(found)), [labels(finding)[0] for finding in found])
        axes.invert_yaxis()
        for place, finding in enumerate(found):
            axes.text(1.06 * max(finding.judged, 1.0), place, labels(finding)[1], va="center")
        axes.set_title(
            "Speed of a default fit relative to the fastest tuned rival, to 1e-4 of the optimum", fontsize=10
        )
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        pyplot.close(figure)


if __name__ == "__main__":
    draw()
