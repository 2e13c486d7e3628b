"""A table read from a file: columns by name, turned into matrices for a fit with at most one copy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

Rows = slice | NDArray[np.intp]

ROW_BLOCK = 4096
COLUMN_GROUP = 16
_FLOAT32_KINDS = {"f2", "f4", "i1", "u1", "i2", "u2", "b1"}


class Gaps(NamedTuple):
    """Where a table holds no finite number."""

    missing: dict[str, int]
    """Column -> count of missing values, for columns that have some."""
    infinite: dict[str, int]
    """Column -> count of infinite values, for columns that have some."""
    rows: NDArray[np.bool_]
    """Shape (n_rows,): True where a value is missing."""


class Table(ABC):
    """Named columns of one length; subclasses differ in how the numbers lie in memory.

    Attributes
    ----------
    names : tuple of str
        The columns, in the order of the file.
    n_rows : int
        Number of rows.
    named : bool
        False if the source has no column names and `names` were made up (``column_1``, ``column_2``, ...).
    default_target : str or None
        The column that the source itself marks as the target.
    """

    names: tuple[str, ...]
    n_rows: int
    named: bool = True
    default_target: str | None = None

    @abstractmethod
    def column(self, name: str) -> Any:
        """Return one column as it is kept: an array of shape (n_rows,), or something with ``to_list``."""

    def values(self, name: str) -> NDArray[Any]:
        """Return one column, shape (n_rows,): in its own numeric dtype, or text with None where it is missing."""
        column = self.column(name)
        return column if isinstance(column, np.ndarray) else np.array(column.to_list(), dtype=object)

    def unusable(self, names: Sequence[str]) -> dict[str, str]:
        """Return column -> what it holds ("text", "dates", ...) for those of `names` that are not numbers."""
        kinds = {name: _kind(self.column(name)) for name in names}
        return {name: kind for name, kind in kinds.items() if kind != "numbers"}

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Return the mask of missing values of one column, shape (n_rows,)."""
        values = self.values(name)
        if values.dtype == object:
            return np.array([value is None for value in values], dtype=bool)
        return np.isnan(values) if values.dtype.kind == "f" else np.zeros(self.n_rows, dtype=bool)

    @abstractmethod
    def gaps(self, names: Sequence[str]) -> Gaps:
        """Count missing and infinite values in the numeric columns `names`."""

    @abstractmethod
    def source_dtypes(self, names: Sequence[str]) -> set[np.dtype[Any]]:
        """Return the types in which the source holds the numbers of `names`."""

    def dtype(self, names: Sequence[str]) -> np.dtype[Any]:
        """Return the smaller of float32 and float64 that holds the numbers of `names` as exactly as the source."""
        exact = all(f"{dtype.kind}{dtype.itemsize}" in _FLOAT32_KINDS for dtype in self.source_dtypes(names))
        return np.dtype(np.float32 if exact else np.float64)

    @abstractmethod
    def take(self, names: Sequence[str], parts: Sequence[Rows], dtype: DTypeLike) -> list[NDArray[Any]]:
        """Return for each of `parts` (row indices, or a slice) a C-ordered matrix of shape (rows, len(names)).

        An array is handed out as it is where the part is all rows, no column is left out and `dtype` is its own.
        """


class ColumnTable(Table):
    """Columns that lie apart in memory, as CSV and Parquet readers give them.

    Parameters
    ----------
    columns : dict of str to ndarray or Series
        Numeric columns as arrays of shape (n_rows,), missing values as NaN; text columns as anything that has
        ``to_list()``.
    n_rows : int
        Number of rows.
    named : bool, default=True
        See `Table`.
    """

    def __init__(self, columns: dict[str, Any], n_rows: int, named: bool = True) -> None:
        self._columns = columns
        self.names = tuple(columns)
        self.n_rows = n_rows
        self.named = named

    def column(self, name: str) -> Any:
        """See `Table.column`."""
        return self._columns[name]

    def gaps(self, names: Sequence[str]) -> Gaps:
        """See `Table.gaps`."""
        missing: dict[str, int] = {}
        infinite: dict[str, int] = {}
        rows = np.zeros(self.n_rows, dtype=bool)
        for name in names:
            column = self._columns[name]
            if column.dtype.kind != "f" or np.isfinite(column).all():
                continue
            mask = np.isnan(column)
            rows |= mask
            _count(name, int(mask.sum()), int(np.isinf(column).sum()), missing, infinite)
        return Gaps(missing, infinite, rows)

    def source_dtypes(self, names: Sequence[str]) -> set[np.dtype[Any]]:
        """See `Table.source_dtypes`."""
        return {self._columns[name].dtype for name in names}

    def take(self, names: Sequence[str], parts: Sequence[Rows], dtype: DTypeLike) -> list[NDArray[Any]]:
        """See `Table.take`."""
        shapes = [(_length(rows, self.n_rows), len(names)) for rows in parts]
        matrices = [np.empty(shape, dtype=dtype) for shape in shapes]
        # A few columns at a time: their cache lines of the matrix stay near until they are full.
        for start in range(0, len(names), COLUMN_GROUP):
            group = [self._columns[name] for name in names[start : start + COLUMN_GROUP]]
            for rows, matrix in zip(parts, matrices, strict=True):
                for block, chosen in _blocks(rows, self.n_rows):
                    for offset, column in enumerate(group):
                        matrix[block, start + offset] = column[chosen]
        return matrices


