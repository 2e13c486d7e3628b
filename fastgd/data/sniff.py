"""How a delimited text file is laid out: its separator, and whether its first line names the columns."""

from __future__ import annotations

import csv
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple, cast

from fastgd.exceptions import TableError

HEAD_BYTES = 1 << 18
SEPARATORS = (",", "\t", ";", "|")
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?")

OPENERS: dict[str, Callable[..., IO[bytes]]] = {
    ".gz": cast("Callable[..., IO[bytes]]", gzip.open),
    ".xz": cast("Callable[..., IO[bytes]]", lzma.open),
}


class Layout(NamedTuple):
    """What the first lines of a text file say about all of them."""

    separator: str
    header: bool
    head: bytes
    """The first whole lines, up to `HEAD_BYTES`."""


def read_layout(path: Path, header: bool | None = None) -> Layout:
    """Look at the beginning of a delimited text file.

    Parameters
    ----------
    path : Path
        The file, plain or compressed by gzip or xz (told by the suffix).
    header : bool or None, default=None
        Whether the first line names the columns; None finds out, see `has_header`.

    Returns
    -------
    Layout
        Separator, header and the bytes that were looked at.

    Raises
    ------
    TableError
        The file is empty, is no text, or cannot be decompressed.
    """
    head = _read_head(path)
    if not head.strip():
        raise TableError(f"{path} is empty: it holds no line of data")
    if b"\0" in head:
        raise TableError(
            f"{path} is not a table that can be read: save it as CSV or TSV (plain, .gz or .xz), Parquet, .npy or .npz"
        )
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    lines = [line for line in lines[:100] if line.strip()]
    separator = _separator(path, lines[:20])
    if header is None:
        header = has_header(list(csv.reader(lines, delimiter=separator)))
    return Layout(separator, header, head)


def has_header(rows: list[list[str]]) -> bool:
    """Tell whether the first of some rows of text fields names the columns.

    It does when one of its fields is text over a column of numbers, and when none of its fields is a number. Fields
    that are empty or stand for a missing value say nothing. A file of text alone is taken to have a header.

    Parameters
    ----------
    rows : list of list of str
        The first rows of the file.

    Returns
    -------
    bool
        True if the first row is a header.
    """
    first, rest = rows[0], rows[1:]
    if not any(_is_number(field) for field in first):
        return True
    for column, field in enumerate(first):
        if _is_number(field) or field.strip() in MISSING:
            continue
        below = [row[column] for row in rest if column < len(row) and row[column].strip() not in MISSING]
        if below and all(_is_number(value) for value in below):
            return True
    return False


def _read_head(path: Path) -> bytes:
    opener = OPENERS.get(path.suffix.lower(), open)
    try:
        with opener(path, "rb") as file:
            head = cast("bytes", file.read(HEAD_BYTES))
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise TableError(
            f"{path} cannot be decompressed ({error}): is it complete, and is its suffix right?"
        ) from error
    if len(head) == HEAD_BYTES and b"\n" in head:
        head = head[: head.rindex(b"\n") + 1]
    return head


def _separator(path: Path, lines: list[str]) -> str:
    """Return the mark that parts every one of `lines` into the most fields."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if ".tsv" in suffixes or ".tab" in suffixes:
        return "\t"
    return max(SEPARATORS, key=lambda mark: min(map(len, csv.reader(lines, delimiter=mark))))


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return field.strip() not in MISSING
