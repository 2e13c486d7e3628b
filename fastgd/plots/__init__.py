"""Pictures of fits, minimisations, schedules and benchmarks by matplotlib, which is the extra ``fastgd[plot]``.

Functions draw into given axes or make a figure, and return the axes; ``ax.figure.savefig(path)`` writes a file. They
need no display and leave pyplot alone. Colours are those of Okabe and Ito, and dashes and markers differ as well.
`style` chooses a light or a dark background, ``language="ko"`` Korean texts. Importing this package does not load
matplotlib.
"""

from fastgd.plots import examples
from fastgd.plots._history import plot_history
from fastgd.plots._paths import plot_path
from fastgd.plots._schedules import plot_schedule
from fastgd.plots._style import require_matplotlib as require_matplotlib
from fastgd.plots._style import style

__all__ = ["examples", "plot_history", "plot_path", "plot_schedule", "style"]
