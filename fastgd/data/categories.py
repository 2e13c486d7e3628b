"""Columns of categories as numbers: an indicator a category, 1 where a row is of it, but for the first category.

The first needs none: with an intercept it is what the others are compared with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastgd.data.table import ColumnTable, Rows, Table
from fastgd.exceptions import TableError

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

MOST_CATEGORIES = 1000

#: Column -> its categories, the one without an indicator first.
Categories = Mapping[str, Sequence[str]]


def categories_of(table: Table, name: str) -> list[str]:
    """Return the categories of a column in order: numbers by size, text by the alphabet.

    Raises
    ------
    TableError
        There are more than `MOST_CATEGORIES`, or none at all.
    """
    found = _texts(table.column(name)).drop_nulls().unique().to_list()
    if not 0 < len(found) <= MOST_CATEGORIES:
        raise TableError(
            f"column {name!r} holds {len(found):,} different values, and each of them takes a column: between 1 and"
            f" {MOST_CATEGORIES:,} can be used; leave the column out"
        )
    return sorted(found, key=_order)


def numbered(table: Table, categories: Categories, names: Sequence[str]) -> ColumnTable:
    """Return a table of the columns `names`, with numbers of categories in place of these.

    What is missing, or none of the categories, is NaN.
    """
    columns = {
        name: _numbers(_texts(table.column(name)), categories[name]) if name in categories else table.column(name)
        for name in names
    }
    return ColumnTable(columns, table.n_rows, table.named)


def unknown(table: Table, name: str, of: Sequence[str]) -> str | None:
    """Return the first value of a column that is none of the categories; None where there is none."""
    others = _texts(table.column(name)).drop_nulls()
    found = others.filter(~others.is_in(list(of)))
    return None if found.is_empty() else str(found[0])


def met(table: Table, categories: Categories, rows: Rows) -> dict[str, list[str]]:
    """Return the categories that some rows of a `numbered` table hold, in the same order."""
    found: dict[str, list[str]] = {}
    for name, of in categories.items():
        numbers = table.column(name)[rows]
        present = np.unique(numbers[~np.isnan(numbers)]).astype(np.intp)
        found[name] = [of[number] for number in present]
    return found


def indicators(name: str, of: Sequence[str]) -> list[str]:
    """Return the names of the indicators of a column: ``origin=JFK``."""
    return [f"{name}={category}" for category in of[1:]]


def expanded(table: Table, categories: Categories, used: Categories) -> ColumnTable:
    """Return a `numbered` table with indicators of the categories `used` in place of the numbers."""
    columns: dict[str, Any] = {}
    for name in table.names:
        if name not in categories:
            columns[name] = table.column(name)
            continue
        numbers, position = table.column(name), {label: k for k, label in enumerate(categories[name])}
        for indicator, label in zip(indicators(name, used[name]), used[name][1:], strict=True):
            columns[indicator] = _indicator(numbers, position[label])
    return ColumnTable(columns, table.n_rows, table.named)


def _indicator(numbers: NDArray[Any], number: int) -> NDArray[Any]:
    missing = np.isnan(numbers)
    is_it = numbers == number
    return np.where(missing, np.float32(np.nan), is_it) if missing.any() else is_it.view(np.uint8)


def _texts(column: Any) -> pl.Series:
    """Return values as text, whole numbers without a point, so that 1 and 1.0 are one category."""
    import polars as pl

    series = pl.Series(column)
    if not series.dtype.is_numeric():
        return series.cast(pl.String)
    if series.dtype.is_float():
        series = series.fill_nan(None)
    return series.cast(pl.String).str.replace(r"\.0$", "")


def _numbers(texts: pl.Series, of: Sequence[str]) -> NDArray[np.float32]:
    import polars as pl

    numbers = texts.replace_strict(list(of), list(range(len(of))), default=None, return_dtype=pl.Float32)
    return numbers.to_numpy()


def _order(label: str) -> tuple[float, str]:
    try:
        number = float(label)
    except ValueError:
        number = math.inf
    return (math.inf if math.isnan(number) else number), label
