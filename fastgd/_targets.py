"""Check targets and sample weights."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import r2_score
from sklearn.utils.validation import _check_sample_weight, check_array

from fastgd._inputs import is_ready
from fastgd._values import (
    TARGETS,
    WEIGHTS,
    check_none_missing,
    check_not_masked,
    check_rows,
    refuse_dates,
    refuse_shape,
    refuse_values,
)
from fastgd.arrays import Array, all_finite
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.gpu_arrays import GpuArray
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.threads import by_blocks

#: Weights that a thread converts at a time.
_WEIGHTS = 1 << 16
#: Weights are scaled by a power of two, on which no result depends, unless the largest lies between these.
_LEAST_WEIGHT, _LARGEST_WEIGHT = 2.0**-100, 2.0**100


def check_weights(
    sample_weight: ArrayLike | None,
    X: NDArray[Any] | GpuArray | CsrMatrix | StreamMatrix,
    name: str = "sample_weight",
    *,
    scale: bool = True,
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
    """Return weights in the dtype of X; divided by their mean, which changes no result, if float32 cannot hold them."""
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


#: Range of numbers whose squares and their sums neither overflow nor underflow float64.
_SMALL, _LARGE = 2.0**-400, 2.0**400


class TargetValues(NamedTuple):
    """Targets (n, K), float32 or float64, and whether they came as a vector (n,)."""

    values: NDArray[Any]
    is_vector: bool


def check_targets(y: ArrayLike | None, X: Sized, name: str = "y") -> TargetValues:
    """Check the targets of a regression, one row for each row of X."""
    if y is None:
        raise ValueError(f"{name} is missing: this regressor requires y to be passed, but the target y is None")
    if is_ready(y, 1) and len(y) == len(X) and all_finite(y):
        return TargetValues(y[:, None], True)
    check_not_masked(y, name)
    refuse_dates(y, name)
    try:
        targets = check_array(y, ensure_2d=False, dtype=[np.float64, np.float32], order="C", input_name=name)
    except (TypeError, ValueError, OverflowError):
        refuse_shape(y, name, TARGETS)
        check_none_missing(np.asarray(y), name)
        refuse_values(y, name)
        raise
    check_rows(targets, X, name)
    return TargetValues(targets[:, None], True) if targets.ndim == 1 else TargetValues(targets, False)


def refuse_extreme_targets(y: NDArray[Any], scale: Array, constant: NDArray[Any]) -> None:
    """Raise a ValueError if squares of targets y (n, K) overflow or underflow float64, as their scales (K,) show.

    constant: the value (K,) of each target that does not vary.
    """
    for k in (~((scale > 0.0) & np.isfinite(scale * scale))).nonzero()[0]:
        column, where = y[:, k], "y" if y.shape[1] == 1 else f"column {k} of y"
        row = int(np.argmax(np.abs(column)))
        if scale[k] > 0.0 or np.isnan(scale[k]):
            raise ValueError(
                f"{where} has values so large that their squares overflow float64, {column[row]:.3g} in row {row}: "
                "scale y down"
            )
        if np.any(column != constant[k]) and abs(column[row]) < _SMALL:
            raise ValueError(
                f"{where} varies by so little that squares underflow float64, {column[row]:.3g} is its largest value: "
                "scale y up"
            )


def r2(y: NDArray[Any], predicted: Array, sample_weight: NDArray[Any] | None) -> float:
    """Coefficient of determination of targets and predictions (n, K), in units in which no square overflows."""
    largest = max(float(np.abs(y).max()), float(np.abs(predicted).max()))
    if largest > 0.0 and not _SMALL < largest < _LARGE:
        shift = -math.frexp(largest)[1]
        y, predicted = np.ldexp(y.astype(np.float64), shift), np.ldexp(predicted, shift)
    return float(r2_score(y, predicted, sample_weight=sample_weight))
