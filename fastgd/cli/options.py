"""The options of the commands: as typer reads them, and how they go together.

Imported for the command's help, so it imports no NumPy.
"""

import math
import os
from dataclasses import MISSING, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from typer import Argument, Option
from typer.models import ArgumentInfo, OptionInfo

from fastgd.cli.errors import InputError
from fastgd.cli.rules import read_optimizer, read_schedule
from fastgd.data import ReadOptions
from fastgd.files import is_stream
from fastgd.memory import read_memory_limit

if TYPE_CHECKING:
    from fastgd.optimizers import Optimizer

Missing = Literal["error", "drop", "mean"]
PredictMissing = Literal["error", "empty", "mean"]

#: Endings of the names of pictures, of reports and of predictions.
PICTURES = (".png", ".svg", ".pdf")
PAGES = (".html",)
PREDICTIONS = (".csv", ".tsv", ".parquet", ".npy")
#: Values of the options of ``fastgd warmup``, which may be repeated: typer checks no choices then.
LOSSES = ("squared", "huber", "logistic", "softmax")
DTYPES = ("float64", "float32")
ORDERS = ("C", "F")
STEPS = ("auto", "batches", "full")
#: Devices of ``fastgd bench``.
DEVICES = ("cpu", "cuda")
#: Largest count that an option takes; it is more rows than any table has.
_LARGEST_COUNT = 2**31 - 1
#: Largest number of numbers in X: its bytes are counted in 63 bits.
_MOST_NUMBERS = 2**59
#: Part of the memory limit that a matrix takes: there are those of the source, of a fit and of the rows held out.
_MATRIX_SHARE = 4
#: Longest name of a file in bytes, on all usual file systems.
_LONGEST_NAME = 255


def _option(
    help: str,
    metavar: str | None = None,
    *names: str,
    default: object = None,
    shown: bool | str = True,
    min: int | None = None,
    max: int | None = None,
) -> Any:
    """Return a field with a typer option: its help, and its default in words where that is None."""
    option: OptionInfo = Option(*names, metavar=metavar, help=help, show_default=shown, min=min, max=max)
    return field(default=default, metadata={"typer": option})


def _argument(help: str, metavar: str, default: object = MISSING) -> Any:
    """Return a field with a typer argument, required unless it has a default."""
    argument: ArgumentInfo = Argument(metavar=metavar, help=help, show_default=False)
    return field(default=default, metadata={"typer": argument})


_flag = partial(_option, default=False)
# Options of several commands.
_header = partial(
    _option, "Whether the first line of a text file names the columns.", None, "--header/--no-header", shown="detected"
)
_decimal = partial(_option, "Decimal mark of a text file: . or ,", "MARK", shown="detected")
_thousands = partial(_option, "Mark between groups of three digits in a text file.", "MARK", default="", shown="none")
_null = partial(
    _option,
    "A value that means missing, in columns of text too; may be repeated.",
    "VALUE",
    shown="among numbers NA, NaN, NULL, None, ?; empty fields everywhere",
)
_memory_limit = partial(
    _option,
    "Most memory for decoded rows, such as 300MB; more are kept in temporary files on the disk.",
    "SIZE",
    shown="a quarter of what is free, at most 512 MiB",
)
_sql = partial(
    _option,
    "A query of DuckDB in place of SOURCE: SELECT * FROM 'rides-*.parquet' WHERE fare > 0",
    "QUERY",
    shown="none",
)
_cache = partial(
    _option,
    "Where decoded rows are kept: auto takes memory up to --memory-limit, then the disk.",
    default="auto",
)
_quiet = partial(_flag, "Print warnings and errors only.", None, "--quiet", "-q")


class _Reading:
    """Options for reading tables."""

    header: bool | None
    decimal: str | None
    thousands: str
    null: list[str] | None

    @property
    def reading(self) -> ReadOptions:
        """These options, as tables take them."""
        return ReadOptions(self.header, self.decimal, self.thousands, tuple(self.null or ()))


_DELIMITED_OPTIONS = {"header": "--header", "decimal": "--decimal", "thousands": "--thousands"}


