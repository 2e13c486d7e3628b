"""Tables: columns by name, which become the matrices of a fit with at most one copy."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastgd.arrays import float_type
from fastgd.data.query import map_ahead
from fastgd.data.store import RowStore
from fastgd.data.text_column import TextColumn, encode
from fastgd.exceptions import TableError
from fastgd.threads import get_num_threads

#: A column as a target: numbers or booleans, or text.
Labels = NDArray[Any] | TextColumn

Rows = slice | NDArray[np.intp]

#: Columns are read and copied in blocks of rows and groups of columns, which stay in the caches until they are full.
_BLOCK_ROWS = 4096
_GROUP_COLUMNS = 16
#: Rows that are written to a file at a time.
_STORED_ROWS = 1 << 15
_KINDS = {"f": "numbers", "i": "numbers", "u": "numbers", "b": "numbers", "U": "text", "O": "text", "M": "dates"}


class Gaps(NamedTuple):
    """Where a table holds no finite number."""

    missing: dict[str, int]
    """Column -> count of missing values, for columns that have some."""
    infinite: dict[str, int]
    """Column -> count of infinite values, for columns that have some."""
    rows: NDArray[np.bool_]
    """Shape (n_rows,): True where a value is missing."""


class Example(NamedTuple):
    """A value of a file that is not a number."""

    value: str
    line: int
    """Counted from 1; 0 if it is not known."""


class NonNumeric(NamedTuple):
    """Values of a column that are not numbers."""

    examples: list[Example]
    """The first ones."""
    n_values: int
    """How many values were looked at."""


class _Part(NamedTuple):
    rows: slice
    columns: int | slice
    values: NDArray[Any]
    """Shape (rows,) or (rows, columns)."""


class Table:
    """Named columns of one length, in memory; subclasses read them from files when they are first asked for.

    Parameters
    ----------
    columns : dict of str to ndarray of shape (n_rows,)
        Missing values are NaN among numbers, and None among text.
    n_rows : int
    named : bool, default=True
        False if the source has no column names and these were made up (``column_1``, ``column_2``, ...).
    whole : ndarray of shape (n_rows, n_columns) or None, default=None
        The array, such as a memory map, whose columns are the first ones of the table.
    memory : int, default=2**62
        Most bytes of a matrix in memory; larger ones are memory maps of temporary files.

    Attributes
    ----------
    default_target : str or None
        The column that the source itself marks as the target.
    notes : list of str
        Remarks on how the source was read.
    nameless : tuple of str
        Columns whose name in the source is empty.
    repeated : dict of str to tuple of str
        Name that several columns of the source have -> the names that these columns have here.
    """

    default_target: str | None = None
    nameless: tuple[str, ...] = ()
    repeated: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def __init__(
        self,
        columns: dict[str, NDArray[Any]],
        n_rows: int,
        named: bool = True,
        whole: NDArray[Any] | None = None,
        memory: int = 1 << 62,
    ) -> None:
        self._columns = columns
        self._whole = whole
        # Whether the whole array is known to be finite, and whether it may be written to.
        self._is_finite = self._owns_whole = False
        self.memory = memory
        self.notes: list[str] = []
        self.n_rows = n_rows
        self.named = named

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The columns, in the order of the file."""
        return tuple(self._columns)

    def add(self, name: str, column: NDArray[Any]) -> None:
        """Append a column, shape (n_rows,), whose name is new."""
        self._columns[name] = column
        self.names = (*self.names, name)

    @property
    def _whole_names(self) -> Sequence[str]:
        """The columns of the whole array."""
        return () if self._whole is None else self.names[: self._whole.shape[1]]

    def load(
        self,
        numbers: Sequence[str],
        texts: Sequence[str] = (),
        labels: Sequence[str] = (),
        weights: Sequence[str] = (),
    ) -> None:
        """Read columns in one pass; otherwise each is read when it is first asked for.

        Parameters
        ----------
        numbers : sequence of str
            Predictors.
        texts : sequence of str, default=()
            Columns of categories.
        labels, weights : sequence of str, default=()
            Targets, and columns of numbers beside the predictors.
        """

    def column(self, name: str) -> NDArray[Any]:
        """Return one column, shape (n_rows,): in its own numeric dtype, or text with None where it is missing."""
        return self._columns[name]

    def text(self, name: str, known: Sequence[str] = ()) -> TextColumn:
        """Return one column as text, as the source spells it; the values `known` are never missing."""
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
        """Return values of a column that are not numbers, if the source has lines."""
        return NonNumeric([], 0)

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Return the mask of missing values of one column, shape (n_rows,)."""
        return missing_labels(self.labels(name))

    def gaps(self, names: Sequence[str]) -> Gaps:
        """Count missing and infinite values in the numeric columns `names`."""
        self.load(names)
        if self._is_finite and self._places(names) is not None:
            return Gaps({}, {}, np.zeros(self.n_rows, dtype=bool))
        counts = np.zeros((2, len(names)), dtype=np.int64)
        rows = np.zeros(self.n_rows, dtype=bool)
        for block, part, values in self._parts(names):
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                missing = np.isnan(values)
                rows[block] |= missing if missing.ndim == 1 else missing.any(axis=1)
                counts[0, part] += missing.sum(axis=0)
                counts[1, part] += np.isinf(values).sum(axis=0)
        found = [{name: count for name, count in zip(names, row, strict=True) if count} for row in counts.tolist()]
        return Gaps(found[0], found[1], rows)

    def _parts(self, names: Sequence[str]) -> Iterator[_Part]:
        """Yield the values of columns: an array by blocks of rows, other columns one by one."""
        positions = self._places(names)
        if self._whole is None or positions is None:
            yield from (_Part(slice(None), j, self._columns[name]) for j, name in enumerate(names))
            return
        for block in _blocks(slice(None), self.n_rows):
            yield _Part(block.result, slice(None), self._whole[block.source][:, positions])

    def source_dtypes(self, names: Sequence[str]) -> set[np.dtype[Any]]:
        """Return the types in which the source holds the numbers of `names`."""
        self.load(names)
        return {self._columns[name].dtype for name in names}

    def dtype(self, names: Sequence[str]) -> np.dtype[Any]:
        """Return the smaller of float32 and float64 that holds the numbers of `names` as exactly as the source."""
        return float_type(self.source_dtypes(names))

    def take(
        self, names: Sequence[str], parts: Sequence[Rows], dtype: DTypeLike, *, last: bool = False
    ) -> list[NDArray[Any]]:
        """Return for each of `parts` (row indices, or a slice) a C-ordered matrix of shape (rows, len(names)).

        An array is returned as it is where the part is a slice, no column is left out and `dtype` is its own. Other
        matrices are new, and files hold those that are larger than `memory`.

        last: whether these columns are not asked for again. The parts, which share no row, are writable then, and the
        first one, whose rows ascend, may take the place of the table's own matrix.
        """
        self.load(names)
        whole = self._whole if self._places(names) == slice(None) else None
        if whole is not None and whole.dtype != dtype:
            whole = None
        if whole is not None and last and self._owns_whole:
            others = [self._part(names, rows, dtype) for rows in parts[1:]]
            return [self._compact(whole, parts[0]), *others]
        return [
            whole[rows]
            if whole is not None and isinstance(rows, slice) and not last
            else self._part(names, rows, dtype)
            for rows in parts
        ]

    def _part(self, names: Sequence[str], rows: Rows, dtype: DTypeLike) -> NDArray[Any]:
        """Return a copy of rows, in a file if it is larger than `memory`."""
        shape = (_length(rows, self.n_rows), len(names))
        if shape[0] * shape[1] * np.dtype(dtype).itemsize > self.memory:
            return self._stored(names, rows, dtype)
        matrix = np.empty(shape, dtype=dtype)
        self._fill(names, rows, matrix)
        return matrix

    def _compact(self, whole: NDArray[Any], rows: Rows) -> NDArray[Any]:
        """Move ascending rows to the beginning of the table's matrix, which becomes these."""
        for block in _blocks(rows, self.n_rows):
            if block.source != block.result if isinstance(block.source, slice) else True:
                whole[block.result] = whole[block.source]
        for name in self._whole_names:
            del self._columns[name]
        self._whole, self._owns_whole = None, False
        return whole[: _length(rows, self.n_rows)]

    def _stored(self, names: Sequence[str], rows: Rows, dtype: DTypeLike) -> NDArray[Any]:
        """Return rows in a file."""
        store = RowStore(len(names), dtype, 0)

        def part(block: _Block) -> NDArray[Any]:
            matrix = np.empty((_length(block.source, self.n_rows), len(names)), dtype)
            self._fill(names, block.source, matrix)
            return matrix

        n_threads = get_num_threads()
        for matrix in map_ahead(part, _blocks(rows, self.n_rows, _STORED_ROWS), n_threads, 2 * n_threads):
            store.append(matrix)
        return store.finish(writeable=True)

    def _fill(self, names: Sequence[str], rows: Rows, matrix: NDArray[Any]) -> None:
        """Write rows to a matrix."""
        whole, positions = self._whole, self._places(names)
        if whole is not None and positions is not None:
            for block in _blocks(rows, self.n_rows):
                matrix[block.result] = whole[block.source][:, positions]
            return
        for start in range(0, len(names), _GROUP_COLUMNS):
            group = [self._columns[name] for name in names[start : start + _GROUP_COLUMNS]]
            for block in _blocks(rows, self.n_rows):
                for position, column in enumerate(group, start):
                    matrix[block.result, position] = column[block.source]

    def _places(self, names: Sequence[str]) -> slice | list[int] | None:
        """Return where columns stand in the whole array; None if one does not."""
        if self._whole is None:
            return None
        index = {name: j for j, name in enumerate(self._whole_names)}
        positions = [index.get(name, -1) for name in names]
        if positions == list(range(self._whole.shape[1])):
            return slice(None)
        return None if -1 in positions else positions


