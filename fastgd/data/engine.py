"""Tables read by DuckDB, column by column as they are needed: what they share, and Parquet and JSON.

DuckDB is installed by the extra ``fastgd[cli]`` and imported when the first table is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.data import ReadOptions
from fastgd.data.dialect import quoted
from fastgd.data.source import Source, Workspace
from fastgd.data.table import Labels, Table
from fastgd.data.text_column import TextColumn, encode, parse_number, resolve_missing
from fastgd.exceptions import TableError

if TYPE_CHECKING:
    import duckdb

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
#: The types of numbers that are read as they are.
_DTYPES = {
    **dict(zip(_INTEGERS, ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"), strict=True)),
    "FLOAT": "f4",
    "DOUBLE": "f8",
    "BOOLEAN": "?",
}


class Selection(NamedTuple):
    """A query, and the columns that it returns."""

    query: str
    names: list[str]


class EngineTable(Table, ABC):
    """Columns of files of one format, read one after the other, by DuckDB when they are first asked for."""

    def __init__(self, sources: Sequence[Source], options: ReadOptions, workspace: Workspace) -> None:
        super().__init__({}, -1)
        self._sources = list(sources)
        self._options = options
        self._workspace = workspace
        self._connection = connect()
        self._texts: dict[str, TextColumn] = {}
        # Column -> "numbers", "text", "dates" or the name of another type.
        self._kinds: dict[str, str] = {}
        self.notes = [note for source in sources for note in source.notes]
        self._describe()

    @abstractmethod
    def _describe(self) -> None:
        """Set the names of the columns, their kinds, and other facts from the first rows."""

    @abstractmethod
    def _fetch(self, numbers: Sequence[str], texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Read columns into (masked) arrays; a column of `numbers` that holds text is left out and its kind set."""

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

    def load(self, numbers: Sequence[str], texts: Sequence[str] = ()) -> None:
        """See `Table.load`."""
        numbers = [name for name in numbers if name not in self._columns and self._kinds[name] == "numbers"]
        texts = [name for name in texts if name not in self._texts]
        if set(numbers) & set(texts):
            self.load(numbers)
            numbers = []
        if not numbers and not texts:
            return
        arrays = self._fetch(numbers, texts)
        for name, array in arrays.items():
            if name in texts:
                self._texts[name] = encode(array.tolist(), len(array), self._parse)
            else:
                self._columns[name] = _with_nan(array)
            self._set_rows(len(array))

    def column(self, name: str) -> NDArray[Any]:
        """See `Table.column`."""
        self.load([name])
        return self._columns[name] if name in self._columns else self.text(name).texts()

    def text(self, name: str, known: Sequence[str] = ()) -> TextColumn:
        """See `Table.text`."""
        self.load((), [name])
        return resolve_missing(self._texts[name], self._options.null, known)

    def unusable(self, names: Sequence[str]) -> dict[str, str]:
        """See `Table.unusable`."""
        self.load(names)
        return {name: self._kinds[name] for name in names if self._kinds[name] != "numbers"}

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
        is_json = self._sources[0].format == "json"
        self._relation = f"read_parquet({self._files(self._sources)})"
        if is_json:  # dates and identifiers stay as in the file
            self._relation = f"read_json({self._files(self._sources)}, compression='none')"
            types = self._schema()
            columns = {
                name: kind if _kind_of_type(kind) == "numbers" or "[" in kind or "(" in kind else "VARCHAR"
                for name, kind in types.items()
            }
            typed = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in columns.items())
            self._relation = self._relation.removesuffix(")") + f", columns={{{typed}}})"
        self._types = self._schema()
        self.names = tuple(self._types)
        self._kinds = {name: _kind_of_type(kind) for name, kind in self._types.items()}

    def labels(self, name: str) -> Labels:
        """See `Table.labels`."""
        kind = self._types[name]
        if kind == "BOOLEAN":
            return np.array(self._run(f"SELECT {identifier(name)} AS v FROM {self._relation}")["v"].tolist())
        if kind in _INTEGERS or kind in {"HUGEINT", "UHUGEINT"} or self._kinds[name] != "numbers":
            return self.text(name)
        column: NDArray[Any] = self.column(name)
        return column

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

    def _schema(self) -> dict[str, str]:
        found = self._run(f"DESCRIBE SELECT * FROM {self._relation}")
        return dict(zip(found["column_name"].tolist(), found["column_type"].tolist(), strict=True))

    def _fetch(self, numbers: Sequence[str], texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        chosen = [*numbers, *texts]
        selected = [self._as_number(name) for name in numbers] + [self._as_text(name) for name in texts]
        aliased = ", ".join(f"{expression} AS v{j}" for j, expression in enumerate(selected))
        found = self._run(f"SELECT {aliased} FROM {self._relation}")
        return {name: found[f"v{j}"] for j, name in enumerate(chosen)}

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


def write_columns(columns: Mapping[str, NDArray[Any]], path: Path, format: str) -> None:
    """Write columns of one length into a file of format csv, tsv or parquet; NaN and None become empty fields."""
    connection = connect()
    connection.register("columns", {f"c{j}": column for j, column in enumerate(columns.values())})
    values = [
        f"CASE WHEN isnan(c{j}) THEN NULL ELSE c{j} END" if column.dtype.kind == "f" else f"c{j}"
        for j, column in enumerate(columns.values())
    ]
    selected = ", ".join(f"{value} AS {identifier(name)}" for value, name in zip(values, columns, strict=True))
    options = {"csv": "FORMAT csv", "tsv": r"FORMAT csv, DELIMITER '\t'", "parquet": "FORMAT parquet"}[format]
    options += ", USE_TMP_FILE false"
    connection.execute(f"COPY (SELECT {selected} FROM columns) TO {quoted(str(path))} ({options})")


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


def _with_nan(array: Any) -> NDArray[Any]:
    """Return numbers with NaN in place of masked ones, without a copy where none is."""
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if not isinstance(array, np.ma.MaskedArray):
        return np.asarray(array)
    if not array.mask.any():
        return np.asarray(array.data)
    values = array.data if array.data.dtype.kind == "f" else array.data.astype(np.float64)
    values[array.mask] = np.nan
    return np.asarray(values)


def connect() -> duckdb.DuckDBPyConnection:
    """Open a database in memory that reads files and nothing else: no network, no extension, no progress bar."""
    connection = load_duckdb().connect()
    connection.execute(
        "SET enable_progress_bar=false; SET autoinstall_known_extensions=false; SET autoload_known_extensions=false"
    )
    return connection


def load_duckdb() -> ModuleType:
    """Return DuckDB; raise `TableError` with the command that installs it."""
    try:
        import duckdb
    except ImportError as error:
        raise TableError("reading this format needs duckdb: pip install '.[cli]' in the checkout") from error
    return duckdb
