"""Iterators of arrays, frames and batches as sources of row blocks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastgd.data.batch_source import refuse_second_pass
from fastgd.data.blocks import (
    ArrayBlock,
    ArrowBlock,
    check_count,
    dtype_of,
    load_pyarrow,
    refuse_parts,
    rows_per_block,
    split_batch,
)
from fastgd.data.rows import RowBlock
from fastgd.data.sparse_source import SparseBlock, SparseSource
from fastgd.exceptions import TableError

#: Name of the column of the targets of pairs.
TARGET = "target"


class IterableSource:
    """Rows that a callable gives anew for every pass, or an iterator once; see `RowSource`.

    The columns of an array are ``column_1``, ``column_2``, ..., and the y of pairs is ``target``.

    Parameters
    ----------
    given : callable or iterator
        The callable returns an iterable over parts of the rows: a 2-D array, a CSR matrix, a frame (pandas, polars or
        Arrow), or a pair of one of these and of y (rows,). All parts have the same columns and types.

    Raises
    ------
    TableError
        There is no part, or it is none of these.
    """

    n_rows: int | None = None
    nbytes: int | None = None
    starts: NDArray[np.int64] | None = None

    def __init__(self, given: Callable[[], Iterable[Any]] | Iterator[Any]) -> None:
        self.name = "the callable" if callable(given) else "the iterator"
        self._factory = given if callable(given) else None
        items = self._called() if callable(given) else given
        first = next(items, None)
        if first is None:
            raise TableError(f"{self.name} gives no rows")
        self._unread = None if callable(given) else itertools.chain([first], items)
        part = self._part(first, 0)
        self.names, self.dtypes = tuple(part.dtypes), part.dtypes
        self.is_sparse = issparse(part.rows)
        self.default_target = TARGET if part.target is not None else None
        self._counted: int | None = None

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[RowBlock]:
        """See `RowSource.blocks`."""
        refuse_parts(self.name, parts)
        done = 0
        for k, item in enumerate(self._items()):
            part = self._part(item, k)
            if part.dtypes != self.dtypes or issparse(part.rows) != self.is_sparse:
                raise TableError(f"part {k} of {self.name} {_difference(part.dtypes, self.dtypes)}")
            for block in _blocks(part, f"part {k} of {self.name}", names):
                yield block
                done += block.rows
        check_count(self.name, self._counted, done)
        self._counted = done

    def fingerprint(self) -> str:
        """See `RowSource.fingerprint`; rows are not known without a pass."""
        return ""

    def _items(self) -> Iterator[Any]:
        if self._factory is not None:
            return self._called()
        items, self._unread = self._unread, None
        if items is None:
            raise refuse_second_pass(self.name)
        return items

    def _called(self) -> Iterator[Any]:
        """Return a new iterator."""
        assert self._factory is not None
        given = self._factory()
        if not isinstance(given, Iterable):
            raise TableError(
                f"{self.name} returned {type(given).__name__}: it must return an iterator over parts of rows"
            )
        return iter(given)

    def _part(self, item: Any, k: int) -> _Part:
        rows, target = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        title = f"part {k} of {self.name}"
        if isinstance(rows, np.ndarray) or issparse(rows):
            if rows.ndim != 2 or rows.dtype.kind not in "fiub":
                raise TableError(f"{title} holds {rows.dtype} of shape {rows.shape}: give numbers (rows, columns)")
            dtypes = {f"column_{j + 1}": rows.dtype for j in range(rows.shape[1])}
        else:
            rows = _table(rows, title)
            dtypes = {field.name: dtype_of(field.type) for field in rows.schema}
            if len(dtypes) < len(rows.schema.names):
                raise TableError(f"{title} has several columns of one name: rename them")
        if target is None:
            return _Part(rows, None, dtypes)
        target = np.asarray(target)
        if target.shape != rows.shape[:1]:
            raise TableError(f"{title} has {rows.shape[0]:,} rows, but y has shape {target.shape}")
        if TARGET in dtypes:
            raise TableError(f"{title} has a column {TARGET!r}, the name of y in pairs: rename it")
        kind = target.dtype if target.dtype.kind in "fiub" else np.dtype(object)
        return _Part(rows, target, {**dtypes, TARGET: kind})


class _Part(NamedTuple):
    rows: Any
    """An array, a CSR matrix or an Arrow table."""
    target: NDArray[Any] | None
    dtypes: dict[str, np.dtype[Any]]


def _table(rows: Any, title: str) -> Any:
    """Return a frame or a batch as an Arrow table."""
    pa = load_pyarrow()
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    if type(rows).__module__.partition(".")[0] == "pandas":
        return pa.Table.from_pandas(rows, preserve_index=False)
    if hasattr(rows, "__arrow_c_stream__"):
        return pa.table(rows)
    raise TableError(
        f"{title} is {type(rows).__name__}: give a 2-D array, a CSR matrix, a frame or an Arrow batch, or a pair of one"
        " of these and y"
    )


def _blocks(part: _Part, title: str, names: Sequence[str]) -> Iterator[RowBlock]:
    columns = {} if part.target is None else {TARGET: part.target}
    rows = rows_per_block(list(part.dtypes.values()))
    if issparse(part.rows):
        first = 0
        for block in SparseSource([part.rows]).blocks(()) if part.rows.shape[0] else ():
            labels = {name: column[first : first + block.rows] for name, column in columns.items()}
            # A copy, since the generator may use its arrays again.
            yield SparseBlock(block.matrix.copy(), block.positions, title, labels)
            first += block.rows
    elif isinstance(part.rows, np.ndarray):
        positions = {name: j for j, name in enumerate(part.dtypes) if name != TARGET or not columns}
        for start in range(0, len(part.rows), rows):
            chosen = slice(start, start + rows)
            labels = {name: column[chosen] for name, column in columns.items()}
            yield ArrayBlock(part.rows[chosen], positions, title, labels)
    else:
        table = part.rows
        for name, column in columns.items():
            table = table.append_column(name, load_pyarrow().array(column))
        for batch in table.select(list(names)).combine_chunks().to_batches():
            for piece in split_batch(batch, rows):
                yield ArrowBlock(piece, title)


def _difference(found: dict[str, np.dtype[Any]], expected: dict[str, np.dtype[Any]]) -> str:
    """Return what differs between the columns of two parts."""
    for name in (*expected, *found):
        here, there = str(found.get(name, "no such column")), str(expected.get(name, "no such column"))
        if here != there:
            return (
                f"has for column {name!r} {here}, but the first part {there}: give all parts the same columns and types"
            )
    return "is not sparse as the first one, or the reverse"
