"""Samples of rows: places of their runs, and the cases that need all rows."""

import numpy as np
import pytest
from scipy.linalg import eigh

from fastgd.backends.cpu.data import CpuData, CpuSample
from fastgd.losses import find_loss
from fastgd.objective import sampling as samples
from fastgd.objective.sampling import most_rows, sample_by_norm, sample_moments, sample_of, spread_runs
from fastgd.solvers.cost_model import Shape


def data_of(X, s=None):
    X = np.ascontiguousarray(X)
    return CpuData(X, np.ones((1, len(X)), X.dtype), s, 1)


def rows_of(n, d=2, dtype=float):
    return np.random.default_rng(0).standard_normal((n, d)).astype(dtype)


@pytest.mark.parametrize("row_bytes", [8, 400, 1 << 20])
@pytest.mark.parametrize(("n", "size"), [(400, 99), (1000, 33), (40_000, 3000), (40_000, 9999), (10**7, 50_000)])
def test_runs_are_spread_evenly_and_no_row_is_drawn_twice(n, size, row_bytes):
    runs = spread_runs(n, row_bytes, size)
    rows = runs.rows
    assert 32 <= runs.length <= 256
    assert np.all(np.diff(rows) > 0)
    assert rows.min() >= 0
    assert rows.max() < n
    assert size <= rows.size < size + runs.length
    # Wherever a fifth of the rows or more lie together, some are drawn.
    gaps = np.diff(np.concatenate([[0], runs.numbers * runs.length, [n]]))
    assert gaps.max() <= 2 * (n / runs.numbers.size + runs.length)
    assert np.array_equal(rows, spread_runs(n, row_bytes, size).rows)


def test_runs_are_long_where_there_are_many_and_short_where_rows_are():
    assert spread_runs(10**7, 40, 10**5).length == 256
    assert spread_runs(10**7, 1 << 16, 10**5).length == 32
    assert spread_runs(10**7, 40, 600).length == 32


@pytest.mark.parametrize(("n", "size", "whole"), [(1000, 249, False), (1000, 250, True), (50, 60, True)])
def test_a_quarter_of_the_rows_is_as_good_as_all(n, size, whole):
    data = data_of(rows_of(n))
    assert (sample_of(data, size) is data) == whole


