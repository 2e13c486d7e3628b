"""Queries, lazy frames, datasets and streams of Arrow batches as sources of row blocks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd.data.blocks import (
    ArrowBlock,
    check_count,
    dtype_of,
    load_pyarrow,
    refuse_parts,
    rows_per_block,
    split_batch,
)
from fastgd.data.engine import connect, identifier, load_duckdb
from fastgd.data.parquet import READ_BYTES
from fastgd.data.rows import RowSource
from fastgd.data.source import FileStamp, Source
from fastgd.exceptions import TableError

if TYPE_CHECKING:
    import pyarrow

#: Begin a pass: yield batches of about so many rows with the columns of these names.
Read = Callable[[Sequence[str], int], Iterator[Any]]


class BatchSource:
    """Rows of Arrow batches that are made anew for every pass; see `RowSource`.

    Parameters
    ----------
    name : str
        For messages.
    schema : pyarrow.Schema
    read : callable
        Called with names of columns and a number of rows for every pass; yields batches that hold these columns.
    stamps : sequence of FileStamp, default=()
        The files, where they are known.

    Raises
    ------
    TableError
        Two columns have one name.
    """

    is_sparse = False
    default_target: str | None = None
    n_rows: int | None = None
    nbytes: int | None
    starts: NDArray[np.int64] | None = None

    def __init__(self, name: str, schema: pyarrow.Schema, read: Read, stamps: Sequence[FileStamp] = ()) -> None:
        self.name = name
        self._read, self._stamps = read, list(stamps)
        self.dtypes = {field.name: dtype_of(field.type) for field in schema}
        self.names = tuple(self.dtypes)
        repeated = next((column for column in self.names if schema.names.count(column) > 1), None)
        if len(self.names) < len(schema.names) and repeated is not None:
            raise TableError(f"{name} has several columns named {repeated!r}: rename them")
        self.nbytes = sum(stamp.size for stamp in stamps) if stamps else None
        # Rows of the first whole pass.
        self._counted: int | None = None

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[ArrowBlock]:
        """See `RowSource.blocks`."""
        refuse_parts(self.name, parts)
        self._check_files()
        rows = rows_per_block([self.dtypes[name] for name in names])
        done = 0
        with closing(self._batches(names, rows)) as batches:
            for batch in batches:
                for piece in split_batch(batch.select(list(names)), rows):
                    yield ArrowBlock(piece, f"{self.name}, rows {done:,} to {done + piece.num_rows - 1:,}")
                    done += piece.num_rows
        self._check_files()
        check_count(self.name, self._counted, done)
        self._counted = done

    def fingerprint(self) -> str:
        """See `RowSource.fingerprint`; rows are not known without a pass."""
        return ""

    def _batches(self, names: Sequence[str], rows: int) -> Generator[pyarrow.RecordBatch, None, None]:
        """Yield batches; raise errors of their library as `TableError`."""
        batches = self._read(names, rows)
        try:
            yield from batches
        except (OSError, load_pyarrow().ArrowException, *_library_errors()) as error:
            self._check_files()  # a better reason, where a file was written to meanwhile
            raise TableError(f"{self.name} cannot be read: {_first_line(error)}") from error
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def _check_files(self) -> None:
        for stamp in self._stamps:
            stamp.check()


def scan_sql(query: str, connection: Any = None) -> RowSource:
    """Return the rows of an SQL query to DuckDB as a source, which runs the query in every pass.

    Parameters
    ----------
    query : str
        One SELECT statement, such as ``SELECT * FROM 'rides-*.parquet' WHERE fare > 0``. It must return the same rows
        in the same order in every pass: after joins, groups and samples, add ORDER BY.
    connection : duckdb.DuckDBPyConnection or None, default=None
        The database. A pass has a cursor of its own, which does not see temporary tables, registered frames and
        variables of Python: give the relation ``connection.sql(query)`` to a fit instead. None reads files alone.

    Returns
    -------
    RowSource

    Raises
    ------
    TableError
        The query is wrong, or names two columns alike.

    Examples
    --------
    >>> from fastgd.data import scan_sql
    >>> source = scan_sql("SELECT i AS x, 2.0 * i AS y FROM range(4) AS t(i)")
    >>> source.names
    ('x', 'y')
    """
    load_pyarrow()
    text = f"({query.strip().rstrip(';')}\n)"

    def read(names: Sequence[str], rows: int) -> Iterator[Any]:
        own = connect() if connection is None else connection.cursor()
        with closing(own):
            yield from _drain(own.sql(f"SELECT {_columns(names)} FROM {text}").to_arrow_reader(rows))

    own = connect() if connection is None else connection.cursor()
    try:
        with closing(own):
            schema = own.sql(f"SELECT * FROM {text} LIMIT 0").to_arrow_reader(1).schema
    except load_duckdb().CatalogException as error:
        raise TableError(
            f"the query cannot be run: {_first_line(error)}. It sees files and the tables and views of the database;"
            " to read frames, variables and temporary tables, fit the relation connection.sql(query)"
        ) from error
    except load_duckdb().Error as error:
        raise TableError(f"the query cannot be run: {_first_line(error)}") from error
    return BatchSource("the query", schema, read)


def scan_relation(relation: Any) -> RowSource:
    """Return the rows of a relation of DuckDB, which computes them in every pass."""

    def read(names: Sequence[str], rows: int) -> Iterator[Any]:
        try:
            reader = relation.project(_columns(names)).to_arrow_reader(rows)
        except load_duckdb().Error as error:
            if "open result" not in str(error):
                raise
            raise TableError(
                "the relation's connection has an open result: finish that first, or give a query with its connection"
                " to fastgd.data.scan_sql, whose passes have cursors of their own"
            ) from error
        yield from _drain(reader)

    reader = relation.limit(0).to_arrow_reader(1)
    with closing(reader):
        return BatchSource("the relation", reader.schema, read)


def scan_lazy_frame(frame: Any) -> RowSource:
    """Return the rows of a LazyFrame of polars, which its streaming engine computes in every pass."""
    if not hasattr(frame, "collect_batches"):
        raise TableError("this version of polars cannot stream a LazyFrame: update polars, or fit frame.collect()")

    def read(names: Sequence[str], rows: int) -> Iterator[Any]:
        batches = frame.select(list(names)).collect_batches(chunk_size=rows, maintain_order=True, engine="streaming")
        for batch in batches:
            yield from batch.to_arrow().to_batches()

    return BatchSource("the LazyFrame", frame.head(0).collect().to_arrow().schema, read)


def scan_dataset(dataset: Any) -> RowSource:
    """Return the rows of a dataset of pyarrow, in the order of its files."""
    options = _scan_options(dataset)

    def read(names: Sequence[str], rows: int) -> Iterator[Any]:
        return dataset.to_batches(
            columns=list(names), batch_size=rows, batch_readahead=2, fragment_readahead=1, fragment_scan_options=options
        )

    files = [file for file in getattr(dataset, "files", []) if Path(file).is_file()]
    stamps = [FileStamp.of(Source(file, Path(file), "parquet", [])) for file in files]
    return BatchSource("the dataset", dataset.schema, read, stamps)


def _scan_options(dataset: Any) -> Any:
    """Return options by which Parquet is read piece by piece, not by whole row groups ahead; None for others."""
    import pyarrow.dataset

    format = getattr(dataset, "format", None)
    standard = pyarrow.dataset.ParquetFragmentScanOptions()
    if not isinstance(format, pyarrow.dataset.ParquetFileFormat) or format.default_fragment_scan_options != standard:
        return None  # another format, or the user's own options
    return pyarrow.dataset.ParquetFragmentScanOptions(
        pre_buffer=False, use_buffered_stream=True, buffer_size=READ_BYTES
    )


def scan_stream(given: Any) -> RowSource:
    """Return the rows of an object with an Arrow C stream; a second pass of a RecordBatchReader raises."""
    pa = load_pyarrow()
    if isinstance(given, pa.RecordBatchReader):
        unread = [given]

        def read_once(names: Sequence[str], rows: int) -> Iterator[Any]:
            if not unread:
                raise refuse_second_pass("the RecordBatchReader")
            return _drain(unread.pop())

        return BatchSource("the RecordBatchReader", given.schema, read_once)

    def read(names: Sequence[str], rows: int) -> Iterator[Any]:
        return _drain(pa.RecordBatchReader.from_stream(given))

    return BatchSource(f"the {type(given).__name__}", pa.RecordBatchReader.from_stream(given).schema, read)


def refuse_second_pass(name: str) -> TableError:
    """Return the error of a second pass over rows that can be read once."""
    return TableError(
        f"{name} can be read only once: give a callable that returns a new one for every pass, or keep its rows with"
        " cache='memory' or cache='disk'"
    )


def _drain(reader: Any) -> Iterator[Any]:
    """Yield the batches of a reader, and close it, which frees its connection."""
    with closing(reader):
        yield from reader


def _columns(names: Sequence[str]) -> str:
    return ", ".join(map(identifier, names))


def _library_errors() -> tuple[type[Exception], ...]:
    """Return the errors of DuckDB and polars, where they are loaded."""
    duckdb, polars = sys.modules.get("duckdb"), sys.modules.get("polars")
    return (
        *(() if duckdb is None else (duckdb.Error,)),
        *(() if polars is None else (polars.exceptions.PolarsError,)),
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
