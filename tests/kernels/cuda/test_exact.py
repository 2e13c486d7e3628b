"""Sums in fixed point: bits that do not depend on the order of the terms, digits, and numbers that are not finite."""

import math

import numpy as np
import pytest
from numba import cuda

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")

from fastgd.kernels.cuda import exact

ROWS = 300


def magnitudes(numbers):
    return np.abs(np.asarray(numbers, dtype=np.float64)).view(np.int64)


@cuda.jit
def add(a, x, order, sums):
    """Add a_i x_i of every row to column 0, and of every other row to column 1."""
    for at in range(order.size):
        i = order[at]
        factor = a[i] * exact.inverse_power(sums.rows[0]) * sums.scale
        for j in range(2 - i % 2):
            exact.add_term(sums, j, 0, x[i] * exact.inverse_power(sums.columns[j]) * factor)


def summed(a, x, words, order=None, before=()):
    """The two sums, added to those of `before`, if any."""
    order = np.arange(len(a)) if order is None else order
    its = np.zeros((words, 2, 1), np.int64), magnitudes([np.max(np.abs(x))] * 2), magnitudes([np.max(np.abs(a))])
    words, columns, rows = map(cuda.to_device, its)
    sums = exact.Sums(words, columns, rows, exact.scale_of(len(a)))
    add[1, 1](a, x, order, sums)
    out = cuda.to_device(np.array(before) if len(before) else np.full(2, np.nan))
    exact.make_total()[1, 2](sums, len(before) > 0, out)
    return out.copy_to_host()


def terms(spread, seed=0):
    """Numbers of rows and of columns over many orders of magnitude."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(ROWS) * 10.0 ** rng.uniform(-spread, 0.0, ROWS) * unit for unit in (1e150, 1e-200)]


def expected(a, x):
    products = [math.fsum(a[i] * x[i] for i in range(0, ROWS, step)) for step in (1, 2)]
    sizes = [math.fsum(abs(a[i] * x[i]) for i in range(0, ROWS, step)) for step in (1, 2)]
    return np.array(products), np.array(sizes)


@pytest.mark.parametrize("spread", [0.0, 4.0, 12.0])
@pytest.mark.parametrize("words", [1, 2])
def test_sums_are_right_in_any_order(spread, words):
    a, x = terms(spread)
    found = summed(a, x, words)
    truth, sizes = expected(a, x)
    # A word is off by half a unit per term; the products themselves are rounded.
    unit = np.abs(a).max() * np.abs(x).max() * (0.0 if words == 2 else ROWS / exact.scale_of(ROWS))
    assert (np.abs(found - truth) <= 4 * np.finfo(float).eps * sizes + unit).all()
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(ROWS)
        np.testing.assert_array_equal(summed(a, x, words, order), found)


def test_float64_keeps_its_digits_beside_outliers():
    """One word of so many rows has fewer digits than float64; the second has them."""
    a, x = terms(0.0)
    a[7] *= 1e9
    a[8], x[8] = -a[7], x[7]
    truth, sizes = (both[:1] for both in expected(a, x))
    error = [np.abs(summed(a, x, words)[:1] - truth) / (sizes / 1e9) for words in (1, 2)]
    assert error[1] < 1e-10 < error[0] < 1e-3


def test_sums_are_added_to_others():
    a, x = terms(0.0)
    before = np.array([1e-50, -2e-50])
    np.testing.assert_array_equal(summed(a, x, 2, before=before), before + summed(a, x, 2))


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("of_rows", [True, False])
def test_numbers_that_are_not_finite_reach_the_sums(bad, of_rows):
    a, x = np.ones((2, 9))
    (a if of_rows else x)[4] = bad
    assert np.isnan(summed(a, x, 1)).all()


@pytest.mark.parametrize("tiny", [0.0, 5e-324, 1e-310])
def test_numbers_whose_squares_vanish_count_as_zeros(tiny):
    np.testing.assert_array_equal(summed(np.full(ROWS, tiny), np.ones(ROWS), 2), 0.0)
    assert summed(np.full(ROWS, 1e-200), np.full(ROWS, 1e-60), 2)[0] == pytest.approx(ROWS * 1e-260, rel=1e-15)


def test_all_rows_at_the_largest_number_do_not_overflow():
    for n in (1, 2, 255, 256, 257):
        largest = np.full(n, np.nextafter(2.0, 0.0))
        assert summed(largest, largest, 1)[0] == pytest.approx(4.0 * n, rel=1e-15)
