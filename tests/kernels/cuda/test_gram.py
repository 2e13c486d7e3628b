"""Weighted Gram matrices against NumPy."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")

from fastgd.kernels.cuda._target import SIMULATED
from fastgd.kernels.cuda.gram import SIDE, make_fold_gram, make_gram, pairs
from tests.kernels.cuda.launch import device, poisoned, rows_of
from tests.kernels.table import DTYPES, ORDERS, Case, sample

THREADS = 4 if SIMULATED else SIDE


def gram(case, data, h, extra=0, kind="f8", chunks=2):
    """Return the matrices of rows in working coordinates, and the expected ones."""
    n, d = data.X.shape
    center, inv_scale = np.linspace(-1.0, 2.0, d), np.linspace(0.5, 3.0, d)
    step, columns = int(h.shape[1] > 1), d + 1 + extra
    nodes, out = poisoned(chunks, len(h), columns, columns), poisoned(len(h), columns, columns)
    place = device(center), device(inv_scale)
    kernel = make_gram(case.dtype, case.order, kind, THREADS)
    blocks = pairs(columns, THREADS) * chunks * len(h)
    kernel[blocks, THREADS * THREADS](rows_of(case, data), device(h), step, place, 1.0, -(-n // chunks), nodes)
    make_fold_gram()[3, 8](nodes, out)
    t = (data.X.astype(np.float64) - center) * inv_scale
    rows = np.hstack([t, np.ones((n, 1)), data.y.T.astype(np.float64)[:, :extra]])
    return out.copy_to_host(), np.einsum("ki,ia,ib->kab", np.broadcast_to(h, (len(h), n)).astype(float), rows, rows)


def close(found, want, rounding):
    """Compare in units of the diagonal, which bounds the other elements (Cauchy and Schwarz)."""
    size = np.sqrt(np.einsum("kaa->ka", want))
    assert (np.abs(found - want) <= rounding * size[:, :, None] * size[:, None, :]).all()
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("n", "d"), [(37, 3), (21, 33)])
def test_against_numpy(dtype, order, n, d):
    case = Case("squared", dtype, order)
    data = sample(case, n, d)
    h = np.random.default_rng(0).random((2, n)).astype(dtype)
    close(*gram(case, data, h), 1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_single_precision(order):
    """More rows than are summed up in float32 at a time."""
    case = Case("squared", "f4", order)
    data = sample(case, 600, 2)
    close(*gram(case, data, np.full((1, 1), 0.5, np.float32), kind="f4", chunks=1), 256 * np.finfo("f4").eps)


@pytest.mark.parametrize("order", ORDERS)
def test_targets_and_unit_weights(order):
    case = Case("squared", "f8", order)
    data = sample(case, 20, 5, outputs=3)
    close(*gram(case, data, np.ones((1, 1)), extra=3), 1e-13)


def test_a_chunk_without_rows_adds_nothing():
    case = Case("squared", "f8", "C")
    close(*gram(case, sample(case, 3, 2), np.ones((1, 1)), chunks=5), 1e-13)


def test_a_bad_number_reaches_its_column_alone():
    case = Case("squared", "f8", "F")
    data = sample(case, 20, 5)
    data.X[13, 2] = np.nan
    found = gram(case, data, np.ones((1, 1)))[0][0]
    assert np.isnan(found[2]).all()
    assert np.isfinite(np.delete(np.delete(found, 2, 0), 2, 1)).all()
