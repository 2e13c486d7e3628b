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
