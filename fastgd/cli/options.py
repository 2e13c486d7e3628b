"""What the user asked of ``fastgd fit``, checked before anything is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastgd.cli.errors import InputError

Task = Literal["auto", "linear", "logistic"]
Optimizer = Literal["auto", "gd", "momentum", "adam"]
Missing = Literal["error", "drop", "mean"]
PredictMissing = Literal["error", "empty", "mean"]
Dtype = Literal["auto", "float32", "float64"]

# Where a saved model's ``fit_report_`` keeps the means of its columns, for `fastgd predict --missing mean`.
MEANS_KEY = "column_means"


@dataclass(frozen=True)
class FitOptions:
    """The options of ``fastgd fit``; None leaves a choice to the estimator."""

    source: Path | None
    target: str | None
    task: Task
    drop: tuple[str, ...]
    missing: Missing
    header: bool | None
    dtype: Dtype
    holdout: float
    seed: int
    optimizer: Optimizer
    learning_rate: str
    batch_size: str
    epochs: int | None
    alpha: float | None
    l1_ratio: float | None
    tol: float | None
    save: Path | None
    json: bool

    def check(self) -> None:
        """Raise `InputError` for a value that cannot be used."""
        self.rate()
        self.batch()
        if not 0 <= self.holdout < 1:
            raise InputError(f"--holdout {self.holdout} is not a share of the rows: give a number from 0 to below 1")
        if self.rate() != "auto" and self.optimizer == "auto":
            raise InputError("--learning-rate needs --optimizer gd, momentum or adam: auto finds its own step")
        if self.source is None and (self.target, self.drop) != (None, ()):
            raise InputError("--target and --drop need a SOURCE: fastgd fit SOURCE --target COLUMN")
        if self.save is not None:
            check_output(self.save, "--save")

    def rate(self) -> float | Literal["auto"]:
        """Return the learning rate."""
        if self.learning_rate == "auto":
            return "auto"
        rate = _number(self.learning_rate)
        if rate is None or not 0 < rate < math.inf:
            raise InputError(f"--learning-rate {self.learning_rate} is neither a positive number nor 'auto'")
        return rate

    def batch(self) -> int | Literal["auto", "full"]:
        """Return the batch size."""
        if self.batch_size == "auto":
            return "auto"
        if self.batch_size == "full":
            return "full"
        size = _number(self.batch_size)
        if size is None or size < 1 or size != int(size):
            raise InputError(f"--batch-size {self.batch_size} is neither a count of rows nor 'full' nor 'auto'")
        return int(size)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the estimator that the user set."""
        given = {"alpha": self.alpha, "l1_ratio": self.l1_ratio, "max_iter": self.epochs, "tol": self.tol}
        parameters: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return parameters | {"batch_size": self.batch(), "random_state": self.seed, "optimizer": self._rule()}

    def _rule(self) -> Any:
        if self.rate() == "auto":
            return self.optimizer
        from fastgd import optimizers

        rules = {"gd": optimizers.GradientDescent, "momentum": optimizers.Momentum, "adam": optimizers.Adam}
        return rules[self.optimizer](learning_rate=self.rate())


def check_output(path: Path, option: str) -> None:
    """Raise `InputError` if a file cannot be written at `path`, before the work is done that it is to hold."""
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: the folder {path.parent} does not exist: create it first")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
