"""Draw docs/benchmarks.svg, the chart of whole fits against the fastest rivals: python -m bench.chart."""

from pathlib import Path

from fastgd.bench.result import RESULTS, read
from fastgd.plots import plot_bench

CHART = RESULTS.parents[1] / "docs" / "benchmarks.svg"
#: The dependence of the file on the moment and the machine is taken out: the same results give the same bytes.
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "fastgd", "font.size": 9}


def results(folder: Path = RESULTS) -> list[Path]:
    """Return the tracked races of default fits; a ValueError for one of a quick run."""
    paths = sorted(folder.glob("optimum_*.json"))
    for path in paths:
        read(path)
    return paths


def draw(path: Path = CHART) -> None:
    """Write the chart; text stays text, so that the file is small and can be searched."""
    from matplotlib import rc_context

    with rc_context(_SETTINGS):
        title = "Speed of a default fit relative to the fastest tuned rival, to 1e-4 of the optimum"
        (axes,) = plot_bench(results(), title=title)
        axes.figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    draw()