def array_table(
    array: NDArray[Any], names: Sequence[str] | None, labels: Mapping[str, NDArray[Any]] = MappingProxyType({})
) -> Table:
    """Return a table of the columns of an array; the first column of `labels`, if any, is the target."""
    made = [f"column_{j + 1}" for j in range(array.shape[1])] if names is None else names
    columns = {name: array[:, j] for j, name in enumerate(made)}
    table = Table({**columns, **labels}, len(array), names is not None, array)
    table.default_target = next(iter(labels), None)
    return table


class UniqueNames(NamedTuple):
    """Distinct names of columns."""

    names: tuple[str, ...]
    repeated: dict[str, tuple[str, ...]]
    """Name that several columns of the source have -> their names in `names`."""


def unique_names(names: Sequence[str]) -> UniqueNames:
    """Make names distinct: ``a`` again is ``a_2`` (or the next one that is free), an empty third one ``column_3``."""
    made: dict[str, None] = {}
    given = set(names)
    if len(given) == len(names) and "" not in given:
        return UniqueNames(tuple(names), {})
    groups: dict[str, list[str]] = {}
    for position, name in enumerate(names, 1):
        base = name or f"column_{position}"
        unique, number = base, 2
        while unique in made or (unique != name and unique in given):
            unique, number = f"{base}_{number}", number + 1
        made[unique] = None
        groups.setdefault(name, []).append(unique)
    repeated = {name: tuple(group) for name, group in groups.items() if name and len(group) > 1}
    return UniqueNames(tuple(made), repeated)


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
    values = [str(value) for value in distinct.tolist()]
    if distinct.dtype.kind == "f":
        values = [value.removesuffix(".0") for value in values]
    return encode((values[code] if values[code] != "nan" else None for code in codes.tolist()), len(column))


def _kind(column: NDArray[Any]) -> str:
    """Return the kind of a column: "numbers", "text", "dates" or the name of another type."""
    return _KINDS.get(column.dtype.kind, str(column.dtype))


def _length(rows: Rows, n_rows: int) -> int:
    return len(range(*rows.indices(n_rows))) if isinstance(rows, slice) else len(rows)


class _Block(NamedTuple):
    result: slice
    source: Rows


def _blocks(rows: Rows, n_rows: int, size: int = _BLOCK_ROWS) -> Iterator[_Block]:
    """Yield blocks of rows: where they go in the result, and which rows of the source they are."""
    first, stop = (rows.indices(n_rows)[:2]) if isinstance(rows, slice) else (0, len(rows))
    for start in range(first, stop, size):
        block = slice(start, min(start + size, stop))
        result = slice(block.start - first, block.stop - first)
        yield _Block(result, block if isinstance(rows, slice) else rows[block])
