"""What the user asked of ``fastgd fit``, checked before anything is read."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastgd.cli.errors import InputError
from fastgd.cli.rules import read_optimizer, read_schedule
from fastgd.data.read_options import ReadOptions
from fastgd.files import is_stream

if TYPE_CHECKING:
    from fastgd.optimizers import Optimizer

Task = Literal["auto", "linear", "logistic"]
Missing = Literal["error", "drop", "mean"]
PredictMissing = Literal["error", "empty", "mean"]
Loss = Literal["squared", "huber"]
Dtype = Literal["auto", "float32", "float64"]
Device = Literal["auto", "cpu", "cuda"]
WarmupDevice = Literal["cpu", "cuda"]

# Where a saved model's ``fit_report_`` keeps the means of its columns, for `fastgd predict --missing mean`.
MEANS_KEY = "column_means"
# And where the categories of the columns that were taken for such, the one without an indicator first.
ONE_HOT_KEY = "one_hot"
# Column -> the names of its indicators.
INDICATORS_KEY = "one_hot_indicators"
# How the source was read where it does not say so itself, for a source of predictions.
READING_KEY = "reading"

#: Rows of a batch at most: more than any table has.
_MOST_ROWS = 2**31 - 1
#: Bytes of a file's name at most, on all usual file systems.
_LONGEST_NAME = 255
PICTURES = (".png", ".svg", ".pdf")

# The options that parameters of the estimators stand for, as their messages name them: ``max_iter`` or ``tol=0.1``.
_OPTIONS = {
    "alpha": "--alpha",
    "batch_size": "--batch-size",
    "delta": "--delta",
    "device": "--device",
    "early_stopping": "--early-stopping",
    "l1_ratio": "--l1-ratio",
    "learning_rate": "--learning-rate",
    "max_iter": "--epochs",
    "max_seconds": "--max-seconds",
    "n_iter_no_change": "--patience",
    "optimizer": "--optimizer",
    "tol": "--tol",
    "validation_fraction": "--validation-fraction",
}
_PARAMETER = re.compile(rf"\b({'|'.join(_OPTIONS)})\b(?:=(['\"]?)([-+.\w]*\w)\2)?")


@dataclass(frozen=True)
class FitOptions:
    """The options of ``fastgd fit``; None leaves a choice to the estimator."""

    source: tuple[str, ...]
    """Files that are read as one table; none is a data set of scikit-learn's."""
    target: str | None
    task: Task
    drop: tuple[str, ...]
    drop_text: bool
    one_hot: tuple[str, ...]
    missing: Missing
    max_categories: int
    reading: ReadOptions
    dtype: Dtype
    holdout: float | None
    test: Path | None
    weight: str | None
    seed: int
    optimizer: str
    learning_rate: str
    schedule: str | None
    batch_size: str
    epochs: int | None
    max_seconds: float | None
    early_stopping: bool
    validation_fraction: float | None
    patience: int | None
    alpha: float | None
    l1_ratio: float | None
    loss: Loss
    delta: float | None
    tol: float | None
    device: Device
    save: Path | None
    plot: Path | None
    json: bool
    quiet: bool

    def check(self) -> None:
        """Raise `InputError` for a value that cannot be used."""
        self._check_rule()
        self.batch()
        self._check_scored()
        self._check_validation()
        self._check_loss()
        self._check_quiet()
        check_marks(self.reading)
        if not self.source and (self.target or self.weight or self.test or self.drop or self.one_hot):
            raise InputError(
                "--target, --weight, --test, --drop and --one-hot need a SOURCE: fastgd fit SOURCE --target COLUMN"
            )
        if self.save is not None:
            check_output(self.save, "--save")
        if self.plot is not None:
            check_plot(self.plot)

    @property
    def share_held_out(self) -> float:
        """The share of the rows that the score is taken on; none where there is a test file."""
        if self.holdout is None:
            return 0.2 if self.test is None else 0.0
        return self.holdout

    def rate(self) -> float | Literal["auto"]:
        """Return the learning rate."""
        if self.learning_rate == "auto":
            return "auto"
        rate = _number(self.learning_rate)
        if rate is None or not 0 < rate < math.inf:
            raise InputError(f"--learning-rate {self.learning_rate} is neither a positive number nor 'auto'")
        return rate

    def rule(self) -> Optimizer | None:
        """Return the optimizer with its learning rate; None for auto."""
        rate = self.rate()
        return read_optimizer(self.optimizer, rate if self.schedule is None else read_schedule(self.schedule, rate))

    def batch(self) -> int | Literal["auto", "full"]:
        """Return the batch size."""
        if self.batch_size == "auto":
            return "auto"
        if self.batch_size == "full":
            return "full"
        size = _number(self.batch_size)
        if size is None or size < 1 or not size.is_integer():
            raise InputError(f"--batch-size {self.batch_size} is neither a count of rows nor 'full' nor 'auto'")
        if size > _MOST_ROWS:
            raise InputError(f"--batch-size {self.batch_size} is more than {_MOST_ROWS:,}: use full for all rows")
        return int(size)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the estimator that the user set."""
        given = {
            "alpha": self.alpha,
            "l1_ratio": self.l1_ratio,
            "max_iter": self.epochs,
            "max_seconds": self.max_seconds,
            "tol": self.tol,
            "validation_fraction": self.validation_fraction,
            "n_iter_no_change": self.patience,
        }
        parameters: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return parameters | {
            "optimizer": self.rule() or "auto",
            "batch_size": self.batch(),
            "early_stopping": self.early_stopping,
            "device": self.device,
            "random_state": self.seed,
        }

    def _check_scored(self) -> None:
        if not 0 <= self.share_held_out < 1:
            raise InputError(f"--holdout {self.holdout} is not a share of the rows: give a number from 0 to below 1")
        if self.test is not None and self.share_held_out > 0:
            raise InputError("--holdout and --test both name rows to score on: leave out one of them")

    def _check_rule(self) -> None:
        if hasattr(self.rule(), "learning_rate"):
            return
        for option, given in (("--learning-rate", self.rate() != "auto"), ("--schedule", self.schedule is not None)):
            if given:
                raise InputError(
                    f"{option} needs --optimizer gd, adam or the like: {self.optimizer} finds its own step"
                )

    def _check_loss(self) -> None:
        if self.delta is not None and self.loss != "huber":
            raise InputError(f"--delta {self.delta:g} needs --loss huber: the squared loss has no such parameter")
        if self.delta is not None and not 0 < self.delta < math.inf:
            raise InputError(f"--delta {self.delta:g} is not positive: give a number in the units of the target")
        if self.loss == "huber" and self.task == "logistic":
            raise InputError("--loss huber needs --task linear: a logistic regression has its own loss")

    def _check_quiet(self) -> None:
        if self.quiet and self.json:
            raise InputError("--quiet and --json exclude each other: leave out one of them")
        if self.quiet and self.save is None and self.plot is None:
            raise InputError("--quiet leaves no result: add --save MODEL or --plot FILE")

    def _check_validation(self) -> None:
        share = self.validation_fraction
        if share is not None and not 0 < share < 1:
            raise InputError(f"--validation-fraction {share} is not a share of the rows: give a number between 0 and 1")
        if self.early_stopping:
            return
        if share is not None:
            raise InputError("--validation-fraction needs --early-stopping: nothing else has a use for those rows")
        rule = self.rule()
        in_batches = hasattr(rule, "learning_rate") and getattr(rule, "line_search", None) is None
        if self.patience is not None and (self.batch() == "full" or not in_batches):
            raise InputError("--patience needs --early-stopping or mini-batches: full batches end by their certificate")


def check_marks(reading: ReadOptions) -> None:
    """Raise `InputError` for marks of numbers that cannot be used together."""
    if reading.decimal not in {None, ".", ","}:
        raise InputError(f"--decimal {reading.decimal} is neither a point nor a comma")
    if len(reading.thousands) > 1 or reading.thousands.isalnum():
        raise InputError(f"--thousands {reading.thousands} is no mark such as a comma, a point or a blank")
    if reading.thousands and reading.thousands == reading.decimal:
        raise InputError(f"--thousands {reading.thousands} is the decimal mark too: give --decimal the other one")


def check_plot(path: Path) -> None:
    """Raise `InputError` if no picture can be drawn or written at `path`."""
    if path.suffix.lower() not in PICTURES:
        raise InputError(f"--plot {path}: the name must end in one of {', '.join(PICTURES)}")
    check_output(path, "--plot")
    from fastgd.plots import require_matplotlib

    try:
        require_matplotlib()
    except ImportError as error:
        raise InputError(f"--plot: {error}") from error


def in_options(message: str) -> str:
    """Return a message of the estimators with the command's options in place of their parameters."""
    return _PARAMETER.sub(lambda found: " ".join(filter(None, (_OPTIONS[found[1]], _argument(found[3])))), message)


def _argument(value: str | None) -> str | None:
    return None if value == "True" else value  # flags take none


def check_output(path: Path, option: str) -> None:
    """Raise `InputError` if a file cannot be written at `path`, before the work is done that it is to hold."""
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise InputError(f"{option}: a name of {len(path.name):,} characters is too long for a file: shorten it")
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder: give the name of a file")
    if is_stream(path):
        return
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: the folder {path.parent} does not exist: create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path}: nothing can be written in the folder {path.parent}: choose another")


def _number(text: str) -> float | None:
    if "_" in text or not text.isascii():  # as Python would read them
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
