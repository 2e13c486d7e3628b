"""Rows held out: the formula, the share, and that a row's fate depends on its number and the seed alone."""

import numpy as np
import pytest

from fastgd import holdout
from fastgd.holdout import blocks_of, held_out_rows, without_rows
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
