"""Targets of a regression, checked."""

import math
from collections.abc import Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array

from fastgd.estimators._input import is_ready
from fastgd.estimators._missing import check_none_missing, check_not_masked
from fastgd.estimators._shapes import TARGETS, check_rows, refuse_shape
from fastgd.estimators._values import refuse_dates, refuse_values
from fastgd.scaling import Array

#: Numbers whose squares, and sums of these, float64 holds with all digits.
_SMALL, _LARGE = 2.0**-400, 2.0**400


def check_targets(y: ArrayLike | None, X: Sized, name: str = "y") -> tuple[NDArray[Any], bool]:
    """Targets as (n, K), float32 or float64, and whether they came as one vector."""
    if y is None:
        raise ValueError(f"{name} is missing: this regressor requires y to be passed, but the target y is None")
    if is_ready(y, 1) and len(y) == len(X) and np.isfinite(y).all():
        return y[:, None], True
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
    if targets.ndim == 1:
        return targets[:, None], True
    return targets, False


def refuse_extreme_targets(y: NDArray[Any], scale: Array, constant: NDArray[Any]) -> None:
    """Raise a ValueError if squares of targets y (n, K) overflow or underflow float64, as their scales (K,) show.

    constant: what each target equals if it does not vary, shape (K,).
    """
    for k in np.flatnonzero(~((scale > 0.0) & np.isfinite(scale * scale))):
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
