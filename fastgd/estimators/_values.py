"""Values that are not numbers: dates, text, missing values, integers beyond float64; named by column and row."""

import re
from collections.abc import Iterator
from datetime import date, time, timedelta
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.estimators._missing import is_missing

#: Beginnings of the names of types of dates and durations: of NumPy, pandas, polars and Arrow.
_DATES = re.compile(r"date|time|period|interval|duration|month", re.IGNORECASE)
_DATE_TYPES = (date, time, timedelta, np.datetime64, np.timedelta64)
#: Types whose values need no look.
_NUMBERS = {float, int, bool, type(None), np.float64, np.float32, np.int64, np.int32, np.bool_}


class _Column(NamedTuple):
    where: str
    dtype: str
    given: Any

    def values(self) -> NDArray[Any]:
        """Return the values as Python objects, (n,)."""
        return np.asarray(self.given, object)


def _columns(given: Any, name: str) -> Iterator[_Column]:
    """Describe the columns of a frame, the column of a series, or those of an array of objects or dates."""
    if hasattr(given, "columns") or hasattr(given, "column_names"):
        labels = given.column_names if hasattr(given, "column_names") else given.columns
        dtypes = given.schema.types if hasattr(given, "column_names") else given.dtypes
        for j, (label, dtype) in enumerate(zip(labels, dtypes, strict=True)):
            at = given.iloc[:, j] if hasattr(given, "iloc") else given[label]
            yield _Column(f"column {str(label)!r} of {name}", str(dtype), at)
    elif not isinstance(given, np.ndarray) and hasattr(given, "dtype") and np.ndim(given) == 1:
        yield _Column(name, str(given.dtype), given)
    else:
        array = given if isinstance(given, np.ndarray) else np.asarray(given, object)
        if array.dtype.kind not in "OmMUT" or array.ndim not in (1, 2):
            return
        for j in range(array.shape[1] if array.ndim == 2 else 1):
            column = array[:, j] if array.ndim == 2 else array
            where = f"column {j} of {name}" if array.ndim == 2 else name
            yield _Column(where, str(array.dtype), column)


def refuse_dates(given: Any, name: str) -> None:
    """Raise a ValueError that names the first column of dates or durations, which NumPy would count in some unit."""
    if isinstance(given, np.ndarray) and given.dtype.kind in "biufc":
        return
    for column in _columns(given, name):
        if _DATES.match(column.dtype):
            raise _holds_dates(column.where, column.dtype)
        if column.dtype.lower() == "object" and not set(map(type, values := column.values())) <= _NUMBERS:
            found = next((value for value in values if isinstance(value, _DATE_TYPES) and not is_missing(value)), None)
            if found is not None:
                raise _holds_dates(column.where, type(found).__name__)


def _holds_dates(where: str, kind: str) -> ValueError:
    return ValueError(
        f"{where} holds dates or durations ({kind}), which are not numbers without a unit: convert them, for example "
        "to days with (column - start) / numpy.timedelta64(1, 'D'), and leave out or fill in missing ones"
    )


def refuse_values(given: Any, name: str) -> None:
    """Raise an error that names the first value that could not be converted to a number, if it is found.

    Raises
    ------
    TypeError
        The value is of a type that has no number, such as a dict.
    ValueError
        It is missing, text or beyond the range of float64.
    """
    for column in _columns(given, name):
        values = column.values()
        if not set(map(type, values)) <= _NUMBERS - {int}:
            _refuse_column(column.where, values)


def _refuse_column(where: str, values: NDArray[Any]) -> None:
    missing = sum(map(is_missing, values))
    for row, value in enumerate(values):
        if is_missing(value):
            raise ValueError(
                f"{where} has missing values in {missing:,} of {len(values):,} rows, first in row {row}: leave out "
                "those rows or fill in values"
            )
        if isinstance(value, str) and not _is_numeral(value):
            cure = "leave it out, or make numbers of it, as sklearn.preprocessing.OneHotEncoder does of categories"
            cure = cure if where.startswith("column") else "give numbers"
            raise ValueError(f"{where} holds text, such as {str(value)!r}: {cure}")
        if isinstance(value, Real) and _overflows(value):
            raise ValueError(
                f"{where} holds an integer in row {row} that is beyond the range of float64: scale it down"
            )
        if not isinstance(value, Real | str | complex):
            # scikit-learn's checks require a TypeError with NumPy's words.
            raise TypeError(
                f"{where} holds a value of type {type(value).__name__} in row {row}: each value of the argument must "
                "be a number, or a string that spells a number"
            )


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _overflows(value: Real) -> bool:
    try:
        float(value)
    except OverflowError:
        return True
    return False
