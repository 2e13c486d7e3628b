"""Checks of the parameters that all estimators share, and what they decide."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from fastgd._namespaces import fitted_array
from fastgd.arrays import Array
from fastgd.backends.select import DEVICES
from fastgd.losses import LOSSES
from fastgd.optimizers import BY_NAME, LBFGS, AdaGrad, FullBatch, GradientDescent, NormalEquations, Optimizer
from fastgd.parameters import is_integer, is_number, shown
from fastgd.suggestions import unknown_optimizer
from fastgd.threads import check_threads, get_num_threads

#: Epochs at most, where the user gives none.
MAX_ITER_FULL, MAX_ITER_BATCHES = 1000, 50
#: Rows of a mini-batch, where the user gives none.
BATCH_SIZE = 256
#: Counts are at most so large, so that products with them stay within 64 bits where it matters.
_MOST = 2**62
#: The estimators' default, here to tell what a user has set.
VALIDATION_FRACTION = 0.1


@dataclass(frozen=True)
class Options:
    """The parameters of a fit, checked and resolved. optimizer is None for the automatic solver.

    alpha is an array where targets have their own. held_out is the share of rows to validate on, 0 without early
    stopping.
    """

    alpha: float | Array
    l1_ratio: float
    optimizer: Optimizer | None
    batch_size: int | None
    max_iter: int
    tol: float
    n_threads: int
    device: str
    reason: str
    held_out: float
    patience: int
    max_seconds: float | None

    @property
    def runs_rule(self) -> bool:
        """Whether an update rule runs, of which users see each step, and not a solver of the full batch."""
        return self.optimizer is not None and not isinstance(self.optimizer, FullBatch)

    @property
    def is_unpenalized(self) -> bool:
        """Whether the coefficients of some output have no penalty."""
        return float(np.min(self.alpha)) == 0.0

    @property
    def has_l1(self) -> bool:
        """Whether some output has an L1 term."""
        return self.l1_ratio * float(np.max(self.alpha)) > 0.0

    def penalties(self, outputs: int) -> tuple[Array, Array]:
        """L1 and L2 weights (K,)."""
        if np.ndim(self.alpha) and np.size(self.alpha) != outputs:
            raise ValueError(
                f"alpha must be a number or an array of one per target: it has {np.size(self.alpha)} values, y has "
                f"{outputs} target{'s' * (outputs > 1)}"
            )
        alpha = np.full(outputs, self.alpha)
        return alpha * self.l1_ratio, alpha * (1.0 - self.l1_ratio)


def resolve(estimator: Any) -> Options:
    """Check an estimator's parameters for a fit; a ValueError names the first that is wrong or cannot be used."""
    options = _resolve(estimator, _optimizer(estimator.optimizer))
    if options.has_l1 and _line_search(options.optimizer) == "exact":
        raise ValueError("line_search='exact' follows a smooth objective: use 'backtracking', or l1_ratio=0")
    if hasattr(estimator, "positive"):
        _check_positive(estimator, options)
    if options.has_l1 and isinstance(options.optimizer, LBFGS):
        remedy = "use 'accelerated' or 'sketched_newton', or l1_ratio=0"
        raise ValueError(f"optimizer='lbfgs' needs a smooth objective, and L1 is none: {remedy}")
    if isinstance(options.optimizer, NormalEquations) and not getattr(
        LOSSES.get(getattr(estimator, "loss", "")), "is_quadratic", False
    ):
        raise ValueError("optimizer='normal_equations' solves for a squared loss: use another optimizer")
    return options


def resolve_partial(estimator: Any) -> Options:
    """Check an estimator's parameters for `partial_fit`, whose automatic rule is AdaGrad."""
    if hasattr(estimator, "positive"):
        _flag(estimator, "positive")
    given = _optimizer(estimator.optimizer)
    return _resolve(estimator, AdaGrad() if given is None else given)