class _Querying(_Reading):
    """Options for reading tables or the result of a query."""

    sql: str | None

    def _check_query(self, source: object) -> None:
        """Raise `InputError` for a query with a source, or with options of delimited text."""
        if self.sql is None:
            return
        if source:
            raise InputError("--sql and SOURCE both name the rows: leave out SOURCE, and name files in the query")
        for name, option in _DELIMITED_OPTIONS.items():
            if getattr(self, name) not in (None, ""):
                raise InputError(f"{option}: meant for CSV and the like; in --sql use DuckDB's read_csv('file', ...)")


class _Keeping:
    """Options for where decoded rows are kept."""

    memory_limit: str | None
    cache: str

    def matrix_bytes(self) -> int:
        """Return the most bytes of a matrix in memory."""
        try:
            limit = read_memory_limit(self.memory_limit)
        except ValueError as error:
            raise InputError(
                f"--memory-limit {self.memory_limit}: give a size such as 300MB, at least 64MiB"
            ) from error
        return {"memory": 1 << 62, "disk": 0}.get(self.cache, limit // _MATRIX_SHARE)


@dataclass(frozen=True)
class FitOptions(_Querying, _Keeping):
    """Fit a regression to a file and report how good it is.

    Example: fastgd fit flights.csv.gz --target arr_delay --missing drop --drop-text --save delay.model
    """

    source: list[str] | None = _argument(
        "CSV, TSV, Parquet, JSON, libsvm, .npy or .npz; compressed or not; - is standard input. Several files,"
        " patterns and folders are read as one table. Without it, a data set that scikit-learn ships.",
        "SOURCE...",
        default=None,
    )
    target: str | None = _option(
        "The column to predict; in a file without names its number from 1, or -1 for last. For .npy, .npz and libsvm"
        " also a file of targets: .npy, or one per line.",
        "COL|FILE",
    )
    sql: str | None = _sql()
    task: Literal["auto", "linear", "logistic"] = _option(
        "Kind of regression; auto looks at the target.", default="auto"
    )
    drop: list[str] | None = _option("Leave out a column; may be repeated.", "COL")
    drop_text: bool = _flag("Leave out all columns of text or dates that --one-hot does not name.", None, "--drop-text")
    one_hot: list[str] | None = _option(
        "A column of categories: a coefficient for each but the first; may be repeated.", "COL"
    )
    max_categories: int | None = _option(
        "Most different values of a column that --one-hot names.", "N", min=1, shown="1000, or half as many as rows"
    )
    missing: Missing = _option(
        "Missing values: stop, drop their rows, or fill in column means and drop rows without a target.",
        default="error",
    )
    header: bool | None = _header()
    decimal: str | None = _decimal()
    thousands: str = _thousands()
    null: list[str] | None = _null()
    memory_limit: str | None = _memory_limit()
    cache: Literal["auto", "memory", "disk", "none"] = _option(
        "Where decoded rows are kept: auto takes memory up to --memory-limit, then the disk; none reads SOURCE in every"
        " pass.",
        default="auto",
    )
    dtype: Literal["auto", "float32", "float64"] = _option(
        "Precision; auto takes float32 where it holds the values exactly.", default="auto"
    )
    holdout: float | None = _option(
        "Share of the rows to score on, not to fit, per class.", "SHARE", shown="0.2; 0 with --test or --cache none"
    )
    test: Path | None = _option("Score on the rows of another file, and hold out none.", "FILE")
    weight: str | None = _option(
        "Column of sample weights, for the fit and the scores; not a predictor. For .npy, .npz and libsvm also a file"
        " of them: .npy, or one per line.",
        "COL|FILE",
    )
    seed: int = _option("Seed of the rows held out and of the mini-batches.", "N", min=0, max=_LARGEST_COUNT, default=0)
    # The names stand here, not where they are defined, because help imports no NumPy.
    optimizer: str = _option(
        "auto needs no tuning and ends at a certified optimum. Or a rule: gd, momentum, nesterov, adagrad, rmsprop,"
        " adam, amsgrad, nadam, adadelta, adamw, saga; or a full-batch solver: accelerated, sketched_newton,"
        " normal_equations, lbfgs; with hyper-parameters: nesterov:momentum=0.95,form=lookahead",
        "RULE",
        default="auto",
    )
    learning_rate: str = _option("Learning rate of the rule; a schedule starts from it.", "R|auto", default="auto")
    schedule: str | None = _option(
        "Learning-rate schedule: constant, step, exponential, inverse, polynomial, cosine, onecycle, warmup,"
        " plateau; with hyper-parameters: step:every=10, warmup:epochs=2,then=cosine",
        "NAME",
        shown="constant, or the rule's own",
    )
    batch_size: str = _option("Rows per step: full is batch gradient descent, 1 is SGD.", "N|full|auto", default="auto")
    epochs: int | None = _option("Most passes over the rows.", "N", shown="the estimator's", min=1, max=_LARGEST_COUNT)
    max_seconds: float | None = _option("Most seconds that the fit may take.", "S", shown="no limit")
    early_stopping: bool = _flag(
        "Validate on rows held out, stop when their loss falls no more, and keep the best epoch.",
        None,
        "--early-stopping",
    )
    validation_fraction: float | None = _option("Share of the rows for --early-stopping.", "SHARE", shown="0.1")
    patience: int | None = _option(
        "Epochs without a lower loss before a fit stops.", "N", shown="5", min=1, max=_LARGEST_COUNT
    )
    alpha: float | None = _option("Strength of the penalty.", "A", shown="0 linear, 1e-4 logistic", min=0)
    l1_ratio: float | None = _option("Share of L1 in the penalty.", "R", shown="0: ridge", min=0, max=1)
    loss: Literal["squared", "huber"] = _option(
        "Loss of a linear regression; huber is robust against outliers in the target.", default="squared"
    )
    delta: float | None = _option(
        "Residual beyond which Huber's loss is linear, in units of the target.", "D", shown="1"
    )
    tol: float | None = _option(
        "Stop when the largest gradient is at most this share of its bound at the constant model.",
        "C",
        shown="1e-4",
        min=0,
    )
    device: Literal["auto", "cpu", "cuda"] = _option(
        "Where to fit; cuda is an NVIDIA GPU, and auto takes it where it is faster.", default="auto"
    )
    checkpoint: Path | None = _option(
        "Record the state of the fit in a file, and continue from it if it exists; Ctrl-C leaves it, and the model of"
        " --save.",
        "FILE",
    )
    checkpoint_every: float | None = _option("Seconds from one checkpoint to the next.", "S", shown="60")
    resume: Path | None = _option("Continue from a checkpoint, which must exist.", "FILE")
    workers: int | None = _option("Fit on so many workers of Dask, which are started here.", "N", min=1)
    scheduler: str | None = _option("Fit on the workers of a scheduler of Dask that runs.", "ADDRESS")
    save: Path | None = _option("Save the model, for 'fastgd predict'.", "MODEL")
    plot: Path | None = _option("Draw loss and learning rate by epoch: .png, .svg or .pdf.", "FILE")
    report: Path | None = _option("Write the result with pictures as one page of HTML: .html.", "FILE")
    json: bool = _flag("Print the result as one JSON object.", None, "--json")
    quiet: bool = _quiet()

    def check(self) -> None:
        """Raise `InputError` for a value that cannot be used."""
        self._check_rule()
        self.batch()
        self._check_score()
        self._check_validation()
        self._check_loss()
        self._check_quiet()
        check_marks(self.reading)
        self._check_query(self.source)
        self._check_checkpoints()
        self._check_cluster()
        if (
            not self.source
            and self.sql is None
            and (self.target or self.weight or self.test or self.drop or self.one_hot)
        ):
            raise InputError(
                "--target, --weight, --test, --drop and --one-hot need a SOURCE: fastgd fit SOURCE --target COLUMN"
            )
        if self.save is not None:
            check_output(self.save, "--save")
        if self.plot is not None:
            _check_picture(self.plot, "--plot", PICTURES)
        if self.report is not None:
            _check_picture(self.report, "--report", PAGES)
            if self.report == self.save:
                raise InputError(f"--save and --report both name {self.save}: give them different names")

    @property
    def holdout_share(self) -> float:
        """The share of the rows that the score is computed on; 0 with a test file."""
        if self.holdout is None:
            return 0.2 if self.test is None and self.cache != "none" else 0.0
        return self.holdout

    def rate(self) -> float | Literal["auto"]:
        """Return the learning rate."""
        if self.learning_rate == "auto":
            return "auto"
        rate = _number(self.learning_rate)
        if rate is None or not 0 < rate < math.inf:
            raise InputError(f"--learning-rate {self.learning_rate} is neither a positive number nor 'auto'")
        return rate

    def rule(self) -> "Optimizer | None":
        """Return the optimizer with its learning rate; None for auto."""
        rate = self.rate()
        return read_optimizer(self.optimizer, rate if self.schedule is None else read_schedule(self.schedule, rate))

    def batch(self) -> int | str:
        """Return the batch size: a number, "auto" or "full"."""
        if self.batch_size in ("auto", "full"):
            return self.batch_size
        size = _number(self.batch_size)
        if size is None or size < 1 or not size.is_integer():
            raise InputError(f"--batch-size {self.batch_size} is neither a count of rows nor 'full' nor 'auto'")
        if size > _LARGEST_COUNT:
            raise InputError(f"--batch-size {self.batch_size} is more than {_LARGEST_COUNT:,}: use full for all rows")
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
            "optimizer": self.rule() or "auto",
            "batch_size": self.batch(),
            "early_stopping": self.early_stopping,
            "device": self.device,
            "random_state": self.seed,
        }
        return {name: value for name, value in given.items() if value is not None}

    def _check_score(self) -> None:
        if not 0 <= self.holdout_share < 1:
            raise InputError(f"--holdout {self.holdout} is not a share of the rows: give a number from 0 to below 1")
        if self.test is not None and self.holdout_share > 0:
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
        if self.quiet and self.save is None and self.plot is None and self.report is None:
            raise InputError("--quiet leaves no result: add --save MODEL, --plot FILE or --report FILE")

    def _check_checkpoints(self) -> None:
        every = self.checkpoint_every
        if every is not None and self.checkpoint is None and self.resume is None:
            raise InputError("--checkpoint-every needs --checkpoint FILE, the file to write")
        if every is not None and not 0 <= every < math.inf:
            raise InputError(f"--checkpoint-every {every:g} is not a number of seconds: give 0 or more")
        if self.resume is not None and not self.resume.is_file():
            raise InputError(f"--resume {self.resume}: there is no such file; --checkpoint begins a new one")
        if self.checkpoint is not None:
            check_output(self.checkpoint, "--checkpoint")
            if self.checkpoint == self.save:
                raise InputError(f"--save and --checkpoint both name {self.save}: give them different names")

    def _check_cluster(self) -> None:
        if self.workers is not None and self.scheduler is not None:
            raise InputError("--workers starts a cluster here and --scheduler uses another: leave out one of them")
        option = "--workers" if self.scheduler is None else "--scheduler"
        if self.workers is None and self.scheduler is None:
            return
        if self.one_hot or self.cache == "none":
            other = "--one-hot" if self.one_hot else "--cache none"
            raise InputError(f"{option} does not go with {other}: leave out one of them, or fit a collection in Python")

    def fit_arguments(self) -> dict[str, Any]:
        """Return the arguments of `fit` for checkpoints and for a source that is read in every pass."""
        found: dict[str, Any] = {"checkpoint": self.checkpoint, "resume": self.resume}
        found["checkpoint_every"] = self.checkpoint_every
        return found | ({"cache": None, "memory_limit": self.memory_limit} if self.cache == "none" else {})

    def _check_validation(self) -> None:
        share = self.validation_fraction
        if share is not None and not 0 < share < 1:
            raise InputError(f"--validation-fraction {share} is not a share of the rows: give a number between 0 and 1")
        if self.early_stopping:
            return
        if share is not None:
            raise InputError("--validation-fraction needs --early-stopping, which alone uses those rows")
        rule = self.rule()
        in_batches = hasattr(rule, "learning_rate") and getattr(rule, "line_search", None) is None
        if self.patience is not None and (self.batch() == "full" or not in_batches):
            raise InputError(
                "--patience needs --early-stopping or mini-batches: full batches end when the gradient is at most --tol"
            )


