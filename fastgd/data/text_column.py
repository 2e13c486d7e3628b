"""Columns of text, each distinct value stored once, and the numbers that fields spell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Fields that mean "missing" among numbers; among text only empty fields and those that the user names do.
MISSING = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?")


class TextColumn:
    """Values as the file spells them.

    Parameters
    ----------
    codes : ndarray of shape (n,), int32 or int64
        The index in `values` per row; -1 where the value is missing.
    values : list of str
        The distinct values, in the order of their first rows.
    parse : callable, default=float
        Turns one value into a number; raises ValueError for text.
    """

    def __init__(self, codes: NDArray[Any], values: list[str], parse: Callable[[str], float] = float) -> None:
        self.codes = codes
        self.values = values
        self.parse = parse

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """The mask of missing values, shape (n,)."""
        mask: NDArray[np.bool_] = self.codes < 0
        return mask

    def take(self, rows: NDArray[np.intp]) -> TextColumn:
        """Return some rows, without the values that occur in none of them."""
        codes = self.codes[rows]
        used, inverse = np.unique(codes, return_inverse=True)
        values = [self.values[code] for code in used.tolist() if code >= 0]
        return TextColumn(inverse - (len(used) - len(values)), values, self.parse)

    def numbers(self) -> NDArray[np.float64] | None:
        """Return the values as numbers, NaN where they are missing; None if one of them is text."""
        parsed = self.parsed()
        return None if parsed is None else np.append(parsed, np.nan)[self.codes]

    def parsed(self) -> NDArray[np.float64] | None:
        """Return the distinct values as numbers; None if one of them is text."""
        try:
            return np.array([self.parse(value) for value in self.values], dtype=np.float64)
        except ValueError:
            return None

    def texts(self) -> NDArray[Any]:
        """Return the values, shape (n,), dtype object, None where they are missing."""
        return np.array([*self.values, None], dtype=object)[self.codes]

    def without(self, tokens: Iterable[str]) -> TextColumn:
        """Return the column with the values `tokens`, with spaces around them or not, as missing."""
        given = set(tokens)
        kept = [value for value in self.values if value.strip() not in given]
        if len(kept) == len(self.values):
            return self
        index = {value: code for code, value in enumerate(kept)}
        codes = np.array([*(index.get(value, -1) for value in self.values), -1])[self.codes]
        return TextColumn(codes, kept, self.parse)


def encode(values: Iterable[str | None], count: int, parse: Callable[[str], float] = float) -> TextColumn:
    """Return the `TextColumn` of `count` values; None and empty ones are missing."""
    index: dict[str, int] = {}
    codes = np.fromiter((index.setdefault(value, len(index)) if value else -1 for value in values), np.int64, count)
    return TextColumn(codes, list(index), parse)


def resolve_missing(column: TextColumn, null: Sequence[str], known: Sequence[str] = ()) -> TextColumn:
    """Return the column without the values that mean "missing": `null`, and `MISSING` where all others are numbers.

    The values `known`, such as categories of a fitted model, are never missing.
    """
    column = column.without(set(null) - set(known))
    among_numbers = column.without(set(MISSING) - set(known))
    return among_numbers if among_numbers.values == column.values or among_numbers.parsed() is not None else column


def parse_number(text: str, decimal: str = ".", thousands: str = "") -> float:
    """Return the number that a field spells, with spaces around it or not; raise ValueError for anything else.

    Groups between marks of `thousands` have three digits; "" allows none.
    """
    number = text.strip()
    if thousands and thousands in number:
        head, *groups = number.partition(decimal)[0].split(thousands)
        if thousands in number.partition(decimal)[2] or not head or any(len(group) != 3 for group in groups):
            raise ValueError(f"{text!r} is not a number in groups of three digits")
        number = number.replace(thousands, "")
    if decimal != ".":
        if "." in number:
            raise ValueError(f"{text!r} has a point, but the decimal mark is {decimal!r}")
        number = number.replace(decimal, ".")
    return float(number)


def is_number(field: str, decimal: str = ".", thousands: str = "") -> bool:
    """Return whether a field spells a number, and not a missing value."""
    try:
        parse_number(field, decimal, thousands)
    except ValueError:
        return False
    return field.strip() not in MISSING


def is_missing(field: str | None) -> bool:
    """Return whether a field stands for a missing value, among numbers."""
    return field is None or not field.strip() or field.strip() in MISSING
