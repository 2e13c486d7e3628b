"""Detect the layout of delimited text: by DuckDB's sniffer, corrected where its answer loses data."""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastgd.data.source import read_lines
from fastgd.data.text_column import is_missing, is_number
from fastgd.exceptions import TableError

_MARKS = ",;\t|"
_MARK_NAMES = {"\t": "tab", " ": "space"}
_LINES = 50
_MOST_FIELD_BYTES = 1 << 30
_MOST_CELLS = 200_000
_SAMPLE_ROWS = (20, 2000)

Record = tuple[str | None, ...]


class Dialect(NamedTuple):
    """The marks of a delimited text file."""

    delimiter: str
    quote: str
    escape: str
    comment: str
    """The character that begins a line of comment; "" for none."""
    skip: int
    """Lines before the header or the first row of data."""
    width: int
    """Number of columns."""

    def options(self) -> str:
        """Return the dialect as named arguments of DuckDB's ``read_csv``."""
        given = {"delim": self.delimiter, "quote": self.quote, "escape": self.escape, "comment": self.comment}
        marks = ", ".join(f"{name}={quoted(mark)}" for name, mark in given.items())
        return f"auto_detect=false, {marks}, skip={self.skip}"


class Detection(NamedTuple):
    """The dialect of a file and notes on it."""

    dialect: Dialect
    notes: list[str]
    blanks: bool = False
    """Whether runs of blanks separate the columns, and must become tabs first."""