@dataclass(frozen=True)
class PredictOptions(_Querying, _Keeping):
    """Predict the rows of a file with a saved model.

    Example: fastgd predict delay.model flights.csv.gz --missing empty -o predictions.csv
    """

    model: Path = _argument("A file that 'fastgd fit --save' wrote.", "MODEL")
    source: list[str] | None = _argument("The rows to predict, in any form that fit reads.", "SOURCE...", default=None)
    sql: str | None = _sql()
    output: Path | None = _option(
        "Where to write: .csv, .tsv, .parquet or .npy.", "OUT", "-o", "--output", shown="CSV to standard output"
    )
    header: bool | None = _header()
    decimal: str | None = _decimal()
    thousands: str = _thousands()
    null: list[str] | None = _null()
    memory_limit: str | None = _memory_limit()
    cache: Literal["auto", "memory", "disk"] = _cache()
    missing: PredictMissing = _option(
        "Missing values: stop, predict nothing for their rows, or fill in the means of the fitted rows.",
        default="error",
    )
    probabilities: bool = _flag("Write the probability of every class, too.", None, "--probabilities")
    escape_formulas: bool = _flag(
        "In CSV and TSV put ' before labels that spreadsheets take for formulas: those after =, +, - or @.",
        None,
        "--escape-formulas",
    )
    quiet: bool = _quiet()

    def check(self) -> None:
        """Raise `InputError` for options that cannot be used together."""
        check_marks(self.reading)
        self._check_query(self.source)
        if not self.source and self.sql is None:
            raise InputError(
                "SOURCE is missing: name the rows to predict, fastgd predict MODEL SOURCE, or use --sql QUERY"
            )
        suffix = ".csv" if self.output is None else self.output.suffix.lower()
        if suffix not in PREDICTIONS:
            raise InputError(f"-o {self.output}: the name must end in one of {', '.join(PREDICTIONS)}")
        if self.escape_formulas and suffix not in {".csv", ".tsv"}:
            raise InputError(f"--escape-formulas needs an output of CSV or TSV, not {suffix}")
        if self.output is not None:
            check_output(self.output, "-o")
        elif self.quiet:
            raise InputError("--quiet leaves no result: add -o OUT")


