"""A table read from a file: columns by name, turned into matrices for a fit with at most one copy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastgd.data.text_column import TextColumn, encode
from fastgd.exceptions import TableError

#: A column as a target: numbers or booleans, or text.
Labels = NDArray[Any] | TextColumn

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


class Example(NamedTuple):
    """A value of a file that is no number."""

    value: str
    line: int
    """Counted from 1; 0 if it is not known."""


class NonNumeric(NamedTuple):
    """Values of a column that are no numbers."""

    examples: list[Example]
    """The first ones."""
    n_values: int
    """How many values were looked at."""


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
    notes : list of str
        Remarks on how the source was read.
    nameless : tuple of str
        Columns whose name in the source is empty.
    repeated : dict of str to tuple of str
        Name that several columns of the source have -> the names that these columns have here.
    """

    names: tuple[str, ...]
    n_rows: int
    named: bool = True
    default_target: str | None = None
    notes: list[str]
    nameless: tuple[str, ...] = ()
    repeated: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @abstractmethod
    def column(self, name: str) -> NDArray[Any]:
        """Return one column, shape (n_rows,): in its own numeric dtype, or text with None where it is missing."""

    def load(self, numbers: Sequence[str], texts: Sequence[str] = ()) -> None:  # noqa: B027 - most have nothing to do
        """Read columns in one pass over the source; without this call each is read when it is first asked for.

        Parameters
        ----------
        numbers : sequence of str
            Columns to be taken as numbers; those that hold text are left.
        texts : sequence of str, default=()
            Columns for `text` and `labels`.
        """

    def text(self, name: str, known: Sequence[str] = ()) -> TextColumn:
        """Return one column as text, as the source spells it.

        Parameters
        ----------
        name : str
        known : sequence of str, default=()
            Values that are never taken as missing.

        Returns
        -------
        TextColumn
        """
        return _spelt(self.column(name))

    def labels(self, name: str) -> Labels:
        """Return one column as a target, with its values as the source has them."""
        column = self.column(name)
        if column.dtype.kind in "OU":
            return self.text(name)
        if column.dtype.kind not in "fiub":
            raise TableError(
                f"{name!r} holds {_kind(column)}, which cannot be predicted: convert it to numbers or text"
            )
        return column

    def unusable(self, names: Sequence[str]) -> dict[str, str]:
        """Return column -> its kind ("text", "dates", ...) for those of `names` that are not numbers."""
        kinds = {name: _kind(self.column(name)) for name in names}
        return {name: kind for name, kind in kinds.items() if kind != "numbers"}

    def non_numeric(self, name: str) -> NonNumeric:
        """Return values of a column that are no numbers, if the source has lines."""
        return NonNumeric([], 0)

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Return the mask of missing values of one column, shape (n_rows,)."""
        return missing_labels(self.labels(name))

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
    columns : dict of str to ndarray of shape (n_rows,)
        Missing values are NaN in numeric columns, and None in columns of text.
    n_rows : int
        Number of rows.
    named : bool, default=True
        See `Table`.
    """

    def __init__(self, columns: dict[str, NDArray[Any]], n_rows: int, named: bool = True) -> None:
        self._columns = columns
        self.notes = []
        self.names = tuple(columns)
        self.n_rows = n_rows
        self.named = named

    def column(self, name: str) -> NDArray[Any]:
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
        self.notes = []
        self._beside = beside
        self._index = {name: j for j, name in enumerate(names)}
        self.names = (*names, *beside)
        self.n_rows = len(array)
        self.named = named
        self.default_target = next(iter(beside), None)

    def column(self, name: str) -> NDArray[Any]:
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


def unique_names(names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Make the names of columns distinct.

    Parameters
    ----------
    names : sequence of str
        As the source has them; empty ones become ``column_1``, ``column_2``, ... by position.

    Returns
    -------
    unique : tuple of str
        The second column called ``a`` is ``a_2`` (or the next name that is free).
    repeated : dict of str to tuple of str
        Name that occurs more than once -> the names of these columns in `unique`.
    """
    made: dict[str, None] = {}
    given = set(names)
    groups: dict[str, list[str]] = {}
    for position, name in enumerate(names, 1):
        base = name or f"column_{position}"
        unique, number = base, 2
        while unique in made or (unique != name and unique in given):
            unique, number = f"{base}_{number}", number + 1
        made[unique] = None
        groups.setdefault(name, []).append(unique)
    return tuple(made), {name: tuple(group) for name, group in groups.items() if name and len(group) > 1}


def missing_labels(labels: Labels) -> NDArray[np.bool_]:
    """Return the mask of missing values of a target, shape (n,)."""
    if isinstance(labels, TextColumn):
        return labels.missing
    if labels.dtype == object:  # booleans with missing ones
        return np.array([value is None for value in labels.tolist()], dtype=bool)
    return np.isnan(labels) if labels.dtype.kind == "f" else np.zeros(len(labels), dtype=bool)


def take_labels(labels: Labels, rows: Rows) -> Labels:
    """Return some rows of a target."""
    if isinstance(rows, slice):
        return labels  # all rows
    return labels.take(rows) if isinstance(labels, TextColumn) else labels[rows]


def _spelt(column: NDArray[Any]) -> TextColumn:
    """Return the values of an array as text, whole numbers without a point, so that 1 and 1.0 are one value."""
    if column.dtype.kind == "O":
        return encode(column.tolist(), len(column))
    distinct, codes = np.unique(column, return_inverse=True)
    values = [
        str(value).removesuffix(".0") if distinct.dtype.kind == "f" else str(value) for value in distinct.tolist()
    ]
    return encode((values[code] if values[code] != "nan" else None for code in codes.tolist()), len(column))


def _kind(column: NDArray[Any]) -> str:
    """Return the kind of a column: "numbers", "text", "dates" or the name of another type."""
    kinds = {"f": "numbers", "i": "numbers", "u": "numbers", "b": "numbers", "U": "text", "O": "text", "M": "dates"}
    return kinds.get(column.dtype.kind, str(column.dtype))


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