def quoted(text: str) -> str:
    """Return a string literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def detect_dialect(path: Path, name: str, sniff: Callable[[str], dict[str, Any]], line_bytes: int) -> Detection:
    """Detect the dialect of a file in UTF-8, whose first line may not name fewer columns than the next ones hold.

    Parameters
    ----------
    path : Path
    name : str
        The user's name of the file, for messages.
    sniff : callable
        Run DuckDB's ``sniff_csv`` on the file with further arguments, and return its row.
    line_bytes : int
        How much of the file to look at; at least its longest line.

    Returns
    -------
    Detection
    """
    lines = list(read_lines(path, line_bytes))
    content = [line for line in lines if line.strip()][:_LINES]
    suffixes = {suffix.lower() for suffix in Path(name).suffixes}
    forced = "\t" if suffixes & {".tsv", ".tab"} else None
    found = sniff("" if forced is None else f", delim={quoted(forced)}")
    dialect = _from_sniffer(found)
    mark = None
    if dialect.delimiter == "," and _splits_evenly(content, ";"):
        mark = ";"
    elif dialect.width == 1:
        mark = _most_frequent_mark(content)
        if mark is None and _has_columns_of_blanks(content):
            blanks = not any('"' in line for line in content)
            dialect = dialect._replace(delimiter="\t" if blanks else " ", skip=0)
            width = len(content[0].split()) if blanks else _width(content, dialect)
            return Detection(dialect._replace(width=width), [], blanks)
    if mark is not None:
        dialect = dialect._replace(delimiter=mark, skip=0)
        dialect = dialect._replace(width=_width(content, dialect))
    return Detection(dialect, _skipped(name, lines, dialect))


def _from_sniffer(found: dict[str, Any]) -> Dialect:
    def mark(key: str) -> str:
        return "" if found[key] == "(empty)" else str(found[key])

    # A file without quotes in the sample of the sniffer may have some later.
    quote = mark("Quote") or '"'
    return Dialect(
        found["Delimiter"], quote, mark("Escape") or quote, mark("Comment"), found["SkipRows"], len(found["Columns"])
    )


def _skipped(name: str, lines: list[str], dialect: Dialect) -> list[str]:
    """Return notes on the lines that are not rows; raise if one of them names the columns."""
    notes = [f"lines that begin with {dialect.comment} are comments"] if dialect.comment else []
    if not dialect.skip:
        return notes
    skipped = lines[: dialect.skip]
    last = skipped[-1]  # a blank line follows a title, but no header
    if not last.startswith("#") and _width([last], dialect) == max(dialect.width - 1, 1) and last.strip():
        mark = _MARK_NAMES.get(dialect.delimiter, dialect.delimiter)
        raise TableError(
            f"{name}: line {dialect.skip} has {dialect.width - 1} of the {dialect.width} columns that the next lines"
            f" have: give each column a name, or quote values that hold the delimiter ({mark})"
        )
    count = "line is" if dialect.skip == 1 else f"{dialect.skip} lines are"
    title = next((line.strip() for line in skipped if line.strip()), "")
    return [*notes, f"the first {count} left out: {title[:60]!r}"]


def _splits_evenly(lines: list[str], mark: str) -> bool:
    """Return whether a mark splits all lines into the same number of fields, at least two."""
    widths = {len(row) for row in _parse(lines, mark, '"') if row}
    return len(widths) == 1 and widths.pop() > 1


def _most_frequent_mark(lines: list[str]) -> str | None:
    """Return the mark that the first line and most others hold most often."""
    often = [mark for mark in _MARKS if sum(mark in line for line in lines) > len(lines) / 2 and mark in lines[0]]
    return max(often, key=lines[0].count, default=None)


def _has_columns_of_blanks(lines: list[str]) -> bool:
    """Return whether blanks separate columns: as many in each line, and mostly numbers."""
    rows = [line.split() for line in lines if not line.startswith("#")]
    if len(rows) < 2 or len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows[:-1]):
        return False
    fields = [field for row in rows[1:] for field in row]
    return sum(map(is_number, fields)) >= len(fields) / 2


def _width(lines: Sequence[str], dialect: Dialect) -> int:
    rows = _parse(lines, dialect.delimiter, dialect.quote)
    return len(next((row for row in rows if row), [""]))


def _parse(lines: Sequence[str], mark: str, quote: str) -> list[list[str]]:
    with _long_fields():
        return list(csv.reader(lines, delimiter=mark, quotechar=quote))


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    limit = csv.field_size_limit(_MOST_FIELD_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def sample_rows(width: int) -> int:
    """Return how many rows decide the kinds of `width` columns."""
    fewest, most = _SAMPLE_ROWS
    return min(most, max(fewest, _MOST_CELLS // max(width, 1)))


def uses_decimal_comma(rows: Sequence[Record], delimiter: str) -> bool:
    """Return whether the numbers of a file, judged by its first rows, have decimal commas.

    They do if some fields are numbers with a comma only, none is one with a point, and not all of these commas could
    group thousands.
    """
    if delimiter == ",":
        return False
    fields = [field for field in itertools.chain.from_iterable(rows) if field]
    if any("." in field and is_number(field) for field in fields):
        return False
    commas = [field for field in fields if "," in field and is_number(field, ",")]
    return any(not is_number(field, ".", ",") or field.strip("-+ ").startswith("0") for field in commas)


def has_header(rows: Sequence[Record], decimal: str) -> bool:
    """Return whether the first of some rows names the columns.

    It does if none of its fields is a number, or if one is text over a column of numbers. Fields that stand for a
    missing value do not count. A file of text alone is taken to have a header.
    """
    first, rest = rows[0], rows[1:]
    if not any(field and is_number(field, decimal) for field in first):
        return True
    for column, field in enumerate(first):
        if is_missing(field) or is_number(field or "", decimal):
            continue
        below = [row[column] for row in rest if not is_missing(row[column])]
        if below and all(is_number(value or "", decimal) for value in below):
            return True
    return False


def line_of_record(path: Path, dialect: Dialect, index: int) -> int:
    """Return the line, from 1, on which the record after `index` others begins; 0 if that cannot be found.

    The header is a record; blank lines and comments are not.
    """
    for line, row in _rows_with_lines(path, dialect):
        if row and not (dialect.comment and row[0].startswith(dialect.comment)):
            if index == 0:
                return line
            index -= 1
    return 0


def line_of_count(path: Path, dialect: Dialect, count: int, belongs: Callable[[list[str]], bool]) -> int:
    """Return the line of a row by DuckDB's `count`, in which a row with line breaks in quotes is one line.

    If the row found there is not one that `belongs` to DuckDB's report, return `count` itself.
    """
    rows = itertools.islice(_rows_with_lines(path, dialect), max(count - 1 - dialect.skip, 0), None)
    line, row = next(rows, _Row(count, []))
    return line if belongs(row) else count


class _Row(NamedTuple):
    line: int
    """Where it begins, from 1."""
    fields: list[str]


def _rows_with_lines(path: Path, dialect: Dialect) -> Iterator[_Row]:
    """Yield rows until one cannot be read; blank lines are empty rows."""
    readable = contextlib.suppress(csv.Error, UnicodeDecodeError)
    with readable, _long_fields(), path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(
            itertools.islice(file, dialect.skip, None),
            delimiter=dialect.delimiter,
            quotechar=dialect.quote,
            escapechar=None if dialect.escape == dialect.quote else dialect.escape or None,
        )
        start = dialect.skip + 1
        for row in rows:
            yield _Row(start, row)
            start = dialect.skip + rows.line_num + 1