@dataclass(frozen=True)
class WarmupOptions:
    """Compile and cache kernels, so that no later fit waits."""

    device: Literal["cpu", "cuda"] = _option(
        "Kernels of which device; those of the GPU are compiled for its compute capability.", default="cpu"
    )
    cols: list[int] | None = _option(
        "Columns of the data to come, which kernels of the GPU depend on; may be repeated.",
        "D",
        shown="100",
        min=1,
        max=100_000,
    )
    loss: list[str] | None = _option("Loss; may be repeated.", "|".join(LOSSES), shown="squared, logistic, softmax")
    dtype: list[str] | None = _option(
        "Precision; tables of small integers are float32.", "|".join(DTYPES), shown="float64"
    )
    order: list[str] | None = _option("Order of X in memory; tables are read in C order.", "|".join(ORDERS), shown="C")
    steps: list[str] | None = _option(
        "Automatic solver, mini-batch rules, or rules on full batches.", "|".join(STEPS), shown="auto"
    )
    everything: bool = _flag("Every kernel, which takes many minutes.", None, "--all")

    def check(self) -> None:
        """Raise `InputError` for options that cannot be used together."""
        for option, given, known in (
            ("--loss", self.loss, LOSSES),
            ("--dtype", self.dtype, DTYPES),
            ("--order", self.order, ORDERS),
            ("--steps", self.steps, STEPS),
        ):
            for value in given or ():
                if value not in known:
                    raise InputError(f"{option} {value} is not one of {', '.join(known)}")
        if self.device == "cpu" and self.cols:
            raise InputError(
                "--cols: kernels of the CPU serve any number of columns; leave it out, or add --device cuda"
            )
        if self.everything and (self.loss or self.dtype or self.order or self.steps):
            raise InputError("--all compiles every kernel: leave out --loss, --dtype, --order and --steps")


