"""Array-likes into the layouts that kernels read, without copies where X is C or F order, float32 or float64."""

import logging
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastgd.estimators._columns import refuse_not_finite, refuse_overflow, refuse_text
logger = logging.getLogger("fastgd")

_FLOATS = [np.float64, np.float32]


class Converted(NamedTuple):
    """An array ready for kernels, the bytes that making it took (0 where the user's memory is used), and names."""

    array: NDArray[Any]
    nbytes: int
    names: tuple[str, ...] = ()


def check_X(estimator: Any, X: ArrayLike, *, reset: bool, finite: bool = False) -> Converted:
    """Validate X and bring it into C or F order, float32 or float64.

    Finiteness is checked here only where asked for: the first pass of a fit over X sees it.
    """
    if reset and not finite and is_ready(X, 2):
        _note_columns(estimator, X)
        return Converted(X, 0)
    checked = validated(estimator, X, reset=reset, finite=finite)
    if not (checked.flags.c_contiguous or checked.flags.f_contiguous) or not checked.flags.aligned:
        checked = np.ascontiguousarray(checked)
    return Converted(checked, _new_bytes(checked, X), tuple(getattr(estimator, "feature_names_in_", ())))


def validated(
    estimator: Any, X: ArrayLike, *, reset: bool, finite: bool = True, dtype: Any = _FLOATS, input_name: str = "X"
) -> NDArray[Any]:
    """What scikit-learn's `validate_data` makes of X, with errors that name the column."""
    try:
        checked: NDArray[Any] = validate_data(
            estimator, X, reset=reset, dtype=dtype, order=None, ensure_all_finite=False, ensure_min_samples=1
        )
    except ValueError as error:
        if "could not convert" in str(error):
            refuse_text(X, input_name)
        raise
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum tells faster than a look at each number, and hides none.
        if finite and not np.isfinite(np.sum(checked)):
            refuse_not_finite(checked, getattr(estimator, "feature_names_in_", ()), input_name)
    return checked


def is_ready(given: Any, ndim: int) -> TypeGuard[NDArray[Any]]:
    """Whether an array needs no conversion: scikit-learn's look at anything that could be one costs more than a fit."""
    if type(given) is not np.ndarray or given.ndim != ndim or given.dtype not in _FLOATS or given.size == 0:
        return False
    flags = given.flags
    return flags.aligned and (flags.c_contiguous or (ndim == 2 and flags.f_contiguous))


def _note_columns(estimator: Any, X: NDArray[Any]) -> None:
    """What `validate_data` notes of an array, whose columns have no names."""
    estimator.n_features_in_ = X.shape[1]
    if hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_


def check_X_val(estimator: Any, X_val: ArrayLike | None, like: Any) -> NDArray[Any]:
    """Validate the validation rows, in the dtype and order of X, so that they need no kernels of their own."""
    checked = validated(estimator, X_val, reset=False, dtype=like.dtype, input_name="X_val")
    return np.ascontiguousarray(checked) if like.flags.c_contiguous else np.asfortranarray(checked)


def _new_bytes(made: NDArray[Any], given: Any) -> int:
    """Bytes of `made` unless it is memory of `given`."""
    if isinstance(given, np.ndarray) and np.may_share_memory(made, given):
        return 0
    # A frame of several dtypes has no one block of memory, and making one to compare with would be a copy.
    if len(set(getattr(given, "dtypes", ()))) == 1 and np.may_share_memory(made, np.asarray(given)):
        return 0
    logger.info("X was converted once to %s %s, %d bytes", made.dtype, "x".join(map(str, made.shape)), made.nbytes)
    return int(made.nbytes)


def check_finite(X: Converted, finite: bool) -> None:
    """Raise for NaN, infinity or squares that overflow; `finite` tells what the first pass saw."""
    if finite:
        return
    refuse_not_finite(X.array, X.names)
    refuse_overflow(X.array, X.names)


def check_weights(sample_weight: ArrayLike | None, X: NDArray[Any]) -> NDArray[Any] | None:
    """Sample weights (n,), float64, or None."""
    if sample_weight is None:
        return None
    weights: NDArray[Any] = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not np.any(weights):
        raise ValueError("sample_weight is zero for every row: at least one row needs a positive weight")
    return weights


def weights_as(weights: NDArray[Any] | None, dtype: Any) -> NDArray[Any] | None:
    """Weights in the dtype of X; relative to their mean, on which no result depends, where float32 cannot hold them."""
    if weights is None or weights.dtype == dtype:
        return weights
    with np.errstate(over="ignore", under="ignore"):
        cast: NDArray[Any] = weights.astype(dtype)
        if np.all(np.isfinite(cast)) and np.array_equal(cast >= np.finfo(dtype).tiny, weights > 0.0):
            return cast
        return (weights / weights.mean()).astype(dtype)
