"""Missing values: None, NaN, NaT, pandas's NA and masked entries raise an error that names the argument and the row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, or NA or NaT, which no comparison is true of."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating | np.datetime64 | np.timedelta64) and bool(value != value)


def refuse_missing(rows: Sequence[int] | NDArray[np.intp], name: str) -> None:
    """Raise a ValueError if any rows have missing values."""
    if len(rows):
        raise ValueError(
            f"{name} has missing values, {len(rows):,} of them, first in row {rows[0]}: leave out those rows"
        )


def check_none_missing(y: NDArray[Any], name: str) -> None:
    """Raise a ValueError if targets, as objects, have missing values."""
    if y.size == 0 or y.ndim == 0 or y.dtype != object:
        return
    missing = np.array([i for i, value in enumerate(y.ravel()) if is_missing(value)], np.intp)
    refuse_missing(missing // (y.size // len(y)), name)


def check_not_masked(given: Any, name: str) -> None:
    """Raise a ValueError if a masked array has masked entries, which NumPy's conversion would take for values."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        rows = np.unique(np.nonzero(np.ma.getmaskarray(given))[0])
        raise ValueError(
            f"{name} has masked values in {rows.size:,} rows, first in row {rows[0]}: leave out those rows"
        )
