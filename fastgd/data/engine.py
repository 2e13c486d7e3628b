"""Tables read by DuckDB, column by column as they are needed: what they share, and Parquet and JSON.

DuckDB is installed by the extra ``fastgd[cli]`` and imported when the first table is read.
"""

from __future__ import annotations

import contextlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd.data import ReadOptions
from fastgd.data.blocks import load_pyarrow, rows_per_block
from fastgd.data.decode import Columns, Decoded, Decoder, NotNumbersError
from fastgd.data.dialect import quoted
from fastgd.data.query import Selection, align_batches, run_query
from fastgd.data.source import Source, Workspace
from fastgd.data.table import Labels, Table
from fastgd.data.text_column import TextColumn, parse_number, resolve_missing
from fastgd.exceptions import TableError
from fastgd.threads import get_num_threads

if TYPE_CHECKING:
    import duckdb
    import pyarrow

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
#: The types of numbers that are read as they are.
_DTYPES = {
    **dict(zip(_INTEGERS, ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"), strict=True)),
    "FLOAT": "f4",
    "DOUBLE": "f8",
    "BOOLEAN": "?",
}


class _QueryError(Exception):
    """A query cannot be run, or not to its end."""


class EngineTable(Table, ABC):
    """Columns of files of one format, read one after the other, by DuckDB when they are first asked for.

    Predictors that are read in one pass become one matrix, a file where it is larger than `memory`.
    """

    def __init__(
        self, sources: Sequence[Source], options: ReadOptions, workspace: Workspace, memory: int = 1 << 62
    ) -> None:
        super().__init__({}, -1, memory=memory)
        self._sources = list(sources)
        self._options = options
        self._workspace = workspace
        self._connection = connect()
        self._matrix_names: tuple[str, ...] = ()
        #: Whether predictors are not read, for fits that read the source themselves.
        self.leaves_predictors = False
        self._texts: dict[str, TextColumn] = {}
        # Labels that are numbers with too many values for classes, and those that were found to be text after all.
        self._numeric_labels: dict[str, NDArray[np.float64]] = {}
        self._text_labels: set[str] = set()
        # Column -> "numbers", "text", "dates" or the name of another type.
        self._kinds: dict[str, str] = {}
        self.notes = [note for source in sources for note in source.notes]
        self._describe()

    @abstractmethod
    def _describe(self) -> None:
        """Set the names of the columns, their kinds, and other facts from the first rows."""

    @abstractmethod
    def _spelt_labels(self, names: Sequence[str]) -> list[str]:
        """Return those of some columns whose values are labels as text."""

    @abstractmethod
    def _queries(self, numbers: Sequence[str], texts: Sequence[str]) -> list[Selection]:
        """Return queries that read columns in the order of the rows; fields of text as they are."""

    @abstractmethod
    def _repair(self, message: str) -> None:
        """Do what lets a query be run again after an error; a column of numbers may become text. Else `TableError`."""

    @abstractmethod
    def _count_rows(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def dtypes(self) -> dict[str, np.dtype[Any]]:
        """Return the type of the numbers that `selections` reads per column; ``object`` for text."""

    @abstractmethod
    def selections(self, names: Sequence[str]) -> list[Selection]:
        """Return queries that read columns in the order of the rows; numbers as such, others as text."""

    @abstractmethod
    def recover(self, message: str, names: Sequence[str]) -> None:
        """Repair what an error of a query reports, so that it can be run again; raise `TableError` if that fails."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        if self._n_rows < 0:
            self._set_rows(self._count_rows())
        return self._n_rows

    @n_rows.setter
    def n_rows(self, count: int) -> None:
        self._n_rows = count

    @property
    def _whole_names(self) -> Sequence[str]:
        return self._matrix_names

    def load(
        self,
        numbers: Sequence[str],
        texts: Sequence[str] = (),
        labels: Sequence[str] = (),
        weights: Sequence[str] = (),
    ) -> None:
        """See `Table.load`."""
        numbers = () if self.leaves_predictors else numbers
        labels = [name for name in labels if name not in self._numeric_labels]
        spelt = self._spelt_labels(labels)
        single = self._unread([*weights, *(name for name in labels if name not in spelt)])
        texts = list(dict.fromkeys(name for name in [*texts, *spelt] if name not in self._texts))
        matrix = [name for name in self._unread(numbers) if name not in single]
        if {*matrix, *single} & set(texts):
            self.load(matrix, weights=single)
            matrix, single = [], []
        if matrix or single or texts:
            self._store(Columns(matrix, single, texts, [name for name in spelt if name not in self._text_labels]))

    def _unread(self, names: Sequence[str]) -> list[str]:
        """Return the columns of numbers that have not been read."""
        return [name for name in names if name not in self._columns and self._kinds[name] == "numbers"]

    def _store(self, columns: Columns) -> None:
        """Read columns; those that hold text in place of numbers are left out."""
        found = self._decode(columns)
        if found is None:
            return
        names = self._unread(columns.numbers)
        views = dict(zip(names, found.matrix.T, strict=True))
        if names and self._whole is None:
            self._whole, self._matrix_names = found.matrix, tuple(names)
            self._is_finite, self._owns_whole = found.is_finite, True
        self._columns |= views | found.single
        self._texts |= found.texts
        self._numeric_labels |= found.labels
        self._set_rows(found.rows)

    def _decode(self, columns: Columns) -> Decoded | None:
        """Read columns; None if all of them are found to be text in place of numbers."""
        null, name = self._options.null, self._sources[0].name
        while True:
            self._check_groups(self._unread([*columns.numbers, *columns.single]))
            columns = columns._replace(numbers=self._unread(columns.numbers), single=self._unread(columns.single))
            numbers, dtypes = [*columns.numbers, *columns.single], self.dtypes()
            if not numbers and not columns.texts:
                return None
            decoder = Decoder(columns, dtypes, self.memory, self._parse, null, name)
            connection = self._connection.cursor()
            # Only then does DuckDB count what has been read; nothing is printed.
            connection.execute("SET enable_progress_bar=true; SET enable_progress_bar_print=false")
            batches = self._batches(connection, numbers, columns.texts)
            try:
                return decoder.run(batches, get_num_threads(), partial(_share_read, connection))
            except _QueryError as error:
                self._repair(str(error))
            except NotNumbersError as error:
                self._text_labels.add(str(error))
                columns = columns._replace(labels=[name for name in columns.labels if name not in self._text_labels])

    def _batches(
        self, connection: duckdb.DuckDBPyConnection, numbers: Sequence[str], texts: Sequence[str]
    ) -> Iterator[pyarrow.RecordBatch]:
        """Yield columns, the first ones of them by a query of the connection."""
        dtypes = self.dtypes()
        rows = rows_per_block([*(dtypes[name] for name in numbers), *(np.dtype(object) for _ in texts)])
        queries = self._queries(numbers, texts)
        try:
            others = [connection.cursor() for _ in queries[1:]]
            readers = [run_query(each, query, rows) for each, query in zip([connection, *others], queries, strict=True)]
            yield from align_batches(readers, [*numbers, *texts]) if len(readers) > 1 else readers[0]
        except (load_duckdb().Error, load_pyarrow().ArrowException, OSError) as error:
            raise _QueryError(str(error)) from error

    def column(self, name: str) -> NDArray[Any]:
        """See `Table.column`."""
        self.load((), weights=[name])
        return self._columns[name] if name in self._columns else self.text(name).texts()

    def labels(self, name: str) -> Labels:
        """See `Table.labels`."""
        self.load((), labels=[name])
        if name in self._numeric_labels:
            return self._numeric_labels[name]
        return self.text(name) if self._spelt_labels([name]) else self.column(name)

    def text(self, name: str, known: Sequence[str] = ()) -> TextColumn:
        """See `Table.text`."""
        self.load((), [name])
        return resolve_missing(self._texts[name], self._options.null, known)

    def unusable(self, names: Sequence[str]) -> dict[str, str]:
        """See `Table.unusable`."""
        self.load(names)
        return {name: self._kinds[name] for name in names if self._kinds[name] != "numbers"}

    def source_dtypes(self, names: Sequence[str]) -> set[np.dtype[Any]]:
        """See `Table.source_dtypes`."""
        self.load(names)
        dtypes = self.dtypes()
        return {dtypes[name] for name in names}

    def _check_groups(self, names: Sequence[str]) -> None:
        """Take columns for text in which a mark of thousands does not separate groups of three digits."""

    def _parse(self, text: str) -> float:
        return parse_number(text, self._options.decimal or ".", self._options.thousands)

    def _set_rows(self, count: int) -> None:
        if count == 0:
            raise TableError(f"{self._sources[0].name} is empty: it holds names of columns but no row of data")
        self._n_rows = count

    def _files(self, sources: Sequence[Source]) -> str:
        return "[" + ", ".join(quoted(str(source.path)) for source in sources) + "]"


class TypedTable(EngineTable):
    """Columns of Parquet and JSON, which have types; see `EngineTable`."""

    _types: dict[str, str]

    def _describe(self) -> None:
        self._relation = self._relation_of_sources()
        self._types = self._schema(self._relation)
        self.names = tuple(self._types)
        self._kinds = {name: _kind_of_type(kind) for name, kind in self._types.items()}

    def _relation_of_sources(self) -> str:
        """Return the rows as a relation of SQL."""
        files = self._files(self._sources)
        if self._sources[0].format != "json":
            return f"read_parquet({files})"
        # Dates and identifiers stay as in the file.
        columns = {
            name: kind if _kind_of_type(kind) == "numbers" or "[" in kind or "(" in kind else "VARCHAR"
            for name, kind in self._schema(f"read_json({files}, compression='none')").items()
        }
        typed = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in columns.items())
        return f"read_json({files}, compression='none', columns={{{typed}}})"

    def labels(self, name: str) -> Labels:
        """See `Table.labels`."""
        found = super().labels(name)
        if self._types[name] != "BOOLEAN" or isinstance(found, TextColumn):
            return found
        missing = np.isnan(found)
        labels = found != 0
        if missing.any():
            labels = labels.astype(object)
            labels[missing] = None
        return labels

    def _spelt_labels(self, names: Sequence[str]) -> list[str]:
        integers = {*_INTEGERS, "HUGEINT", "UHUGEINT"}
        return [name for name in names if self._types[name] in integers or self._kinds[name] != "numbers"]

    def _repair(self, message: str) -> None:
        raise TableError(self._fault(message))

    def dtypes(self) -> dict[str, np.dtype[Any]]:
        """See `EngineTable.dtypes`."""
        return {
            name: np.dtype(_DTYPES.get(kind, "f8") if self._kinds[name] == "numbers" else "O")
            for name, kind in self._types.items()
        }

    def selections(self, names: Sequence[str]) -> list[Selection]:
        """See `EngineTable.selections`."""
        columns = [self._as_number(name) if self._kinds[name] == "numbers" else self._as_text(name) for name in names]
        return [Selection(f"SELECT {', '.join(columns)} FROM {self._relation}", list(names))]

    def recover(self, message: str, names: Sequence[str]) -> None:
        """See `EngineTable.recover`."""
        raise TableError(self._fault(message))

    def _schema(self, relation: str) -> dict[str, str]:
        found = self._run(f"DESCRIBE SELECT * FROM {relation}")
        return dict(zip(found["column_name"].tolist(), found["column_type"].tolist(), strict=True))

    def _queries(self, numbers: Sequence[str], texts: Sequence[str]) -> list[Selection]:
        selected = [self._as_number(name) for name in numbers] + [self._as_text(name) for name in texts]
        return [Selection(f"SELECT {', '.join(selected)} FROM {self._relation}", [*numbers, *texts])]

    def _count_rows(self) -> int:
        return int(self._run(f"SELECT count(*) AS v FROM {self._relation}")["v"][0])

    def _run(self, query: str) -> dict[str, NDArray[Any]]:
        try:
            return self._connection.execute(query).fetchnumpy()
        except load_duckdb().Error as error:
            raise TableError(self._fault(str(error))) from error

    def _fault(self, message: str) -> str:
        first = message.strip().split("\n")[0]
        title = "JSON" if self._sources[0].format == "json" else "Parquet"
        return f"{self._sources[0].name} cannot be read as {title}: {first}"

    def _as_number(self, name: str) -> str:
        kind, column = self._types[name], identifier(name)
        if kind in {*_INTEGERS, "FLOAT", "DOUBLE", "BOOLEAN"}:
            return column
        return f"CAST({column} AS DOUBLE)"

    def _as_text(self, name: str) -> str:
        """Spell values as text; whole numbers have no point, so that 1 and 1.0 are one value."""
        column = identifier(name)
        if self._types[name] not in {"FLOAT", "DOUBLE"}:
            return f"CAST({column} AS VARCHAR)"
        return f"CASE WHEN isnan({column}) THEN NULL ELSE regexp_replace(CAST({column} AS VARCHAR), '\\.0$', '') END"


def write_columns(blocks: Iterator[Mapping[str, NDArray[Any]]], path: Path, format: str) -> None:
    """Write blocks of columns into a file of format csv, tsv or parquet; masked values and NaN become empty fields."""
    pa, connection = load_pyarrow(), connect()
    first = next(blocks)
    schema = pa.schema([(f"c{j}", _arrow_type(column.dtype)) for j, column in enumerate(first.values())])

    def batch(block: Mapping[str, NDArray[Any]]) -> pyarrow.RecordBatch:
        masks = [column.mask if isinstance(column, np.ma.MaskedArray) else None for column in block.values()]
        arrays = [
            pa.array(np.ma.getdata(column), kind, mask=mask)
            for column, kind, mask in zip(block.values(), schema.types, masks, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    reader = pa.RecordBatchReader.from_batches(schema, map(batch, itertools.chain([first], blocks)))
    connection.register("columns", reader)
    values = [
        f"CASE WHEN isnan(c{j}) THEN NULL ELSE c{j} END" if column.dtype.kind == "f" else f"c{j}"
        for j, column in enumerate(first.values())
    ]
    selected = ", ".join(f"{value} AS {identifier(name)}" for value, name in zip(values, first, strict=True))
    options = {"csv": "FORMAT csv", "tsv": r"FORMAT csv, DELIMITER '\t'", "parquet": "FORMAT parquet"}[format]
    options += ", USE_TMP_FILE false"
    connection.execute(f"COPY (SELECT {selected} FROM columns) TO {quoted(str(path))} ({options})")


def _arrow_type(dtype: np.dtype[Any]) -> Any:
    pa = load_pyarrow()
    return pa.string() if dtype.kind in "OU" else pa.from_numpy_dtype(dtype)


def identifier(name: str) -> str:
    """Return a quoted identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _kind_of_type(kind: str) -> str:
    """Return the kind of a column by DuckDB's type: "numbers", "text", "dates" or the type."""
    if (
        kind in _INTEGERS
        or kind in {"HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE", "BOOLEAN"}
        or kind.startswith("DECIMAL(")
    ):
        return "numbers"
    if kind in {"VARCHAR", "UUID"} or kind.startswith("ENUM"):
        return "text"
    return "dates" if kind.startswith(("DATE", "TIME", "INTERVAL")) else kind.lower()


def _share_read(connection: duckdb.DuckDBPyConnection) -> float:
    return connection.query_progress() / 100


def connect() -> duckdb.DuckDBPyConnection:
    """Open a database in memory that reads files and nothing else: no network, no extension, no progress bar."""
    duckdb = load_duckdb()
    connection = duckdb.connect()
    # In a notebook without ipywidgets there is no bar, and the setting is an error.
    with contextlib.suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar=false")
    connection.execute("SET autoinstall_known_extensions=false; SET autoload_known_extensions=false")
    return connection


def load_duckdb() -> ModuleType:
    """Return DuckDB; raise `TableError` with the command that installs it."""
    try:
        import duckdb
    except ImportError as error:
        raise TableError("reading this format needs duckdb: pip install '.[cli]' in the checkout") from error
    return duckdb
