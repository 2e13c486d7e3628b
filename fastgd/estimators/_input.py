"""Array-likes into the layouts that kernels read, without copies where X is C or F order, float32 or float64."""

import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastgd.backends.gpu_arrays import GpuArray, gpu_array
from fastgd.backends.verbs import Data
from fastgd.estimators._columns import (
    column_name,
    largest_values,
    pieces,
    refuse_not_finite,
    refuse_overflow,
)
from fastgd.estimators._gpu_input import check_gpu_array, check_same_place
from fastgd.estimators._missing import check_not_masked
from fastgd.estimators._shapes import MATRIX, WEIGHTS, refuse_shape
from fastgd.estimators._values import holds_complex, refuse_dates, refuse_values
from fastgd.parameters import shown
from fastgd.scaling import Array, Moments
from fastgd.threads import by_blocks

logger = logging.getLogger("fastgd")

_FLOATS = [np.float64, np.float32]
#: Means of columns above which a difference of two values has a square in float64; numbers looked at at a time.
_TINY, _BLOCK_NUMBERS = 1e-140, 1 << 18
#: Standard deviations below which squares lose digits, or their inverses overflow.
_TINY_SD = 1e-150
#: Weights that a thread converts at a time.
_WEIGHTS = 1 << 16


class Converted(NamedTuple):
    """An array ready for kernels, the bytes that making it took (0 where the user's memory is used), and names."""

    array: NDArray[Any] | GpuArray
    nbytes: int
    names: tuple[str, ...] = ()


def check_X(estimator: Any, X: ArrayLike, *, reset: bool, finite: bool = False) -> Converted:
    """Validate X and bring it into C or F order, float32 or float64.

    Finiteness is checked here only where asked for, and never of arrays on the GPU: the first pass over X sees it.
    """
    there = gpu_array(X)
    if there is not None:
        check_gpu_array(estimator, there, reset=reset)
        return Converted(there, 0, tuple(getattr(estimator, "feature_names_in_", ())))
    if reset and not finite and is_ready(X, 2):
        _note_columns(estimator, X)
        return Converted(X, 0)
    checked = validated(estimator, X, reset=reset, finite=finite)
    if finite:
        largest = float(max(checked.max(), -checked.min()))
        if not math.isfinite(largest * largest * checked.shape[0]):
            refuse_overflow(checked, getattr(estimator, "feature_names_in_", ()))
    if not (checked.flags.c_contiguous or checked.flags.f_contiguous) or not checked.flags.aligned:
        checked = np.ascontiguousarray(checked)
    return Converted(checked, _new_bytes(checked, X), tuple(getattr(estimator, "feature_names_in_", ())))


def validated(
    estimator: Any,
    X: ArrayLike | None,
    *,
    reset: bool,
    finite: bool = True,
    dtype: Any = _FLOATS,
    input_name: str = "X",
) -> NDArray[Any]:
    """What scikit-learn's `validate_data` makes of X, with errors that name the column."""
    if isinstance(X, list | tuple):
        X = _array_of(X)
    check_not_masked(X, input_name)
    refuse_dates(X, input_name)
    try:
        checked: NDArray[Any] = validate_data(
            estimator, X, reset=reset, dtype=dtype, order=None, ensure_all_finite=False, ensure_min_samples=1
        )
    except (TypeError, ValueError, OverflowError):
        refuse_shape(X, input_name, MATRIX)
        refuse_values(X, input_name)
        raise
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum tells faster than a look at each number, and hides none.
        if finite and not np.isfinite(np.sum(checked)):
            refuse_not_finite(checked, getattr(estimator, "feature_names_in_", ()), input_name)
    return checked


