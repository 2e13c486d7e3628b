"""L-BFGS in the span of sparse rows: its optimum, the products it takes, and its ends."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from fastgd.backends.csr.data import CsrData
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.csr.row_space import CsrRowSpace
from fastgd.exceptions import RankWarning
from tests.covering import pairwise
from tests.estimators.fits import Recorder, certificate_of, interrupt, model_for, problem_for, targets
from tests.kernels.table import DTYPES

KINDS = [("squared", 1), ("squared", 2), ("huber", 2), ("logistic", 1), ("softmax", 3)]
CASES = [
    (kind, dtype, intercept, standardize)
    for kind in KINDS
    for dtype in DTYPES
    for intercept in (True, False)
    for standardize in (True, False)
]
N, D = 90, 400


def wide(loss, outputs, dtype="f8", **options):
    """A problem of few rows, most of whose numbers are 0, with unequal weights."""
    problem = problem_for(loss, outputs, dtype=dtype, n=N, d=D, alpha=0.02, **options)
    problem.x[np.random.default_rng(0).random((N, D)) < 0.8] = 0.0
    return problem


def fitted(problem, dtype="f8", callbacks=None, **parameters):
    rows = sparse.csr_array(problem.x.astype(np.dtype(dtype)))
    model = model_for(problem, **{"optimizer": "lbfgs", **parameters})
    return model.fit(rows, targets(problem), problem.weight, callbacks=callbacks)


def in_row_space(model):
    return "in the span of the rows" in model.fit_report_["reason"]


@pytest.mark.parametrize(("kind", "dtype", "intercept", "standardize"), pairwise(CASES))
def test_the_certificate_is_the_references(kind, dtype, intercept, standardize):
    problem = wide(*kind, dtype, fit_intercept=intercept)
    # Gradients of a Huber loss hardly shrink where F is flat to rounding.
    tol = {"f4": 1e-6, "f8": 1e-6 if kind[0] == "huber" else 1e-9}[dtype]
    model = fitted(problem, dtype, tol=tol, standardize=standardize)
    assert in_row_space(model)
    assert model.fit_report_["converged"]
    assert certificate_of(problem, model) <= 1.01 * tol + np.finfo(dtype).eps
    assert intercept or not np.any(model.intercept_)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_those_of_centred_dense_rows(dtype, monkeypatch):
    monkeypatch.setattr("fastgd.backends.cpu.data._FEW_BYTES", 0)
    problem = wide("squared", 1, dtype)
    center, a = problem.x.mean(axis=0), np.random.default_rng(1).standard_normal((N, 3))
    rows = CsrMatrix.of(sparse.csr_array(problem.x.astype(dtype)), "X")
    X, spaces = problem.x - center, []
    for n_threads in (1, 3):
        spaces.append(CsrRowSpace(CsrData(rows, np.zeros((1, N), dtype), None, n_threads), center))
    found = [space.margins(a) for space in spaces]
    np.testing.assert_allclose(found[0], X @ (X.T @ a), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(spaces[0].combine(a), a.T @ X, rtol=1e-11, atol=1e-12)
    factors = np.linspace(0.5, 2.0, D)
    np.testing.assert_allclose(spaces[0].largest(factors), np.abs(factors[:, None] * (X.T @ a)).max(axis=0))
    np.testing.assert_array_equal(found[1], found[0])


def test_it_takes_fewer_passes_than_in_columns():
    problem, passes = wide("logistic", 1), []
    for watch in (None, Recorder(1000)):
        model = fitted(problem, tol=1e-7, callbacks=watch)
        assert in_row_space(model) == (watch is None)
        passes.append(model.n_iter_)
    assert passes[0] <= passes[1]


def test_only_penalties_on_squares_of_few_rows_without_a_start():
    problem = wide("squared", 1)
    assert in_row_space(fitted(problem))
    model = fitted(problem, warm_start=True)
    assert not in_row_space(model.fit(sparse.csr_array(problem.x), targets(problem)))
    rows, narrow = sparse.csr_array(problem.x), sparse.csr_array(problem.x[:, :200])
    assert not in_row_space(model_for(problem, optimizer="lbfgs").fit(narrow, targets(problem)))
    with pytest.warns(RankWarning, match="fewer rows"):
        assert not in_row_space(model_for(problem, optimizer="lbfgs").set_params(alpha=0.0).fit(rows, targets(problem)))


def test_an_interrupted_fit_keeps_the_last_point(monkeypatch):
    problem = wide("logistic", 1)
    model = model_for(problem, optimizer="lbfgs", tol=1e-9)
    interrupt(monkeypatch, CsrRowSpace, "margins", 4)
    with pytest.raises(KeyboardInterrupt):
        model.fit(sparse.csr_array(problem.x), targets(problem))
    assert (model.n_iter_, model.fit_report_["stopped_by"]) == (3, "interrupted")
    assert model.coef_.any()
    assert model.fit_report_["objective"] < model.history_["loss"][0]


def test_max_iter_ends_it():
    problem = wide("softmax", 3)
    with pytest.warns(ConvergenceWarning, match="max_iter reached after 4 epochs"):
        model = fitted(problem, tol=1e-9, max_iter=4)
    assert (model.n_iter_, model.fit_report_["stopped_by"]) == (4, "max_iter")
    assert np.all(np.diff(model.history_["loss"]) < 0.0)
