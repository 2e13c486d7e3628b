"""Format the page that ``fastgd fit`` prints: lines of at most `WIDTH` characters, each with its label."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from fastgd.cli.facts import (
    LABEL,
    NAME,
    SCORE_NAMES,
    Line,
    baseline,
    data_lines,
    file_lines,
    outcome_lines,
    scores,
    shortened,
    solver_lines,
    subject,
    time_lines,
)
from fastgd.cli.output import plural, printable
from fastgd.cli.report import Coefficient, FitResult

WIDTH = 100
_INDENT = 13

#: Coefficients that are shown.
_SHOWN = 10


def page(result: FitResult) -> str:
    """Return the page."""
    lines = [
        *data_lines(result.data),
        *_score_lines(result),
        *solver_lines(result),
        *outcome_lines(result),
        *time_lines(result),
        *file_lines(result),
    ]
    parts = [part for line in lines for part in _wrapped(line)]
    return "\n".join([*parts, "", *_coefficient_lines(result)])


def _wrapped(line: Line) -> Iterator[str]:
    text = printable(line.text)
    parts = [text] if len(text) <= WIDTH - _INDENT else textwrap.wrap(text, WIDTH - _INDENT, break_on_hyphens=False)
    for label, part in zip([line.label, *[""] * len(parts)], parts, strict=False):
        yield f"{label:<{_INDENT}}{part}".rstrip()


def _score_lines(result: FitResult) -> Iterator[Line]:
    width = max(len(name) for name in SCORE_NAMES.values())
    title = f"on {result.n_scored:,} {result.scored_on}"
    yield Line("score", f"{title:<{width}}  {'model':>10}  {'baseline':>10}")
    for row in scores(result):
        yield Line("", f"{row.name:<{width}}  {row.model:>10}  {row.baseline:>10}")
    yield Line("", f"baseline: {baseline(result)}")


def _coefficient_lines(result: FitResult) -> list[str]:
    shown = [_shown(coefficient) for coefficient in result.coefficients[:_SHOWN]]
    one_output = len(result.intercept) == 1
    width = max(len(row.name) for row in [*shown, Coefficient("(intercept)" if one_output else "column", None, 0, 0)])
    title = f"largest coefficients: change of {subject(result)} per standard deviation (sd) and per unit of the column"
    lines = [*textwrap.wrap(printable(title), WIDTH), f"  {'column':<{width}}  {'per sd':>12}  {'per unit':>12}"]
    for name, label, value, per_sd in shown:
        of_class = "" if label is None else f"  class {label}"
        lines.append(f"  {name:<{width}}  {per_sd:+12.5g}  {value:+12.5g}{of_class}")
    hidden = len(result.coefficients) - len(shown)
    if hidden:
        lines.append(f"  and {plural(hidden, 'smaller one')} (--json has all)")
    if one_output:
        lines.append(f"  {'(intercept)':<{width}}  {'':>12}  {result.intercept[0]:+12.5g}")
    return lines


def _shown(coefficient: Coefficient) -> Coefficient:
    label = None if coefficient.label is None else shortened(str(coefficient.label), LABEL)
    return coefficient._replace(name=shortened(coefficient.name, NAME), label=label)
