"""The result of ``fastgd fit``, and its facts as one JSON object for programs."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import fastgd
from fastgd.cli.options import FitOptions
from fastgd.cli.output import printable_json, takes_unicode
from fastgd.cli.prepare import PreparedData

if TYPE_CHECKING:
    from fastgd import FitReport

Label: TypeAlias = bool | float | str


class Coefficient(NamedTuple):
    """One coefficient."""

    name: str
    label: Label | None
    """Its class, with three classes or more; else None."""
    value: float
    """Per unit of the column."""
    per_sd: float
    """Per standard deviation of the column."""


class Coefficients(Sequence[Coefficient]):
    """The coefficients of a fit, the largest effect per standard deviation first; there may be millions.

    Parameters
    ----------
    names : sequence of str
        The d columns.
    labels : sequence of bool, float, str or None
        The class of each of K outputs.
    values, per_sd : ndarray of shape (K, d)
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Sequence[Label | None],
        values: NDArray[np.float64],
        per_sd: NDArray[np.float64],
    ) -> None:
        self._names, self._labels, self._values, self._per_sd = names, labels, values, per_sd
        self._order = np.argsort(-np.abs(per_sd), axis=None, kind="stable")

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        output, column = divmod(int(self._order[at]), len(self._names))
        value, effect = (float(of[output, column]) for of in (self._values, self._per_sd))
        return Coefficient(self._names[column], self._labels[output], value, effect)


class EarlyStop(NamedTuple):
    """The outcome of early stopping."""

    stopped: bool
    """Whether it ended the fit."""
    best_epoch: int
    """Counted from 1; the model is that of this epoch."""
    best_loss: float
    last_loss: float


class HistorySummary(NamedTuple):
    """The history of a fit in a few numbers."""

    epochs: int
    schedule: str | None
    """As the user asked for it."""
    first_rate: float
    last_rate: float
    early_stop: EarlyStop | None


def summarize_history(history: Mapping[str, NDArray[Any]], stopped_by: str, options: FitOptions) -> HistorySummary:
    """Summarize an estimator's `history_`; `stopped_by` is from its report."""
    rates = history["learning_rate"]
    early_stop = None
    if options.early_stopping:
        losses = history["validation_loss"]
        best = int(np.nanargmin(losses))
        early_stop = EarlyStop(stopped_by == "early stopping", best + 1, float(losses[best]), float(losses[-1]))
    return HistorySummary(len(rates), options.schedule, float(rates[0]), float(rates[-1]), early_stop)


def command_line(options: FitOptions) -> str:
    """Return the command line of the options that are not defaults, quoted for a shell."""
    words = []
    for option in fields(options):
        value, typer = getattr(options, option.name), option.metadata["typer"]
        if option.name == "source" or value == option.default or value == []:
            continue
        # typer takes the first name of an option for its default until it builds the command.
        declared = typer.default if isinstance(typer.default, str) else f"--{option.name.replace('_', '-')}"
        name, _, negated = declared.partition("/")
        if isinstance(value, bool):
            words.append(name if value else negated)
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [name, str(one)]
    sources = options.source or []
    if any(source.startswith("-") and source != "-" for source in sources):
        return shlex.join(["fastgd", "fit", *words, "--", *sources])
    return shlex.join(["fastgd", "fit", *sources, *words])


@dataclass
class FitResult:
    """The facts that ``fastgd fit`` reports."""

    data: PreparedData
    report: FitReport
    scores: dict[str, float]
    baseline: dict[str, float]
    """Scores of the best constant prediction, `constant`."""
    constant: float | str
    scored_on: str
    n_scored: int
    coefficients: Sequence[Coefficient]
    """Largest ``per_sd`` first."""
    intercept: list[float]
    classes: list[Label]
    history: HistorySummary
    command: str
    """The command line that repeats the fit."""
    saved: str | None = None
    plotted: str | None = None
    reported: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def rows_per_second(self) -> float:
        """Rows of X times passes over it, per second of computing."""
        return _ratio(self.report["n_rows"] * self.report["passes"], self.report["seconds_compute"])

    @property
    def gigabytes_per_second(self) -> float:
        """Bytes of X read per second of computing, in 10^9."""
        return _ratio(self.report["bytes_read"] / 1e9, self.report["seconds_compute"])


def to_json(result: FitResult) -> str:
    """Return the facts of the page as one line of JSON; numbers that are not finite become null."""
    data, report, history = result.data, result.report, result.history
    facts = {
        "fastgd": fastgd.__version__,
        "source": data.source,
        "rows": data.n_rows_read,
        "columns": data.n_columns_read,
        "rows_dropped": data.n_rows_dropped,
        "columns_dropped": data.dropped,
        "one_hot": data.one_hot,
        "filled_with_mean": data.filled,
        "weight": data.weight,
        "rows_of_weight_0": data.n_rows_weightless,
        "notes": data.notes,
        "target": data.target,
        "task": data.task,
        "task_reason": data.reason,
        "classes": result.classes,
        "rows_fitted": len(data.y),
        "scored_on": result.scored_on,
        "rows_scored": result.n_scored,
        "score": result.scores,
        "baseline": result.baseline,
        "baseline_prediction": result.constant,
        "intercept": result.intercept,
        "coefficients": [],
        "epochs": history.epochs,
        "schedule": history.schedule,
        "learning_rate": {"first": history.first_rate, "last": history.last_rate},
        "early_stopping": None if history.early_stop is None else history.early_stop._asdict(),
        "seconds_reading": data.seconds_reading,
        "seconds_compiling": report["seconds_compile"],
        "seconds_fitting": report["seconds_compute"],
        "rows_per_second": result.rows_per_second,
        "gigabytes_per_second": result.gigabytes_per_second,
        "fit": report,
        "saved": result.saved,
        "plotted": result.plotted,
        "reported": result.reported,
        "command": result.command,
        "warnings": result.warnings,
    }
    plain = _plain(facts) | {"coefficients": [_coefficient_facts(coefficient) for coefficient in result.coefficients]}
    return printable_json(json.dumps(plain, ensure_ascii=not takes_unicode(), allow_nan=False))


def _coefficient_facts(coefficient: Coefficient) -> dict[str, Label | None]:
    """Return plain values, without the detour by `_plain`, which a million of them would feel."""
    name, label, *numbers = coefficient
    value, per_sd = (number if math.isfinite(number) else None for number in numbers)
    facts: dict[str, Label | None] = {"name": name, "value": value, "per_sd": per_sd}
    return facts if label is None else facts | {"class": label}


def _ratio(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else math.nan


def _plain(value: Any) -> Any:
    """Return plain JSON values: NumPy's scalars and arrays unpacked, numbers that are not finite as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
