"""The result of ``fastgd fit``: as a page for people and as one JSON object for programs, with the same facts."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fastgd
from fastgd.cli.course import Course, course_facts, course_lines
from fastgd.cli.output import printable, printable_json, takes_unicode
from fastgd.cli.prepare import Problem

SHOWN = 10


class Coefficient(NamedTuple):
    """One coefficient."""

    name: str
    label: Any
    """The class that it speaks for, with three classes or more; else None."""
    value: float
    """Per unit of the column."""
    per_sd: float
    """Per standard deviation of the column."""


@dataclass
class Result:
    """Everything that a fit has to tell."""

    problem: Problem
    report: dict[str, Any]
    """The estimator's ``fit_report_``."""
    scores: dict[str, float]
    baseline: dict[str, float]
    scored_on: str
    n_scored: int
    coefficients: list[Coefficient]
    """Largest ``per_sd`` first."""
    intercept: list[float]
    classes: list[Any]
    course: Course
    saved: str | None = None
    plotted: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def rows_per_second(self) -> float:
        """Rows seen a second while computing: rows of X times passes over it."""
        return _ratio(self.report["n_rows"] * self.report["passes"], self.report["seconds_compute"])

    @property
    def gigabytes_per_second(self) -> float:
        """Bytes of X read a second while computing, in 10^9."""
        return _ratio(self.report["bytes_read"] / 1e9, self.report["seconds_compute"])


def page(result: Result) -> str:
    """Return the page that ``fastgd fit`` prints."""
    lines = [*_data_lines(result.problem), *_score_lines(result), *_fit_lines(result)]
    text = [f"{label:<13}{line}" for label, line in lines]
    return "\n".join(map(printable, [*text, "", *_coefficient_table(result)]))


def to_json(result: Result) -> str:
    """Return the facts of the page as one line of JSON; numbers that are not finite become null."""
    problem, report = result.problem, result.report
    facts = {
        "fastgd": fastgd.__version__,
        "source": problem.source,
        "rows": problem.n_rows_read,
        "columns": problem.n_columns_read,
        "rows_dropped": problem.n_rows_dropped,
        "columns_dropped": problem.dropped,
        "one_hot": problem.one_hot,
        "filled_with_mean": problem.filled,
        "notes": problem.notes,
        "target": problem.target,
        "task": problem.task,
        "task_reason": problem.reason,
        "classes": result.classes,
        "rows_fitted": len(problem.y),
        "scored_on": result.scored_on,
        "rows_scored": result.n_scored,
        "score": result.scores,
        "baseline": result.baseline,
        "intercept": result.intercept,
        "coefficients": [_coefficient_facts(coefficient) for coefficient in result.coefficients],
        **course_facts(result.course),
        "seconds_reading": problem.seconds_reading,
        "seconds_compiling": report["seconds_compile"],
        "seconds_fitting": report["seconds_compute"],
        "rows_per_second": result.rows_per_second,
        "gigabytes_per_second": result.gigabytes_per_second,
        "fit": report,
        "saved": result.saved,
        "plotted": result.plotted,
        "warnings": result.warnings,
    }
    return printable_json(json.dumps(_finite(facts), ensure_ascii=not takes_unicode(), allow_nan=False))


def _data_lines(problem: Problem) -> list[tuple[str, str]]:
    lines = [
        ("source", problem.source),
        ("data", f"{problem.n_rows_read:,} rows x {problem.n_columns_read - 1:,} columns and the target"),
        ("task", f"{problem.task} regression for {problem.target!r}: {problem.reason}"),
    ]
    if problem.dropped:
        lines.append(("left out", f"columns {', '.join(problem.dropped)}"))
    if problem.one_hot:
        compared = ", ".join(f"{name} ({len(of):,}, against {of[0]})" for name, of in problem.one_hot.items())
        lines.append(("categories", compared))
    if problem.n_rows_dropped:
        lines.append(("left out", f"{problem.n_rows_dropped:,} rows with missing values"))
    if problem.filled:
        filled = ", ".join(f"{name} ({count:,})" for name, count in problem.filled.items())
        lines.append(("filled in", f"means in place of missing values: {filled}"))
    return lines + [("note", note) for note in problem.notes]