def float_array(given: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return a float64 copy; a ValueError names the argument if it holds anything but numbers."""
    check_not_masked(given, name)
    refuse_dates(given, name)
    if np.iscomplexobj(given):
        raise holds_complex(f"{name} is {shown(given)}")
    try:
        return np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        refuse_values(given, name)
        raise ValueError(f"{name} must be numbers: {error}") from None


def host_array(given: Any) -> Any:
    """Return a copy on the host of an array on a GPU; anything else as it is."""
    there = gpu_array(given)
    return given if there is None else there.to_host()


def _array_of(given: Any) -> Any:
    """Return the array that NumPy makes of a list; lists of unequal lengths as they are."""
    try:
        return np.asarray(given)
    except (TypeError, ValueError):
        return given


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


def check_X_val(estimator: Any, X_val: ArrayLike | None, like: NDArray[Any] | GpuArray) -> NDArray[Any] | GpuArray:
    """Validate the validation rows, in the dtype and order of X, so that they need no kernels of their own.

    On the GPU they are used as they are.
    """
    there = gpu_array(X_val)
    check_same_place(there, like)
    if there is not None:
        return check_gpu_array(estimator, there, reset=False, name="X_val")
    assert not isinstance(like, GpuArray)
    if isinstance(X_val, list | tuple):
        X_val = _array_of(X_val)
    shape: tuple[int, ...] = getattr(X_val, "shape", ())
    if len(shape) != 2 or shape[0] == 0 or shape[1] != like.shape[1]:
        raise ValueError(f"X_val must have rows and the {like.shape[1]} columns of X, got shape {shape}")
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


def check_finite(data: Data, names: Sequence[str], finite: bool) -> None:
    """Raise for NaN, infinity or squares that overflow; `finite` tells what the first pass saw."""
    if finite:
        return
    refuse_not_finite(data, names)
    refuse_overflow(data, names)


def check_variation(data: Data, moments: Moments, names: Sequence[str]) -> None:
    """Raise a ValueError if squares of a column's deviations underflow float64, so that it seems to be constant."""
    if data.dtype != "f8":
        return
    tiny = np.flatnonzero((moments.sd > 0.0) & (moments.sd < _TINY_SD))
    if tiny.size:
        raise _underflows(column_name(names, tiny[0]))
    # Differences of larger numbers are multiples of their rounding, whose squares are there.
    suspects = np.flatnonzero(moments.constant & (np.abs(moments.mean) < _TINY))
    if suspects.size == 0:
        return
    weights = data.weights
    first = 0 if weights is None else int(np.argmax(weights))
    base, start = data.piece(first, first + 1)[0][:, suspects], 0
    for piece in pieces(data, _BLOCK_NUMBERS):
        differs = piece[:, suspects] != base
        if weights is not None:
            differs &= weights[start : start + len(piece), None] > 0.0
        start += len(piece)
        if differs.any():
            raise _underflows(column_name(names, suspects[differs.any(axis=0)][0]))


def _underflows(where: str) -> ValueError:
    return ValueError(f"{where} of X varies by so little that squares underflow float64: scale it up")


def squares_are_finite(data: Data) -> bool:
    """Whether the sum of the squares of any column is a number."""
    largest = float(largest_values(data).max())
    return math.isfinite(largest * largest * data.n)


#: Weights are scaled by a power of two, on which no result depends, unless the largest lies between these.
_LEAST_WEIGHT, _LARGEST_WEIGHT = 2.0**-100, 2.0**100


def check_weights(
    sample_weight: ArrayLike | None, X: NDArray[Any] | GpuArray, name: str = "sample_weight", *, scale: bool = True
) -> NDArray[Any] | None:
    """Return sample weights (n,), float64, or None; with `scale` extreme ones are multiplied by a power of two.

    Raises
    ------
    ValueError
        If they are not finite numbers of at least 0 with one above 0, or without `scale` so large or small.
    """
    if sample_weight is None:
        return None
    check_not_masked(sample_weight, name)
    refuse_dates(sample_weight, name)
    try:
        weights: NDArray[Any] = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    except (TypeError, ValueError, OverflowError) as error:
        refuse_shape(sample_weight, name, WEIGHTS)
        refuse_values(sample_weight, name)
        # Errors of scikit-learn name sample_weight, or nothing.
        raise ValueError(f"{name} cannot be used: {error}") from error
    if not weights.any():
        raise ValueError(f"{name} is zero for every row: at least one row needs a positive weight")
    return in_range(weights, name, scale=scale)


def in_range(weights: Array, name: str, *, scale: bool) -> Array:
    """Return weights of which one is above 0; with `scale` extreme ones are multiplied by a power of two.

    Raises
    ------
    ValueError
        Without `scale`, if the largest is so large or small.
    """
    largest = float(weights.max())
    if _LEAST_WEIGHT <= largest <= _LARGEST_WEIGHT:
        return weights
    if not scale:
        raise ValueError(
            f"{name} is up to {largest:.3g}, and weights count as they are in partial_fit: give weights of about 1"
        )
    return np.ldexp(weights, -math.frexp(largest)[1])


def weights_as(weights: NDArray[Any] | None, dtype: Any, n_threads: int = 1) -> NDArray[Any] | None:
    """Weights in the dtype of X; relative to their mean, on which no result depends, where float32 cannot hold them."""
    if weights is None or weights.dtype == dtype:
        return weights
    cast, lost, tiny = np.empty(weights.shape, dtype), np.zeros(n_threads, bool), np.finfo(dtype).tiny

    def work(slot: int, rows: slice) -> None:
        given, block = weights[rows], cast[rows]
        with np.errstate(over="ignore", under="ignore"):
            block[:] = given
        lost[slot] |= not (np.isfinite(block).all() and np.array_equal(block >= tiny, given > 0.0))

    by_blocks(len(weights), _WEIGHTS, n_threads, work)
    with np.errstate(over="ignore", under="ignore"):
        return (weights / weights.mean()).astype(dtype) if lost.any() else cast
