"""Tables read by DuckDB: delimited text, Parquet and JSON, column by column as they are needed.

DuckDB is installed by the extra ``fastgd[cli]`` and imported when the first table is read.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastgd.data import ReadOptions
from fastgd.data.dialect import (
    Dialect,
    Record,
    detect_dialect,
    has_header,
    line_of_count,
    line_of_record,
    quoted,
    sample_rows,
    uses_decimal_comma,
)
from fastgd.data.source import Source, Workspace, drop_blank_lines, is_utf8, recode, tabulate_blanks, unify_line_ends
from fastgd.data.table import Example, Labels, NonNumeric, Table, unique_names
from fastgd.data.text_column import MISSING, TextColumn, encode, is_missing, is_number, parse_number, resolve_missing
from fastgd.exceptions import TableError

if TYPE_CHECKING:
    import duckdb

P = ParamSpec("P")
T = TypeVar("T")

#: Lines of this many bytes are read without being asked for; a longer one makes the buffers grow.
_LINE_BYTES = 2 << 20
_MOST_LINE_BYTES = 64 << 20
#: Stands for the number of values where they were not counted.
_MANY = 1 << 62
_COLUMN = re.compile(r'Error when converting column "(c\d+)"')
_VALUE = re.compile(r'Could not convert string "(.*?)" to', re.DOTALL)
_FAULT = re.compile(r"CSV Error on Line: (\d+)")
_FAULT_FILE = re.compile(r"(?m)^\s*file = (.*)$")
_FAULT_WIDTH = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
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


class _WrongValue(NamedTuple):
    name: str
    example: Example


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


class DelimitedTable(EngineTable):
    """Columns of CSV, TSV and the like; see `EngineTable`."""

    _dialect: Dialect

    def _describe(self) -> None:
        self._line_bytes = _LINE_BYTES
        # Columns of true and false, which become numbers.
        self._booleans: set[str] = set()
        # Whether columns of numbers hold words or blanks for missing values.
        self._has_missing_words = False
        # What `recover` has already done.
        self._repairs_done: set[str] = set()
        rows = self._repeatedly(self._first_rows)
        dialect = self._dialect
        if dialect.width == 1:  # DuckDB would take blank lines for rows
            self._copy_sources(drop_blank_lines)
        if self._options.decimal is None:
            thousands = self._options.thousands
            found = thousands not in {".", ","} and uses_decimal_comma(rows, dialect.delimiter)
            self._options = self._options._replace(decimal="," if found or thousands == "." else ".")
            if found:
                self.notes.append("numbers are read with decimal commas; --decimal . takes them for text")
        header = self._options.header
        self.named = has_header(rows, self._options.decimal or ".") if header is None else header
        if self.named:
            self._name_columns(rows.pop(0))
        else:
            self.names = unique_names([""] * dialect.width).names
        if not self.named and header is None:
            shown = ", ".join(field or "" for field in rows[0][:4]) + (", ..." if len(rows[0]) > 4 else "")
            self.notes.append(f"the first line ({shown}) is read as data; if it names the columns, use --header")
        if not rows and len(self._sources) == 1:
            self._set_rows(0)
        self._positions = {name: f"c{j}" for j, name in enumerate(self.names)}
        self._sample = {name: [row[j] for row in rows] for j, name in enumerate(self.names)}
        self._non_numeric: dict[str, NonNumeric] = {}
        for name, fields in self._sample.items():
            self._kinds[name] = self._kind_of(name, fields)
            if self._kinds[name] == "numbers":
                self._has_missing_words |= any(field and is_missing(field) for field in fields)
        unknown = [name for name in self._options.text if name not in self._kinds]
        if unknown:
            raise TableError(f"{self._sources[0].name} has no column {unknown[0]!r} to read as text")

    def non_numeric(self, name: str) -> NonNumeric:
        """See `Table.non_numeric`."""
        if name not in self._non_numeric:
            self._non_numeric[name] = self._non_numeric_of_sample(name)
        return self._non_numeric[name]

    def labels(self, name: str) -> Labels:
        """See `Table.labels`."""
        return self.text(name)

    def _name_columns(self, header: Record) -> None:
        given = [(name or "").strip() for name in header]
        self.names, self.repeated = unique_names(given)
        self.nameless = tuple(made for made, name in zip(self.names, given, strict=True) if not name)
        for source in self._sources[1:]:
            found = [(name or "").strip() for name in (self._repeatedly(self._rows_of, source, 1) or [()])[0]]
            if found != given:
                pair = next((pair for pair in zip(found, given, strict=False) if pair[0] != pair[1]), None)
                detail = f"{pair[0]!r} in place of {pair[1]!r}" if pair else f"{len(found)} in place of {len(given)}"
                raise TableError(
                    f"{source.name} has other columns than {self._sources[0].name} ({detail}): files that are read"
                    " as one table must have the same columns in the same order"
                )

    def _kind_of(self, name: str, fields: Sequence[str | None]) -> str:
        """Return the kind of a column by its first fields."""
        if name in self._options.text:
            return "text"
        present = [field for field in fields if field and not self._is_missing(field)]
        if present and all(field.strip().lower() in {"true", "false"} for field in present):
            self._booleans.add(name)
            return "numbers"
        return "numbers" if all(map(self._is_number, present)) else "text"

    def _is_missing(self, field: str | None) -> bool:
        return is_missing(field) or field in self._options.null

    def _is_number(self, field: str) -> bool:
        return is_number(field, self._options.decimal or ".", self._options.thousands)

    def _first_rows(self) -> list[Record]:
        """Find the dialect, and return the first rows, with the header if there is one."""
        source = self._sources[0]
        detected = detect_dialect(source.path, source.name, self._sniff, self._line_bytes)
        if detected.blanks:
            self._copy_sources(tabulate_blanks)
        self._dialect = detected.dialect
        rows = self._rows_of(self._sources[0], sample_rows(detected.dialect.width))
        if not rows:
            raise TableError(f"{source.name} is empty: it holds no line of data")
        self.notes += detected.notes
        return rows

    def _sniff(self, arguments: str) -> dict[str, Any]:
        arguments += f", all_varchar=true, compression='none', max_line_size={self._line_bytes}"
        found = self._connection.execute(f"SELECT * FROM sniff_csv({quoted(str(self._sources[0].path))}{arguments})")
        names = [column[0] for column in found.description or ()]
        return dict(zip(names, found.fetchone() or (), strict=True))

    def _rows_of(self, source: Source, count: int) -> list[Record]:
        columns = dict.fromkeys((f"c{j}" for j in range(self._dialect.width)), "VARCHAR")
        relation = self._relation([source], columns, "header=false")
        return self._connection.execute(f"SELECT * FROM {relation} LIMIT {count}").fetchall()

    def _relation(self, sources: Sequence[Source], columns: dict[str, str], arguments: str) -> str:
        typed = ", ".join(f"{column}: '{kind}'" for column, kind in columns.items())
        return (
            f"read_csv({self._files(sources)}, {self._dialect.options()}, max_line_size={self._line_bytes},"
            f" compression='none', columns={{{typed}}}, {arguments})"
        )

    def _typed_relation(self, numbers: Sequence[str] = (), words: Sequence[str] = MISSING) -> str:
        """Return the rows below the headers; only where `numbers` is not empty are fields taken as missing values.

        words: what means "missing", besides blanks and what the options add.
        """
        columns = dict.fromkeys(self._positions.values(), "VARCHAR")
        columns |= {self._positions[name]: "BOOLEAN" if name in self._booleans else "DOUBLE" for name in numbers}
        arguments = f"header={self.named}"
        if numbers:
            null = ["", *([" "] if words else []), *words, *(f" {token}" for token in words), *self._options.null]
            arguments += f", nullstr=[{', '.join(map(quoted, null))}]"
            arguments += f", decimal_separator={quoted(self._options.decimal or '.')}"
            arguments += f", thousands={quoted(self._options.thousands)}" if self._options.thousands else ""
        return self._relation(self._sources, columns, arguments)

    def dtypes(self) -> dict[str, np.dtype[Any]]:
        """See `EngineTable.dtypes`."""
        kinds = {name: "f8" if kind == "numbers" else "O" for name, kind in self._kinds.items()}
        return {name: np.dtype("?" if name in self._booleans else kind) for name, kind in kinds.items()}

    def selections(self, names: Sequence[str]) -> list[Selection]:
        """See `EngineTable.selections`.

        Words such as NA, which columns of text keep, are looked for only where numbers hold some: to compare all fields
        with them takes a quarter of the time, and then text needs a query of its own.
        """
        numbers = [name for name in names if self._kinds[name] == "numbers"]
        texts = [name for name in names if self._kinds[name] != "numbers"]
        relation = self._typed_relation(numbers, MISSING if self._has_missing_words else ())
        if not (numbers and texts and self._has_missing_words):
            return [self._selection(list(names), relation)]
        return [self._selection(numbers, relation), self._selection(texts, self._typed_relation())]

    def _selection(self, names: list[str], relation: str) -> Selection:
        null = ", ".join(map(quoted, ("", *self._options.null)))
        columns = [
            position
            if self._kinds[name] == "numbers"
            else f"CASE WHEN {position} = '' OR trim({position}) IN ({null}) THEN NULL ELSE {position} END"
            for name, position in ((name, self._positions[name]) for name in names)
        ]
        return Selection(f"SELECT {', '.join(columns)} FROM {relation}", names)

    def recover(self, message: str, names: Sequence[str]) -> None:
        """See `EngineTable.recover`."""
        if _COLUMN.search(message):
            name, example = self._wrong_value(message)
            if is_missing(example.value) and not self._has_missing_words:
                self._has_missing_words = True
                return
            raise TableError(
                f"{self._source_of(message).name}, line {example.line}: column {name!r} holds {example.value!r}, not a"
                f" number, but its first values are numbers: correct the value, or read with ReadOptions(null=...) if"
                f" it means missing, or with ReadOptions(text=({name!r},)) if the column is text"
            )
        if self._grow_lines(message):
            return
        for repair in (self._recode, self._unify_line_ends):
            if repair.__name__ not in self._repairs_done and repair(message):
                self._repairs_done.add(repair.__name__)
                return
        raise TableError(self._fault(message))

    def check_groups(self, names: Sequence[str]) -> None:
        """Raise `TableError` where a mark of thousands does not separate groups of three digits."""
        numbers = [name for name in names if self._kinds[name] == "numbers"]
        self._check_groups(numbers)
        wrong = next((name for name in numbers if self._kinds[name] != "numbers"), None)
        if wrong is not None:
            raise TableError(
                f"{self._sources[0].name}: column {wrong!r} holds {self._options.thousands!r} between groups of other"
                " than three digits: correct the values, or read without ReadOptions(thousands=...)"
            )

    def _fetch(self, numbers: Sequence[str], texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        self._check_groups(numbers)
        arrays: dict[str, NDArray[Any]] | None = None
        while arrays is None:
            numbers = [name for name in numbers if self._kinds[name] == "numbers"]
            try:
                arrays = self._repeatedly(self._read_arrays, numbers, ())
            except load_duckdb().ConversionException as error:
                self._note_text(str(error))
        return arrays | self._repeatedly(self._read_arrays, (), texts)

    def _read_arrays(self, numbers: Sequence[str], texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Read columns of one kind in one pass."""
        names = [*numbers, *texts]
        if not names:
            return {}
        selected = ", ".join(self._positions[name] for name in names)
        relation = self._typed_relation(numbers)
        found = self._connection.execute(f"SELECT {selected} FROM {relation}").fetchnumpy()
        return {name: found[self._positions[name]] for name in names}

    def _count_rows(self) -> int:
        def count() -> int:
            found = self._connection.execute(f"SELECT count(*) FROM {self._typed_relation()}")
            return int((found.fetchone() or (0,))[0])

        return self._repeatedly(count)

    def _check_groups(self, names: Sequence[str]) -> None:
        """Take columns for text in which a mark of thousands does not separate groups of three digits."""
        thousands, decimal = self._options.thousands, self._options.decimal or "."
        names = [name for name in names if name not in self._booleans]
        if not thousands or not names:
            return
        mark, point = re.escape(thousands), re.escape(decimal)
        pattern = rf"\s*[-+]?\d{{1,3}}({mark}\d{{3}})*({point}\d*)?([eE][-+]?\d+)?\s*"
        wrong = ", ".join(
            f"bool_or(contains({column}, {quoted(thousands)}) AND NOT regexp_full_match({column}, {quoted(pattern)}))"
            for column in (self._positions[name] for name in names)
        )
        found = self._connection.execute(f"SELECT {wrong} FROM {self._typed_relation()}").fetchone() or ()
        for name, is_wrong in zip(names, found, strict=True):
            if is_wrong:
                self._kinds[name] = "text"

    def _note_text(self, message: str) -> None:
        """Take a column for text because of the value that DuckDB reports."""
        name, example = self._wrong_value(message)
        self._kinds[name] = "text"
        self._non_numeric[name] = NonNumeric([example], _MANY)

    def _wrong_value(self, message: str) -> _WrongValue:
        """Return the column and the value that DuckDB could not convert."""
        column, value, line = _COLUMN.search(message), _VALUE.search(message), _FAULT.search(message)
        name = next((name for name, position in self._positions.items() if column and position == column[1]), None)
        if name is None or value is None or line is None:
            raise TableError(self._fault(message))
        source = self._source_of(message)
        at = line_of_count(source.path, self._dialect, int(line[1]), lambda row: value[1] in row)
        return _WrongValue(name, Example(value[1], at))

    def _non_numeric_of_sample(self, name: str) -> NonNumeric:
        present = [(row, field) for row, field in enumerate(self._sample[name]) if not self._is_missing(field)]
        odd = [(row, field) for row, field in present if not self._is_number(field or "")]
        source, dialect = self._sources[0], self._dialect
        line = line_of_record(source.path, dialect, odd[0][0] + self.named) if odd else 0
        return NonNumeric([Example(field or "", line) for _, field in odd], len(present))

    def _repeatedly(self, read: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call `read`; repeat the call after a repair if its error has one."""
        duckdb = load_duckdb()
        repairs = [self._recode, self._grow_lines, self._unify_line_ends]
        while True:
            try:
                return read(*arguments, **named)
            except duckdb.ConversionException:
                raise
            except duckdb.Error as error:
                repair = next((repair for repair in repairs if repair(str(error))), None)
                if repair is None:
                    raise TableError(self._fault(str(error))) from error
                if repair != self._grow_lines:
                    repairs.remove(repair)

    def _recode(self, message: str) -> bool:
        if "utf-8" not in message and "unicode" not in message:
            return False
        for k, source in enumerate(self._sources):
            if not is_utf8(source.path):
                path = recode(source.path, "cp1252", self._workspace.path)
                self._sources[k] = source._replace(path=path)
                self.notes.append(f"{source.name} is not UTF-8: read as Windows-1252 (Latin-1)")
        return True

    def _grow_lines(self, message: str) -> bool:
        if "Maximum line size" not in message or self._line_bytes >= _MOST_LINE_BYTES:
            return False
        self._line_bytes = min(8 * self._line_bytes, _MOST_LINE_BYTES)
        return True

    def _unify_line_ends(self, message: str) -> bool:
        if "state machine" not in message and "automatically detect" not in message:
            return False
        self._copy_sources(unify_line_ends)
        return True

    def _copy_sources(self, copy: Callable[[Path, Path], Path]) -> None:
        folder = self._workspace.path
        self._sources = [source._replace(path=copy(source.path, folder)) for source in self._sources]

    def _source_of(self, message: str) -> Source:
        """Return the file that an error of DuckDB is about."""
        path = _FAULT_FILE.search(message)
        sources = {str(source.path): source for source in self._sources}
        return sources.get(path[1].strip() if path else "", self._sources[0])

    def _fault(self, message: str) -> str:
        """Return DuckDB's message about a file in one line of our words."""
        source = self._source_of(message)
        name = source.name
        line, widths = _FAULT.search(message), _FAULT_WIDTH.search(message)
        if line is None:
            first = message.strip().split("\n")[0]
            return f"{name} cannot be read as a table: {first}"
        if widths is not None:
            found = int(widths[2])
            at = line_of_count(source.path, self._dialect, int(line[1]), lambda row: len(row) == found)
            return (
                f"{name} cannot be read as a table: line {at} has {widths[2]} values, but the file has {widths[1]}"
                " columns; correct the line, and quote values that hold the delimiter"
            )
        if "unterminated quote" in message:
            return f"{name} cannot be read as a table: line {line[1]} holds a quote that is not closed, or not doubled"
        if "Maximum line size" in message:
            return f"{name} cannot be read as a table: line {line[1]} is longer than {_MOST_LINE_BYTES >> 20} MB"
        rest = message[line.end() :].strip().split("\n")
        return (
            f"{name} cannot be read as a table: line {line[1]}: {next((r for r in rest if 'Line:' not in r), '')[:200]}"
        )


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
