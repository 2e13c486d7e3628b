"""Pictures of fits, minimisations, schedules and benchmarks by matplotlib, which is the extra ``fastgd[plot]``.

Functions draw into given axes or make a figure, and return the axes; ``ax.figure.savefig(path)`` writes a file. They
need no display and leave pyplot alone. Colours are those of Okabe and Ito, and dashes and markers differ as well.
`style` chooses a light or a dark background, ``language="ko"`` Korean texts. Importing this package does not load
matplotlib.
"""

from fastgd.plots import examples
from fastgd.plots._animation import animate_path
from fastgd.plots._bench import plot_bench
from fastgd.plots._coefficients import plot_coefficient_path, plot_coefficients
from fastgd.plots._history import plot_history
from fastgd.plots._momentum import plot_nesterov, plot_step
from fastgd.plots._paths import plot_path
from fastgd.plots._rate_finder import RateTest, find_rates, plot_rate_finder
from fastgd.plots._schedules import plot_schedule
from fastgd.plots._style import require_matplotlib as require_matplotlib
from fastgd.plots._style import style
from fastgd.plots._surface import LossSurface
from fastgd.plots._svg import dark_variables as dark_variables
from fastgd.plots._svg import inline_svg as inline_svg

__all__ = [
    "LossSurface",
    "RateTest",
    "animate_path",
    "examples",
    "find_rates",
    "plot_bench",
    "plot_coefficient_path",
    "plot_coefficients",
    "plot_history",
    "plot_nesterov",
    "plot_path",
    "plot_rate_finder",
    "plot_schedule",
    "plot_step",
    "style",
]
