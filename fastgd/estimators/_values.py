"""Values that are not numbers: dates, text, missing values, integers beyond float64; named by column and row."""

import re
from collections.abc import Iterator
from datetime import date, time, timedelta
from numbers import Complex, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.estimators._missing import is_missing
from fastgd.parameters import shown

#: Beginnings of the names of types of dates and durations: of NumPy, pandas, polars and Arrow.
_DATES = re.compile(r"date|time|period|interval|duration|month", re.IGNORECASE)
#: Attributes of dtypes that hold values of another: of pandas (sparse, Arrow), Arrow (encoded, extension) and polars.
_INNER = ("subtype", "pyarrow_dtype", "value_type", "storage_type", "inner")
#: Types whose values need no look.
_NUMBERS = {float, int, bool, type(None), np.float64, np.float32, np.int64, np.int32, np.bool_}


class _Column(NamedTuple):
    where: str
    dtype: Any
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
            yield _Column(f"column {str(label)!r} of {name}", dtype, at)
    elif not isinstance(given, np.ndarray) and _has_dtype(given) and np.ndim(given) == 1:
        yield _Column(name, given.dtype if hasattr(given, "dtype") else given.type, given)
    else:
        array = given if isinstance(given, np.ndarray) else np.asarray(given, object)
        if array.dtype.kind not in "OmMUTc" or array.ndim not in (1, 2):
            return
        for j in range(array.shape[1] if array.ndim == 2 else 1):
            column = array[:, j] if array.ndim == 2 else array
            where = f"column {j} of {name}" if array.ndim == 2 else name
            yield _Column(where, array.dtype, column)


def _has_dtype(given: Any) -> bool:
    # Arrow calls it the type.
    return hasattr(given, "dtype") or hasattr(given, "type")


def refuse_dates(given: Any, name: str) -> None:
    """Raise a ValueError that names the first column of dates or durations, which NumPy would count in some unit.

    It counts a missing one, NaT, among other objects too.
    """
    if isinstance(given, np.ndarray) and given.dtype.kind in "biufc":
        return
    if isinstance(given, np.datetime64 | np.timedelta64):
        raise holds_dates(name, str(given.dtype))
    for column in _columns(given, name):
        kind = _date_dtype(column.dtype)
        if kind:
            raise holds_dates(column.where, kind)
        # Categories stand for the rows.
        of_category = getattr(column.dtype, "categories", None)
        values = column if of_category is None else column._replace(dtype=of_category.dtype, given=of_category)
        if str(values.dtype).lower() == "object":
            _refuse_dates_among(values.values(), column.where)


def _refuse_dates_among(values: NDArray[Any], where: str) -> None:
    dates = {each for each in set(map(type, values)) - _NUMBERS if _is_date_type(each)}
    if not dates:
        return
    found = next((value for value in values if type(value) in dates and not is_missing(value)), None)
    if found is not None:
        raise holds_dates(where, type(found).__name__)
    if any(issubclass(each, np.datetime64 | np.timedelta64) for each in dates):
        _refuse_missing(where, values)


def _date_dtype(dtype: Any) -> str | None:
    """Return the name of a dtype of dates or durations, or of one that holds them encoded or as categories."""
    inner = dtype
    while inner is not None:
        if _DATES.match(str(inner)):
            return str(inner)
        inner = next((getattr(inner, name) for name in _INNER if hasattr(inner, name)), None)
    categories = getattr(dtype, "categories", None)
    return None if categories is None else _date_dtype(categories.dtype)


def is_date(value: Any) -> bool:
    """Whether a value is a date, a time, a period or a duration of any library; missing ones are none."""
    return _is_date_type(type(value)) and not is_missing(value)


def _is_date_type(each: type) -> bool:
    return issubclass(each, date | time | timedelta) or _DATES.match(each.__name__) is not None


def holds_dates(where: str, kind: str) -> ValueError:
    """Return the error about dates or durations, whose type has the name `kind`."""
    return ValueError(
        f"{where} holds dates or durations ({kind}), which are not numbers without a unit: convert them, for example "
        "to days with (column - start) / numpy.timedelta64(1, 'D'), or labels to text, and leave out or fill in "
        "missing ones"
    )


def holds_complex(what: str) -> ValueError:
    """Return the error about complex numbers, in words that scikit-learn's checks require."""
    return ValueError(f"Complex data not supported: {what}: give real numbers, for example its .real")


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


def _refuse_missing(where: str, values: NDArray[Any]) -> None:
    rows = [row for row, value in enumerate(values) if is_missing(value)]
    if rows:
        raise ValueError(
            f"{where} has missing values in {len(rows):,} of {len(values):,} rows, first in row {rows[0]}: leave out "
            "those rows or fill in values"
        )


def _refuse_column(where: str, values: NDArray[Any]) -> None:
    for row, value in enumerate(values):
        if is_missing(value):
            _refuse_missing(where, values)
        if isinstance(value, Complex) and not isinstance(value, Real):
            raise holds_complex(f"{where} holds {shown(value)} in row {row}")
        try:
            float(value)
        except OverflowError:
            raise ValueError(
                f"{where} holds an integer in row {row} that is beyond the range of float64: scale it down"
            ) from None
        except ValueError:
            cure = "leave it out, or make numbers of it, as sklearn.preprocessing.OneHotEncoder does of categories"
            cure = cure if where.startswith("column") else "give numbers"
            raise ValueError(f"{where} holds text, such as {str(value)!r}: {cure}") from None
        except TypeError:
            # scikit-learn's checks require a TypeError with NumPy's words.
            raise TypeError(
                f"{where} holds a value of type {type(value).__name__} in row {row}: each value of the argument must "
                "be a number, or a string that spells a number"
            ) from None
