"""The facts of ``fastgd fit`` in words, for the page that it prints and the report that it writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from fastgd._report import describe
from fastgd.cli.errors import in_options
from fastgd.cli.output import plural, printable
from fastgd.cli.prepare import PreparedData
from fastgd.cli.report import FitResult, HistorySummary

if TYPE_CHECKING:
    from fastgd import FitReport

#: Most characters of names, and of class labels.
NAME, LABEL = 40, 20
#: The expected seconds of a solver are shown only where they were right within this factor.
_TOLERANCE = 3.0

SCORE_NAMES = {
    "accuracy": "accuracy",
    "log_loss": "log-loss (lower is better)",
    "auc": "AUC",
    "r2": "R2",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
}


class Line(NamedTuple):
    """A fact in words; one without a label belongs to the line before it."""

    label: str
    text: str


class Score(NamedTuple):
    """A score of the model, and that of the best constant prediction."""

    key: str
    name: str
    model: str
    baseline: str


def data_lines(data: PreparedData) -> Iterator[Line]:
    """Describe the data, and the rows and columns that were left out or filled in."""
    yield Line("source", data.source)
    columns = plural(data.n_columns_read - 1, "column")
    yield Line("data", f"{plural(data.n_rows_read, 'row')} x {columns} and the target")
    yield Line("task", f"{data.task} regression for {data.target!r}: {data.reason}")
    # Columns that the user did not name are explained by notes.
    named = [name for name in data.dropped if not any(repr(name) in note for note in data.notes)]
    if named:
        yield Line("left out", f"{'columns' if len(named) > 1 else 'column'} {', '.join(named)}")
    if data.one_hot:
        compared = (f"{name} ({len(of):,}, against {of[0]})" for name, of in data.one_hot.items())
        yield Line("categories", ", ".join(compared))
    if data.weight is not None:
        yield Line("weights", f"of the rows: column {data.weight!r}")
    if data.n_rows_weightless:
        yield Line("left out", f"{plural(data.n_rows_weightless, 'row')} of weight 0")
    if data.n_rows_dropped:
        yield Line("left out", f"{plural(data.n_rows_dropped, 'row')} with missing values{_unfilled(data)}")
    if data.filled:
        filled = ", ".join(f"{name} ({plural(count, 'row')})" for name, count in data.filled.items())
        yield Line("filled in", f"the mean of the fitted rows in place of missing values: {filled}")
    for note in data.notes:
        yield Line("note", note)


def _unfilled(data: PreparedData) -> str:
    """Return why rows are left out although means fill gaps."""
    if data.missing != "mean":
        return ""
    return f" in {data.target!r}" + (f" or {data.weight!r}" if data.weight else "") + ", which no mean fills"


def scores(result: FitResult) -> list[Score]:
    """Return the scores in the order in which they are shown."""
    found = []
    for key, name in SCORE_NAMES.items():
        if key in result.scores:
            write = _quantity if key in {"rmse", "mae"} else _share
            found.append(Score(key, name, write(result.scores[key]), write(result.baseline[key])))
    return found


def baseline(result: FitResult) -> str:
    """Describe the best constant prediction."""
    if result.data.task == "linear":
        return f"always the mean of the fitted rows, {_quantity(float(result.constant))}"
    label = shortened(str(result.constant), LABEL)
    return f"always the largest class, {label}; as probabilities the shares of the classes"


def solver_lines(result: FitResult) -> Iterator[Line]:
    """Describe the solver and the reason for its choice."""
    facts = describe(result.report)
    yield Line("solver", facts["solver"])
    yield Line("", in_options(facts["reason"]) + _expected(result.report))


def outcome_lines(result: FitResult) -> Iterator[Line]:
    """Describe how close to the optimum the fit came, and its course."""
    facts = describe(result.report)
    yield Line("converged", in_options(facts["converged"]))
    yield Line("objective", facts["objective"])
    yield from _history_lines(result.history)


def time_lines(result: FitResult) -> Iterator[Line]:
    """Describe what the fit cost."""
    yield Line("seconds", f"reading {result.data.seconds_reading:.2f}, {describe(result.report)['seconds']}")
    epochs = plural(result.history.epochs, "epoch")
    passes = f"{plural(result.report['passes'], 'pass')} over the rows in {epochs}"
    rows = result.rows_per_second
    rate = f"{rows / 1e6:,.3g} million" if rows >= 1e6 else f"{rows:,.0f}"
    yield Line("speed", f"{rate} rows/s, {result.gigabytes_per_second:.3g} GB/s: {passes}")


def memory_lines(result: FitResult) -> Iterator[Line]:
    """Describe the fitted matrix, and the bytes of it that were read and copied."""
    facts = describe(result.report)
    yield Line("matrix", facts["data"])
    yield Line("memory", facts["memory"])


def file_lines(result: FitResult) -> Iterator[Line]:
    """Name the files that were written."""
    for label, path in (("saved", result.saved), ("plotted", result.plotted), ("report", result.reported)):
        if path is not None:
            yield Line(label, path)


def _history_lines(history: HistorySummary) -> Iterator[Line]:
    if history.schedule is not None:
        rates = f"learning rate {history.first_rate:.3g} in the first epoch, {history.last_rate:.3g} in the last"
        yield Line("schedule", f"{history.schedule}: {rates}")
    stop = history.early_stop
    if stop is not None:
        outcome = f"early stopping after epoch {history.epochs:,}" if stop.stopped else "no early stopping"
        losses = f"loss {stop.best_loss:.5g} there, {stop.last_loss:.5g} in the last epoch"
        yield Line("validation", f"{outcome}, the model is that of epoch {stop.best_epoch:,}: {losses}")


def _expected(report: FitReport) -> str:
    """Return the seconds that the automatic choice expected, where they were about right."""
    expected, taken = next(iter(report["expected_seconds"].values()), 0.0), report["seconds_compute"]
    close = expected > 0.0 and 1.0 / _TOLERANCE <= taken / expected <= _TOLERANCE
    return f"; expected to take {expected:.2g} s" if close else ""


def subject(result: FitResult) -> str:
    """Name the quantity that coefficients change."""
    target = shortened(result.data.target, NAME)
    if result.data.task == "linear":
        return repr(target)
    if len(result.classes) > 2:
        return "a class's log-odds"
    return f"the log-odds of {target} = {shortened(str(result.classes[1]), LABEL)}"


def shortened(text: str, most: int) -> str:
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