def _score_lines(result: Result) -> list[tuple[str, str]]:
    where = f"on {result.n_scored:,} {result.scored_on}"
    if result.problem.task == "logistic":
        best, plain = result.scores["accuracy"], result.baseline["accuracy"]
        return [("score", f"accuracy {best:.4f} {where}; always the largest class: {plain:.4f}")]
    (best, error), (plain, spread) = result.scores.values(), result.baseline.values()
    return [
        ("score", f"R2 {best:.4f} {where}; always the mean: {plain:.4f}"),
        ("", f"root mean squared error {error:.4g}; always the mean: {spread:.4g}"),
    ]


def _fit_lines(result: Result) -> list[tuple[str, str]]:
    report = result.report
    reading, compiling, fitting = result.problem.seconds_reading, report["seconds_compile"], report["seconds_compute"]
    lines = [
        ("solver", f"{report['solver']} on {report['device']}, {report['threads']} threads: {report['reason']}"),
        ("certificate", f"{report['certificate']:.3g}, asked for {report['tol']:.3g}: {_verdict(report)}"),
        *_distance_lines(report),
        *course_lines(result.course),
        ("seconds", f"reading {reading:.2f}, compiling and loading kernels {compiling:.2f}, fitting {fitting:.2f}"),
        (
            "speed",
            f"{result.rows_per_second / 1e6:,.3g} million rows/s, {result.gigabytes_per_second:.3g} GB/s over"
            f" {report['passes']:,.4g} passes in {result.course.epochs:,} epochs",
        ),
    ]
    written = (("saved", result.saved), ("plotted", result.plotted))
    return lines + [(label, path) for label, path in written if path is not None]


def _distance_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    expected, gap = report["suboptimality"], report["duality_gap"]
    told = [] if expected is None else [f"expected {expected:.2g} above its minimum"]
    told += [] if gap is None else [f"at most {gap:.3g} (duality gap)"]
    return [("objective", ", ".join([f"{report['objective']:.6g}", *told]))]


def _verdict(report: dict[str, Any]) -> str:
    if report["certificate"] <= report["tol"]:
        return "reached"
    limit = {"max_iter": "--epochs", "max_seconds": "--max-seconds"}.get(report["stopped_by"])
    if limit is not None:
        return f"not reached: allow more {limit}"
    return f"not reached, stopped by {report['stopped_by']}"


def _coefficient_table(result: Result) -> list[str]:
    shown = result.coefficients[:SHOWN]
    width = max(len("column"), *(len(coefficient.name) for coefficient in shown))
    lines = [
        f"largest coefficients, by the change of {_subject(result)} per standard deviation (sd) of the column:",
        f"  {'column':<{width}}  {'per sd':>12}  {'per unit':>12}",
    ]
    for name, label, value, per_sd in shown:
        of_class = "" if label is None else f"  class {label}"
        lines.append(f"  {name:<{width}}  {per_sd:+12.5g}  {value:+12.5g}{of_class}")
    hidden = len(result.coefficients) - len(shown)
    if hidden:
        lines.append(f"  and {hidden:,} smaller ones (--json has all)")
    return lines


def _subject(result: Result) -> str:
    if result.problem.task == "linear":
        return repr(result.problem.target)
    if len(result.classes) > 2:
        return "a class's log-odds"
    return f"the log-odds of {result.problem.target} = {result.classes[1]}"


def _coefficient_facts(coefficient: Coefficient) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": coefficient.name, "value": coefficient.value, "per_sd": coefficient.per_sd}
    return facts if coefficient.label is None else facts | {"class": coefficient.label}


def _ratio(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else float("nan")


def _finite(value: Any) -> Any:
    """Return plain JSON values: NumPy's scalars and arrays unpacked, numbers that are not finite as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
