"""Delimited text as a table read by DuckDB, with a layout that is detected and repairs of what it cannot read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

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
from fastgd.data.engine import EngineTable, load_duckdb
from fastgd.data.query import Selection
from fastgd.data.source import Source, drop_blank_lines, is_utf8, recode, tabulate_blanks, unify_line_ends
from fastgd.data.table import Example, NonNumeric, unique_names
from fastgd.data.text_column import MISSING, is_missing, is_number
from fastgd.exceptions import TableError

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


class _WrongValue(NamedTuple):
    name: str
    example: Example


class DelimitedTable(EngineTable):
    """Columns of CSV, TSV and the like; see `EngineTable`."""

    _dialect: Dialect

    def _describe(self) -> None:
        self._line_bytes = _LINE_BYTES
        # Columns of true and false, which become numbers.
        self._booleans: set[str] = set()
        # Whether columns of numbers hold words or blanks for missing values.
        self._has_missing_words = False
        # Columns whose marks of thousands have been checked.
        self._grouped: set[str] = set()
        # Repairs of files that have been done.
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

    def _spelt_labels(self, names: Sequence[str]) -> list[str]:
        return list(names)

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
        self._repair_files(message)

    def _repair(self, message: str) -> None:
        if not _COLUMN.search(message):
            self._repair_files(message)
            return
        name, example = self._wrong_value(message)
        if is_missing(example.value) and not self._has_missing_words:
            self._has_missing_words = True
            return
        self._kinds[name] = "text"
        self._non_numeric[name] = NonNumeric([example], _MANY)

    def _repair_files(self, message: str) -> None:
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

    def _queries(self, numbers: Sequence[str], texts: Sequence[str]) -> list[Selection]:
        def query(names: Sequence[str], relation: str) -> Selection:
            return Selection(
                f"SELECT {', '.join(self._positions[name] for name in names)} FROM {relation}", list(names)
            )

        relation = self._typed_relation(numbers, MISSING if self._has_missing_words else ())
        if not (numbers and texts and self._has_missing_words):
            return [query([*numbers, *texts], relation)]
        return [query(numbers, relation), query(texts, self._typed_relation())]

    def _count_rows(self) -> int:
        def count() -> int:
            found = self._connection.execute(f"SELECT count(*) FROM {self._typed_relation()}")
            return int((found.fetchone() or (0,))[0])

        return self._repeatedly(count)

    def _check_groups(self, names: Sequence[str]) -> None:
        thousands, decimal = self._options.thousands, self._options.decimal or "."
        names = [name for name in names if name not in self._booleans and name not in self._grouped]
        self._grouped |= set(names)
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
