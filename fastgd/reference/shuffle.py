"""The order of rows in a shuffled epoch: a keyed bijection of (seed, epoch, position) alone.

Rows move in runs of 16, so that reading them is not all cache misses; the runs are shuffled over the whole data, and
then the rows over each window of 8192 positions (512 runs). The bijections of any length are six-round Feistel networks
with cycle walking (Black and Rogaway 2002). All numbers are integers; those that are hashed are below 2^32.
"""

from __future__ import annotations

import numpy as np

RUN = 16
WINDOW = 8192
ROUNDS = 6
_MASK = 2**32 - 1


def mix(x: int) -> int:
    """A bijection of the 32-bit numbers that scatters them: xor-shift and multiply, twice, and xor-shift."""
    for _ in range(2):
        x = (((x >> 16) ^ x) * 0x45D9F3B) & _MASK
    return (x >> 16) ^ x


def key(seed: int, epoch: int, level: int) -> int:
    """Return the key of a bijection: mix(mix(mix(seed) ^ epoch) ^ level)."""
    return mix(mix(mix(seed) ^ epoch) ^ level)


def feistel(i: int, bits: int, k: int) -> int:
    """A bijection of 0..2^bits - 1 for bits >= 2: six Feistel rounds on the halves of i.

    The left half has bits // 2 bits and the right half the others; the widths swap every round and are back after six.
    """
    left_width, right_width = bits // 2, bits - bits // 2
    left, right = i >> right_width, i & (2**right_width - 1)
    for r in range(ROUNDS):
        left, right = right, left ^ (mix(right ^ mix((k + r) & _MASK)) & (2**left_width - 1))
        left_width, right_width = right_width, left_width
    return (left << right_width) | right


def permute(i: int, m: int, k: int) -> int:
    """A bijection of 0..m-1: the Feistel network on the next power of two, repeated until it lands inside."""
    if m <= 1:
        return 0
    bits = max(2, (m - 1).bit_length())
    i = feistel(i, bits, k)
    while i >= m:
        i = feistel(i, bits, k)
    return i


def row_at(position: int, n: int, seed: int, epoch: int) -> int:
    """Return the row at a position 0..n - 1 of a shuffled epoch, with a seed below 2^31; epochs count from 0."""
    window = position // WINDOW
    base = window * WINDOW
    size = min(WINDOW, n - base)
    q = base + permute(position - base, size, key(seed, epoch, 1 + window))
    run, offset = divmod(q, RUN)
    runs = n // RUN
    # The rows after the last whole run keep their run.
    if run < runs:
        run = permute(run, runs, key(seed, epoch, 0))
    return run * RUN + offset


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the rows (n,) int64 of a shuffled epoch in order."""
    return np.array([row_at(t, n, seed, epoch) for t in range(n)], dtype=np.int64)
