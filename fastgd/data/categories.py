"""Columns of categories as indicators: one per category but the first, 1 in the rows that have it.

The first needs none: with an intercept it is the reference that the others are compared with.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.data.table import Rows, Table
from fastgd.exceptions import TableError

#: Column -> its categories, the one without an indicator first.
Categories = Mapping[str, Sequence[str]]


def categories_of(table: Table, name: str, most: int) -> list[str]:
    """Return the categories of a column as the source spells them, numbers by size, text alphabetically.

    Raise `TableError` if there are more than `most`, or none at all.
    """
    found = table.text(name).values
    if not found:
        raise TableError(f"column {name!r} holds no value at all: --drop it")
    if len(found) > most:
        raise TableError(
            f"column {name!r} holds {len(found):,} different values, more than {most:,}, and each of them takes a"
            f" column: --drop it, or allow them by --max-categories {len(found)}"
        )
    return sorted(found, key=_order)


def numbered(table: Table, categories: Categories, names: Sequence[str]) -> Table:
    """Return a table of the columns `names`, with the numbers of categories in place of these, NaN for others."""
    columns = {}
    for name in names:
        if name not in categories:
            columns[name] = table.column(name)
            continue
        text = table.text(name, categories[name])
        position = {category: k for k, category in enumerate(categories[name])}
        numbers = [*(position.get(value, np.nan) for value in text.values), np.nan]
        columns[name] = np.array(numbers, dtype=np.float32)[text.codes]
    return Table(columns, table.n_rows, table.named)


def unknown(table: Table, name: str, of: Sequence[str]) -> str | None:
    """Return the first value of a column that is not a category; None if all are."""
    known = set(of)
    return next((value for value in table.text(name, of).values if value not in known), None)


def present_categories(table: Table, categories: Categories, rows: Rows) -> dict[str, list[str]]:
    """Return the categories that some rows of a `numbered` table hold, in the same order."""
    found: dict[str, list[str]] = {}
    for name, of in categories.items():
        numbers = table.column(name)[rows]
        present = np.unique(numbers[~np.isnan(numbers)]).astype(np.intp)
        found[name] = [of[number] for number in present]
    return found


def indicator_names(used: Categories, others: Iterable[str]) -> dict[str, list[str]]:
    """Return column -> the names of its indicators, such as ``origin=JFK``.

    A name that one of the columns `others` or another indicator has gets further equality signs (``origin==JFK``).
    """
    taken = set(others)
    names: dict[str, list[str]] = {}
    for column, of in used.items():
        names[column] = []
        for category in of[1:]:
            candidates = (f"{column}{'=' * count}{category}" for count in itertools.count(1))
            names[column].append(next(name for name in candidates if name not in taken))
            taken.add(names[column][-1])
    return names


def expanded(table: Table, categories: Categories, used: Categories, names: Mapping[str, Sequence[str]]) -> Table:
    """Return a `numbered` table with indicators of the categories `used`, called `names`, in place of the numbers."""
    columns: dict[str, NDArray[Any]] = {}
    for name in table.names:
        if name not in categories:
            columns[name] = table.column(name)
            continue
        numbers, position = table.column(name), {label: k for k, label in enumerate(categories[name])}
        for indicator, label in zip(names[name], used[name][1:], strict=True):
            columns[indicator] = _indicator(numbers, position[label])
    return Table(columns, table.n_rows, table.named)


def _indicator(numbers: NDArray[Any], number: int) -> NDArray[Any]:
    missing = np.isnan(numbers)
    is_it = numbers == number
    return np.where(missing, np.float32(np.nan), is_it) if missing.any() else is_it.view(np.uint8)


def _order(label: str) -> tuple[float, str]:
    try:
        number = float(label)
    except ValueError:
        number = math.inf
    return (math.inf if math.isnan(number) else number), label
