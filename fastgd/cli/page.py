"""Format the page that ``fastgd fit`` prints: lines of at most `WIDTH` characters, each with its label."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from fastgd._report import describe
from fastgd.cli.errors import in_options
from fastgd.cli.output import plural, printable
from fastgd.cli.prepare import PreparedData
from fastgd.cli.report import Coefficient, FitResult, HistorySummary

if TYPE_CHECKING:
    from fastgd import FitReport

WIDTH = 100
_INDENT = 13

#: Coefficients that are shown, and the most characters of names and class labels in their table.
_SHOWN, _NAME, _LABEL = 10, 40, 20
#: The expected seconds of a solver are shown only where they were right within this factor.
_TOLERANCE = 3.0

_SCORES = {
    "accuracy": "accuracy",
    "log_loss": "log-loss (lower is better)",
    "auc": "AUC",
    "r2": "R2",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
}


class _Line(NamedTuple):
    label: str
    text: str


def page(result: FitResult) -> str:
    """Return the page."""
    lines = [*_data_lines(result.data), *_score_lines(result), *_fit_lines(result)]
    parts = [part for line in lines for part in _wrapped(line)]
    return "\n".join([*parts, "", *_coefficient_lines(result)])


def _wrapped(line: _Line) -> Iterator[str]:
    text = printable(line.text)
    parts = [text] if len(text) <= WIDTH - _INDENT else textwrap.wrap(text, WIDTH - _INDENT, break_on_hyphens=False)
    for label, part in zip([line.label, *[""] * len(parts)], parts, strict=False):
        yield f"{label:<{_INDENT}}{part}".rstrip()


def _data_lines(data: PreparedData) -> Iterator[_Line]:
    yield _Line("source", data.source)
    columns = plural(data.n_columns_read - 1, "column")
    yield _Line("data", f"{plural(data.n_rows_read, 'row')} x {columns} and the target")
    yield _Line("task", f"{data.task} regression for {data.target!r}: {data.reason}")
    # Columns that the user did not name are explained by notes.
    named = [name for name in data.dropped if not any(repr(name) in note for note in data.notes)]
    if named:
        yield _Line("left out", f"{'columns' if len(named) > 1 else 'column'} {', '.join(named)}")
    if data.one_hot:
        compared = (f"{name} ({len(of):,}, against {of[0]})" for name, of in data.one_hot.items())
        yield _Line("categories", ", ".join(compared))
    if data.weight is not None:
        yield _Line("weights", f"of the rows: column {data.weight!r}")
    if data.n_rows_weightless:
        yield _Line("left out", f"{plural(data.n_rows_weightless, 'row')} of weight 0")
    if data.n_rows_dropped:
        yield _Line("left out", f"{plural(data.n_rows_dropped, 'row')} with missing values{_unfilled(data)}")
    if data.filled:
        filled = ", ".join(f"{name} ({plural(count, 'row')})" for name, count in data.filled.items())
        yield _Line("filled in", f"the mean of the fitted rows in place of missing values: {filled}")
    for note in data.notes:
        yield _Line("note", note)


def _unfilled(data: PreparedData) -> str:
    """Return why rows are left out although means fill gaps."""
    if data.missing != "mean":
        return ""
    return f" in {data.target!r}" + (f" or {data.weight!r}" if data.weight else "") + ", which no mean fills"


def _score_lines(result: FitResult) -> Iterator[_Line]:
    width = max(len(name) for name in _SCORES.values())
    yield _Line("score", f"{f'on {result.n_scored:,} {result.scored_on}':<{width}}  {'model':>10}  {'baseline':>10}")
    for key, name in _SCORES.items():
        if key in result.scores:
            write = _quantity if key in {"rmse", "mae"} else _share
            model, baseline = (write(found[key]) for found in (result.scores, result.baseline))
            yield _Line("", f"{name:<{width}}  {model:>10}  {baseline:>10}")
    yield _Line("", f"baseline: {_baseline(result)}")


def _baseline(result: FitResult) -> str:
    if result.data.task == "linear":
        return f"always the mean of the fitted rows, {_quantity(float(result.constant))}"
    label = _shortened(str(result.constant), _LABEL)
    return f"always the largest class, {label}; as probabilities the shares of the classes"


def _fit_lines(result: FitResult) -> Iterator[_Line]:
    facts, epochs = describe(result.report), result.history.epochs
    yield _Line("solver", facts["solver"])
    yield _Line("", in_options(facts["reason"]) + _expected(result.report))
    yield _Line("converged", in_options(facts["converged"]))
    yield _Line("objective", facts["objective"])
    yield from _history_lines(result.history)
    yield _Line("seconds", f"reading {result.data.seconds_reading:.2f}, {facts['seconds']}")
    passes = f"{plural(result.report['passes'], 'pass')} over the rows in {plural(epochs, 'epoch')}"
    rows = result.rows_per_second
    rate = f"{rows / 1e6:,.3g} million" if rows >= 1e6 else f"{rows:,.0f}"
    yield _Line("speed", f"{rate} rows/s, {result.gigabytes_per_second:.3g} GB/s: {passes}")
    for label, path in (("saved", result.saved), ("plotted", result.plotted)):
        if path is not None:
            yield _Line(label, path)


def _history_lines(history: HistorySummary) -> Iterator[_Line]:
    if history.schedule is not None:
        rates = f"learning rate {history.first_rate:.3g} in the first epoch, {history.last_rate:.3g} in the last"
        yield _Line("schedule", f"{history.schedule}: {rates}")
    stop = history.early_stop
    if stop is not None:
        outcome = f"early stopping after epoch {history.epochs:,}" if stop.stopped else "no early stopping"
        losses = f"loss {stop.best_loss:.5g} there, {stop.last_loss:.5g} in the last epoch"
        yield _Line("validation", f"{outcome}, the model is that of epoch {stop.best_epoch:,}: {losses}")


def _expected(report: FitReport) -> str:
    """Return the seconds that the automatic choice expected, where they were about right."""
    expected, taken = next(iter(report["expected_seconds"].values()), 0.0), report["seconds_compute"]
    close = expected > 0.0 and 1.0 / _TOLERANCE <= taken / expected <= _TOLERANCE
    return f"; expected to take {expected:.2g} s" if close else ""


def _coefficient_lines(result: FitResult) -> list[str]:
    shown = [_shown(coefficient) for coefficient in result.coefficients[:_SHOWN]]
    one_output = len(result.intercept) == 1
    width = max(len(row.name) for row in [*shown, Coefficient("(intercept)" if one_output else "column", None, 0, 0)])
    title = f"largest coefficients: change of {_subject(result)} per standard deviation (sd) and per unit of the column"
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
    label = None if coefficient.label is None else _shortened(str(coefficient.label), _LABEL)
    return coefficient._replace(name=_shortened(coefficient.name, _NAME), label=label)


def _subject(result: FitResult) -> str:
    target = _shortened(result.data.target, _NAME)
    if result.data.task == "linear":
        return repr(target)
    if len(result.classes) > 2:
        return "a class's log-odds"
    return f"the log-odds of {target} = {_shortened(str(result.classes[1]), _LABEL)}"


def _shortened(text: str, most: int) -> str:
    """Return text for a terminal, its middle left out where it is longer than `most` characters."""
    shown = printable(text)
    if len(shown) <= most:
        return shown
    head = (most - 3) * 2 // 3
    return f"{shown[:head]}...{shown[head + 3 - most :]}"


def _share(value: float) -> str:
    """Return a score without unit, "-" for NaN; a small negative one that rounds to zero loses its sign."""
    text = "-" if math.isnan(value) else f"{value:.4f}"
    return "0.0000" if text == "-0.0000" else text


def _quantity(value: float) -> str:
    """Return four digits of a number in the units of the target."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:#.4g}"