def _resolve(estimator: Any, optimizer: Optimizer | None) -> Options:
    alpha = _alpha(estimator)
    l1_ratio = _number(estimator, "l1_ratio", 0.0, 1.0)
    tol = _number(estimator, "tol", 0.0)
    for name in ("fit_intercept", "standardize", "shuffle", "drop_last", "early_stopping", "warm_start"):
        _flag(estimator, name)
    _check_verbose(estimator.verbose)
    _check_random_state(estimator.random_state)
    held_out = _validation_fraction(estimator)
    patience = _count(estimator.n_iter_no_change, "n_iter_no_change")
    max_iter = None if estimator.max_iter is None else _count(estimator.max_iter, "max_iter", least=0)
    max_seconds = None if estimator.max_seconds is None else _positive(estimator, "max_seconds")
    if estimator.n_threads is not None:
        check_threads(estimator.n_threads, "n_threads")
    n_threads = int(estimator.n_threads or get_num_threads())
    batch_size, reason = _batch_size(estimator, optimizer)
    if max_iter is None:
        max_iter = MAX_ITER_FULL if batch_size is None else MAX_ITER_BATCHES
    return Options(
        alpha=alpha,
        l1_ratio=l1_ratio,
        optimizer=optimizer,
        batch_size=batch_size,
        max_iter=max_iter,
        tol=tol,
        n_threads=n_threads,
        device=_device(estimator.device),
        reason=reason,
        held_out=held_out,
        patience=patience,
        max_seconds=max_seconds,
    )


def _check_positive(estimator: Any, options: Options) -> None:
    _flag(estimator, "positive")
    if not estimator.positive:
        return
    if not LOSSES[estimator.loss].is_quadratic:
        raise ValueError(f"positive=True needs loss='squared', got loss={estimator.loss!r}")
    if not isinstance(options.optimizer, NormalEquations | None):
        name = options.optimizer.rule
        raise ValueError(f"optimizer={name!r} does not constrain coefficients: use 'auto' or 'normal_equations'")


def _alpha(estimator: Any) -> float | Array:
    """A number, or for a linear regression an array of one for each target."""
    given = np.asarray(fitted_array(estimator.alpha, "alpha"), dtype=object)
    if given.ndim == 0 or not hasattr(estimator, "loss"):
        return _number(estimator, "alpha", 0.0)
    are_numbers = given.ndim == 1 and given.size and all(map(is_number, given))
    if not are_numbers or not all(0.0 <= float(value) < math.inf for value in given):
        raise ValueError(
            f"alpha must be a number or an array of one per target, finite and at least 0, got {shown(estimator.alpha)}"
        )
    found = given.astype(np.float64)
    if isinstance(estimator.optimizer, NormalEquations) or estimator.optimizer == NormalEquations.rule:
        raise ValueError("optimizer='normal_equations' solves for one alpha: use 'auto' or another optimizer")
    return found


def _device(given: Any) -> str:
    if not isinstance(given, str) or given not in DEVICES:
        hint = ": 'cuda' is the GPU" if isinstance(given, str) and given.lower().startswith(("gpu", "cuda")) else ""
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {shown(given)}{hint}")
    return given


def _validation_fraction(estimator: Any) -> float:
    """Share of the rows to hold out, 0 for none."""
    share = _number(estimator, "validation_fraction", 0.0, 1.0)
    if not 0.0 < share < 1.0:
        raise ValueError(f"validation_fraction must be between 0 and 1, both excluded, got {shown(share)}")
    if not estimator.early_stopping and share != VALIDATION_FRACTION:
        raise ValueError(
            "validation_fraction has no effect without early_stopping=True: "
            f"leave it at {VALIDATION_FRACTION} or set early_stopping"
        )
    return share if estimator.early_stopping else 0.0


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


