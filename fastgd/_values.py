"""Read numbers and columns of any container, and find missing values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from datetime import date, time, timedelta
from numbers import Complex, Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.parameters import shown

if TYPE_CHECKING:
    from fastgd.objective.dataset import Data  # its losses load Numba

#: Numbers of dimensions that arguments may have, and their description in messages.
MATRIX = ((2,), "a 2D array of shape (rows, columns)")
TARGETS = ((1, 2), "an array of shape (rows,) or (rows, targets)")
COLUMN = ((1,), "a 1d array of shape (rows,)")
WEIGHTS = ((1,), "1D, of shape (rows,)")


def refuse_shape(given: Any, name: str, form: tuple[tuple[int, ...], str]) -> None:
    """Raise a ValueError if an argument is no array, or has other dimensions than the form allows."""
    dimensions, words = form
    try:
        shape = np.shape(given)
    except ValueError:
        raise ValueError(f"{name} has rows of unequal lengths: it must be {words}") from None
    if not shape:
        raise ValueError(f"{name} must be {words}, got {shown(given)}")
    if len(shape) in dimensions:
        return
    cure = ""
    if len(shape) == 1:
        # scikit-learn's checks require the first three words.
        cure = f". Reshape your data: {name}.reshape(-1, 1) is one column, {name}.reshape(1, -1) one row"
    raise ValueError(f"{name} must be {words}, got {len(shape)} dimension{'s' * (len(shape) > 1)}, shape {shape}{cure}")


def check_rows(given: Sized, X: Sized, name: str) -> None:
    """Raise a ValueError if targets or labels have not a value for each row of X."""
    if len(given) != len(X):
        partner = "X_val" if name.endswith("_val") else "X"
        raise ValueError(
            f"{name} has {len(given):,} rows and {partner} {len(X):,}, inconsistent numbers of samples: give one value "
            f"for each row of {partner}"
        )


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


#: Numbers checked at a time.
_BLOCK_NUMBERS = 1 << 20
#: How many linearly dependent columns a message lists, and how many parts of each.
_LISTED, _PARTS = 20, 3
#: Kinds of numbers that are not finite, in scikit-learn's words, and their tests.
_KINDS = (("NaN", np.isnan), ("infinity", np.isinf))


def column_name(names: Sequence[Any], j: int) -> str:
    """Return the name of column j in messages."""
    return f"column {str(names[j])!r}" if len(names) else f"column {j}"


def pieces(X: NDArray[Any] | Data, numbers: int = _BLOCK_NUMBERS) -> Iterator[NDArray[Any]]:
    """Rows of an array, or of data on any device, so many numbers at a time, on the host."""
    rows, columns = _shape(X)
    step = max(1, numbers // columns)
    if isinstance(X, np.ndarray):
        yield from (X[start : start + step] for start in range(0, rows, step))
        return
    for window in X.windows(step):
        for start in range(window.start, window.stop, step):
            yield X.rows_on_host(start, min(start + step, window.stop))[0]


def stored_values(X: NDArray[Any] | CsrMatrix | Data) -> csr_array | None:
    """Return the matrix of sparse rows; None for dense rows."""
    if isinstance(X, CsrMatrix):
        return X.to_scipy()
    return None if isinstance(X, np.ndarray) or not X.is_sparse else X.sparse_rows_on_host(0, X.n)[0]


def largest_values(data: NDArray[Any] | CsrMatrix | Data) -> NDArray[Any]:
    """The largest absolute value of each column, (d,)."""
    sparse = stored_values(data)
    if sparse is not None:
        largest = np.zeros(sparse.shape[1], sparse.dtype)
        for start in range(0, sparse.nnz, _BLOCK_NUMBERS):
            part = slice(start, start + _BLOCK_NUMBERS)
            np.maximum.at(largest, sparse.indices[part], np.abs(sparse.data[part]))
        return largest
    assert not isinstance(data, CsrMatrix)
    return np.max([np.maximum(X.max(axis=0), -X.min(axis=0)) for X in pieces(data)], axis=0)


def _shape(X: NDArray[Any] | CsrMatrix | Data) -> tuple[int, int]:
    return (X.shape[0], X.shape[1]) if isinstance(X, np.ndarray | CsrMatrix) else (X.n, X.d)


def refuse_not_finite(X: NDArray[Any] | CsrMatrix | Data, names: Sequence[Any], input_name: str = "X") -> None:
    """Raise a ValueError that names the first column with NaN or, where there is none, infinity."""
    rows = _shape(X)[0]
    for kind, is_of_kind in _KINDS:
        counts = _count_values(X, is_of_kind)
        found = np.flatnonzero(counts)
        if found.size:
            others = f" and {found.size - 1:,} more columns" if found.size > 1 else ""
            where = f"{column_name(names, found[0])} in {counts[found[0]]:,} of {rows:,} rows{others}"
            raise ValueError(f"Input {input_name} contains {kind}: {where}; leave out those rows or fill in values")


def _count_values(
    X: NDArray[Any] | CsrMatrix | Data, is_of_kind: Callable[[NDArray[Any]], NDArray[np.bool_]]
) -> NDArray[np.int64]:
    """Return the number of values of a kind, which 0 is not of, in each column, (d,)."""
    columns, sparse = _shape(X)[1], stored_values(X)
    if sparse is not None:
        return np.bincount(sparse.indices[is_of_kind(sparse.data)], minlength=columns)
    assert not isinstance(X, CsrMatrix)
    counts = np.zeros(columns, dtype=np.int64)
    for piece in pieces(X):
        counts += is_of_kind(piece).sum(axis=0)
    return counts


def refuse_overflow(data: NDArray[Any] | CsrMatrix | Data, names: Sequence[Any]) -> None:
    """Raise a ValueError that names the column with the largest value."""
    j = int(np.argmax(largest_values(data)))
    where = column_name(names, j)
    raise ValueError(f"X has values so large that their squares overflow float64, largest in {where}: scale it down")


def combinations(found: Mapping[int, Sequence[int]], shape: tuple[int, int], names: Sequence[Any]) -> str:
    """Describe linear dependence of columns: too few rows, or the columns found and the few that each depends on."""
    rows, columns = shape
    if rows < columns:
        return f"fewer rows ({rows:,}) than columns ({columns:,}), so these are linearly dependent"
    listed = []
    for j in list(found)[:_LISTED]:
        this, *parts = (str(names[k]) if len(names) else f"column {k}" for k in (j, *found[j]))
        made = f" (of {' and '.join(parts)})" if len(parts) <= _PARTS else ""
        listed.append(this + (made if parts else " (constant)"))
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return f"columns that are linear combinations of others: {', '.join(listed)}{more}"


#: Prefixes of the names of types of dates and durations in NumPy, pandas, polars and Arrow.
_DATES = re.compile(r"date|time|period|interval|duration|month", re.IGNORECASE)
#: Attributes of dtypes that contain another dtype: of pandas (sparse, Arrow), Arrow (encoded, extension), polars.
_INNER = ("subtype", "pyarrow_dtype", "value_type", "storage_type", "inner")
#: Types whose values need no check.
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
        of_category = _declared(column.dtype)
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
    categories = _declared(dtype)
    return None if categories is None else _date_dtype(categories.dtype)


def _declared(dtype: Any) -> Any:
    """Return the values that a categorical dtype declares; None for others, and for polars' Categorical."""
    categories = getattr(dtype, "categories", None)
    return categories if hasattr(categories, "dtype") else None


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


def holds_complex(where: str) -> ValueError:
    """Return the error about complex numbers, in words that scikit-learn's checks require."""
    return ValueError(f"Complex data not supported: {where}: give real numbers, for example its .real")


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
            cure = "leave it out, make numbers of it, or give X as a frame and name the column in categorical"
            cure = cure if where.startswith("column") else "give numbers"
            raise ValueError(f"{where} holds text, such as {str(value)!r}: {cure}") from None
        except TypeError:
            # scikit-learn's checks require a TypeError with NumPy's words.
            raise TypeError(
                f"{where} holds a value of type {type(value).__name__} in row {row}: each value of the argument must "
                "be a number, or a string that spells a number"
            ) from None
