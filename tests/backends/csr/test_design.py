"""Curvatures of sparse rows against those of the same rows with their zeros."""

import numpy as np
import pytest

from fastgd.backends.csr.design import CsrDesign
from fastgd.backends.design import HostDesign
from fastgd.losses import find_loss
from fastgd.objective.coordinates import Scaling
from tests.covering import pairwise
from tests.kernels.csr.rows import on_csr, sparse_sample
from tests.kernels.table import DTYPES, LOSSES, Case

CASES = [
    (loss, dtype, weighted, intercept)
    for loss in LOSSES
    for dtype in DTYPES
    for weighted in (False, True)
    for intercept in (False, True)
]
N, D = 900, 130


def designs(loss, dtype, weighted, intercept, n_threads=2):
    data = sparse_sample(Case(loss, dtype, "C"), N, D, density=0.05, weighted=weighted)
    rows = on_csr(data, n_threads)
    scaling = Scaling.standard(rows.moments(), intercept)
    return CsrDesign(rows, scaling, intercept), HostDesign(rows, scaling, intercept, keep=False)


def point(loss):
    return np.random.default_rng(0).standard_normal((LOSSES[loss], D + 1)) / 4


@pytest.mark.parametrize(("loss", "dtype", "weighted", "intercept"), pairwise(CASES))
def test_the_same_as_of_dense_rows(loss, dtype, weighted, intercept, monkeypatch):
    monkeypatch.setattr("fastgd.backends.csr.design._BLOCK_NUMBERS", 1000)
    ours, dense = designs(loss, dtype, weighted, intercept)
    kind, theta = find_loss(loss), point(loss)
    mine, its = (design.quadratic(kind, theta) for design in (ours, dense))
    np.testing.assert_allclose(mine.losses, its.losses, rtol=1e-12)
    np.testing.assert_allclose(mine.gradient, its.gradient, rtol=0, atol=1e-13 * max(1, np.abs(its.gradient).max()))
    expected = its.curvature()
    # Curvatures of rows are rounded to the dtype of X; sums of 3,000 dense rows by BLAS are off by up to 41 eps.
    rounding = np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(mine.curvature(), expected, rtol=0, atol=100 * rounding)
    lines, t = [design.along(kind, theta, theta[::-1]) for design in (ours, dense)], np.full(len(theta), 0.3)
    for one, two in zip(*(line(t if loss != "softmax" else t[:1]) for line in lines), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-13)
    if loss == "softmax":
        np.testing.assert_allclose(ours.couplings(kind, theta), dense.couplings(kind, theta), rtol=1e-12)
        np.testing.assert_array_equal(ours.joint(kind, theta), dense.joint(kind, theta))


def test_threads_give_the_same_bits():
    kind, theta = find_loss("logistic"), point("logistic")
    found = [designs("logistic", "f8", True, True, count)[0].quadratic(kind, theta) for count in (1, 2, 3)]
    for other in found[1:]:
        np.testing.assert_array_equal(other.gradient, found[0].gradient)
        np.testing.assert_array_equal(other.curvature(), found[0].curvature())


def test_columns_far_from_zero_and_rows_of_many_numbers_are_made_dense():
    scaling = Scaling(np.zeros(D), np.ones(D))
    sparse, full = (on_csr(sparse_sample(Case("squared", "f8", "C"), N, D, density=density)) for density in (0.05, 0.9))
    assert CsrDesign.suits(sparse, scaling)
    assert not CsrDesign.suits(full, scaling)
    # The mean is 10,000 times the deviation.
    assert not CsrDesign.suits(sparse, Scaling(np.full(D, 1e4), np.ones(D)))
    assert type(sparse.design(scaling, True, True, True)) is CsrDesign
    assert type(full.design(scaling, True, True, True)) is HostDesign
