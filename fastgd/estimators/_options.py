"""Checks of the parameters that all estimators share, and what they decide."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastgd.optimizers import BY_NAME, Optimizer
from fastgd.threads import check_threads, get_num_threads

#: Epochs at most, where the user gives none.
MAX_ITER_FULL, MAX_ITER_BATCHES = 1000, 50
#: Rows of a mini-batch, where the user gives none.
BATCH_SIZE = 256


@dataclass(frozen=True)
class Options:
    """The parameters of a fit, checked and resolved. optimizer is None for the automatic solver."""

    alpha: float
    l1_ratio: float
    optimizer: Optimizer | None
    batch_size: int | None
    max_iter: int
    tol: float
    n_threads: int
    reason: str


def resolve(estimator: Any) -> Options:
    """Check an estimator's parameters; a ValueError names the first that is wrong or cannot be used."""
    alpha = _number(estimator, "alpha", 0.0)
    l1_ratio = _number(estimator, "l1_ratio", 0.0, 1.0)
    tol = _number(estimator, "tol", 0.0)
    for name in ("fit_intercept", "standardize", "shuffle", "drop_last"):
        _flag(estimator, name)
    max_iter = None if estimator.max_iter is None else _count(estimator.max_iter, "max_iter")
    if estimator.n_threads is not None:
        check_threads(estimator.n_threads, "n_threads")
    n_threads = int(estimator.n_threads or get_num_threads())
    optimizer = _optimizer(estimator.optimizer)
    batch_size, reason = _batch_size(estimator, optimizer)
    if max_iter is None:
        max_iter = MAX_ITER_FULL if batch_size is None else MAX_ITER_BATCHES
    return Options(alpha, l1_ratio, optimizer, batch_size, max_iter, tol, n_threads, reason)


def _optimizer(given: Any) -> Optimizer | None:
    if isinstance(given, Optimizer):
        given.check()
        return given
    if isinstance(given, str) and given == "auto":
        return None
    if isinstance(given, str) and given in BY_NAME:
        return BY_NAME[given]()
    names = ", ".join(repr(name) for name in ("auto", *BY_NAME))
    raise ValueError(f"optimizer must be one of {names} or an object of fastgd.optimizers, got {given!r}")


def _batch_size(estimator: Any, optimizer: Optimizer | None) -> tuple[int | None, str]:
    """Rows a batch, None for all, and the reason that the report gives."""
    given = estimator.batch_size
    if not (isinstance(given, str) and given in ("auto", "full")):
        try:
            given = _count(given, "batch_size")
        except ValueError:
            raise ValueError(f"batch_size must be 'auto', 'full' or a positive integer, got {given!r}") from None
    if optimizer is None:
        if not isinstance(given, str):
            raise ValueError(
                f"batch_size={given} needs a rule such as optimizer='adam': optimizer='auto' uses all rows"
            )
        _unused(estimator, "optimizer='auto'")
        return None, "optimizer='auto': full-batch accelerated gradient needs no tuning and ends with a certificate"
    if given == "full":
        _unused(estimator, "batch_size='full'")
        return None, "batch_size='full'"
    size = BATCH_SIZE if given == "auto" else given
    return size, f"batch_size={given!r}" if given != "auto" else f"batch_size='auto': {BATCH_SIZE} rows"


def _unused(estimator: Any, because: str) -> None:
    """Refuse parameters that only mini-batches have a use for."""
    if not estimator.shuffle:
        raise ValueError(f"shuffle=False has no effect with {because}: leave it at True")
    if estimator.drop_last:
        raise ValueError(f"drop_last=True has no effect with {because}: leave it at False")


def _number(estimator: Any, name: str, low: float, high: float = math.inf) -> float:
    value = getattr(estimator, name)
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
        bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be a number, {bounds}, got {value!r}")
    if not math.isfinite(float(value)):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return float(value)


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise ValueError(f"{name} must be a positive integer or left at its default, got {value!r}")
    return int(value)


def _flag(estimator: Any, name: str) -> None:
    value = getattr(estimator, name)
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
