"""Blocks of rows, as Arrow batches and as arrays, and the conversion of their columns to rows of numbers."""

from __future__ import annotations

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
#: Rows that are transposed at a time: the part of a batch that stays in the caches.
_CACHED_ROWS = 2048
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
        types = {self.batch.schema.field(name).type for name in names}
        if len(types) == 1 and str(types.pop()) in {"float", "double"}:
            batch = self.batch.select(list(names))
            for start in range(0, self.rows, _CACHED_ROWS):
                tensor = batch.slice(start, _CACHED_ROWS).to_tensor(null_to_nan=True, row_major=True).to_numpy()
                try:
                    store(tensor, out[start : start + _CACHED_ROWS])
                except OverflowError:
                    break  # and find the column below
            else:
                return
        columns = [self._column(name) for name in names]
        for start in range(0, self.rows, _CACHED_ROWS):
            part = slice(start, start + _CACHED_ROWS)
            for j, (name, column) in enumerate(zip(names, columns, strict=True)):
                store_column(column.values[part], out[part, j], f"{self.place}: column {name!r}")
                if column.missing is not None:
                    out[part, j][column.missing[part]] = np.nan

    def column(self, name: str) -> pyarrow.Array:
        """See `RowBlock.column`."""
        return self.batch.column(name)

    def sparse(self, names: Sequence[str]) -> Any:
        """See `RowBlock.sparse`."""
        raise TypeError(f"{self.place} holds dense rows")

    def _column(self, name: str) -> _Numbers:
        array = self.batch.column(name)
        if dtype_of(array.type).kind == "O":
            values = array.drop_null()
            example = f", such as {values[0].as_py()!r}" if len(values) else ""
            raise TableError(
                f"{self.place}: column {name!r} holds {array.type}{example}, not numbers: leave it out, or name it as"
                " a category"
            )
        return _numbers(array)


class _Numbers(NamedTuple):
    """A column of numbers; `values` are zero where `missing`, if that is given, else NaN where they are missing."""

    values: NDArray[Any]
    missing: NDArray[np.bool_] | None


def _numbers(array: pyarrow.Array) -> _Numbers:
    types = load_pyarrow().types
    if types.is_null(array.type):
        return _Numbers(np.full(len(array), np.nan), None)
    if types.is_decimal(array.type):
        array = array.cast("float64")
    elif types.is_boolean(array.type):
        array = array.cast("uint8")
    if array.null_count == 0 or types.is_floating(array.type):
        return _Numbers(array.to_numpy(zero_copy_only=False), None)
    return _Numbers(array.fill_null(0).to_numpy(), array.is_null().to_numpy(zero_copy_only=False))


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
        if positions == list(range(self._values.shape[1])):
            try:
                return store(self._values, out)
            except OverflowError:
                pass  # found below
        for j, name in enumerate(names):
            store_column(self.column(name), out[:, j], f"{self.place}: column {name!r}")
        return None

    def column(self, name: str) -> NDArray[Any]:
        """See `RowBlock.column`."""
        return self._columns[name] if name in self._columns else self._values[:, self._positions[name]]

    def sparse(self, names: Sequence[str]) -> Any:
        """See `RowBlock.sparse`."""
        raise TypeError(f"{self.place} holds dense rows")


def store(values: NDArray[Any], out: NDArray[Any]) -> None:
    """Copy numbers to an array of floats of the same shape; raise OverflowError where that cannot hold one."""
    if values.dtype.kind in "iu" and values.size:
        most = 1 << (np.finfo(out.dtype).nmant + 1)
        if np.iinfo(values.dtype).max > most and (int(values.max()) > most or int(values.min()) < -most):
            raise OverflowError(f"holds an integer larger than {most:,}")
    try:
        with np.errstate(over="raise"):
            out[...] = values
    except FloatingPointError as error:
        raise OverflowError(f"holds a number larger than {np.finfo(out.dtype).max:.2g}") from error


def store_column(values: NDArray[Any], out: NDArray[Any], title: str) -> None:
    """Copy a column of numbers to an array of floats (rows,); raise `TableError` if that is not possible."""
    if values.dtype.kind not in "fiub":
        raise TableError(f"{title} holds {values.dtype}, not numbers: leave it out, or name it as a category")
    try:
        store(values, out)
    except OverflowError as error:
        remedy = "fit with float64" if out.dtype == np.float32 else "subtract a constant from it or leave it out"
        raise TableError(f"{title} {error}, the most that {out.dtype} takes here: {remedy}") from error


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