class ArrayTable(Table):
    """Columns that lie together in one array, with further columns beside it (the target of an ``.npz``).

    Parameters
    ----------
    array : ndarray of shape (n_rows, n_columns)
        Numbers; may be a read-only memory map.
    names : sequence of str
        The columns of `array`.
    beside : dict of str to ndarray of shape (n_rows,)
        Further columns.
    named : bool, default=True
        See `Table`.
    """

    def __init__(
        self, array: NDArray[Any], names: Sequence[str], beside: dict[str, NDArray[Any]], named: bool = True
    ) -> None:
        self._array = array
        self._beside = beside
        self._index = {name: j for j, name in enumerate(names)}
        self.names = (*names, *beside)
        self.n_rows = len(array)
        self.named = named
        self.default_target = next(iter(beside), None)

    def column(self, name: str) -> Any:
        """See `Table.column`."""
        return self._beside[name] if name in self._beside else self._array[:, self._index[name]]

    def gaps(self, names: Sequence[str]) -> Gaps:
        """See `Table.gaps`."""
        missing: dict[str, int] = {}
        infinite: dict[str, int] = {}
        rows = np.zeros(self.n_rows, dtype=bool)
        columns = self._positions(names)
        if self._array.dtype.kind != "f":
            return Gaps(missing, infinite, rows)
        counts = np.zeros((2, len(names)), dtype=np.int64)
        for block, chosen in _blocks(slice(None), self.n_rows):
            values = self._array[chosen][:, columns]
            if not np.isfinite(values).all():
                mask = np.isnan(values)
                rows[block] = mask.any(axis=1)
                counts += [mask.sum(axis=0), np.isinf(values).sum(axis=0)]
        for name, n_missing, n_infinite in zip(names, *counts.tolist(), strict=True):
            _count(name, n_missing, n_infinite, missing, infinite)
        return Gaps(missing, infinite, rows)

    def source_dtypes(self, names: Sequence[str]) -> set[np.dtype[Any]]:
        """See `Table.source_dtypes`."""
        return {self._array.dtype}

    def take(self, names: Sequence[str], parts: Sequence[Rows], dtype: DTypeLike) -> list[NDArray[Any]]:
        """See `Table.take`."""
        columns = self._positions(names)
        matrices = []
        for rows in parts:
            if isinstance(rows, slice) and isinstance(columns, slice) and self._array.dtype == dtype:
                matrices.append(self._array[rows])
                continue
            matrix = np.empty((_length(rows, self.n_rows), len(names)), dtype=dtype)
            for block, chosen in _blocks(rows, self.n_rows):
                matrix[block] = self._array[chosen][:, columns]
            matrices.append(matrix)
        return matrices

    def _positions(self, names: Sequence[str]) -> slice | list[int]:
        positions = [self._index[name] for name in names]
        return slice(None) if positions == list(range(self._array.shape[1])) else positions


def generated_names(count: int) -> list[str]:
    """Return the names that columns without names go by: ``column_1``, ``column_2``, ..."""
    return [f"column_{j + 1}" for j in range(count)]


def _kind(column: Any) -> str:
    """Say what a column holds: "numbers", "text", "dates" or the name of another type."""
    if isinstance(column, np.ndarray):
        return {"f": "numbers", "i": "numbers", "u": "numbers", "b": "numbers", "U": "text", "M": "dates"}.get(
            column.dtype.kind, str(column.dtype)
        )
    kind = str(column.dtype)
    if kind.startswith(("Date", "Time")):
        return "dates"
    return "text" if kind.startswith(("String", "Categorical", "Enum")) else kind


def _count(name: str, n_missing: int, n_infinite: int, missing: dict[str, int], infinite: dict[str, int]) -> None:
    if n_missing:
        missing[name] = n_missing
    if n_infinite:
        infinite[name] = n_infinite


def _length(rows: Rows, n_rows: int) -> int:
    return len(range(*rows.indices(n_rows))) if isinstance(rows, slice) else len(rows)


def _blocks(rows: Rows, n_rows: int) -> Any:
    """Yield (slice of the result, rows of the source) a block of rows at a time."""
    for start in range(0, _length(rows, n_rows), ROW_BLOCK):
        block = slice(start, start + ROW_BLOCK)
        yield block, (block if isinstance(rows, slice) else rows[block])
