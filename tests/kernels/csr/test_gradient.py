"""The full pass over sparse rows: losses, dtypes, indices, outputs and weights against the reference; bits."""

import numpy as np
import pytest

from fastgd.backends.csr import data as csr
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
@pytest.mark.parametrize(("n", "d"), [(9001, 7), (3000, 900), (700, 20_000)])
def test_threads_give_the_same_bits(case, n, d, monkeypatch):
    """Many blocks of narrow data, few of wide data, and a single one of very wide data."""
    monkeypatch.setattr("fastgd.backends.cpu.data._FEW_BYTES", 0)
    data = sparse_sample(case, n, d, min(0.2, 20 / d), weighted=True)
    whole = pass_over(case, data)
    full_pass.compare(case, data, whole)
    for chunk in (1, 1 << 15, 1 << 29):
        monkeypatch.setattr("fastgd.backends.cpu.data._CHUNK_BYTES", (chunk, 1 << 29))
        for n_threads in (1, 2, 3, 4):
            assert full_pass.same_bits(whole, pass_over(case, data, n_threads)), (chunk, n_threads)


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


def test_blocks_do_not_depend_on_threads_and_nodes_need_little_memory():
    data = sparse_sample(CASES[4], 9000, 7)
    assert on_csr(data, 1)._block_rows == on_csr(data, 4)._block_rows == csr._LEAST_ROWS
    rows = on_csr(sparse_sample(CASES[4], 9000, 3000, 0.005))
    per_row = rows.rows.nnz / rows.n
    assert 8 * rows.d <= rows._block_rows * per_row < 16 * rows.d
    size = rows.d + 2
    _, count, per_chunk = rows._chunking(size)
    assert -(-count // per_chunk) * size * 8 <= rows.nbytes / 16 or per_chunk >= count
