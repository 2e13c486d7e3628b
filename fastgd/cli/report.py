"""The result of ``fastgd fit``, and its facts as one JSON object for programs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fastgd
from fastgd.cli.course import Course, course_facts
from fastgd.cli.output import printable_json, takes_unicode
from fastgd.cli.prepare import Problem


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
    """What a fit reports."""

    problem: Problem
    report: dict[str, Any]
    """The estimator's ``fit_report_``."""
    scores: dict[str, float]
    """As `fastgd.cli.score` computes them."""
    baseline: dict[str, float]
    """The same of the best constant prediction, `constant`."""
    constant: float | str
    """The mean of the fitted rows, or their largest class."""
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
        "weight": problem.weight,
        "rows_of_weight_0": problem.n_rows_weightless,
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
        "baseline_prediction": result.constant,
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
