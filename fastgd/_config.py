"""Check the parameters of an estimator once, and resolve those left to the library."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.utils import check_random_state

from fastgd._model import ModelParameters
from fastgd._namespaces import fitted_array
from fastgd.arrays import Array
from fastgd.backends.select import DEVICES
from fastgd.losses import RegressionLoss, regression_loss
from fastgd.optimizers import BY_NAME, LBFGS, AdaGrad, FullBatch, GradientDescent, NormalEquations, Optimizer
from fastgd.parameters import is_integer, is_number, shown
from fastgd.suggestions import unknown_optimizer
from fastgd.threads import check_threads, get_num_threads

#: Epochs at most, where the user gives none.
MAX_ITER_FULL, MAX_ITER_BATCHES = 1000, 50
#: Rows of a mini-batch, where the user gives none.
BATCH_SIZE = 256
#: Least batches per epoch where they have more rows.
_LEAST_BATCHES = 40
#: Updates that a mini-batch rule has to improve the loss, however few an epoch has.
_LEAST_UPDATES = 100
#: Largest count, so that products of counts stay within 64 bits where it matters.
_LARGEST_COUNT = 2**62
#: Parameters that are True or False, of both estimators.
_FLAGS = ("fit_intercept", "standardize", "shuffle", "drop_last", "early_stopping", "warm_start")
#: The types of flags.
_BOOLEANS = (bool, np.bool_)
#: The estimators' default, to detect a value that the user has set.
VALIDATION_FRACTION = 0.1


class Penalty(NamedTuple):
    """L1 and L2 weights of each output, (K,)."""

    l1: Array
    l2: Array


@dataclass(frozen=True)
class FitConfig:
    """Every parameter of an estimator, checked and resolved.

    Attributes hold what the estimator's parameters of the same names mean, with these exceptions.

    Attributes
    ----------
    loss : RegressionLoss or None
        None for a classifier, whose loss depends on the number of classes.
    delta : float or None
        As given, in contrast to the loss's own.
    optimizer : Optimizer or None
        None for the automatic solver.
    batch_size : int or None
        None for the full batch.
    batch_reason : str
        Why the batches are of that size, for the report.
    is_batch_size_auto : bool
        Whether batches may be of another size, see `with_batches_of`.
    n_threads : int
        Resolved, as is `max_iter`.
    """

    loss: RegressionLoss | None
    delta: float | None
    class_weight: Mapping[Any, float] | str | None
    alpha: float | Array
    l1_ratio: float
    fit_intercept: bool
    standardize: bool
    optimizer: Optimizer | None
    batch_size: int | None
    batch_reason: str
    is_batch_size_auto: bool
    shuffle: bool
    drop_last: bool
    max_iter: int
    max_seconds: float | None
    tol: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    random_state: int | np.random.RandomState | None
    verbose: bool
    categorical: str | tuple[str, ...] | None
    device: str
    n_threads: int
    positive: bool = False
    #: That of the fit that this one continues, in place of one drawn from `random_state`.
    seed: int | None = None

    @classmethod
    def of(cls, estimator: ModelParameters) -> Self:
        """Check an estimator's parameters for a fit; a ValueError names the first that is wrong or has no use."""
        loss = _loss(estimator)
        config = cls._checked(estimator, loss, _optimizer(estimator.optimizer))
        config._check_solver()
        return config

    @classmethod
    def for_stream(cls, estimator: ModelParameters) -> Self:
        """Check an estimator's parameters for `partial_fit`, where the automatic rule is AdaGrad."""
        loss = _loss(estimator)
        return cls._checked(estimator, loss, _optimizer(estimator.optimizer) or AdaGrad())

    @classmethod
    def _checked(cls, estimator: ModelParameters, loss: RegressionLoss | None, optimizer: Optimizer | None) -> Self:
        alpha = _alpha(estimator.alpha, loss, optimizer)
        l1_ratio = _number(estimator.l1_ratio, "l1_ratio", 0.0, 1.0)
        tol = _number(estimator.tol, "tol", 0.0)
        flags = _flags(estimator, _FLAGS if loss is None else (*_FLAGS, "positive"))
        batches = _batches(estimator, optimizer)
        return cls(
            loss=loss,
            delta=getattr(estimator, "delta", None),
            class_weight=getattr(estimator, "class_weight", None),
            alpha=alpha,
            l1_ratio=l1_ratio,
            optimizer=optimizer,
            batch_size=batches.size,
            batch_reason=batches.reason,
            is_batch_size_auto=batches.is_auto,
            max_iter=_max_iter(estimator.max_iter, batches.size),
            max_seconds=_max_seconds(estimator.max_seconds),
            tol=tol,
            validation_fraction=_validation_fraction(estimator),
            n_iter_no_change=_count(estimator.n_iter_no_change, "n_iter_no_change"),
            random_state=_random_state(estimator.random_state),
            verbose=_verbose(estimator.verbose),
            categorical=_categorical(estimator.categorical),
            device=_device(estimator.device),
            n_threads=_n_threads(estimator.n_threads),
            **flags,
        )

    def _check_solver(self) -> None:
        """Raise a ValueError for combinations that a solver of the full batch cannot handle."""
        optimizer = self.optimizer
        if self.has_l1 and _line_search(optimizer) == "exact":
            raise ValueError("line_search='exact' follows a smooth objective: use 'backtracking', or l1_ratio=0")
        if self.positive and not self._is_quadratic:
            name = None if self.loss is None else self.loss.name
            raise ValueError(f"positive=True needs loss='squared', got loss={name!r}")
        if self.positive and not isinstance(optimizer, NormalEquations | None):
            name = optimizer.rule
            raise ValueError(f"optimizer={name!r} does not constrain coefficients: use 'auto' or 'normal_equations'")
        if self.has_l1 and isinstance(optimizer, LBFGS):
            remedy = "use 'accelerated' or 'sketched_newton', or l1_ratio=0"
            raise ValueError(f"optimizer='lbfgs' needs a smooth objective, and L1 is none: {remedy}")
        if isinstance(optimizer, NormalEquations) and not self._is_quadratic:
            raise ValueError("optimizer='normal_equations' solves for a squared loss: use another optimizer")

    @property
    def _is_quadratic(self) -> bool:
        return self.loss is not None and self.loss.is_quadratic

    @property
    def runs_rule(self) -> bool:
        """Whether an update rule runs, whose every step the user sees, and not a solver of the full batch."""
        return self.optimizer is not None and not isinstance(self.optimizer, FullBatch)

    @property
    def is_unpenalized(self) -> bool:
        """Whether the coefficients of some output have no penalty."""
        return self.alpha == 0.0 if isinstance(self.alpha, float) else not self.alpha.all()

    @property
    def has_l1(self) -> bool:
        """Whether some output has an L1 term."""
        return self.l1_ratio > 0.0 and self.l1_ratio * float(np.max(self.alpha)) > 0.0

    def penalties(self, outputs: int) -> Penalty:
        """Return the penalty weights of each output."""
        if not isinstance(self.alpha, float) and self.alpha.size != outputs:
            raise ValueError(
                f"alpha must be a number or an array of one per target: it has {self.alpha.size} values, y has "
                f"{outputs} target{'s' * (outputs > 1)}"
            )
        alpha = np.full(outputs, self.alpha)
        return Penalty(alpha * self.l1_ratio, alpha * (1.0 - self.l1_ratio))

    def patience(self, rows: int) -> int:
        """Return how many epochs without an improvement end a fit of so many rows."""
        if self.batch_size is None or self.early_stopping:
            return self.n_iter_no_change
        return max(self.n_iter_no_change, -(-_LEAST_UPDATES * self.batch_size // rows))

    def with_batches_of(self, numbers: float, rows: int, row_numbers: float) -> "FitConfig":
        """Return the configuration with automatic batches of about so many numbers, and at least the usual rows.

        rows: of the data; an epoch keeps `_LEAST_BATCHES` batches. row_numbers: numbers of a row. Rules whose numbers
        depend on the size, which streams cannot change, keep the usual rows.
        """
        size = min(int(numbers / max(row_numbers, 1.0)), rows // _LEAST_BATCHES)
        optimizer = self.optimizer
        if not self.is_batch_size_auto or size <= BATCH_SIZE or optimizer is None:
            return self
        if optimizer.recipe(size) != optimizer.recipe(BATCH_SIZE):
            return self
        reason = f"batch_size='auto': {size} rows, about as many non-zeros as columns"
        return replace(self, batch_size=size, batch_reason=reason)

    def draw_seed(self) -> int:
        """Draw a seed below 2^31 from `random_state`."""
        if self.seed is not None:
            return self.seed
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    @property
    def stream_settings(self) -> dict[str, str | float | bool | None]:
        """Parameters that cannot change within a stream."""
        delta = None if self.delta is None else float(self.delta)
        loss = None if self.loss is None else self.loss.name
        return {"loss": loss, "delta": delta, "fit_intercept": self.fit_intercept, "standardize": self.standardize}


def _loss(estimator: ModelParameters) -> RegressionLoss | None:
    """Return the loss that a regression was given; None for a classifier."""
    return regression_loss(estimator.loss, estimator.delta) if hasattr(estimator, "loss") else None


def _alpha(given: Any, loss: RegressionLoss | None, optimizer: Optimizer | None) -> float | Array:
    """Return a number, or for a linear regression an array of one for each target."""
    if loss is None or is_number(given):
        return _number(given, "alpha", 0.0)
    values = np.asarray(fitted_array(given, "alpha"), dtype=object)
    if values.ndim == 0:
        return _number(given, "alpha", 0.0)
    are_numbers = values.ndim == 1 and values.size and all(map(is_number, values))
    if not are_numbers or not all(0.0 <= float(value) < math.inf for value in values):
        raise ValueError(
            f"alpha must be a number or an array of one per target, finite and at least 0, got {shown(given)}"
        )
    if isinstance(optimizer, NormalEquations):
        raise ValueError("optimizer='normal_equations' solves for one alpha: use 'auto' or another optimizer")
    return values.astype(np.float64)


def _categorical(given: Any) -> str | tuple[str, ...] | None:
    if given is None or (isinstance(given, str) and given == "auto"):
        return given
    is_list = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
    names = tuple(given) if is_list else ()
    if not is_list or not all(isinstance(name, str) for name in names):
        hint = f": a list of one column is [{given!r}]" if isinstance(given, str) else ""
        raise ValueError(f"categorical must be 'auto', None or a list of names of columns, got {shown(given)}{hint}")
    return names


def _device(given: Any) -> str:
    if not isinstance(given, str) or given not in DEVICES:
        hint = ": 'cuda' is the GPU" if isinstance(given, str) and given.lower().startswith(("gpu", "cuda")) else ""
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {shown(given)}{hint}")
    return given


def _n_threads(given: Any) -> int:
    if given is None:
        return get_num_threads()
    check_threads(given, "n_threads")
    return int(given)


def _max_iter(given: Any, batch_size: int | None) -> int:
    if given is None:
        return MAX_ITER_FULL if batch_size is None else MAX_ITER_BATCHES
    return _count(given, "max_iter", least=0)


def _validation_fraction(estimator: ModelParameters) -> float:
    share = _number(estimator.validation_fraction, "validation_fraction", 0.0, 1.0)
    if not 0.0 < share < 1.0:
        raise ValueError(f"validation_fraction must be between 0 and 1, both excluded, got {shown(share)}")
    if not estimator.early_stopping and share != VALIDATION_FRACTION:
        raise ValueError(
            "validation_fraction has no effect without early_stopping=True: "
            f"leave it at {VALIDATION_FRACTION} or set early_stopping"
        )
    return share


def _line_search(optimizer: Optimizer | None) -> str | None:
    return optimizer.line_search if isinstance(optimizer, GradientDescent) else None


def _optimizer(given: Any) -> Optimizer | None:
    if isinstance(given, Optimizer):
        given.check()
        return given
    if isinstance(given, str) and given == "auto":
        return None
    if isinstance(given, str) and given in BY_NAME:
        return BY_NAME[given]()
    names = ", ".join(repr(name) for name in ("auto", *BY_NAME))
    hint = unknown_optimizer(given, ("auto", *BY_NAME), "'gd' with a batch_size, 1 for a row at a time")
    raise ValueError(f"optimizer must be one of {names} or an object of fastgd.optimizers, got {shown(given)}{hint}")


class _Batches(NamedTuple):
    """Rows of a batch, None for all of them, the reason for the report, and whether the size is automatic."""

    size: int | None
    reason: str
    is_auto: bool = False


def _batches(estimator: ModelParameters, optimizer: Optimizer | None) -> _Batches:
    given = estimator.batch_size
    if not (isinstance(given, str) and given in ("auto", "full")):
        try:
            given = _count(given, "batch_size")
        except ValueError:
            raise ValueError(f"batch_size must be 'auto', 'full' or a positive integer, got {shown(given)}") from None
    cause = _cause_of_full_batch(optimizer)
    if cause:
        if not isinstance(given, str):
            raise ValueError(f"batch_size={given} needs a rule such as optimizer='adam': {cause} uses all rows")
        _check_unused(estimator, cause)
        return _Batches(None, cause if optimizer is None else f"{cause} uses all rows")
    if given == "full":
        _check_full_batch(optimizer)
        _check_unused(estimator, "batch_size='full'")
        return _Batches(None, "batch_size='full'")
    if given == "auto":
        return _Batches(BATCH_SIZE, f"batch_size='auto': {BATCH_SIZE} rows", True)
    return _Batches(given, f"batch_size={given!r}")


def _cause_of_full_batch(optimizer: Optimizer | None) -> str:
    """Return the parameter that requires the full batch, or nothing."""
    if optimizer is None:
        return "optimizer='auto'"
    if isinstance(optimizer, FullBatch):
        return f"optimizer={optimizer.rule!r}"
    search = _line_search(optimizer)
    return "" if search is None else f"line_search={search!r}"


def _check_full_batch(optimizer: Optimizer | None) -> None:
    """Raise a ValueError if the optimizer only reduces the noise of mini-batches."""
    if optimizer is not None and optimizer.keeps_rows():
        name = type(optimizer).__name__
        raise ValueError(f"batch_size='full' has no noise for {name} to remove: give rows a batch, or optimizer='gd'")
    if isinstance(optimizer, GradientDescent) and optimizer.average:
        raise ValueError("batch_size='full' has no noise to average: give rows a batch, or average=False")


def _check_unused(estimator: ModelParameters, because: str) -> None:
    """Raise a ValueError for parameters that only mini-batches use."""
    if not estimator.shuffle:
        raise ValueError(f"shuffle=False has no effect with {because}: leave it at True")
    if estimator.drop_last:
        raise ValueError(f"drop_last=True has no effect with {because}: leave it at False")


def _number(value: Any, name: str, low: float, high: float = math.inf) -> float:
    if not is_number(value) or not low <= float(value) <= high:
        bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be a number, {bounds}, got {shown(value)}")
    if not math.isfinite(float(value)):
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    return float(value)


def _max_seconds(given: Any) -> float | None:
    if given is None:
        return None
    seconds = _number(given, "max_seconds", 0.0)
    if seconds == 0.0:
        raise ValueError(f"max_seconds must be above 0, got {given!r}")
    return seconds


def _count(value: Any, name: str, least: int = 1) -> int:
    if not is_integer(value) or not least <= int(value) <= _LARGEST_COUNT:
        wanted = "a positive integer" if least else "an integer of 0 or more"
        below = ", below 2^62" if is_integer(value) and int(value) > _LARGEST_COUNT else ""
        raise ValueError(f"{name} must be {wanted}{below} or left at its default, got {shown(value)}")
    return int(value)


def _verbose(value: Any) -> bool:
    if not isinstance(value, _BOOLEANS) and not (is_integer(value) and int(value) >= 0):
        raise ValueError(f"verbose must be True, False or an integer of 0 or more, got {shown(value)}")
    return bool(value)


def _random_state(value: Any) -> Any:
    """Check the random state, also where a fit needs no seed."""
    if isinstance(value, bool) or is_integer(value):
        valid = 0 <= int(value) < 1 << 32
    else:
        valid = value is None or value is np.random or isinstance(value, np.random.RandomState)
    if not valid:
        raise ValueError(f"random_state must be an integer of [0, 2^32), a RandomState or None, got {shown(value)}")
    return value


def _flags(estimator: ModelParameters, names: tuple[str, ...]) -> dict[str, bool]:
    flags = {}
    for name in names:
        value = getattr(estimator, name)
        if not isinstance(value, _BOOLEANS):
            raise ValueError(f"{name} must be True or False, got {shown(value)}")
        flags[name] = bool(value)
    return flags
