"""The column to be predicted: which one it is, and which kind of regression its values ask for."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.advice import advise
from fastgd.cli.errors import InputError
from fastgd.data.dialect import is_number
from fastgd.data.table import Example, Labels, Strays, Table
from fastgd.data.text_column import MISSING, TextColumn

MOST_CLASSES = 20
ROWS_A_CLASS = 5
_BLOCK = 1 << 16


class Target(NamedTuple):
    """The values to be predicted and what is made of them."""

    y: NDArray[Any]
    """Shape (n,): float64 for a linear fit; for a logistic one booleans, numbers (int64 if it holds all) or objects,
    which are strings."""
    task: Literal["linear", "logistic"]
    reason: str


def find_column(table: Table, name: str, option: str) -> str:
    """Return the column that `name` stands for: its name or, in a file without names, its position from 1 or -1."""
    if name in table.names and name not in table.repeated:
        return name
    if name in table.repeated:
        alike = table.repeated[name]
        raise InputError(
            f"{option}: {len(alike)} columns are called {name!r}, here {' and '.join(alike)}: leave out all but one"
            f" with {' '.join(drop_words(alike[1:]))}, or rename them in the file"
        )
    if not table.named and name.lstrip("-").isdigit() and 1 <= abs(int(name)) <= len(table.names):
        position = int(name)
        return table.names[position - 1 if position > 0 else position]
    raise InputError(f"{option}: there is no column {name!r}; {_hint(table, name, option)}")


def columns_to_drop(table: Table, names: Sequence[str]) -> list[str]:
    """Return the columns that ``--drop`` leaves out; a name that several columns have stands for all of them."""
    found = [table.repeated.get(name) or (find_column(table, name, "--drop"),) for name in names]
    return list(dict.fromkeys(column for columns in found for column in columns))


def drop_words(names: Sequence[str]) -> list[str]:
    """Return the options that leave out some columns, as a shell takes them."""
    return [f"--drop {shlex.quote(name)}" for name in names]


def choose_target(table: Table, name: str | None, dropped: Sequence[str] = ()) -> str:
    """Return the target column: the one asked for, else the one that the source marks."""
    if name is None and table.default_target is None:
        raise InputError(f"--target is missing: name the column to predict; {_columns(table)}")
    if name is None:
        assert table.default_target is not None
        return table.default_target
    left = [column for column in table.repeated.get(name, ()) if column not in dropped]
    return left[0] if len(left) == 1 else find_column(table, name, "--target")


def read_target(values: Labels, name: str, task: str) -> Target:
    """Decide the task and bring the values into the form that its estimator takes.

    Parameters
    ----------
    values : ndarray of shape (n,), or TextColumn
        The target without missing values.
    name : str
        The column, for messages.
    task : {"auto", "linear", "logistic"}
        What the user asked for; "auto" takes text, and integers of at most `MOST_CLASSES` distinct values with
        `ROWS_A_CLASS` rows each on average, for classes.

    Returns
    -------
    Target
        The values, the task and why. Classes are as the source spells them: integers if every value is an integer of
        64 bits in its shortest form, otherwise text.

    Raises
    ------
    InputError
        The target is constant, or does not fit the task.
    """
    if not isinstance(values, TextColumn):
        return _numeric_target(values, name, task)
    parsed = values.parsed()
    if parsed is None:
        return _text_target(values, name, task)
    integers = _as_integers(values.values)
    if integers is not None:
        return _numeric_target(integers[values.codes], name, task)
    whole = np.isfinite(parsed).all() and np.array_equal(parsed, np.floor(parsed))
    classes = len(values.values)
    few = classes <= MOST_CLASSES and (classes == 2 or len(values) >= ROWS_A_CLASS * classes)
    if whole and classes > 1 and (task == "logistic" or (task == "auto" and few)):
        reason = "asked for" if task == "logistic" else f"{name!r} holds {classes} distinct integers"
        return Target(_strings(values), "logistic", reason)
    return _numeric_target(parsed[values.codes], name, task)


def _as_integers(values: Sequence[str]) -> NDArray[np.int64] | None:
    """Return integers if this loses nothing of their spelling and 64 bits hold them, else None."""
    try:
        integers = [int(value) for value in values]
        if all(str(integer) == value for integer, value in zip(integers, values, strict=True)):
            return np.array(integers, dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    return None


def _numeric_target(values: NDArray[Any], name: str, task: str) -> Target:
    if values.dtype == object or values.dtype.kind == "b":
        return _boolean_target(values.astype(bool), name, task)
    if not np.isfinite(values).all():
        raise InputError(f"target {name!r} holds infinite values: remove those rows")
    distinct = _distinct(values)
    if len(distinct) == 1:
        raise InputError(f"target {name!r} is {distinct[0]:g} in every row: there is nothing to learn; name another")
    whole = len(distinct) <= MOST_CLASSES and all(value == int(value) for value in distinct)
    few = whole and (len(distinct) == 2 or len(values) >= ROWS_A_CLASS * len(distinct))
    seen = f"{len(distinct)} distinct integers" if few else "numbers"
    if task == "linear" or (task == "auto" and not few):
        reason = "asked for" if task == "linear" else f"{name!r} holds {seen}"
        return Target(np.asarray(values, dtype=np.float64), "linear", reason)
    if not whole:
        raise InputError(
            f"target {name!r} holds numbers that are no classes (more than {MOST_CLASSES} distinct ones, or fractions):"
            " use --task linear"
        )
    reason = "asked for" if task == "logistic" else f"{name!r} holds {seen}"
    limits = np.iinfo(np.int64)
    fits = limits.min <= int(distinct.min()) and int(distinct.max()) <= limits.max
    return Target(values.astype(np.int64) if fits else values, "logistic", reason)


def _boolean_target(values: NDArray[np.bool_], name: str, task: str) -> Target:
    if values.all() or not values.any():
        raise InputError(f"target {name!r} is {values[0]} in every row: one class alone cannot be fitted")
    if task == "linear":
        return Target(values.astype(np.float64), "linear", "asked for")
    return Target(values, "logistic", "asked for" if task == "logistic" else f"{name!r} holds true and false")


def _text_target(values: TextColumn, name: str, task: str) -> Target:
    if task == "linear":
        raise InputError(f"target {name!r} holds text{_example_of_text(values)}: use --task logistic")
    classes = len(values.values)
    if classes == 1:
        raise InputError(f"target {name!r} is {values.values[0]!r} in every row: one class alone cannot be fitted")
    if len(values) < 2 * classes:
        shown = _example_of_text(values)
        raise InputError(
            f"target {name!r} holds {classes:,} different texts in {len(values):,} rows: no classes{shown}"
        )
    return Target(_strings(values), "logistic", f"{name!r} holds text" if task == "auto" else "asked for")


def _example_of_text(values: TextColumn) -> str:
    shown = next(value for value in values.values if not is_number(value))
    return f" ({shown[:40]!r})"


def _strings(values: TextColumn) -> NDArray[Any]:
    """Return a string per row; an array of fixed width would take the memory of the longest for each."""
    return np.array(values.values, dtype=object)[values.codes]


def number_classes(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the sorted classes of a target, shape (C,), and the number of each row's class, shape (n,)."""
    if y.dtype != object:
        return np.unique(y, return_inverse=True)
    labels = y.tolist()
    classes = sorted(set(labels))
    numbers = {label: number for number, label in enumerate(classes)}
    return np.array(classes, dtype=object), np.fromiter(map(numbers.__getitem__, labels), np.intp, len(labels))


