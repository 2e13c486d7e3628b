"""Means, standard deviations and the largest row norm, against NumPy in long double and the reference."""

import numpy as np
import pytest

from fastgd.backends.cpu import data as cpu
from fastgd.backends.cpu.data import CpuData
from fastgd.objective.coordinates import Scaling
from fastgd.reference import column_moments
from tests.kernels.table import DTYPES, ORDERS, Case, sample

LAYOUTS = [(dtype, order) for dtype in DTYPES for order in ORDERS]
SHAPES = [(1, 3), (2, 1), (31, 7), (256, 33), (257, 3), (1000, 7), (700, 130), (9000, 2)]


def moments(X, s=None, n_threads=1):
    return CpuData(X, np.zeros((1, len(X)), X.dtype), s, n_threads).moments()


def truth(X, s):
    """Weighted mean and sd in long double, in two passes."""
    x = X.astype(np.longdouble)
    weight = np.ones(len(x), np.longdouble) if s is None else s.astype(np.longdouble)
    mean = weight @ x / weight.sum()
    return mean.astype(float), np.sqrt(weight @ (x - mean) ** 2 / weight.sum()).astype(float)


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_against_numpy(dtype, order):
    for n, d in SHAPES:
        for weighted in (False, True):
            data = sample(Case("squared", dtype, order), n, d, weighted=weighted)
            got = moments(data.X, data.s)
            mean, sd = truth(data.X, data.s)
            np.testing.assert_allclose(got.mean, mean, rtol=1e-13, atol=1e-14)
            # One row, or one with weight, has no deviation.
            np.testing.assert_allclose(got.sd, sd, rtol=1e-12)
            assert got.weight == pytest.approx(n if data.s is None else data.s.astype(float).sum(), rel=1e-14)


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_constant_columns_have_exactly_no_deviation(dtype, order):
    values = np.array([0.1, 1e30, -7.3, 0.0, 1 / 3, 1e-30], dtype)
    rng = np.random.default_rng(4)
    for n in (1, 3, 255, 257, 1000, 5000):
        X = np.asarray(np.tile(values, (n, 1)), order=order)
        for s in (None, rng.uniform(0.1, 3, n).astype(dtype)):
            got = moments(X, s)
            np.testing.assert_array_equal(got.mean, values.astype(float))
            np.testing.assert_array_equal(got.sd, 0.0)
            assert got.constant.all()


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_rows_without_weight_count_as_absent(dtype, order):
    """They may stand first in a block, fill whole blocks, and hold anything finite."""
    rng = np.random.default_rng(5)
    n = 9000
    X = rng.standard_normal((n, 3)).astype(dtype)
    X[:, 1] = 0.1
    s = rng.uniform(0.5, 2, n).astype(dtype)
    off = rng.random(n) < 0.3
    off[:300] = off[1024:1600] = off[4096:8500] = off[-700:] = True
    s[off] = 0
    X[off] = 1e15 * rng.standard_normal((off.sum(), 3))
    got = moments(np.asarray(X, order=order), s)
    mean, sd = truth(X[~off], s[~off])
    np.testing.assert_allclose(got.mean, mean, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(got.sd[[0, 2]], sd[[0, 2]], rtol=1e-12)
    assert got.mean[1] == X[~off][0, 1]
    assert got.sd[1] == column_moments(X.astype(float), s.astype(float))[1][1] == 0.0


@pytest.mark.parametrize("order", ORDERS)
def test_means_a_million_deviations_from_zero(order):
    rng = np.random.default_rng(6)
    X = rng.standard_normal((5000, 4)) * [1.0, 1e-8, 1e8, 1.0] + [1e6, 1e-2, -1e14, 0.0]
    X = np.asarray(X, order=order)
    mean, sd = truth(X, None)
    got = moments(X)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-15, atol=1e-15)
    # Means of blocks are off by eps x 1e6 deviations, and enter squared or against a deviation of 1 / sqrt(rows).
    np.testing.assert_allclose(got.sd, sd, rtol=1e-10)


@pytest.mark.parametrize("order", ORDERS)
def test_sums_are_wider_than_float32(order):
    """A float32 sum of these squares would be off in the fourth digit."""
    X = np.asarray((np.random.default_rng(7).standard_normal((20000, 2)) + 3000.0).astype("f4"), order=order)
    mean, sd = truth(X, None)
    got = moments(X)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(got.sd, sd, rtol=1e-11)


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_threads_and_chunks_give_the_same_bits(dtype, order, monkeypatch):
    data = sample(Case("squared", dtype, order), 9001, 7, weighted=True)
    whole = moments(data.X, data.s)
    for smallest in (1, 1 << 15, 1 << 29):
        monkeypatch.setattr(cpu, "_CHUNK_BYTES", (smallest, 1 << 29))
        for n_threads in (1, 2, 4):
            again = moments(data.X, data.s, n_threads)
            assert again.weight == whole.weight
            np.testing.assert_array_equal(again.mean, whole.mean)
            np.testing.assert_array_equal(again.sd, whole.sd)


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_column_with_a_bad_value_is_not_finite_and_the_others_are(dtype, order, bad):
    for row in (0, 255, 256, 700, 999):
        X = sample(Case("squared", dtype, order), 1000, 3).X
        X[row, 1] = bad
        got = moments(X)
        assert not np.isfinite(got.sd[1]), row
        assert np.isfinite(got.sd[[0, 2]]).all()
        assert np.isfinite(got.mean[[0, 2]]).all()


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_bad_values_in_rows_without_weight_are_not_finite_either(dtype, order):
    """The gradient would be NaN there, weight or not."""
    for row in (5, 300, 8999):
        data = sample(Case("squared", dtype, order), 9000, 3, weighted=True)
        data.X[row, 1] = np.nan
        data.s[:4096] = data.s[8192:] = 0
        assert np.isnan(moments(data.X, data.s).sd[1]), row


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_squared_norms_against_numpy(dtype, order, monkeypatch):
    for n, d in SHAPES:
        data = sample(Case("squared", dtype, order), n, d, weighted=True)
        center, inv_scale = np.linspace(-1, 2, d), np.linspace(0, 2, d)
        for s in (None, data.s):
            weight = np.ones(n) if s is None else s.astype(float)
            expected = weight * (((data.X - center) * inv_scale) ** 2).sum(axis=1)
            for smallest, n_threads in ((1 << 18, 1), (1, 4)):
                monkeypatch.setattr(cpu, "_CHUNK_BYTES", (smallest, 1 << 29))
                got = data._replace(s=s).on_cpu(n_threads).squared_norms(Scaling(center, inv_scale))
                np.testing.assert_allclose(got, expected, rtol=1e-12, err_msg=f"{n} x {d}")
