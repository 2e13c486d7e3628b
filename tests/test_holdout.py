"""Rows held out: the formula, the share, and that a row's fate depends on its number and the seed alone."""

import numpy as np
import pytest

from fastgd import holdout
from fastgd.holdout import blocks_of, held_out_rows, stratified_rows, without_rows
from fastgd.reference.shuffle import key, mix


def by_formula(n, fraction, seed):
    """Row by row in Python's integers, with the reference's hash."""
    k = key(seed, 0xFFFFFFFF, 0)
    return [i for i in range(n) if int(mix(k ^ i)) / 2**32 < fraction]


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 2])
@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_formula(monkeypatch, seed, fraction, n_threads):
    monkeypatch.setattr(holdout, "_BLOCK", 64)
    rows = held_out_rows(500, fraction, seed, n_threads)
    assert rows.tolist() == by_formula(500, fraction, seed)
    assert rows.dtype == np.int64


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_about_the_share_that_was_asked_for(fraction):
    """A hash like coin tosses: within five standard deviations for each of ten seeds, and evenly over the rows."""
    n = 100_000
    for seed in range(10):
        rows = held_out_rows(n, fraction, seed)
        assert abs(rows.size - n * fraction) < 5 * np.sqrt(n * fraction * (1 - fraction))
        tenths = np.bincount(rows // (n // 10), minlength=10)
        assert np.all(np.abs(tenths - n * fraction / 10) < 5 * np.sqrt(n * fraction * (1 - fraction) / 10))


def test_rows_keep_their_fate_when_others_are_added_or_more_are_held_out(monkeypatch):
    many = held_out_rows(200_000, 0.1, 5)
    assert np.array_equal(held_out_rows(70_000, 0.1, 5), many[many < 70_000])
    assert np.all(np.isin(many, held_out_rows(200_000, 0.3, 5)))
    assert np.all(np.diff(many) > 0)
    monkeypatch.setattr(holdout, "_BLOCK", 1000)
    assert np.array_equal(held_out_rows(200_000, 0.1, 5), many)


def test_seeds_are_independent():
    """Two seeds share a tenth of a tenth of the rows."""
    n = 100_000
    shared = np.intersect1d(held_out_rows(n, 0.1, 1), held_out_rows(n, 0.1, 2)).size
    assert abs(shared - 0.01 * n) < 5 * np.sqrt(0.01 * n)


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


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([100], 0.2, [20]),
        ([1000, 500, 250], 0.2, [200, 100, 50]),
        ([51, 32, 14, 2, 1], 0.2, [10, 7, 3, 0, 0]),  # exact: 10.2, 6.4, 2.8, 0.4, 0.2; largest remainders first
        ([1, 1, 98], 0.9, [0, 0, 89]),  # 88.2, rounded up in place of the single rows
        ([2, 2], 0.99, [1, 1]),
        ([3], 0.01, [1]),
        ([1, 1, 1], 0.5, [0, 0, 0]),
        ([0, 4, 0, 4], 0.5, [0, 2, 0, 2]),
    ],
)
def test_shares_are_exact_for_each_class(counts, share, expected):
    codes = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    for seed in range(5):
        rows = stratified_rows(codes.size, share, seed, codes)
        assert np.bincount(codes[rows], minlength=len(counts)).tolist() == expected
        assert np.all(np.diff(rows) > 0)


def test_without_classes_the_share_is_exact_and_never_all():
    for n in range(2, 60):
        for share in (1e-9, 0.1, 0.25, 0.5, 0.999999):
            rows = stratified_rows(n, share, n)
            assert rows.size == min(max(1, int(n * share + 0.5)), n - 1)
            assert np.unique(rows).size == rows.size


def test_stratified_rows_depend_on_the_seed_and_are_spread_evenly():
    n = 100_000
    codes = np.arange(n) % 3
    first, second = (stratified_rows(n, 0.1, seed, codes) for seed in (1, 2))
    assert abs(np.intersect1d(first, second).size - 0.01 * n) < 5 * np.sqrt(0.01 * n)
    assert np.array_equal(first, stratified_rows(n, 0.1, 1, codes))
    assert np.all(np.abs(np.bincount(first // (n // 10)) - 0.01 * n) < 5 * np.sqrt(0.01 * n))
