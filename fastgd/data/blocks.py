"""Blocks of rows, as Arrow batches and as arrays, and the conversion of their columns to rows of numbers."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.exceptions import TableError

if TYPE_CHECKING:
    import pyarrow

#: Most bytes of a block.
BLOCK_BYTES = 1 << 23
#: Rows and columns that are transposed at a time, the part of a batch that stays in the caches; and unused rows between
#: its columns, so that they do not compete for the same cache lines.
_CACHED_ROWS, _GROUP_COLUMNS, _PADDING = 2048, 64, 24
#: Arrow's names of the types of rows.
_ARROW_FLOATS = {"f": "float", "d": "double"}
#: Bytes per value that a column without a fixed size is taken to have.
_TEXT_BYTES = 32


class ArrowBlock:
    """The rows of an Arrow batch; see `RowBlock`."""

    def __init__(self, batch: pyarrow.RecordBatch, place: str) -> None:
        self.batch = batch
        self.place = place
        self.rows: int = batch.num_rows

    def numbers(self, names: Sequence[str], out: NDArray[Any]) -> None:
        """See `RowBlock.numbers`."""
        if not names:
            return
        batch = self.batch.select(list(names))
        if all(str(field.type) == _ARROW_FLOATS[out.dtype.char] for field in batch.schema):
            # Nothing has to be cast: Arrow copies the columns together, with fewer calls.
            for start in range(0, self.rows, _CACHED_ROWS + _PADDING):
                part = batch.slice(start, _CACHED_ROWS + _PADDING)
                out[start : start + part.num_rows] = part.to_tensor(null_to_nan=True, row_major=False).to_numpy()
            return
        write_columns([self._column(name) for name in names], out, names, self.place)

    def column(self, name: str) -> pyarrow.Array:
        """See `RowBlock.column`."""
        return self.batch.column(name)

    def sparse(self, names: Sequence[str]) -> Any:
        """See `RowBlock.sparse`."""
        raise TypeError(f"{self.place} holds dense rows")

    def _column(self, name: str) -> Numbers:
        array = self.batch.column(name)
        if dtype_of(array.type).kind == "O":
            values = array.drop_null()
            example = f", such as {values[0].as_py()!r}" if len(values) else ""
            raise TableError(
                f"{self.place}: column {name!r} holds {array.type}{example}, not numbers: leave it out, or name it as"
                " a category"
            )
        return _numbers(array)


class Numbers(NamedTuple):
    """A column of numbers; `values` are zero where `missing`, if that is given, else NaN where they are missing."""

    values: NDArray[Any]
    missing: NDArray[np.bool_] | None = None


def _numbers(array: pyarrow.Array) -> Numbers:
    types = load_pyarrow().types
    if types.is_null(array.type):
        return Numbers(np.full(len(array), np.nan))
    if types.is_decimal(array.type):
        array = array.cast("float64")
    elif types.is_boolean(array.type):
        array = array.cast("uint8")
    if array.null_count == 0 or types.is_floating(array.type):
        return Numbers(array.to_numpy(zero_copy_only=False))
    return Numbers(array.fill_null(0).to_numpy(), array.is_null().to_numpy(zero_copy_only=False))


class ArrayBlock:
    """Rows of an array and of further columns; see `RowBlock`.

    positions: the column of the array per name. columns: arrays (rows,) by name.
    """

    def __init__(
        self,
        values: NDArray[Any],
        positions: Mapping[str, int],
        place: str,
        columns: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    ) -> None:
        self._values, self._positions, self._columns = values, positions, columns
        self.place = place
        self.rows = len(values)

    def numbers(self, names: Sequence[str], out: NDArray[Any]) -> None:
        """See `RowBlock.numbers`."""
        positions = [self._positions.get(name, -1) for name in names]
        if self._values.dtype.kind == "f" and positions == list(range(self._values.shape[1])):
            with np.errstate(over="raise"), contextlib.suppress(FloatingPointError):  # the column is found below
                out[...] = self._values
                return
        write_columns([Numbers(self.column(name)) for name in names], out, names, self.place)

    def column(self, name: str) -> NDArray[Any]:
        """See `RowBlock.column`."""
        return self._columns[name] if name in self._columns else self._values[:, self._positions[name]]

    def sparse(self, names: Sequence[str]) -> Any:
        """See `RowBlock.sparse`."""
        raise TypeError(f"{self.place} holds dense rows")


def write_columns(columns: Sequence[Numbers], out: NDArray[Any], names: Sequence[str], place: str) -> None:
    """Write columns to an array of floats (rows, len(columns)); raise `TableError` for what it cannot hold.

    Columns are cast to a scratch array that stays in the caches, and this is transposed: twice as fast as writing each
    column to its place.
    """
    for column, name in zip(columns, names, strict=True):
        _check_column(column.values, out.dtype, f"{place}: column {name!r}")
    scratch = np.empty((min(_GROUP_COLUMNS, len(columns)), _CACHED_ROWS + _PADDING), out.dtype)
    with np.errstate(over="raise"):
        for start, first in itertools.product(range(0, len(out), _CACHED_ROWS), range(0, len(columns), _GROUP_COLUMNS)):
            rows, group = slice(start, start + _CACHED_ROWS), slice(first, first + _GROUP_COLUMNS)
            part = out[rows, group]
            buffer = scratch[: part.shape[1], : part.shape[0]]
            for j, column in enumerate(columns[group]):
                try:
                    buffer[j] = column.values[rows]
                except FloatingPointError as error:
                    title = f"{place}: column {names[first + j]!r}"
                    raise _too_large(title, f"a number larger than {np.finfo(out.dtype).max:.2g}", out.dtype) from error
                if column.missing is not None:
                    buffer[j][column.missing[rows]] = np.nan
            part[...] = buffer.T


def _check_column(values: NDArray[Any], dtype: np.dtype[Any], title: str) -> None:
    """Raise `TableError` for a column that holds no numbers, or an integer that a type of floats cannot hold."""
    if values.dtype.kind not in "fiub":
        raise TableError(f"{title} holds {values.dtype}, not numbers: leave it out, or name it as a category")
    if values.dtype.kind in "iu" and values.size:
        most = 1 << (np.finfo(dtype).nmant + 1)
        if np.iinfo(values.dtype).max > most and (int(values.max()) > most or int(values.min()) < -most):
            raise _too_large(title, f"an integer larger than {most:,}", dtype)


def _too_large(title: str, what: str, dtype: np.dtype[Any]) -> TableError:
    remedy = "fit with float64" if dtype == np.float32 else "subtract a constant from it or leave it out"
    return TableError(f"{title} holds {what}, the most that {dtype} takes here: {remedy}")


def dtype_of(type: Any) -> np.dtype[Any]:
    """Return the dtype of a column of an Arrow type: that of its numbers, else ``object``."""
    types = load_pyarrow().types
    if types.is_boolean(type) or types.is_integer(type) or types.is_floating(type):
        return np.dtype(type.to_pandas_dtype())
    return np.dtype(np.float64 if types.is_decimal(type) or types.is_null(type) else object)


def rows_per_block(dtypes: Sequence[np.dtype[Any]]) -> int:
    """Return the number of rows of columns of these types in `BLOCK_BYTES`."""
    row_bytes = sum(_TEXT_BYTES if dtype.kind == "O" else dtype.itemsize for dtype in dtypes)
    rows = BLOCK_BYTES // max(row_bytes, 8)
    return max(1, rows // _CACHED_ROWS * _CACHED_ROWS or rows)


def split_batch(batch: pyarrow.RecordBatch, rows: int) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of a batch in parts of at most `rows` rows and about `BLOCK_BYTES`; none if it is empty."""
    if batch.nbytes > 2 * BLOCK_BYTES:
        rows = min(rows, max(1, batch.num_rows * BLOCK_BYTES // batch.nbytes))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def refuse_parts(name: str, parts: Sequence[int] | None) -> None:
    """Raise a ValueError if parts are asked of a source that has none."""
    if parts is not None:
        raise ValueError(f"{name} is read from the beginning: it has no parts")


def load_pyarrow() -> ModuleType:
    """Return pyarrow; raise `TableError` with the command that installs it."""
    try:
        import pyarrow
        import pyarrow.types
    except ImportError as error:
        raise TableError(
            "reading data block by block needs pyarrow: pip install '.[stream]' in the checkout"
        ) from error
    return pyarrow


def check_count(name: str, before: int | None, rows: int) -> None:
    """Raise a `TableError` if a pass has given another number of rows than an earlier one."""
    if before not in (None, rows):
        raise TableError(
            f"{name} gave {rows:,} rows, but {before:,} in an earlier pass: every pass must give the same rows in the"
            " same order"
        )