def _batch_size(estimator: Any, optimizer: Optimizer | None) -> tuple[int | None, str]:
    """Rows a batch, None for all, and the reason that the report gives."""
    given = estimator.batch_size
    if not (isinstance(given, str) and given in ("auto", "full")):
        try:
            given = _count(given, "batch_size")
        except ValueError:
            raise ValueError(f"batch_size must be 'auto', 'full' or a positive integer, got {shown(given)}") from None
    whole = _needs_all_rows(optimizer)
    if whole:
        if not isinstance(given, str):
            raise ValueError(f"batch_size={given} needs a rule such as optimizer='adam': {whole} uses all rows")
        _unused(estimator, whole)
        if optimizer is None:
            return None, "optimizer='auto'"
        return None, f"{whole} uses all rows"
    if given == "full":
        _check_batches_needed(optimizer)
        _unused(estimator, "batch_size='full'")
        return None, "batch_size='full'"
    size = BATCH_SIZE if given == "auto" else given
    return size, f"batch_size={given!r}" if given != "auto" else f"batch_size='auto': {BATCH_SIZE} rows"


def _needs_all_rows(optimizer: Optimizer | None) -> str:
    """What of the optimizer works on the full batch only, or nothing."""
    if optimizer is None:
        return "optimizer='auto'"
    if isinstance(optimizer, FullBatch):
        return f"optimizer={optimizer.rule!r}"
    search = _line_search(optimizer)
    return "" if search is None else f"line_search={search!r}"


def _check_batches_needed(optimizer: Optimizer | None) -> None:
    """Refuse the full batch for what only lowers the noise of mini-batches."""
    if optimizer is not None and optimizer.keeps_rows():
        name = type(optimizer).__name__
        raise ValueError(f"batch_size='full' has no noise for {name} to remove: give rows a batch, or optimizer='gd'")
    if isinstance(optimizer, GradientDescent) and optimizer.average:
        raise ValueError("batch_size='full' has no noise to average: give rows a batch, or average=False")


def _unused(estimator: Any, because: str) -> None:
    """Refuse parameters that only mini-batches have a use for."""
    if not estimator.shuffle:
        raise ValueError(f"shuffle=False has no effect with {because}: leave it at True")
    if estimator.drop_last:
        raise ValueError(f"drop_last=True has no effect with {because}: leave it at False")


def _number(estimator: Any, name: str, low: float, high: float = math.inf) -> float:
    value = getattr(estimator, name)
    if not is_number(value) or not low <= float(value) <= high:
        bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be a number, {bounds}, got {shown(value)}")
    if not math.isfinite(float(value)):
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    return float(value)


def _positive(estimator: Any, name: str) -> float:
    value = _number(estimator, name, 0.0)
    if value == 0.0:
        raise ValueError(f"{name} must be above 0, got {getattr(estimator, name)!r}")
    return value


def _count(value: Any, name: str, least: int = 1) -> int:
    if not is_integer(value) or not least <= int(value) <= _MOST:
        wanted = "a positive integer" if least else "an integer of 0 or more"
        below = ", below 2^62" if is_integer(value) and int(value) > _MOST else ""
        raise ValueError(f"{name} must be {wanted}{below} or left at its default, got {shown(value)}")
    return int(value)


def _check_verbose(value: Any) -> None:
    if not isinstance(value, bool | np.bool_) and not (is_integer(value) and int(value) >= 0):
        raise ValueError(f"verbose must be True, False or an integer of 0 or more, got {shown(value)}")


def _check_random_state(value: Any) -> None:
    """Also where a fit needs no seed."""
    if isinstance(value, bool) or is_integer(value):
        valid = 0 <= int(value) < 1 << 32
    else:
        valid = value is None or value is np.random or isinstance(value, np.random.RandomState)
    if not valid:
        raise ValueError(f"random_state must be an integer of [0, 2^32), a RandomState or None, got {shown(value)}")


def drawn_seed(random_state: Any) -> int:
    """Draw the seed of a fit, below 2^31, from a `random_state` that has been checked."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def _flag(estimator: Any, name: str) -> None:
    value = getattr(estimator, name)
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")