@pytest.mark.parametrize("d", [5, 300])
def test_of_few_rows_all_are_taken(d):
    """There may be no whole run among them, as in the cost model."""
    for n in range(1, 41):
        data = data_of(rows_of(n, d))
        for size in (1, n // 5, n // 4, n):
            assert sample_of(data, size) is data
        assert sample_moments(data).weight == n
        for loss, outputs in (("logistic", 1), ("squared", 1), ("huber", 2), ("softmax", 3)):
            assert Shape(n, d + 1, outputs, 8, find_loss(loss), False).sample_rows == n


@pytest.mark.parametrize("n", [255, 256, 1000, 1003, 100_000])
def test_cost_model_uses_possible_sample_sizes(n):
    most = most_rows(n)
    data = data_of(rows_of(n))
    assert (sample_of(data, max(most, 1)) is data) == (most == 0)
    assert sample_of(data, most + 1) is data
    shapes = [Shape(n, 21, outputs, 8, find_loss(loss), False) for loss, outputs in (("logistic", 1), ("softmax", 10))]
    assert all(shape.sample_rows in (*range(1, most + 1), n) for shape in shapes)


@pytest.mark.parametrize("heavy", [slice(0, 10), slice(0, 4000, 4)], ids=["few rows", "a quarter"])
def test_rows_that_weigh_unlike_others_are_no_sample(heavy):
    """A sample with hardly any weight is not used; one of about the mean weight is."""
    s = np.zeros(4000)
    s[heavy] = 1.0
    data = data_of(rows_of(4000), s)
    sample = sample_of(data, 200)
    assert (sample is data) == (heavy == slice(0, 10))
    if sample is not data:
        assert sample.weight == s[sample._numbers].sum()


def test_moments_of_ordinary_columns_come_from_a_sample(monkeypatch):
    monkeypatch.setattr(samples, "_MOMENT_ROWS", 1000)
    X = rows_of(20_000, 3) * [1.0, 10.0, 1e-3] + [5.0, 0.0, 1.0]
    data = data_of(X)
    moments = sample_moments(data)
    assert data.rows_read == 0
    assert 2000 <= data.rows_sampled <= 2600
    np.testing.assert_allclose(moments.sd, X.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(moments.mean, X.mean(axis=0), atol=5 * X.std(axis=0).max() / np.sqrt(1000))


def rare(X):
    """Return a column that is 0 except in some rows."""
    X[::997, 1] = np.arange(1.0, 1.0 + len(X[::997]))
    X[np.arange(len(X)) % 997 != 0, 1] = 0.0


def heavy(X):
    X[:, 1] = np.random.default_rng(1).standard_cauchy(len(X))


def constant(X):
    X[:, 1] = 4.0


def bad(value):
    def spoil(X):
        X[:, 1] = np.where(np.arange(len(X)) % 2, value, X[:, 1])

    return spoil


@pytest.mark.parametrize("spoil", [rare, heavy, constant, bad(np.nan), bad(np.inf)])
def test_columns_of_which_a_sample_says_little_are_taken_from_all_rows(monkeypatch, spoil):
    monkeypatch.setattr(samples, "_MOMENT_ROWS", 1000)
    X = rows_of(20_000, 3)
    spoil(X)
    data = data_of(X)
    found, exact = sample_moments(data), data_of(X).moments()
    assert data.rows_read == 20_000
    np.testing.assert_array_equal(found.mean, exact.mean)
    np.testing.assert_array_equal(found.sd, exact.sd)


def test_rows_of_unequal_weights_count_as_fewer():
    """With all weight on a quarter of the rows these are the effective rows."""
    s = np.zeros(400_000, np.float32)
    s[::4] = 1e30
    X = rows_of(400_000)
    assert data_of(X.astype(np.float32), s).effective_rows == pytest.approx(100_000, rel=1e-12)
    assert data_of(X, np.full(400_000, 0.3)).effective_rows == pytest.approx(400_000, rel=1e-12)
    assert data_of(X).effective_rows == 400_000
    s = np.random.default_rng(0).lognormal(0.0, 2.0, 400_000)
    data = data_of(X, s)
    assert data.effective_rows == pytest.approx(s.sum() ** 2 / (s @ s), rel=1e-12)
    sample = sample_of(data, 10_000)
    s = s[sample._numbers]
    assert sample.effective_rows == pytest.approx(s.sum() ** 2 / (s @ s), rel=1e-12)
    assert (data.rows_read, data.rows_sampled) == (0, 0)


def test_moments_of_unequal_weights_are_taken_from_more_rows(monkeypatch):
    monkeypatch.setattr(samples, "_MOMENT_ROWS", 1000)
    s = np.ones(20_000)
    s[::2] = 0.0
    data = data_of(rows_of(20_000), s)
    sample_moments(data)
    assert data.rows_read == 0
    assert 4000 <= data.rows_sampled <= 4600


@pytest.mark.parametrize(
    "verb", ["rows", "rows_read", "sample", "part", "line", "squared_norms", "epochs", "rule_state"]
)
def test_samples_lack_methods_of_whole_data(verb):
    data = data_of(rows_of(1000))
    assert hasattr(data, verb)
    assert not hasattr(sample_of(data, 100), verb)


def levels_of(n, d):
    """Indicators of d levels, whose frequencies fall from a half to a few rows."""
    return (np.random.default_rng(0).random((n, d)) < np.geomspace(0.5, 20.0 / n, d)).astype(float)


def spread_of(X, sample, weights):
    """Ratio of the extreme eigenvalues of the Gram matrix of all rows in the metric of the sample's."""
    whole, part = X.T @ X / len(X), sample.T @ (sample * weights[:, None]) / len(X)
    values = eigh(whole, part, eigvals_only=True)
    return values[-1] / values[0]


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_sample_by_norm_has_the_curvature_of_rare_levels(order):
    """In runs, a sample of as many rows misses some of them."""
    n, d, size = 20_000, 40, 1_200
    X = levels_of(n, d)
    z = X / X.std(axis=0)
    data = CpuData(np.asarray(X, order=order), np.ones((1, n)), None, 1)
    sample = sample_by_norm(data, (z**2).sum(axis=1), size)
    assert sample.order == order
    assert abs(sample.n - size) < 4.0 * np.sqrt(size)
    assert sample.weight == pytest.approx(n, rel=0.1)
    runs = z[spread_runs(n, 8 * d, size).rows]
    assert np.count_nonzero(runs.any(axis=0)) < d
    assert spread_of(z, sample.rows / X.std(axis=0), sample.weights) < 4.0


def test_a_sample_by_norm_keeps_weights():
    """Rows that are certain have their own weight, and those without weight are not drawn."""
    n = 4_000
    s = np.where(np.arange(n) % 2, 2.0, 0.0)
    X = rows_of(n, 3)
    X[:, 0] = np.arange(n)
    X[[101, 201], 1] = 1e4
    data = data_of(X, s)
    sample = sample_by_norm(data, s * (X[:, 1:] ** 2).sum(axis=1), 500)
    drawn = sample.rows[:, 0].astype(int)
    assert np.all(drawn % 2 == 1)
    assert {101, 201} <= set(drawn)
    assert sample.weights[np.isin(drawn, [101, 201])].tolist() == [2.0, 2.0]
    # Half of the others' chances are those of their weights.
    assert sample.weights.max() <= 2.0 * s.sum() / 500
    assert sample.weight == pytest.approx(s.sum(), rel=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_without_finite_norms_all_rows_are_taken(bad):
    """Fits then find the number in a pass."""
    X = rows_of(1000)
    X[700, 1] = bad
    data = data_of(X)
    with np.errstate(over="ignore"):
        norms = (X**2).sum(axis=1)
    assert sample_by_norm(data, norms, 100) is data


def test_a_sample_by_norm_of_most_rows_is_all():
    data = data_of(rows_of(1000))
    assert sample_by_norm(data, np.ones(1000), 250) is data
    assert sample_by_norm(data, np.ones(1000), 249) is not data


def test_a_row_of_great_weight_counts_as_such(monkeypatch):
    """With unequal weights a single row may have most of a column's variance."""
    monkeypatch.setattr(samples, "_MOMENT_ROWS", 1000)
    X, s = rows_of(20_000, 2), np.ones(20_000)
    s[0] = 200.0
    numbers = spread_runs(20_000, 16, int(1000 * 20_000 / data_of(X, s).effective_rows)).rows
    s[0], s[numbers[7]] = 1.0, 200.0
    data = data_of(X, s)
    sample_moments(data)
    assert data.rows_read == 20_000


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_on_host_of_samples(order):
    X = np.asarray(rows_of(1000, 3), order=order)
    data = CpuData(X, np.arange(2000.0).reshape(2, 1000), np.arange(1000.0), 1)
    sample = sample_of(data, 100)
    assert isinstance(sample, CpuSample)
    rows = spread_runs(1000, 24, 100).rows
    for start, stop in ((0, rows.size), (5, 17), (rows.size - 1, rows.size)):
        for out in (None, np.empty((rows.size, 3))):
            piece, y, s = sample.rows_on_host(start, stop, out)
            np.testing.assert_array_equal(piece, X[rows[start:stop]])
            np.testing.assert_array_equal(y, data.data.y[:, rows[start:stop]])
            np.testing.assert_array_equal(s, rows[start:stop])


def test_whole_data_count_rows_read_by_samples():
    data = data_of(rows_of(1000))
    sample = sample_of(data, 100)
    sample.moments()
    sample.gradient("squared", np.zeros((1, 2)), np.zeros(1), np.zeros(2), 0.0)
    assert (data.rows_read, data.rows_sampled) == (0, 2 * sample.n)
