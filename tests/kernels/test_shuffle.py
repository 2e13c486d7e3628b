"""The keyed shuffle: scalars in plain Python and the windows that the epoch kernel fills, against the reference."""

from typing import NamedTuple

import numpy as np
import pytest

from fastgd.kernels import shuffle
from fastgd.kernels._jit import cpu_kernel
from fastgd.kernels.cpu.epoch import write_batch_rows
from fastgd.kernels.cpu.order import fill_window
from fastgd.kernels.records import Batches, Schedule, Tile, new_tile
from fastgd.reference import epoch_order
from fastgd.reference import shuffle as truth

KEYS = [(0, 0), (7, 3), (2**31 - 1, 2**32 - 1), (12345, 1)]
SIZES = [1, 2, 3, 15, 16, 17, 31, 32, 33, 100, 4097, 8191, 8192, 8193, 8209, 20000]


@cpu_kernel("test_fill_window")
def fill(window, n, batches, order, runs):
    fill_window(window, n, batches, order, runs)


class Names(NamedTuple):
    """The part of `records.Work` that naming rows needs."""

    tile: Tile
    schedule: Schedule
    ahead: int


@cpu_kernel("test_write_batch_rows")
def name(at, m, n, batches, names):
    write_batch_rows(at, m, n, batches, names)


def new_schedule(n: int) -> Schedule:
    window = min(shuffle.WINDOW, n)
    runs = np.zeros(-(-window // shuffle.RUN), np.int64)
    return Schedule(np.zeros((2, window), np.int64), runs, np.full(2, -1, np.int64))


def test_constants_are_the_references():
    assert (shuffle.RUN, shuffle.WINDOW) == (truth.RUN, truth.WINDOW)


def test_scalars_against_the_reference():
    numbers = [0, 1, 2, 65535, 65536, 2**31, 2**32 - 1, 0xDEADBEEF]
    assert [shuffle.mix(x) for x in numbers] == [truth.mix(x) for x in numbers]
    for seed, epoch in KEYS:
        key = truth.key(seed, epoch, 5)
        assert shuffle.make_key(seed, epoch, 5) == key
        for bits in (2, 3, 7, 13, 20, 31):
            points = [i % 2**bits for i in (0, 1, 2, 12345, 2**31 - 1)]
            assert [shuffle.feistel(i, bits, key) for i in points] == [truth.feistel(i, bits, key) for i in points]
        for m in (1, 2, 3, 100, 2**20 + 1):
            points = [i % m for i in (0, 1, 77, 2**20)]
            assert [shuffle.permute(i, m, key) for i in points] == [truth.permute(i, m, key) for i in points]
    # The key of the last rounds wraps at 32 bits.
    assert [shuffle.feistel(i, 5, 2**32 - 2) for i in range(32)] == [truth.feistel(i, 5, 2**32 - 2) for i in range(32)]


@pytest.mark.parametrize("n", [1, 15, 16, 33, 500])
def test_row_at_against_the_reference(n):
    for seed, epoch in KEYS:
        order = epoch_order(n, seed, epoch).tolist()
        assert [shuffle.row_at(t, n, seed, epoch) for t in range(n)] == order


def test_row_at_far_into_large_data():
    n = 3_000_000_019
    for t in (0, n // 2, n - 8192, n - 1):
        assert shuffle.row_at(t, n, 9, 2) == truth.row_at(t, n, 9, 2)


@pytest.mark.parametrize("n", SIZES)
def test_filled_windows_against_the_reference(n):
    seed, epoch = KEYS[n % len(KEYS)]
    expected = epoch_order(n, seed, epoch)
    for window in range(-(-n // shuffle.WINDOW)):
        schedule = new_schedule(n)
        fill(window, n, Batches(1, seed, epoch, True), schedule.order[0], schedule.runs)
        part = expected[window * shuffle.WINDOW : (window + 1) * shuffle.WINDOW]
        np.testing.assert_array_equal(schedule.order[0, : len(part)], part)


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("ahead", [32, 40])
def test_rows_of_tiles_and_of_prefetches_across_windows(shuffled, ahead):
    """A tile and the rows prefetched for a later one lie in neighbouring windows; every position finds its own row."""
    n, m, seed, epoch = 20000, 32, 4, 1
    order = epoch_order(n, seed, epoch) if shuffled else np.arange(n)
    names = Names(new_tile(1, 1, 1, np.float64, m), new_schedule(n), ahead)
    window = shuffle.WINDOW
    starts = [0, 32, window - 70, window - 50, window - 20, window, 2 * window - 32, 2 * window - 1, n - 60, n - m]
    for start in starts:
        name(start, m, n, Batches(7, seed, epoch, shuffled), names)
        np.testing.assert_array_equal(names.tile.rows[:m], order[start : start + m])
        later = np.minimum(start + ahead + np.arange(m), n - 1)
        np.testing.assert_array_equal(names.tile.rows[m:], order[later])
