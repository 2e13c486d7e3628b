"""The values to be predicted: which kind of regression they ask for, and in which form it takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.columns import advise
from fastgd.cli.errors import InputError
from fastgd.data.table import Example, Labels, NonNumeric
from fastgd.data.text_column import MISSING, TextColumn, is_number

#: Whole numbers are classes by default if there are at most so many distinct ones, each on at least so many rows.
MOST_CLASSES = 20
ROWS_PER_CLASS = 5
_BLOCK = 1 << 16


class Target(NamedTuple):
    """The values to be predicted and the task."""

    y: NDArray[Any]
    """Shape (n,): float64 for a linear fit; for a logistic one booleans, numbers (int64 if it holds all) or objects,
    which are strings."""
    task: Literal["linear", "logistic"]
    reason: str


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
        `ROWS_PER_CLASS` rows each on average, for classes.

    Returns
    -------
    Target
        Classes are as the source spells them: integers if every value is an integer of 64 bits in its shortest form,
        otherwise text.

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
    if whole and classes > 1 and (task == "logistic" or (task == "auto" and _are_few(classes, len(values)))):
        reason = "asked for" if task == "logistic" else f"{name!r} holds {classes} distinct integers"
        return Target(_strings(values), "logistic", reason)
    return _numeric_target(parsed[values.codes], name, task)


def _are_few(classes: int, n_rows: int) -> bool:
    return classes <= MOST_CLASSES and (classes == 2 or n_rows >= ROWS_PER_CLASS * classes)


def _as_integers(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """Return integers if `texts` is how Python spells them and 64 bits hold them; None otherwise."""
    try:
        integers = list(map(int, texts))
        return np.array(integers, dtype=np.int64) if list(map(str, integers)) == list(texts) else None
    except (ValueError, OverflowError):
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
    few = whole and _are_few(len(distinct), len(values))
    seen = f"{len(distinct)} distinct integers" if few else "numbers"
    reason = f"{name!r} holds {seen}" if task == "auto" else "asked for"
    if task == "linear" or (task == "auto" and not few):
        return Target(np.asarray(values, dtype=np.float64), "linear", reason)
    if not whole:
        raise InputError(
            f"target {name!r} holds numbers that are not classes (more than {MOST_CLASSES} distinct ones, or"
            " fractions): use --task linear"
        )
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
    example = f" ({next(value for value in values.values if not is_number(value))[:40]!r})"
    if task == "linear":
        raise InputError(f"target {name!r} holds text{example}: use --task logistic")
    classes = len(values.values)
    if classes == 1:
        raise InputError(f"target {name!r} is {values.values[0]!r} in every row: one class alone cannot be fitted")
    if len(values) < 2 * classes:
        raise InputError(
            f"target {name!r} holds {classes:,} different texts in {len(values):,} rows, which are not classes{example}"
        )
    return Target(_strings(values), "logistic", f"{name!r} holds text" if task == "auto" else "asked for")


def _strings(values: TextColumn) -> NDArray[Any]:
    """Return a string per row; an array of fixed width would take the memory of the longest for each."""
    return np.array(values.values, dtype=object)[values.codes]


def _distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct values, or the first few more than `MOST_CLASSES` of them."""
    distinct = values[:0]
    for start in range(0, len(values), _BLOCK):
        distinct = np.union1d(distinct, values[start : start + _BLOCK])
        if len(distinct) > MOST_CLASSES:
            break
    return distinct


class NumberedClasses(NamedTuple):
    """The classes of a target."""

    classes: NDArray[Any]
    """Sorted, shape (C,)."""
    numbers: NDArray[np.intp]
    """The number of each row's class, shape (n,)."""


def number_classes(y: NDArray[Any]) -> NumberedClasses:
    """Return the classes of a target and the number of each row's class."""
    if y.dtype != object:
        return NumberedClasses(*np.unique(y, return_inverse=True))
    labels = y.tolist()
    classes = sorted(set(labels))
    numbers = {label: number for number, label in enumerate(classes)}
    return NumberedClasses(
        np.array(classes, dtype=object), np.fromiter(map(numbers.__getitem__, labels), np.intp, len(labels))
    )


def describe_labels(values: Labels, name: str) -> list[str]:
    """Return notes on labels of text in column `name` that a reader may take for something else."""
    if not isinstance(values, TextColumn):
        return []
    notes = []
    padded = next((value for value in values.values if value != value.strip()), None)
    if padded is not None:
        notes.append(f"values of {name!r} keep their spaces: {padded!r}")
    token = next((value for value in values.values if value in MISSING), None)
    if token is not None:
        notes.append(f"{token!r} is a value of {name!r}; --null {token} reads it as missing")
    parsed = values.parsed()
    if parsed is None:
        spelling = advise(NonNumeric([Example(value, 0) for value in values.values], 0))
        if spelling is not None:
            notes.append(f"values of {name!r} look like numbers in another spelling: {spelling}")
        return notes
    first: dict[float, str] = {}
    for value, number in zip(values.values, parsed.tolist(), strict=True):
        other = first.setdefault(number, value)
        if other != value:
            notes.append(f"{other!r} and {value!r} are different values of {name!r}, as the file spells them")
            break
    return notes
