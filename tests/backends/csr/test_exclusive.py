"""Ranges of columns of which no row has two, and their Gram matrices, against those of dense rows."""

import numpy as np
import pytest

from fastgd.backends.csr import exclusive
from fastgd.backends.csr.data import CsrData
from fastgd.backends.csr.exclusive import CsrExclusiveColumns
from fastgd.objective.coordinates import Scaling
from tests.kernels.csr.rows import compressed

N, LEVELS = 900, 40


def one_hot(rng, levels=LEVELS):
    """Indicators (N, levels) of a category, of which some rows have none."""
    return np.eye(levels + 1)[rng.integers(0, levels + 1, N)][:, :-1]


def rows(X, weighted=False, targets=2, n_threads=2):
    rng = np.random.default_rng(0)
    y, s = rng.standard_normal((targets, N)), rng.integers(0, 3, N).astype(float) if weighted else None
    return CsrData(compressed(X), y, s, n_threads)


def longest_range(X):
    """The length of the longest range of columns of which no row has two, by trying all."""
    d, stored = X.shape[1], X != 0.0
    return max(b - a for a in range(d) for b in range(a + 1, d + 1) if stored[:, a:b].sum(axis=1).max() <= 1)


@pytest.mark.parametrize("seed", range(6))
def test_the_range_is_the_longest_one(seed, monkeypatch):
    monkeypatch.setattr(exclusive, "_LEAST_SHARE", 0.0)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, 25)) * (rng.random((N, 25)) < 10.0 ** -rng.uniform(1, 4))
    columns = CsrExclusiveColumns.of(rows(X)).columns
    assert np.count_nonzero(X[:, columns], axis=1).max(initial=0) <= 1
    assert columns.stop - columns.start == longest_range(X)


def test_rows_beyond_the_first_ones_shorten_the_range(monkeypatch):
    monkeypatch.setattr(exclusive, "_FIRST_ROWS", 10)
    X = one_hot(np.random.default_rng(0))
    X[-1] = np.arange(LEVELS) >= LEVELS // 2
    found = CsrExclusiveColumns.of(rows(X)).columns
    assert (found.start, found.stop) == (0, LEVELS // 2 + 1)


def test_columns_that_meet_have_no_range():
    assert CsrExclusiveColumns.of(rows(np.random.default_rng(0).standard_normal((N, LEVELS)))) is None


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_products_are_those_of_dense_rows(place, weighted, intercept):
    rng = np.random.default_rng(1)
    others = [one_hot(rng, 5), rng.standard_normal((N, 3)) + 4.0]
    X = np.hstack([*others[:place], one_hot(rng), *others[place:]])
    data = rows(X, weighted)
    scaling = Scaling.standard(data.moments(), intercept)
    block, diagonal, sides, corner, targets = CsrExclusiveColumns.of(data).gram(scaling, intercept)
    assert block.stop - block.start >= LEVELS
    center = scaling.center.copy()
    center[block] = 0.0
    A = np.column_stack([(X - center) * scaling.inv_scale, np.full(N, float(intercept))])
    s = np.full(N, 1.0 / N) if data.weights is None else data.weights / data.weight
    expected, rest = A.T @ (s[:, None] * A), np.r_[0 : block.start, block.stop : X.shape[1] + 1]
    np.testing.assert_allclose(np.diag(diagonal), expected[block, block], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(sides, expected[block][:, rest], rtol=0, atol=1e-13)
    np.testing.assert_allclose(corner, expected[np.ix_(rest, rest)], rtol=0, atol=1e-13)
    np.testing.assert_allclose(targets, (data.data.y * s) @ A, rtol=0, atol=1e-13)


def test_threads_give_the_same_bits():
    rng = np.random.default_rng(2)
    X = np.hstack([rng.standard_normal((N, 3)), one_hot(rng)])
    found = []
    for count in (1, 2, 3):
        data = rows(X, True, n_threads=count)
        found.append(CsrExclusiveColumns.of(data).gram(data.moments().standard, True))
    for other in found[1:]:
        for mine, its in zip(other[1:], found[0][1:], strict=True):
            np.testing.assert_array_equal(mine, its)