def describe_labels(values: Labels, name: str) -> list[str]:
    """Return remarks on labels of text that a reader may take for something else.

    Parameters
    ----------
    values : ndarray or TextColumn
        The target without missing values.
    name : str
        The column.

    Returns
    -------
    list of str
    """
    if not isinstance(values, TextColumn):
        return []
    notes = []
    padded = next((value for value in values.values if value != value.strip()), None)
    if padded is not None:
        notes.append(f"values of {name!r} keep their blanks: {padded!r}")
    tokens = [value for value in values.values if value in MISSING]
    if tokens:
        notes.append(f"{tokens[0]!r} is a value of {name!r}; --null {tokens[0]} takes it for missing")
    parsed = values.parsed()
    spelling = None if parsed is not None else advise(Strays([Example(v, 0, "") for v in values.values], 0))
    if spelling is not None:
        notes.append(f"values of {name!r} look like numbers that are spelt otherwise: {spelling}")
    if parsed is not None and len(np.unique(parsed)) < len(parsed):
        first, second = _equal_numbers(values.values, parsed)
        notes.append(f"{first!r} and {second!r} are different values of {name!r}, as the file spells them")
    return notes


def _equal_numbers(values: Sequence[str], parsed: NDArray[np.float64]) -> tuple[str, str]:
    """Return the first two values that spell the same number."""
    seen: dict[float, str] = {}
    for value, number in zip(values, parsed.tolist(), strict=True):
        if number in seen:
            return seen[number], value
        seen[number] = value
    raise AssertionError("no two values are equal")


def _distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct values, or the first few more than `MOST_CLASSES` of them."""
    distinct = values[:0]
    for start in range(0, len(values), _BLOCK):
        distinct = np.union1d(distinct, values[start : start + _BLOCK])
        if len(distinct) > MOST_CLASSES:
            break
    return distinct


def _hint(table: Table, name: str, option: str) -> str:
    parts = name.split(",")
    if len(parts) > 1 and option != "--target" and all(part in table.names for part in parts):
        return "give the option once per column: " + " ".join(f"{option} {shlex.quote(part)}" for part in parts)
    close = difflib.get_close_matches(name, table.names, n=3)
    close = close or [other for other in table.names if other.lower() == name.lower()]
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    return _columns(table)


def _columns(table: Table) -> str:
    names = table.names
    if not table.named:
        return (
            f"the file has no names: give a position from 1 to {len(names)}, or -1 for the last column;"
            " if its first line names the columns, use --header"
        )
    shown = ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
    return f"the columns are {shown}"