@dataclass(frozen=True)
class BenchOptions(_Keeping):
    """Measure how fast this machine fits: CPU against GPU, and against what its memory can do.

    A full pass, an epoch of mini-batches and a whole fit to the optimum on each device: as a table with the share of
    the bandwidth measured beside them, as JSON and as a picture.

    Example: fastgd bench --rows 5000000 --cols 100 --rivals
    """

    source: Path | None = _argument(
        "Data to measure on, in any form that fit reads, all columns numbers. Without it, data are generated.",
        "FILE",
        default=None,
    )
    sql: str | None = _sql()
    target: str | None = _option("The column of FILE to predict, or a file of targets as in fit.", "COL|FILE")
    device: str = _option(
        "Where to run: cpu, cuda, or both; auto takes all that there are.", "D,D|auto", default="auto"
    )
    rows: int | None = _option("Rows of generated data.", "N", min=100, shown="1000000")
    cols: int | None = _option("Columns of generated data.", "D", min=1, shown="100")
    dtype: Literal["float32", "float64"] | None = _option(
        "Precision.", shown="float32, of a FILE what holds its values"
    )
    task: Literal["linear", "logistic"] | None = _option(
        "Kind of regression.", shown="logistic, of a FILE what its target asks for"
    )
    classes: int | None = _option("Classes of generated data.", "K", min=2, max=1000, shown="2")
    tol: float = _option("Certificate at which whole fits end.", "C", min=0, default=1e-6)
    batch_size: int = _option("Rows of a mini-batch.", "N", min=1, max=_LARGEST_COUNT, default=4096)
    seed: int = _option("Seed of the data and batches.", "N", min=0, max=_LARGEST_COUNT, default=0)
    memory_limit: str | None = _memory_limit()
    cache: Literal["auto", "memory", "disk"] = _cache()
    rivals: bool = _flag("Measure scikit-learn beside it, and PyTorch where it is installed.", None, "--rivals")
    out: Path = _option("Where bench.json and bench.png go.", "FOLDER", default=Path("fastgd-bench"))

    def check(self) -> None:
        """Raise `InputError` for options that cannot be used together."""
        self.devices()
        made = {"--rows": self.rows, "--cols": self.cols, "--classes": self.classes}
        given = [option for option, value in made.items() if value is not None]
        if self.source is not None and self.sql is not None:
            raise InputError("--sql and FILE both name the rows: leave out FILE, and name files in the query")
        has_rows = self.source is not None or self.sql is not None
        if has_rows and given:
            raise InputError(f"{', '.join(given)}: a FILE has its own; leave them out, or leave the FILE out")
        if not has_rows and self.target is not None:
            raise InputError("--target needs a FILE: fastgd bench FILE --target COLUMN")
        if self.task == "linear" and self.classes is not None:
            raise InputError("--classes needs --task logistic: a linear regression has none")
        if not math.isfinite(self.tol):
            raise InputError(f"--tol {self.tol}: give a finite number, at least 0")
        if (self.rows or 1) * (self.cols or 1) > _MOST_NUMBERS:
            raise InputError(f"--rows {self.rows} --cols {self.cols}: no memory holds so many numbers: give fewer")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out {self.out} is no folder: give the name of one")
        nearest = next(folder for folder in (self.out, *self.out.absolute().parents) if folder.exists())
        if not nearest.is_dir():
            raise InputError(f"--out {self.out}: {nearest} is no folder: give the name of one")
        if not os.access(nearest, os.W_OK):
            raise InputError(f"--out {self.out}: nothing can be written in the folder {nearest}: choose another")

    def devices(self) -> list[str] | None:
        """Return the devices asked for, each once; None for all that can be used."""
        if self.device == "auto":
            return None
        names = [name.strip() for name in self.device.split(",")]
        wrong = [name for name in names if name not in DEVICES]
        if wrong:
            raise InputError(f"--device {self.device}: {wrong[0]!r} is none of {', '.join(DEVICES)}, auto")
        return list(dict.fromkeys(names))


def check_marks(reading: ReadOptions) -> None:
    """Raise `InputError` for marks of numbers that cannot be used together."""
    if reading.decimal not in {None, ".", ","}:
        raise InputError(f"--decimal {reading.decimal} is neither a point nor a comma")
    if len(reading.thousands) > 1 or reading.thousands.isalnum():
        raise InputError(f"--thousands {reading.thousands} is not a mark such as a comma, a point or a space")
    if reading.thousands and reading.thousands == reading.decimal:
        raise InputError(f"--thousands {reading.thousands} is the decimal mark too: give --decimal the other one")


def check_output(path: Path, option: str) -> None:
    """Raise `InputError` if a file cannot be written at `path`, before the work is done."""
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


def _check_picture(path: Path, option: str, endings: tuple[str, ...]) -> None:
    if path.suffix.lower() not in endings:
        raise InputError(f"{option} {path}: the name must end in {'one of ' * (len(endings) > 1)}{', '.join(endings)}")
    check_output(path, option)
    from fastgd.plots import require_matplotlib

    try:
        require_matplotlib()
    except ImportError as error:
        raise InputError(f"{option}: {error}") from error


def _number(text: str) -> float | None:
    if "_" in text or not text.isascii():  # Python would read these as numbers
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
