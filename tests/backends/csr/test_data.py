"""Data sets of sparse rows against the same rows with their zeros."""

import numpy as np
import pytest

from fastgd.backends.csr import design
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Runs
from tests.kernels.csr.rows import on_csr, sparse_sample
from tests.kernels.table import DTYPES, Case

SHAPES = [(1, 3), (2, 1), (33, 7), (700, 130), (9000, 2)]


def both(dtype="f8", n=700, d=23, n_threads=2, **options):
    """The same rows as the two backends hold them."""
    data = sparse_sample(Case("squared", dtype, "C"), n, d, **options)
    return on_csr(data, n_threads), data.on_cpu(n_threads)


@pytest.mark.parametrize("dtype", DTYPES)
def test_attributes(dtype):
    for weighted in (False, True):
        sparse, dense = both(dtype, weighted=weighted)
        assert sparse.is_sparse
        assert not dense.is_sparse
        for name in ("n", "d", "targets", "dtype", "order", "device", "weight", "effective_rows", "rows_read"):
            assert getattr(sparse, name) == getattr(dense, name), name
        assert (sparse.weights is None) == (not weighted)
        assert sparse.nbytes == sparse.rows.nbytes


@pytest.mark.parametrize("dtype", DTYPES)
def test_moments(dtype):
    for n, d in SHAPES:
        for weighted in (False, True):
            for index in ("i4", "i8"):
                data = sparse_sample(Case("squared", dtype, "C"), n, d, weighted=weighted)
                got, expected = on_csr(data, 2, index=index, zeros=True).moments(), data.on_cpu().moments()
                assert got.weight == pytest.approx(expected.weight, rel=1e-14)
                np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-12, atol=1e-15)
                np.testing.assert_allclose(got.sd, expected.sd, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_columns_have_exactly_no_deviation(dtype):
    values = np.array([0.1, 1e30, -7.3, 0.0, 1 / 3, 1e-30], dtype)
    rng = np.random.default_rng(4)
    for n in (1, 3, 255, 257, 5000):
        data = sparse_sample(Case("squared", dtype, "C"), n, 6)._replace(X=np.tile(values, (n, 1)))
        for s in (None, rng.uniform(0.1, 3, n).astype(dtype)):
            for zeros in (False, True):
                got = on_csr(data._replace(s=s), zeros=zeros).moments()
                np.testing.assert_array_equal(got.mean, values.astype(float))
                np.testing.assert_array_equal(got.sd, 0.0)


def test_rows_without_weight_count_as_absent():
    """A column may be constant, or have no zeros, in the other rows only."""
    _, dense = both(n=2000, d=4, weighted=True)
    X, s = dense.rows.copy(), dense.weights.copy()
    off = np.random.default_rng(0).random(2000) < 0.3
    s[off], X[off, 1], X[~off, 1], X[~off, 2] = 0.0, 1e15, 0.1, 0.0
    data = sparse_sample(Case("squared", "f8", "C"), 2000, 4)._replace(X=X, s=s)
    got = on_csr(data).moments()
    expected = on_csr(data._replace(X=X[~off].copy(), s=s[~off].copy(), y=data.y[:, ~off].copy())).moments()
    np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(got.sd, expected.sd, rtol=1e-12)
    assert (got.mean[1], got.sd[1], got.mean[2], got.sd[2]) == (0.1, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("weighted", [False, True])
def test_moments_of_a_column_with_a_bad_value_are_not_finite(bad, weighted):
    data = sparse_sample(Case("squared", "f8", "C"), 1000, 3, weighted=weighted)
    row = 500  # without weight, if there are weights
    data.X[row, 1] = bad
    got = on_csr(data).moments()
    assert not np.isfinite(got.sd[1])
    assert np.isfinite(got.sd[[0, 2]]).all()
    assert np.isfinite(got.mean[[0, 2]]).all()


def test_means_far_from_zero():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((5000, 3)) + np.array([1e6, -1e14, 1e-2])
    got = on_csr(sparse_sample(Case("squared", "f8", "C"), 5000, 3)._replace(X=X)).moments()
    x = X.astype(np.longdouble)
    mean = x.mean(axis=0)
    np.testing.assert_allclose(got.mean, mean.astype(float), rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(got.sd, np.sqrt(((x - mean) ** 2).mean(axis=0)).astype(float), rtol=1e-7)


def test_moments_take_one_pass_unless_means_are_far_from_zero():
    """Squares of a column with a mean of 1,000 deviations would lose digits."""
    data = sparse_sample(Case("squared", "f8", "C"), 3000, 5, weighted=True)
    for mean, passes in ((20.0, 1), (1000.0, 3)):
        data.X[:, 1] = mean + np.random.default_rng(5).standard_normal(3000)
        rows = on_csr(data)
        np.testing.assert_allclose(rows.moments().sd, data.on_cpu().moments().sd, rtol=1e-11)
        assert rows.rows_read == passes * 3000


def test_threads_give_the_same_bits(monkeypatch):
    monkeypatch.setattr("fastgd.backends.cpu.data._FEW_BYTES", 0)
    monkeypatch.setattr("fastgd.backends.csr.data._ROWS", 100)
    data = sparse_sample(Case("squared", "f8", "C"), 9001, 40, weighted=True)
    scaling = Scaling(np.linspace(-1, 1, 40), np.linspace(0, 2, 40))
    whole = on_csr(data)
    for n_threads in (2, 4):
        other = on_csr(data, n_threads)
        for one, two in zip(vars(whole.moments()).values(), vars(other.moments()).values(), strict=True):
            np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(whole.squared_norms(scaling), other.squared_norms(scaling))
        gram = [rows.least_squares(scaling, True).gram() for rows in (whole, other)]
        np.testing.assert_array_equal(*gram)
        lines = [rows.line(data.coef, data.intercept, np.zeros(40)).rows for rows in (whole, other)]
        np.testing.assert_array_equal(*lines)


@pytest.mark.parametrize("dtype", DTYPES)
def test_squared_norms(dtype):
    for n, d in SHAPES:
        for weighted in (False, True):
            sparse, dense = both(dtype, n, d, weighted=weighted)
            for center in (np.zeros(d), np.linspace(-1, 2, d)):
                scaling = Scaling(center, np.linspace(0, 2, d))
                expected = dense.squared_norms(scaling)
                np.testing.assert_allclose(sparse.squared_norms(scaling), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_margins_are_columns_of_a_line(dtype):
    sparse, dense = both(dtype, weighted=True)
    rng = np.random.default_rng(2)
    coef, intercept = rng.standard_normal((3, 23)), rng.standard_normal(3)
    line, expected = (rows.line(coef, intercept, np.zeros(23)) for rows in (sparse, dense))
    np.testing.assert_allclose(line.rows, expected.rows, rtol=0.0, atol=40 * np.finfo(dtype).eps)
    assert line.rows.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(line.data.y, expected.data.y)
    np.testing.assert_array_equal(line.weights, expected.weights)
    assert sparse.rows_read == dense.rows_read == 700


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("by_products", [False, True])
def test_least_squares(dtype, intercept, by_products, monkeypatch):
    """Gram matrices from products of non-zeros and from dense blocks."""
    monkeypatch.setattr(design, "SPARSE_PRODUCT", 0.0 if by_products else 1e9)
    scaling = Scaling(np.linspace(-1, 1, 23), np.linspace(0.1, 2, 23))
    for n in (20, 4000):
        for weighted in (False, True):
            sparse, dense = (rows.least_squares(scaling, intercept) for rows in both(dtype, n, weighted=weighted))
            expected = dense.gram()
            np.testing.assert_allclose(sparse.gram(), expected, rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(sparse.triangle().T @ sparse.triangle(), expected, rtol=1e-10, atol=1e-10)
            coef, b = np.linspace(-1, 1, 46).reshape(2, 23), np.array([0.5, -1.0])
            for one, two in zip(sparse.gradient(coef, b), dense.gradient(coef, b), strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)


def test_gram_matrices_of_columns_far_from_zero_keep_their_digits(monkeypatch):
    """Products of such columns would cancel: their rows are centred first; unused columns do not matter."""
    monkeypatch.setattr(design, "SPARSE_PRODUCT", 0.0)
    data = sparse_sample(Case("squared", "f8", "C"), 4000, 23)
    data.X[:, 2] = 1e6 + np.random.default_rng(0).standard_normal(4000)
    sparse, dense = on_csr(data), data.on_cpu()
    for unused in (False, True):
        moments = dense.moments()
        factors = np.divide(1.0, moments.sd, out=np.zeros(23), where=moments.sd > 0)
        factors[2] *= not unused
        scaling = Scaling(moments.mean, factors)
        ours = sparse.least_squares(scaling, True)
        assert (ours._gram_of_products() is None) == (not unused)
        np.testing.assert_allclose(ours.gram(), dense.least_squares(scaling, True).gram(), rtol=0, atol=1e-11)


def test_samples_are_copies_of_runs():
    sparse, dense = both(n=1000, weighted=True)
    runs = Runs(32, np.array([0, 3, 30]))
    ours, theirs = sparse.sample(runs), dense.sample(runs)
    assert (ours.n, ours.d) == (theirs.n, theirs.d)
    for one, two in zip(ours.rows_on_host(5, 90), theirs.rows_on_host(5, 90), strict=True):
        np.testing.assert_array_equal(one, two)
    scaling = Scaling(np.zeros(23), np.ones(23))
    np.testing.assert_allclose(ours.moments().sd, theirs.moments().sd, rtol=1e-12)
    ours.design(scaling, True, True, False)
    assert (sparse.rows_read, sparse.rows_sampled) == (0, 2 * 96)


def test_parts_and_data_without_targets():
    sparse, dense = both(weighted=True)
    numbers, weights = np.array([3, 600, 3, 17]), np.arange(4.0)
    for rows in (numbers, numbers[:0]):
        for one, two in zip(
            sparse.part(rows, weights[: len(rows)]).rows_on_host(0, len(rows)),
            dense.part(rows, weights[: len(rows)]).rows_on_host(0, len(rows)),
            strict=True,
        ):
            np.testing.assert_array_equal(one, two)
    assert sparse.part(numbers).weights is None
    bare = sparse.without_targets()
    assert np.shares_memory(bare.rows.data, sparse.rows.data)
    np.testing.assert_array_equal(bare.data.y, np.zeros((1, 700)))
    np.testing.assert_array_equal(bare.weights, sparse.weights)


def test_design_of_dense_rows():
    """Every block of rows in working coordinates, kept and computed anew."""
    from fastgd.losses import find_loss

    scaling = Scaling(np.linspace(-1, 1, 23), np.linspace(0.1, 2, 23))
    loss, theta = find_loss("squared"), np.linspace(-1, 1, 48).reshape(2, 24)
    for keep in (False, True):
        for one, two in zip(
            *(rows.design(scaling, True, keep, False).quadratic(loss, theta)[:2] for rows in both()), strict=True
        ):
            np.testing.assert_allclose(one, two, rtol=1e-12)
