"""Rows set aside to tell when to stop: chosen by a hash of their number, so that they are the same in every epoch."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels.shuffle import make_key, mix
from fastgd.threads import by_blocks

#: A key of the hash that no epoch of the shuffle has.
_LEVEL = 0xFFFFFFFF
_BLOCK = 1 << 16


def held_out_rows(n: int, fraction: float, seed: int, n_threads: int = 1) -> NDArray[np.int64]:
    """Sorted numbers of the rows i < n with mix(key xor i) / 2^32 < fraction."""
    key, limit = make_key(seed, _LEVEL, 0), fraction * 2.0**32
    found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * -(-n // _BLOCK)

    def work(slot: int, block: slice) -> None:
        rows = np.arange(block.start, block.stop)
        found[block.start // _BLOCK] = rows[mix(key ^ (rows & 0xFFFFFFFF)) < limit]

    by_blocks(n, _BLOCK, n_threads, work)
    return np.concatenate(found)


def stratified_rows(
    n: int, share: float, seed: int, codes: NDArray[np.integer[Any]] | None = None
) -> NDArray[np.int64]:
    """Return the sorted numbers of rows to hold out: an exact share, drawn from each class in proportion to its size.

    The count is `share` times n, rounded, and at least 1. Each class gives its proportion, rounded down or up by the
    method of largest remainders, but never its last row: a class of one row stays in the training part.

    Parameters
    ----------
    n : int
        Number of rows.
    share : float
        In (0, 1).
    seed : int
        The same seed draws the same rows, whatever the number of threads.
    codes : ndarray of shape (n,), int, or None, default=None
        Class numbers from 0; None takes all rows for one class.

    Returns
    -------
    ndarray of shape (n_held_out,), int64
        Empty where no class has two rows.
    """
    key = make_key(seed, _LEVEL, 0)
    hashes = mix(key ^ (np.arange(n) & 0xFFFFFFFF))
    if codes is None:
        return np.sort(_least(hashes, np.arange(n), int(_quotas(np.array([n]), share, key)[0])))
    counts = np.bincount(codes)
    quotas = _quotas(counts, share, key)
    # A stable sort of narrow integers is a radix sort.
    by_class = np.argsort(codes.astype(np.min_scalar_type(counts.size)), kind="stable")
    ends = np.cumsum(counts)
    chosen = [
        _least(hashes, by_class[end - count : end], quota)
        for end, count, quota in zip(ends, counts, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _quotas(counts: NDArray[np.int64], share: float, key: int) -> NDArray[np.int64]:
    """Return how many rows each class gives, by the method of largest remainders; ties go by a hash of the class."""
    most = np.maximum(counts - 1, 0)
    exact = share * counts
    quotas = np.minimum(np.floor(exact).astype(np.int64), most)
    wanted = max(1, int(np.floor(share * counts.sum() + 0.5)))
    order = np.lexsort((mix(key ^ np.arange(counts.size)), quotas - exact))
    order = order[quotas[order] < most[order]]
    quotas[order[: max(0, wanted - int(quotas.sum()))]] += 1
    return quotas


def _least(hashes: NDArray[np.int64], rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the `count` of these rows whose hashes are least."""
    return rows[np.argpartition(hashes[rows], count)[:count]] if count else rows[:0]


def without_rows(s: NDArray[Any] | None, rows: NDArray[np.int64], n: int) -> NDArray[Any]:
    """Sample weights (n,) that are 0 on the given rows: a fit sees what it would see without these rows."""
    weights: NDArray[Any] = np.ones(n, np.float32) if s is None else s.copy()
    weights[rows] = 0
    return weights


def blocks_of(count: int, numbers: int, d: int) -> Iterator[slice]:
    """Slices of `count` rows, each of about `numbers` numbers of d columns."""
    step = max(1, numbers // d)
    for start in range(0, count, step):
        yield slice(start, start + step)
