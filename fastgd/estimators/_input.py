"""Array-likes into the layouts that kernels read, without copies where X is C or F order, float32 or float64."""

import logging
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight, assert_all_finite, validate_data

logger = logging.getLogger("fastgd")

_FLOATS = [np.float64, np.float32]


class Converted(NamedTuple):
    """An array ready for kernels, and the bytes that making it took (0 where the user's memory is used)."""

    array: NDArray[Any]
    nbytes: int


def check_X(estimator: Any, X: ArrayLike, *, reset: bool, finite: bool = False) -> Converted:
    """Validate X and bring it into C or F order, float32 or float64.

    Finiteness is checked here only where asked for: the first pass of a fit over X sees it.
    """
    if reset and not finite and is_ready(X, 2):
        _note_columns(estimator, X)
        return Converted(X, 0)
    checked = validate_data(
        estimator, X, reset=reset, dtype=_FLOATS, order=None, ensure_all_finite=finite, ensure_min_samples=1
    )
    if not (checked.flags.c_contiguous or checked.flags.f_contiguous) or not checked.flags.aligned:
        checked = np.ascontiguousarray(checked)
    return Converted(checked, _new_bytes(checked, X))


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
    checked: NDArray[Any] = validate_data(estimator, X_val, reset=False, dtype=like.dtype, order=None)
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


def check_finite(X: NDArray[Any], finite: bool) -> None:
    """Raise scikit-learn's error for NaN or infinity; `finite` tells what the first pass saw."""
    if finite:
        return
    assert_all_finite(X, input_name="X")
    raise ValueError("X has values so large that their squares overflow float64: scale these columns down")


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
