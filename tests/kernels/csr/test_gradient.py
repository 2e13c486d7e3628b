"""The full pass over sparse rows: losses, dtypes, indices, outputs and weights against the reference; bits."""

import numpy as np
import pytest

from fastgd.backends.csr import data as csr
from fastgd.kernels.csr.gradient import csr_tile_rows
from tests.kernels import full_pass
from tests.kernels.csr.rows import on_csr, sparse_sample
from tests.kernels.table import DTYPES, LOSSES, Case

#: Around tiles, blocks and groups of non-zeros.
SHAPES = [(n, d) for n in (1, 2, 31, 33, 255, 257, 1100) for d in (1, 3, 7, 130)]
CASES = [Case(loss, dtype, "C") for loss in LOSSES for dtype in DTYPES]


def pass_over(case, data, n_threads=1, **options):
    rows = on_csr(data, n_threads, **options)
    return rows.gradient(case.loss, data.coef, data.intercept, np.zeros(data.X.shape[1]), data.delta)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_against_the_reference(case):
    for n, d in SHAPES:
        for weighted in (False, True):
            data = sparse_sample(case, n, d, weighted=weighted)
            full_pass.compare(case, data, pass_over(case, data))
    for outputs in {"logistic": [], "softmax": [2, 11]}.get(case.loss, [1, 5]):
        data = sparse_sample(case, 300, 7, outputs=outputs, weighted=True)
        full_pass.compare(case, data, pass_over(case, data))


@pytest.mark.parametrize("case", [CASES[4], CASES[7]], ids=["logistic,f4", "softmax,f8"])
def test_indices_of_both_dtypes_and_stored_zeros_give_the_same_sums(case):
    data = sparse_sample(case, 700, 33, weighted=True)
    expected = pass_over(case, data)
    assert full_pass.same_bits(expected, pass_over(case, data, index="i8"))
    full_pass.compare(case, data, pass_over(case, data, zeros=True))


@pytest.mark.parametrize("case", [CASES[5], CASES[7]], ids=["logistic", "softmax"])
@pytest.mark.parametrize(("n", "d"), [(9001, 7), (3000, 900), (700, 20_000), (40, 140_000)])
def test_threads_give_the_same_bits(case, n, d, monkeypatch):
    """Many blocks of narrow data, few of wide data, a single one of very wide data, and one with prefetches."""
    monkeypatch.setattr("fastgd.backends.cpu.data._FEW_BYTES", 0)
    data = sparse_sample(case, n, d, min(0.2, 20 / d), weighted=True)
    whole = pass_over(case, data)
    full_pass.compare(case, data, whole)
    for n_threads in (2, 3, 4):
        assert full_pass.same_bits(whole, pass_over(case, data, n_threads)), n_threads


@pytest.mark.parametrize("case", [CASES[4], CASES[6]], ids=["logistic", "softmax"])
def test_no_numbers_at_all(case):
    data = sparse_sample(case, 600, 5, density=0.0)
    full_pass.compare(case, data, pass_over(case, data))


@pytest.mark.parametrize("case", [CASES[1], CASES[7]], ids=["squared", "softmax"])
def test_nan_and_infinity_reach_the_result(case):
    clean = sparse_sample(case, 300, 5)
    for bad in (np.nan, np.inf, -np.inf):
        X = clean.X.copy()
        X[17, 3] = bad
        sums = pass_over(case, clean._replace(X=X))
        assert not np.isfinite(sums.products[:, 3]).any()
        if np.isnan(bad):
            assert np.isnan(sums.derivatives).all()
            assert np.isnan(sums.losses[: 1 if case.loss == "softmax" else None]).all()


def test_shifts_raise():
    data = sparse_sample(CASES[1], 30, 5)
    with pytest.raises(ValueError, match="cannot be shifted"):
        on_csr(data).gradient("squared", data.coef, data.intercept, np.ones(5), 0.0)


def test_blocks_are_few_if_data_are_wide():
    """Their sums take an eighth of the matrix at most; blocks cover all rows once."""
    for d, density, outputs, expected in ((7, 0.3, 1, 32), (300, 0.05, 1, 8), (300, 0.05, 9, 4), (3000, 0.005, 1, 4)):
        rows = on_csr(sparse_sample(CASES[4], 9000, d, density))
        size = outputs * (d + 2)
        count = rows._block_count(size)
        assert count == expected
        assert count * size * 8 <= rows.nbytes / 8 or count == 1
        ends = [rows._block(number, count) for number in range(count)]
        assert [end for _, end in ends[:-1]] == [start for start, _ in ends[1:]]
        assert (ends[0][0], ends[-1][1]) == (0, 9000)


@pytest.mark.parametrize("case", [CASES[4], CASES[7]], ids=["logistic,f4", "softmax,f8"])
def test_ranges_of_columns_give_the_same_bits(case, monkeypatch):
    """Of wide data: a range per thread at least, more for sums of many bytes, some of them empty."""
    data = sparse_sample(case, 900, 2000, 0.01, weighted=True)
    data.X[:, 5] = 1.0  # in more rows than a range has numbers
    whole = on_csr(data)
    assert whole._block_count(2002) == 1
    expected = pass_over(case, data)
    full_pass.compare(case, data, expected)
    monkeypatch.setattr(csr, "_CUTS_SHARE", 10.0)
    for range_bytes in (1 << 22, 10_000, 100):
        monkeypatch.setattr(csr, "_RANGE_BYTES", range_bytes)
        assert full_pass.same_bits(expected, pass_over(case, data)), range_bytes
    bounds, cuts = whole._find_ranges(16)
    assert (np.diff(bounds) >= 0).all()
    stored = np.diff(whole.rows.indptr)
    np.testing.assert_array_equal(cuts[[0, -1]], [np.zeros(900), stored])
    for q in range(16):
        inside = (whole.rows.dense(0, 900)[:, bounds[q] : bounds[q + 1]] != 0).sum(axis=1)
        np.testing.assert_array_equal(cuts[q + 1] - cuts[q], inside)


@pytest.mark.parametrize("nnz_a_row", [0.0, 1.0, 80.0, 5000.0])
def test_tiles_are_powers_of_two(nnz_a_row):
    for d, outputs in ((10, 1), (10**6, 1), (10**6, 20)):
        size = csr_tile_rows(1000, int(1000 * nnz_a_row), d, outputs)
        assert size & (size - 1) == 0
        assert 8 <= size <= 1024
