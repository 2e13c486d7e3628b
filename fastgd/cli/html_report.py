"""The report that ``fastgd fit --report`` writes: one page of HTML without scripts that loads nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastgd
from fastgd import plots
from fastgd.cli.facts import (
    Line,
    baseline,
    data_lines,
    file_lines,
    memory_lines,
    outcome_lines,
    scores,
    shortened,
    solver_lines,
    subject,
    time_lines,
)
from fastgd.cli.info import collect
from fastgd.cli.output import plural, printable, whole_file
from fastgd.cli.report import FitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastgd import LinearRegression, LogisticRegression

#: Coefficients in the table: those that are always shown, and those that can be unfolded.
_SHOWN, _MOST = 30, 1000
#: Columns in the picture of coefficients, characters of their names, and most outputs, each with a line per column.
_BARS, _BAR_NAME, _MOST_OUTPUTS = 15, 24, 5
#: Width of pictures in inches, which is legible on telephones.
_WIDTH = 4.8


def write_html(
    result: FitResult, model: LinearRegression | LogisticRegression, scales: NDArray[np.float64], path: Path
) -> None:
    """Write the report of a fit; `scales` are the standard deviations of the columns."""
    text = html_page(result, _pictures(result, model, scales), collect())
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def html_page(result: FitResult, pictures: Mapping[str, str], machine: Mapping[str, object]) -> str:
    """Return the page.

    Parameters
    ----------
    result : FitResult
    pictures : mapping of str to str
        Captions and elements of SVG.
    machine : mapping of str to object
        Versions and hardware, as `fastgd.cli.info.collect` returns them.

    Returns
    -------
    str
    """
    # The folder of compiled kernels is the user's own, and a driver that is missing did nothing in this fit.
    left_out = {"cache", "threads"} | ({"gpu"} if result.report["device"] == "cpu" else set())
    installed = {name: value for name, value in machine.items() if name not in left_out and value != "not installed"}
    return _PAGE.substitute(
        title=_text(f"{result.data.target}: {result.data.task} regression"),
        version=_text(fastgd.__version__),
        dark=plots.dark_variables(),
        warnings=_warnings(result.warnings),
        data=_facts(data_lines(result.data)),
        scores=_scores(result),
        outcome=_facts(outcome_lines(result)),
        pictures=_figures(pictures),
        coefficients=_coefficients(result),
        work=_facts([*solver_lines(result), *time_lines(result), *memory_lines(result), *file_lines(result)]),
        command=_text(result.command),
        machine=_facts(Line(name, str(value)) for name, value in installed.items()),
    )


def _pictures(
    result: FitResult, model: LinearRegression | LogisticRegression, scales: NDArray[np.float64]
) -> dict[str, str]:
    """Return captions and pictures: the course of a fit of several epochs, and the coefficients of few outputs."""
    found = {}
    with warnings.catch_warnings(), plots.style("light"):
        warnings.simplefilter("ignore")  # letters that matplotlib's fonts lack, which browsers have
        if result.history.epochs > 1:
            figure = _figure(4.0)
            plots.plot_history(model, ax=figure)
            found["Course of the fit"] = plots.inline_svg(figure, "course")
        outputs = len(result.intercept)
        if outputs <= _MOST_OUTPUTS:
            figure = _figure(1.2 + (0.16 + 0.1 * outputs) * min(_BARS, len(result.data.names)))
            names = [shortened(name, _BAR_NAME) for name in result.data.names]
            labels = {"coefficient": "coefficient per standard deviation of the column"}
            options: dict[str, Any] = {"ax": figure.add_subplot(), "names": names, "scales": scales, "labels": labels}
            legend = plots.plot_coefficients(model, top=_BARS, **options).get_legend()
            if legend is not None and outputs == 1:
                legend.remove()  # it names signs, which are plain to see
            found["Largest coefficients"] = plots.inline_svg(figure, "coefficients")
    return found


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), layout="compressed")


def _text(text: str) -> str:
    """Return text for HTML; marks that would reorder or hide what is shown are escaped as on terminals."""
    return escape(printable(text))


def _facts(lines: Iterable[Line]) -> str:
    """Return a table of facts; a line without a label continues the cell of the one before it."""
    cells: list[tuple[str, str]] = []
    for label, text in lines:
        if label or not cells:
            cells.append((_text(label), _text(text)))
        else:
            cells[-1] = (cells[-1][0], f"{cells[-1][1]}<br>{_text(text)}")
    rows = (f'<tr><th scope="row">{label}</th><td>{text}</td></tr>' for label, text in cells)
    return f'<table class="facts">{"".join(rows)}</table>'


def _warnings(messages: list[str]) -> str:
    if not messages:
        return ""
    items = "".join(f"<li>{_text(message)}</li>" for message in messages)
    return (
        f'<section class="warning"><h2>{"Warnings" if len(messages) > 1 else "Warning"}</h2><ul>{items}</ul></section>'
    )


def _figures(pictures: Mapping[str, str]) -> str:
    """Return the section of pictures; a fit of one epoch with many classes has none."""
    if not pictures:
        return ""
    figures = (f"<figure>{svg}<figcaption>{_text(title)}</figcaption></figure>" for title, svg in pictures.items())
    return f'<section><h2>Pictures</h2><div class="figures">{"".join(figures)}</div></section>'


def _scores(result: FitResult) -> str:
    rows = (
        f'<tr><th scope="row">{_text(row.name)}</th>{_number(result.scores[row.key], row.model)}'
        f"{_number(result.baseline[row.key], row.baseline)}</tr>"
        for row in scores(result)
    )
    return (
        f'<table class="numbers"><caption>On {result.n_scored:,} {_text(result.scored_on)}. Baseline:'
        f" {_text(baseline(result))}.</caption><thead>{_head('score', 'model', 'baseline')}</thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _coefficients(result: FitResult) -> str:
    """Return tables of the largest coefficients, and of further ones to unfold; one has the intercepts first."""
    labels = result.classes if len(result.intercept) > 1 else [None]
    intercepts = [_row("(intercept)", *pair, None) for pair in zip(labels, result.intercept, strict=True)]
    rows = [*intercepts, *(_row(name, label, value, sd) for name, label, value, sd in result.coefficients[:_MOST])]
    shown, folded = rows[: _SHOWN + 1], rows[_SHOWN + 1 : _MOST + 1]
    hidden = len(result.coefficients) + len(intercepts) - len(shown) - len(folded)
    has_classes = len(labels) > 1
    caption = f"Change of {_text(subject(result))} per standard deviation (sd) and per unit of the column"
    parts = [_table(shown, caption, has_classes)]
    if folded:
        table = _table(folded, "Smaller coefficients", has_classes)
        parts.append(f"<details><summary>{plural(len(folded), 'smaller one')}</summary>{table}</details>")
    if hidden:
        parts.append(f"<p>And {plural(hidden, 'smaller one')}: --json has all.</p>")
    return "".join(parts)


def _row(name: str, label: object, value: float, per_sd: float | None) -> str:
    of_class = "" if label is None else f"<td><bdi>{_text(str(label))}</bdi></td>"
    effect = "<td></td>" if per_sd is None else _number(per_sd, f"{per_sd:+.5g}")
    return f'<tr><th scope="row"><bdi>{_text(name)}</bdi></th>{of_class}{effect}{_number(value, f"{value:+.5g}")}</tr>'


def _table(rows: list[str], caption: str, has_classes: bool) -> str:
    head = _head("column", *["class"] * has_classes, "per sd", "per unit")
    return (
        f'<table class="numbers"><caption>{caption}</caption><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _head(*titles: str) -> str:
    return f"<tr>{''.join(f'<th scope=col>{title}</th>' for title in titles)}</tr>"


def _number(value: float, text: str) -> str:
    """Return the cell of a number, with all of its digits for programs."""
    return f'<td><data value="{value!r}">{text}</data></td>'


#: The policy forbids what the page does not need: scripts, and anything from elsewhere.
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root {--front: #1a1a1a; --back: #fff; --muted: #595959; --line: #d0d0d0; --warning: #fff4d6}
@media screen and (prefers-color-scheme: dark) {
:root {--front: #e8e8e8; --back: #16181d; --muted: #a9afb8; --line: #3a3f48; --warning: #3d3210; $dark}
}
* {box-sizing: border-box}
body {margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--front); background: var(--back);
 font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere}
h1 {font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0}
h2 {font-size: 1.15rem; margin: 2rem 0 0.5rem}
header p, caption, figcaption {color: var(--muted); font-size: 0.9rem}
table {border-collapse: collapse; width: 100%}
caption {text-align: left; padding-bottom: 0.4rem}
th, td {padding: 0.3rem 0.6rem 0.3rem 0; text-align: left; vertical-align: top; border-top: 1px solid var(--line)}
.facts th {width: 6.5rem; font-weight: 600; overflow-wrap: normal}
.numbers {max-width: 44rem; margin-bottom: 1.2rem}
.numbers th {font-weight: 400}
.numbers thead th {font-weight: 600; border-top: 0}
.numbers :is(td, th):has(data), .numbers thead th:nth-last-child(-n + 2) {text-align: right}
.numbers td:has(data) {white-space: nowrap; font-variant-numeric: tabular-nums}
.figures {display: flex; flex-wrap: wrap; gap: 1rem 2rem}
figure {margin: 0; flex: 1 1 20rem; max-width: 36rem; break-inside: avoid}
svg {display: block; width: 100%; height: auto; overflow: visible}
.warning {background: var(--warning); padding: 0.1rem 1rem; margin: 1rem 0; border-left: 0.3rem solid #e69f00}
.warning h2 {margin: 0.6rem 0 0}
ul {padding-left: 1.2rem; margin: 0.4rem 0 0.8rem}
pre {white-space: pre-wrap; border: 1px solid var(--line); padding: 0.6rem}
summary {cursor: pointer; padding: 0.5rem 0}
tr {break-inside: avoid}
h2, caption {break-after: avoid}
</style>
</head>
<body>
<header><h1>$title</h1><p>Report of a fit by fastgd $version</p></header>
<main>
$warnings
<section><h2>Data</h2>$data</section>
<section><h2>Result</h2>$scores$outcome</section>
$pictures
<section><h2>Coefficients</h2>$coefficients</section>
<section><h2>Computation</h2>$work</section>
<section><h2>Repeat</h2><pre><code>$command</code></pre></section>
<section><h2>Versions and machine</h2>$machine</section>
</main>
</body>
</html>
""")
