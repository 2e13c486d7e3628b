"""Margins, curvatures, norms and moments against NumPy."""

import functools

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")

from fastgd.kernels.cuda.layout import Point
from fastgd.kernels.cuda.moments import make_fold_moments, make_moments, make_norms
from fastgd.kernels.cuda.rows import make_curvatures, make_margins_pass, make_shares
from fastgd.kernels.records import Coordinates
from fastgd.reference import column_moments
from tests.kernels.cuda.launch import Shape, by_rows, device, poisoned, rows_of
from tests.kernels.table import DTYPES, LOSSES, ORDERS, Case, sample

N = 37
KINDS = [Case("squared", dtype, order) for dtype in DTYPES for order in ORDERS]
named = pytest.mark.parametrize("case", KINDS, ids=lambda case: f"{case.dtype},{case.order}")


@named
@pytest.mark.parametrize("shape", [Shape(3, 8), Shape(33, 16), Shape(70, 8)], ids=str)
def test_margins(case, shape):
    data = sample(case, N, shape.d, outputs=2)
    shift = np.linspace(-3.0, 1e4, shape.d)
    layout = shape.layout(2, case.order).for_margins()
    w = np.hstack([data.coef, data.intercept[:, None]])
    point = Point(device(w), device(shift), device(np.zeros(shape.d + 1)), 0.0)
    per_block = -(-N // (2 * layout.rows)) * layout.rows
    out, blocks = poisoned(N, 2, dtype=case.dtype), -(-N // per_block)
    kernel = make_margins_pass(case.dtype, case.order, layout)
    kernel[blocks, layout.threads, 0, layout.numbers * 8](rows_of(case, data), point, per_block, out)
    want = (data.X.astype(np.float64) - shift) @ data.coef.T + data.intercept
    rounding = np.finfo(case.dtype).eps if case.dtype == "f4" else 1e-12
    np.testing.assert_allclose(out.copy_to_host(), want, rtol=rounding, atol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("dtype", "order", "shift"), [("f8", "C", False), ("f4", "F", False), ("f8", "F", True)])
def test_curvatures(loss, dtype, order, shift):
    case, shape = Case(loss, dtype, order, shift), Shape(3, 8)
    data = sample(case, N, shape.d, weighted=True)
    z = (data.X.astype(np.float64) - data.shift) @ data.coef.T + data.intercept
    out = poisoned(1 if loss == "softmax" else len(data.coef), N, dtype=dtype)
    got = by_rows(case, data, shape, functools.partial(make_curvatures, *case), out)
    h = {
        "squared": np.ones_like(z),
        "huber": huber_model(z - data.y.T, data.delta) if loss == "huber" else None,
        "logistic": 1.0 / (2.0 + np.exp(z) + np.exp(-z)),
        "softmax": (shares_of(z) * (1.0 - shares_of(z))).mean(axis=1, keepdims=True),
    }[loss]
    # 1 - p of a share near 1 has the rounding of 1.
    rounding = 8 * np.finfo("f4").eps if dtype == "f4" else 1e-12
    np.testing.assert_allclose(got, data.s * h.T, rtol=4 * rounding, atol=rounding)


def huber_model(r, delta):
    """Curvatures of Newton's model of the Huber loss: its second derivative within delta, not beyond."""
    return np.where(np.abs(r) <= delta, 1.0, 0.05 * delta / np.abs(r))


def shares_of(z):
    """Softmax of margins (n, K)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("order", ORDERS)
def test_shares(order):
    case, shape = Case("softmax", "f8", order), Shape(33, 16)
    data = sample(case, 19, shape.d, outputs=5)
    got = by_rows(case, data, shape, functools.partial(make_shares, "f8", order, False), poisoned(5, 19))
    z = data.X @ data.coef.T + data.intercept
    np.testing.assert_allclose(got, shares_of(z).T, rtol=1e-12)


def norms(case, data, threads, width):
    """The norms of two blocks' rows, in working coordinates of these columns, and what they should be."""
    n, d = data.X.shape
    center, inv_scale = np.linspace(-1.0, 2.0, d), np.linspace(0.5, 3.0, d)
    l1 = device(np.zeros((1, 1)))
    coordinates = Coordinates(device(center), device(inv_scale), l1, l1)
    out = poisoned(n)
    make_norms(case.dtype, case.order)[2, threads](rows_of(case, data), coordinates, width, -(-n // 2), out)
    s = np.ones(n) if data.s is None else data.s.astype(np.float64)
    return out.copy_to_host(), s * (((data.X.astype(np.float64) - center) * inv_scale) ** 2).sum(axis=1)


@named
def test_norms(case):
    for d, width in ((3, 8), (33, 16), (70, 32)):
        for weighted in (False, True):
            got, want = norms(case, sample(case, N, d, weighted=weighted), 32, width)
            np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_the_norm_of_a_bad_row_is_nan(order):
    case = Case("squared", "f8", order)
    for row in (0, 17, 36):
        data = sample(case, N, 3)
        data.X[row, 1] = np.nan
        assert np.flatnonzero(np.isnan(norms(case, data, 32, 8)[0])).tolist() == [row]


def moments(case, data, threads, width, chunks=3):
    """Weight, means and sums of squared deviations."""
    n, d = data.X.shape
    per_block, panels = -(-n // chunks), -(-d // width)
    chunks = -(-n // per_block)
    nodes, out = poisoned(chunks, 1 + 2 * d), poisoned(1 + 2 * d)
    base = device(data.X[0 if data.s is None else np.argmax(data.s > 0)].astype(np.float64))
    make_moments(case.dtype, case.order)[chunks * panels, threads](rows_of(case, data), base, width, per_block, nodes)
    make_fold_moments()[-(-d // 8), 8](nodes, base, out)
    found = out.copy_to_host()
    return found[0], found[1 : 1 + d], found[1 + d :]


def compare_moments(case, data, found):
    """Compare with two passes over float64 numbers."""
    X = data.X.astype(np.float64)
    s = np.ones(len(X)) if data.s is None else data.s.astype(np.float64)
    mean = s @ X / s.sum()
    np.testing.assert_allclose(found[0], s.sum(), rtol=1e-13)
    np.testing.assert_allclose(found[1], mean, rtol=1e-13, atol=1e-13 * np.abs(X).max())
    np.testing.assert_allclose(found[2], s @ (X - mean) ** 2, rtol=1e-12, atol=1e-20)


@named
def test_moments(case):
    width = 4 if case.order == "C" else 1
    for n, d in ((N, 3), (100, 9), (1, 2), (5, 5)):
        for weighted in (False, True):
            data = sample(case, n, d, weighted=weighted)
            compare_moments(case, data, moments(case, data, 16, width))


@named
def test_moments_of_columns_far_from_zero(case):
    data = sample(case, N, 3, weighted=True)
    data.X[...] += np.array([0.0, 1e3, 1e6 if case.dtype == "f8" else 1e4]).astype(case.dtype)
    compare_moments(case, data, moments(case, data, 8, 4 if case.order == "C" else 1))


@named
def test_a_constant_column_has_no_deviation_and_rows_without_weight_count_as_absent(case):
    data = sample(case, N, 3, weighted=True)
    data.X[:, 1] = 1.0 / 3.0
    data.s[:20] = 0.0
    data.X[:20] = 1e30
    found = moments(case, data, 8, 4 if case.order == "C" else 1)
    assert found[1][1] == data.X[-1, 1]
    assert found[2][1] == 0.0
    live = data._replace(X=data.X[20:], s=data.s[20:])
    compare_moments(case, live, found)


@named
def test_a_bad_number_without_weight_makes_moments_not_finite(case):
    data = sample(case, N, 3, weighted=True)
    data.X[N // 2, 2] = np.nan
    found = moments(case, data, 8, 4 if case.order == "C" else 1)
    assert not np.isfinite(found[1][2])
    assert not np.isfinite(found[2][2])
    assert np.isfinite(found[1][:2]).all()


def test_numbers_of_the_reference_are_the_same():
    case = Case("squared", "f8", "C")
    data = sample(case, N, 3, weighted=True)
    found, (mean, sd) = moments(case, data, 8, 4), column_moments(data.X, data.s)
    np.testing.assert_allclose(found[1], mean, rtol=1e-12)
    np.testing.assert_allclose(np.sqrt(found[2] / found[0]), sd, rtol=1e-12)
