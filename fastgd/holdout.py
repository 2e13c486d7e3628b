"""Choose rows to hold out for validation: an exact share, stratified by class, by a hash of row numbers."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels.shuffle import make_key, mix
from fastgd.threads import by_blocks

#: A level of the shuffle's keys that no window reaches.
_LEVEL = 0xFFFFFFFF
_BLOCK = 1 << 16
_HASHES = 1 << 32


def held_out_rows(
    n: int,
    fraction: float,
    seed: int,
    *,
    classes: NDArray[np.integer[Any]] | None = None,
    weights: NDArray[Any] | None = None,
    n_threads: int = 1,
) -> NDArray[np.int64]:
    """Return the rows to hold out: round(fraction * n) of them (halves up), at least 1, never all rows of a class.

    Rows of weight 0 are never held out and do not count: without them the choice is the same. Each class gives its
    share rounded down or up (largest remainders). Within a class the rows with the smallest mix(key xor i) are chosen,
    where i is the row's position among the rows that count, so that the result depends on the arguments alone.

    Parameters
    ----------
    n : int
        Number of rows.
    fraction : float
        Share of the rows that count, between 0 and 1.
    seed : int
        From 0 to 2^32 - 1.
    classes : ndarray of shape (n,), integer, or None
        Class number of each row, from 0; None for a single class.
    weights : ndarray of shape (n,) or None
        Weights of at least 0; None if all rows count.
    n_threads : int
        Threads for large n; the result does not depend on it.

    Returns
    -------
    ndarray of int64
        Row numbers, ascending; empty if every class has at most one row that counts.
    """
    rows = _CountedRows(n, seed, classes, weights, n_threads)
    sizes = rows.class_sizes()
    wanted = allocate(sizes, fraction, seed)
    if not wanted.any():
        return np.zeros(0, np.int64)
    # A margin of six deviations: the count below a bound is about binomial.
    expected = wanted + 6.0 * np.sqrt(wanted) + 12.0
    while True:
        bounds = np.minimum(np.where(wanted > 0, expected / np.maximum(sizes, 1), 0.0) * _HASHES, _HASHES)
        found = rows.below(bounds)
        counts = np.bincount(found.classes, minlength=sizes.size)
        if np.all(counts >= wanted):
            break
        expected *= 2.0
    order = np.lexsort((found.hashes, found.classes))
    rank = np.arange(order.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(found.rows[order[rank < np.repeat(wanted, counts)]])


def allocate(sizes: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """Return how many rows of each class (C,) to hold out: proportional, at most all but one.

    Rows left by rounding down go to the largest remainders; equal remainders are ordered by a hash.
    """
    n, most = int(sizes.sum()), np.maximum(sizes - 1, 0)
    total = min(max(1, math.floor(fraction * n + 0.5)), int(most.sum()))
    quotas = sizes * (total / max(n, 1))
    counts = np.minimum(np.floor(quotas).astype(np.int64), most)
    order = np.lexsort((mix(make_key(seed, _LEVEL, 1) ^ np.arange(sizes.size)), counts - quotas))
    while (missing := total - int(counts.sum())) > 0:
        counts[order[(counts < most)[order]][:missing]] += 1
    return counts


class _Found(NamedTuple):
    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    hashes: NDArray[np.int64]


class _CountedRows(NamedTuple):
    """The rows of positive weight, with classes and hashes, processed in blocks."""

    n: int
    seed: int
    classes: NDArray[np.integer[Any]] | None
    weights: NDArray[Any] | None
    n_threads: int

    def class_sizes(self) -> NDArray[np.int64]:
        """Count the rows of each class, (C,)."""
        if self.classes is None:
            return np.array([self.n if self.weights is None else np.count_nonzero(self.weights)])
        length = int(self.classes.max(initial=0)) + 1
        parts = self._map_blocks(
            lambda rows: np.bincount(self._classes_of(rows, self._counted(rows)), minlength=length)
        )
        return np.sum(parts, axis=0, dtype=np.int64)

    def below(self, bounds: NDArray[np.float64]) -> _Found:
        """Find the rows whose hash is below the bound of their class, (C,)."""
        sizes = [] if self.weights is None else self._map_blocks(lambda rows: np.count_nonzero(self._counted(rows)))
        before, key = np.cumsum([0, *sizes]), make_key(self.seed, _LEVEL, 0)

        def look(rows: slice) -> _Found:
            numbers = self._counted(rows)
            first = rows.start if self.weights is None else int(before[rows.start // _BLOCK])
            hashes = mix(key ^ (np.arange(first, first + numbers.size) & 0xFFFFFFFF))
            classes = self._classes_of(rows, numbers)
            chosen = hashes < bounds[classes]
            return _Found(numbers[chosen], classes[chosen], hashes[chosen])

        parts = self._map_blocks(look)
        return _Found(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _counted(self, rows: slice) -> NDArray[np.int64]:
        if self.weights is None:
            return np.arange(rows.start, rows.stop)
        return np.flatnonzero(self.weights[rows]) + rows.start

    def _classes_of(self, rows: slice, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.classes is None:
            return np.zeros(numbers.size, np.int64)
        return self.classes[rows][numbers - rows.start].astype(np.int64)

    def _map_blocks(self, look: Callable[[slice], Any]) -> list[Any]:
        results: list[Any] = [None] * -(-self.n // _BLOCK)

        def work(slot: int, rows: slice) -> None:
            results[rows.start // _BLOCK] = look(rows)

        by_blocks(self.n, _BLOCK, self.n_threads, work)
        return results


def without_rows(s: NDArray[Any] | None, rows: NDArray[np.int64], n: int) -> NDArray[Any]:
    """Return a copy of the sample weights (n,) with 0 on the given rows."""
    weights: NDArray[Any] = np.ones(n, np.float32) if s is None else s.copy()
    weights[rows] = 0
    return weights
