"""How a delimited text file is laid out: found by DuckDB's sniffer, and corrected where its answer loses data."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastgd.data.source import read_lines
from fastgd.data.text_column import MISSING, parse_number
from fastgd.exceptions import TableError

_MARKS = ",;\t|"
_LINES = 50
_MOST_FIELD = 1 << 30
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
    """The dialect of a file and remarks on it."""

    dialect: Dialect
    notes: list[str]
    blanks: bool = False
    """Whether runs of blanks separate the columns, and must become tabs first."""


def quoted(text: str) -> str:
    """Return a string literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def detect_dialect(path: Path, name: str, sniff: Callable[[str], dict[str, Any]], line_bytes: int) -> Detection:
    """Find the dialect of a delimited text file.

    Parameters
    ----------
    path : Path
        A file in UTF-8.
    name : str
        The user's name of the file, for messages.
    sniff : callable
        Runs DuckDB's ``sniff_csv`` on the file with further arguments, and returns its row.
    line_bytes : int
        How much of the file to look at; at least its longest line.

    Returns
    -------
    Detection

    Raises
    ------
    TableError
        The first line names fewer columns than the next ones hold.
    """
    lines = list(read_lines(path, line_bytes))
    content = [line for line in lines if line.strip()][:_LINES]
    suffixes = {suffix.lower() for suffix in Path(name).suffixes}
    forced = "\t" if suffixes & {".tsv", ".tab"} else None
    found = sniff("" if forced is None else f", delim={quoted(forced)}")
    dialect = _from_sniffer(found)
    if dialect.delimiter == "," and _splits_evenly(content, ";"):
        dialect = dialect._replace(delimiter=";", skip=0)
        dialect = dialect._replace(width=_width(content, dialect))
    elif dialect.width == 1:
        mark = _mark_of(content)
        if mark is not None:
            dialect = dialect._replace(delimiter=mark, skip=0)
            dialect = dialect._replace(width=_width(content, dialect))
        elif _has_columns_of_blanks(content):
            blanks = not any('"' in line for line in content)
            dialect = dialect._replace(delimiter="\t" if blanks else " ", skip=0)
            width = len(content[0].split()) if blanks else _width(content, dialect)
            return Detection(dialect._replace(width=width), [], blanks)
    return Detection(dialect, _skipped(name, lines, dialect))


def _from_sniffer(found: dict[str, Any]) -> Dialect:
    def mark(key: str) -> str:
        return "" if found[key] == "(empty)" else str(found[key])

    # A file without quotes in the sniffed sample may have some later.
    quote = mark("Quote") or '"'
    return Dialect(
        found["Delimiter"], quote, mark("Escape") or quote, mark("Comment"), found["SkipRows"], len(found["Columns"])
    )


def _skipped(name: str, lines: list[str], dialect: Dialect) -> list[str]:
    """Return remarks on the lines that are no rows; raise if one of them names the columns."""
    notes = [f"lines that begin with {dialect.comment} are comments"] if dialect.comment else []
    if not dialect.skip:
        return notes
    skipped = lines[: dialect.skip]
    last = skipped[-1]  # a blank line follows a title, but no header
    if not last.startswith("#") and _width([last], dialect) == max(dialect.width - 1, 1) and last.strip():
        raise TableError(
            f"{name}: line {dialect.skip} has {dialect.width - 1} of the {dialect.width} columns that the next lines"
            f" have: give each column a name, or quote values that hold the delimiter ({_spoken(dialect.delimiter)})"
        )
    count = "line is" if dialect.skip == 1 else f"{dialect.skip} lines are"
    title = next((line.strip() for line in skipped if line.strip()), "")
    return [*notes, f"the first {count} left out: {title[:60]!r}"]


def _spoken(mark: str) -> str:
    return {"\t": "tab", " ": "blank"}.get(mark, mark)


def _splits_evenly(lines: list[str], mark: str) -> bool:
    """Return whether a mark splits all lines into the same number of fields, at least two."""
    widths = {len(row) for row in _parse(lines, mark, '"') if row}
    return len(widths) == 1 and widths.pop() > 1


def _mark_of(lines: list[str]) -> str | None:
    """Return the mark that the first line and most others hold most often."""
    if not lines:
        return None
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
    limit = csv.field_size_limit(_MOST_FIELD)
    try:
        return list(csv.reader(lines, delimiter=mark, quotechar=quote))
    finally:
        csv.field_size_limit(limit)


def sample_rows(width: int) -> int:
    """Return how many rows decide the kinds of `width` columns."""
    fewest, most = _SAMPLE_ROWS
    return min(most, max(fewest, _MOST_CELLS // max(width, 1)))


def is_number(field: str, decimal: str = ".", thousands: str = "") -> bool:
    """Return whether a field spells a number; those that stand for a missing value do not."""
    try:
        parse_number(field, decimal, thousands)
    except ValueError:
        return False
    return field.strip() not in MISSING


def is_missing(field: str | None) -> bool:
    """Return whether a field stands for a missing value, among numbers."""
    return field is None or not field.strip() or field.strip() in MISSING


def uses_decimal_comma(rows: Sequence[Record], delimiter: str) -> bool:
    """Return whether the numbers of a file have decimal commas.

    They do if some fields are numbers with a comma only, none is one with a point, and not all of these commas could
    group thousands.

    Parameters
    ----------
    rows : sequence of tuple of str or None
        The first rows.
    delimiter : str
        The delimiter of the file.

    Returns
    -------
    bool
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

    Parameters
    ----------
    rows : sequence of tuple of str or None
        The first rows of the file.
    decimal : str
        The decimal mark.

    Returns
    -------
    bool
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
    """Return the line, from 1, on which a record begins; 0 if that cannot be found.

    Parameters
    ----------
    path : Path
        A file in UTF-8.
    dialect : Dialect
    index : int
        Number of records before it, the header included; blank lines and comments are no records.

    Returns
    -------
    int
    """
    for line, row in _rows_with_lines(path, dialect):
        if row and not (dialect.comment and row[0].startswith(dialect.comment)):
            if index == 0:
                return line
            index -= 1
    return 0


def line_of_count(path: Path, dialect: Dialect, count: int, belongs: Callable[[list[str]], bool]) -> int:
    """Return the line of a row by DuckDB's count, which takes a row with line breaks in quotes for one line.

    Parameters
    ----------
    path : Path
        A file in UTF-8.
    dialect : Dialect
    count : int
        DuckDB's number of the line.
    belongs : callable
        Whether the fields of a row can be the ones that DuckDB reports.

    Returns
    -------
    int
        `count` itself if another row is found there.
    """
    rows = itertools.islice(_rows_with_lines(path, dialect), max(count - 1 - dialect.skip, 0), None)
    line, row = next(rows, (count, []))
    return line if belongs(row) else count


def _rows_with_lines(path: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines on which rows begin and the rows, until one cannot be read; blank lines are empty rows."""
    limit = csv.field_size_limit(_MOST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(
                itertools.islice(file, dialect.skip, None),
                delimiter=dialect.delimiter,
                quotechar=dialect.quote,
                escapechar=None if dialect.escape == dialect.quote else dialect.escape or None,
            )
            start = dialect.skip + 1
            for row in rows:
                yield start, row
                start = dialect.skip + rows.line_num + 1
    except (csv.Error, UnicodeDecodeError):
        return
    finally:
        csv.field_size_limit(limit)
