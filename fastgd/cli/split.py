"""The rows that ``fastgd fit`` holds out to score on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.errors import InputError
from fastgd.cli.target import number_classes
from fastgd.data.table import Rows
from fastgd.holdout import held_out_rows

#: Classes that a note names.
_SHOWN = 5


class Split(NamedTuple):
    """Rows held out and rows kept, both in order."""

    held: Rows
    kept: Rows
    notes: list[str]
    """Which classes have no row among those held out."""


def split_rows(y: NDArray[Any], task: str, share: float, seed: int) -> Split:
    """Choose the rows to hold out.

    Parameters
    ----------
    y : ndarray of shape (n,)
        The target. Each class of a logistic task gives its proportion of the rows, and never its last one.
    task : {"linear", "logistic"}
    share : float
        In [0, 1); 0 keeps all rows.
    seed : int

    Returns
    -------
    Split

    Raises
    ------
    InputError
        Fewer than two rows would be kept, or none held out.
    """
    n = len(y)
    if share == 0:
        return Split(slice(0, 0), slice(None), [])
    if n - max(1, round(n * share)) < 2:
        raise InputError(f"{n} usable rows are too few to hold out a share of {share:g}: use --holdout 0")
    classes, codes = number_classes(y) if task == "logistic" else (y[:0], None)
    held = held_out_rows(n, share, seed, classes=codes)
    if held.size == 0:
        raise InputError("each class has one row alone, so that none can be held out: use --holdout 0")
    kept = np.ones(n, dtype=bool)
    kept[held] = False
    return Split(held, np.flatnonzero(kept), [] if codes is None else _unscored(classes, codes, held))


def _unscored(classes: NDArray[Any], codes: NDArray[np.intp], held: NDArray[np.int64]) -> list[str]:
    """Return a note on the classes of which no row is held out."""
    absent = np.flatnonzero(np.bincount(codes[held], minlength=classes.size) == 0)
    if absent.size == 0:
        return []
    counts = np.bincount(codes, minlength=classes.size)
    named = [f"{classes[c]} ({counts[c]:,} {'row' if counts[c] == 1 else 'rows'})" for c in absent[:_SHOWN]]
    more = f" and {absent.size - _SHOWN:,} more" if absent.size > _SHOWN else ""
    subject = "class" if absent.size == 1 else "classes"
    return [f"no row held out of {subject} {', '.join(named)}{more}: too rare, all rows are in the training part"]
