"""Held-out rows: an exact, stratified share, a function of positions, classes, weights and seed."""

import numpy as np
import pytest

from fastgd import holdout
from fastgd.arrays import blocks_of
from fastgd.holdout import allocate, held_out_rows, without_rows
from fastgd.reference.shuffle import key, mix


def by_formula(sizes, classes, weights, seed):
    """Choose per class the counted rows with the least hash, row by row in Python's integers."""
    counted = [i for i in range(len(classes)) if weights[i] > 0]
    hashes = {row: int(mix(key(seed, 0xFFFFFFFF, 0) ^ position)) for position, row in enumerate(counted)}
    held = []
    for number, size in enumerate(sizes):
        held += sorted((row for row in counted if classes[row] == number), key=hashes.get)[:size]
    return sorted(held)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 2])
@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_least_hashes_of_each_class_are_held_out(monkeypatch, seed, fraction, n_threads):
    monkeypatch.setattr(holdout, "_BLOCK", 64)
    rng = np.random.default_rng(seed)
    classes, weights = rng.integers(0, 3, 500), rng.integers(0, 2, 500)
    one, all_rows = np.zeros(500, int), np.ones(500)
    for y, s in ((None, None), (classes, None), (None, weights), (classes, weights)):
        rows = held_out_rows(500, fraction, seed, classes=y, weights=s, n_threads=n_threads)
        counts = np.bincount(one if y is None else y, all_rows if s is None else s).astype(np.int64)
        wanted = allocate(counts, fraction, seed)
        assert rows.dtype == np.int64
        assert rows.tolist() == by_formula(wanted, one if y is None else y, all_rows if s is None else s, seed)
        assert rows.size == max(1, int(fraction * counts.sum() + 0.5))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 31])
@pytest.mark.parametrize("kinds", [1, 2, 5])
def test_at_least_one_row_and_never_a_whole_class(n, kinds):
    """For any size, share and seed; only with classes of one row no row is held out."""
    for seed in range(20):
        classes = np.random.default_rng(seed).integers(0, kinds, n)
        sizes = np.bincount(classes, minlength=kinds)
        for fraction in (1e-9, 0.1, 0.3, 0.5, 1.0 - 1e-9):
            held = np.bincount(classes[held_out_rows(n, fraction, seed, classes=classes)], minlength=kinds)
            assert np.all(held <= np.maximum(sizes - 1, 0))
            assert held.sum() == min(max(1, int(fraction * n + 0.5)), np.maximum(sizes - 1, 0).sum())


def test_each_class_gives_its_share():
    """Within one row of share times size, with large enough classes."""
    for seed in range(50):
        sizes = np.random.default_rng(seed).integers(10, 1000, 7)
        held = allocate(sizes, 0.1, seed)
        assert held.sum() == int(0.1 * sizes.sum() + 0.5)
        assert np.all(np.abs(held - held.sum() / sizes.sum() * sizes) < 1.0)


@pytest.mark.parametrize(
    ("sizes", "share", "expected"),
    [
        ([100], 0.2, [20]),
        ([1000, 500, 250], 0.2, [200, 100, 50]),
        ([51, 32, 14, 2, 1], 0.2, [10, 7, 3, 0, 0]),  # quotas 10.2, 6.4, 2.8, 0.4, 0.2; largest remainders first
        ([1, 1, 98], 0.9, [0, 0, 90]),  # in place of the single rows
        ([2, 2], 0.99, [1, 1]),
        ([3], 0.01, [1]),
        ([1, 1, 1], 0.5, [0, 0, 0]),
        ([0, 4, 0, 4], 0.5, [0, 2, 0, 2]),
    ],
)
def test_shares_by_hand(sizes, share, expected):
    classes = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    for seed in range(5):
        rows = held_out_rows(classes.size, share, seed, classes=classes)
        assert np.bincount(classes[rows], minlength=len(sizes)).tolist() == expected


def test_equal_classes_take_turns():
    """Ten classes of five rows give five rows: the seed selects the classes."""
    chosen = {tuple(allocate(np.full(10, 5), 0.1, seed)) for seed in range(20)}
    assert len(chosen) > 10
    assert {sum(counts) for counts in chosen} == {5}


def test_rows_of_weight_0_do_not_count():
    rng = np.random.default_rng(0)
    weights, classes = rng.integers(0, 3, 1000), rng.integers(0, 4, 1000)
    live = np.flatnonzero(weights)
    rows = held_out_rows(1000, 0.2, 7, classes=classes, weights=weights)
    assert np.array_equal(rows, live[held_out_rows(live.size, 0.2, 7, classes=classes[live])])


def test_rows_are_spread_and_seeds_independent(monkeypatch):
    """About a tenth of each tenth of the rows, two seeds share a tenth of them, and blocks do not matter."""
    n = 100_000
    rows = held_out_rows(n, 0.1, 1)
    tenths = np.bincount(rows // (n // 10), minlength=10)
    assert np.all(np.abs(tenths - n / 100) < 5 * np.sqrt(n / 100))
    assert abs(np.intersect1d(rows, held_out_rows(n, 0.1, 2)).size - 0.01 * n) < 5 * np.sqrt(0.01 * n)
    monkeypatch.setattr(holdout, "_BLOCK", 1000)
    assert np.array_equal(held_out_rows(n, 0.1, 1), rows)


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 3.0, 4.0])])
def test_weights_without_rows(weights):
    kept = None if weights is None else weights.copy()
    found = without_rows(weights, np.array([1, 3]), 4)
    assert found.tolist() == ([1.0, 0.0, 1.0, 0.0] if weights is None else [1.0, 0.0, 3.0, 0.0])
    assert weights is None or np.array_equal(weights, kept)


@pytest.mark.parametrize(("numbers", "d", "sizes"), [(6, 2, [3, 3, 1]), (1, 5, [1] * 7), (100, 1, [7])])
def test_blocks(numbers, d, sizes):
    rows = np.array([0, 2, 3, 7, 8, 9, 12])
    blocks = [rows[block] for block in blocks_of(rows.size, numbers, d)]
    assert [block.size for block in blocks] == sizes
    assert np.array_equal(np.concatenate(blocks), rows)
