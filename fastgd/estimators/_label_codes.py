"""Which labels there are, and their numbers: a block of rows at a time, on threads where rows are many."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads

#: Rows of a block.
BLOCK = 1 << 16
#: From the least to the largest of classes that are counted, and numbered, by a table.
_SPAN = 1 << 12
#: Integers that every type of number tells apart from their neighbours, at most.
_LARGEST = 1 << 53


def by_blocks(labels: NDArray[Any], n_threads: int, work: Callable[[int, slice], None]) -> None:
    """Call ``work(slot, rows)`` for every block of rows of labels; `slot` numbers the threads, below `n_threads`."""
    # Comparing Python's objects takes the interpreter's lock.
    threads.by_blocks(labels.shape[0], BLOCK, 1 if labels.dtype == object else n_threads, work)


def count(y: NDArray[Any], n_threads: int) -> tuple[NDArray[Any], NDArray[np.intp]] | None:
    """The sorted classes (C,) of labels and the rows of each; None unless these are integers that need no further look.

    Floating point numbers may hold them, and two classes may lie as far apart as they like.
    """
    if y.ndim != 1 or y.dtype.kind not in "biuf" or y.size == 0:
        return None
    low, high = _extremes(y, n_threads)
    if not low < high or not (_is_moderate(low) and _is_moderate(high)):
        return None
    two = _count_two(y, low, high, n_threads)
    return _count_all(y, int(low), int(high), n_threads) if two is None else (np.array([low, high], y.dtype), two)


def _extremes(y: NDArray[Any], n_threads: int) -> tuple[Any, Any]:
    least, largest = np.full(n_threads, y[0]), np.full(n_threads, y[0])

    def work(slot: int, rows: slice) -> None:
        # NaN stays NaN.
        least[slot] = np.minimum(least[slot], y[rows].min())
        largest[slot] = np.maximum(largest[slot], y[rows].max())

    by_blocks(y, n_threads, work)
    return least.min(), largest.max()


def _is_moderate(label: Any) -> bool:
    """Whether a label is an integer, and as floating point one of those that are as dense as integers."""
    if label.dtype.kind != "f":
        return True
    return abs(float(label)) <= _LARGEST and float(label).is_integer()


def _count_two(y: NDArray[Any], low: Any, high: Any, n_threads: int) -> NDArray[np.intp] | None:
    """Rows of two classes; None where there are others."""
    counts, others = np.zeros((n_threads, 2), np.intp), np.zeros(n_threads, bool)

    def work(slot: int, rows: slice) -> None:
        if others.any():
            return
        block = y[rows]
        found = np.count_nonzero(block == low), np.count_nonzero(block == high)
        counts[slot] += found
        others[slot] = sum(found) < block.size

    by_blocks(y, n_threads, work)
    return None if others.any() else counts.sum(axis=0)


def _count_all(y: NDArray[Any], low: int, high: int, n_threads: int) -> tuple[NDArray[Any], NDArray[np.intp]] | None:
    """The classes from `low` to `high` that there are and their rows; None where they are far apart, or no integers."""
    if high - low >= _SPAN or max(-low, high) > _LARGEST:
        return None
    counts, others = np.zeros((n_threads, high - low + 1), np.intp), np.zeros(n_threads, bool)

    def work(slot: int, rows: slice) -> None:
        block = y[rows]
        index = block.astype(np.intp)
        others[slot] |= y.dtype.kind == "f" and not np.array_equal(index, block)
        index -= low
        counts[slot] += np.bincount(index, minlength=counts.shape[1])

    by_blocks(y, n_threads, work)
    if others.any():
        return None
    total = counts.sum(axis=0)
    index = np.flatnonzero(total)
    return (index + low).astype(y.dtype), total[index]


def numbering(classes: NDArray[Any], dtype: np.dtype[Any]) -> Callable[[NDArray[Any]], NDArray[np.intp]]:
    """What gives the class numbers of a block of labels of a dtype, all of which are among sorted classes (C,)."""
    if classes.size == 2:
        # A comparison takes a tenth of the time of a search.
        return lambda block: (block == classes[1]).astype(np.intp)
    table = _table(classes) if dtype.kind in "biuf" else None
    if table is None:
        return lambda block: np.searchsorted(classes, block)
    low = int(classes[0])

    def look_up(block: NDArray[Any]) -> NDArray[np.intp]:
        with np.errstate(invalid="ignore"):
            index = block.astype(np.intp)
        index -= low
        found: NDArray[np.intp] = table.take(index, mode="clip")
        return found

    return look_up


def _table(classes: NDArray[Any]) -> NDArray[np.intp] | None:
    """Class numbers by label less the least one; None where these are no integers, or far apart."""
    if classes.dtype.kind not in "iuf" or not all(map(_is_moderate, classes)):
        return None
    low, high = int(classes[0]), int(classes[-1])
    if high - low >= _SPAN or max(-low, high) > _LARGEST:
        return None
    table = np.zeros(high - low + 1, np.intp)
    table[classes.astype(np.intp) - low] = np.arange(classes.size)
    return table
