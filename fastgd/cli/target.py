"""The column to be predicted: which one it is, and which kind of regression its values ask for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.errors import InputError
from fastgd.data.table import Table

MOST_CLASSES = 20
ROWS_A_CLASS = 5
_BLOCK = 1 << 16


class Target(NamedTuple):
    """The values to be predicted and what is made of them."""

    y: NDArray[Any]
    """Shape (n,): float64 for a linear fit; integers or strings for a logistic one."""
    task: Literal["linear", "logistic"]
    reason: str


def find_column(table: Table, name: str, option: str) -> str:
    """Return the column that `name` stands for: its name or, in a file without names, its position from 1 or -1."""
    if name in table.names:
        return name
    if not table.named and name.lstrip("-").isdigit() and 1 <= abs(int(name)) <= len(table.names):
        position = int(name)
        return table.names[position - 1 if position > 0 else position]
    raise InputError(f"{option}: there is no column {name!r}; {_hint(table, name)}")


def choose_target(table: Table, name: str | None) -> str:
    """Return the target column: the one asked for, else the one that the source marks."""
    if name is not None:
        return find_column(table, name, "--target")
    if table.default_target is None:
        raise InputError(f"--target is missing: name the column to predict; {_columns(table.names)}")
    return table.default_target


def read_target(values: NDArray[Any], name: str, task: str) -> Target:
    """Decide the task and bring the values into the form that its estimator takes.

    Parameters
    ----------
    values : ndarray of shape (n,)
        The target without missing values, as numbers or as text.
    name : str
        The column, for messages.
    task : {"auto", "linear", "logistic"}
        What the user asked for; "auto" takes text, and integers of at most `MOST_CLASSES` distinct values with
        `ROWS_A_CLASS` rows each on average, for classes.

    Returns
    -------
    Target
        The values, the task and why.

    Raises
    ------
    InputError
        The target is constant, or does not fit the task.
    """
    if values.dtype.kind in "OU":
        return _text_target([str(value) for value in values], name, task)
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
    return Target(values.astype(np.int64), "logistic", reason)


def _text_target(values: list[str], name: str, task: str) -> Target:
    if task == "linear":
        raise InputError(f"target {name!r} holds text, which a linear fit cannot predict: use --task logistic")
    classes = set(values)
    if len(classes) == 1:
        raise InputError(f"target {name!r} is {values[0]!r} in every row: one class alone cannot be fitted")
    if len(values) < 2 * len(classes):
        raise InputError(f"target {name!r} holds {len(classes):,} different texts in {len(values):,} rows: no classes")
    return Target(np.array(values), "logistic", f"{name!r} holds text" if task == "auto" else "asked for")


def _distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct values, or the first few more than `MOST_CLASSES` of them."""
    distinct = values[:0]
    for start in range(0, len(values), _BLOCK):
        distinct = np.union1d(distinct, values[start : start + _BLOCK])
        if len(distinct) > MOST_CLASSES:
            break
    return distinct


def _hint(table: Table, name: str) -> str:
    close = difflib.get_close_matches(name, table.names, n=3)
    close = close or [other for other in table.names if other.lower() == name.lower()]
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    if table.names[0] == "column_1":
        return f"the file has no names: give a position from 1 to {len(table.names)}, or -1 for the last column"
    return _columns(table.names)


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
    return f"the columns are {shown}"
