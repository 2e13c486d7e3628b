"""Figures as SVG inside a page of HTML, which follow its light or dark colours."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

from fastgd.plots._style import DARK_COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def inline_svg(figure: Figure, name: str) -> str:
    """Return a figure as an element of HTML.

    Texts remain text. The colours of the light style become CSS variables, to which `dark_variables` gives the values
    of the dark style; without them, as in print, the figure is light.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Drawn in ``style("light")``.
    name : str
        Prefix of the element's ids, which must be unique in the page.

    Returns
    -------
    str
    """
    from matplotlib import rc_context

    buffer = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    return re.sub("<[^>]*>", lambda tag: _rewritten(tag[0], name), svg[svg.index("<svg") :])  # texts have no <


def _rewritten(tag: str, name: str) -> str:
    tag = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    return re.sub("#[0-9a-f]{6}", lambda color: _variable(color[0]), tag, flags=re.IGNORECASE)


def _variable(color: str) -> str:
    known = color.lower() in DARK_COLORS
    return f"var(--plot-{color[1:].lower()}, {color})" if known else color


def dark_variables() -> str:
    """Return declarations of the CSS variables of `inline_svg`, for dark pages."""
    return " ".join(f"--plot-{light[1:]}: {dark};" for light, dark in DARK_COLORS.items())
