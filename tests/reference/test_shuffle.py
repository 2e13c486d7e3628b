"""The keyed shuffle is a bijection, keeps its windows and runs, and looks uniform."""

import numpy as np
import pytest

from fastgd.reference import epoch_order, row_at
from fastgd.reference.shuffle import RUN, WINDOW, feistel, key, mix, permute

FIRST_20 = [4, 1, 2, 7, 12, 11, 8, 17, 18, 13, 5, 6, 10, 19, 16, 9, 15, 3, 14, 0]


def test_mix_is_a_bijection_by_its_inverse():
    """Each half of mix undone: the multiplier is odd, and x ^ (x >> 16) is its own inverse on 32 bits."""
    inverse = pow(0x45D9F3B, -1, 2**32)
    for x in [0, 1, 2, 12345, 2**31, 2**32 - 1, 0xDEADBEEF]:
        y = mix(x)
        assert 0 <= y < 2**32
        for _ in range(2):
            y = (y ^ (y >> 16)) * inverse % 2**32
        assert y ^ (y >> 16) == x


def test_fixed_numbers():
    """The shuffle is part of the format of resumed fits: a change here changes every fit. mix(1) is by hand:
    1 * 0x45d9f3b; (0x45d9f3b ^ 0x45d) * 0x45d9f3b mod 2^32; then the last xor-shift.
    """
    first = 0x45D9F3B
    second = (first ^ 0x45D) * 0x45D9F3B % 2**32
    assert mix(1) == second ^ (second >> 16)
    assert key(7, 3, 1) == mix(mix(mix(7) ^ 3) ^ 1)
    assert [row_at(t, 20, 42, 0) for t in range(20)] == FIRST_20


def mix32(x: np.ndarray) -> np.ndarray:
    """mix in arithmetic that wraps at 32 bits by itself."""
    for _ in range(2):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x45D9F3B)
    return x ^ (x >> np.uint32(16))


def permute32(i: np.ndarray, m: int, k: np.ndarray) -> np.ndarray:
    """permute on arrays: all walk until every one is inside."""
    if m == 1:
        return np.zeros_like(i)
    bits = max(2, int(np.ceil(np.log2(m))))
    low, high = bits - bits // 2, bits // 2
    out, walking = i.copy(), np.ones(len(i), dtype=bool)
    while walking.any():
        x = out[walking]
        left, right = x >> np.uint32(low), x & np.uint32(2**low - 1)
        for r in range(6):
            width = high if r % 2 == 0 else low
            left, right = right, left ^ (mix32(right ^ mix32(k + np.uint32(r))) & np.uint32(2**width - 1))
        out[walking] = (left << np.uint32(low)) | right
        walking &= out >= m
    return out


@pytest.mark.parametrize("n", [5, 16, 100, 8193, 20000])
@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (2**31 - 1, 7)])
def test_order_against_a_second_writing(n, seed, epoch):
    """Written again on whole windows in wrapping 32-bit arithmetic."""

    def level(number: int) -> np.ndarray:
        words = np.array([seed, epoch, number], dtype=np.uint32).reshape(3, 1)
        return mix32(mix32(mix32(words[0]) ^ words[1]) ^ words[2])

    q = []
    for window in range(-(-n // 8192)):
        size = min(8192, n - 8192 * window)
        q.append(8192 * window + permute32(np.arange(size, dtype=np.uint32), size, level(window + 1)))
    q, runs = np.concatenate(q), n // 16
    moved = permute32(np.arange(runs, dtype=np.uint32), runs, level(0)) if runs else np.zeros(0, dtype=np.uint32)
    run = np.append(moved, runs)[q // 16]
    np.testing.assert_array_equal(epoch_order(n, seed, epoch), 16 * run + q % 16)


@pytest.mark.parametrize("bits", range(2, 13))
def test_feistel_is_a_bijection(bits):
    assert sorted(feistel(i, bits, key(1, 2, 3)) for i in range(2**bits)) == list(range(2**bits))


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 15, 16, 17, 33, 1000])
def test_permute_is_a_bijection(m):
    assert sorted(permute(i, m, key(5, 0, 9)) for i in range(m)) == list(range(m))


def test_key_sums_wrap_at_32_bits():
    assert sorted(feistel(i, 5, 2**32 - 2) for i in range(32)) == list(range(32))


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 31, 32, 33, 100, 8191, 8192, 8193, 8208, 20000])
def test_epoch_visits_every_row_once(n):
    np.testing.assert_array_equal(np.sort(epoch_order(n, 2**31 - 1, 5)), np.arange(n))


def test_a_window_holds_whole_runs_and_the_tail_stays_last():
    n = 2 * WINDOW + 100  # the last window has 6 runs and 4 rows
    order = epoch_order(n, 3, 1)
    for start in (0, WINDOW):
        runs, counts = np.unique(order[start : start + WINDOW] // RUN, return_counts=True)
        assert len(runs) == WINDOW // RUN
        assert set(counts) == {RUN}
    assert set(range(n - n % RUN, n)) <= set(order[2 * WINDOW :])
    # Runs come from the whole data: some of the first window's stood beyond it.
    assert order[:WINDOW].max() > WINDOW


def test_seed_and_epoch_change_the_order():
    orders = [tuple(epoch_order(50, seed, epoch)) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert len(set(orders)) == 9


@pytest.mark.parametrize("n", [10, pytest.param(64, marks=pytest.mark.slow)])
def test_rows_fall_evenly(n):
    """Chi-square of where each row stands over many epochs: (n - 1)^2 degrees of freedom."""
    epochs = 1500
    counts = np.zeros((n, n))
    for epoch in range(epochs):
        counts[epoch_order(n, 11, epoch), np.arange(n)] += 1
    expected, free = epochs / n, (n - 1) ** 2
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - free) < 6 * np.sqrt(2 * free)
