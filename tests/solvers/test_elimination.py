"""Squared losses with a range of exclusive columns, against the normal equations of the dense matrix in NumPy."""

import numpy as np
import pytest
from scipy import sparse

from fastgd import LinearRegression
from fastgd.backends.csr.exclusive import CsrExclusiveColumns
from fastgd.exceptions import RankWarning
from fastgd.solvers.elimination import EliminationFactor
from tests.covering import pairwise

N, LEVELS, OTHER = 3000, 200, 12
CASES = [
    (optimizer, alpha, intercept, standardize, weighted, outputs)
    for optimizer in ("auto", "normal_equations")
    for alpha in (1.0 / N, 0.3)
    for intercept in (True, False)
    for standardize in (True, False)
    for weighted in (False, True)
    for outputs in (1, 2)
]


def table(seed=0):
    """Rows of two categories, of which levels follow Zipf's law, and three numbers in units of their own."""
    rng = np.random.default_rng(seed)
    codes = [np.minimum(rng.zipf(1.5, N), size) - 1 for size in (LEVELS, OTHER)]
    numbers = rng.standard_normal((N, 3)) * [1.0, 1e3, 1e-2] + [0.0, 1e4, 1.0]
    X = np.hstack([numbers[:, :2], np.eye(LEVELS)[codes[0]], numbers[:, 2:], np.eye(OTHER)[codes[1]]])
    effects = rng.standard_normal((LEVELS, 2))[codes[0]] + 1e-3 * numbers[:, 1:2]
    return X, effects + rng.standard_normal((N, 2))


def ridge(X, y, s, alpha, intercept):
    """Coefficients (K, d) and intercepts of the minimum, after centring."""
    shares = s / s.sum()
    means = (shares @ X, shares @ y) if intercept else (np.zeros(X.shape[1]), np.zeros(y.shape[1]))
    A, t = X - means[0], y - means[1]
    H = A.T @ (shares[:, None] * A) + alpha * np.eye(X.shape[1])
    coef = np.linalg.solve(H, A.T @ (shares[:, None] * t)).T
    return coef, means[1] - coef @ means[0]


@pytest.mark.parametrize(("optimizer", "alpha", "intercept", "standardize", "weighted", "outputs"), pairwise(CASES))
def test_coefficients_of_the_dense_matrix(optimizer, alpha, intercept, standardize, weighted, outputs):
    X, y = table()
    s = np.random.default_rng(1).integers(0, 3, N).astype(float) if weighted else np.ones(N)
    model = LinearRegression(
        alpha=alpha, fit_intercept=intercept, standardize=standardize, optimizer=optimizer, n_threads=2
    )
    model.fit(sparse.csr_array(X), y[:, :outputs] if outputs > 1 else y[:, 0], s if weighted else None)
    assert model.fit_report_["solver"] == "NormalEquations"
    assert model.fit_report_["converged"]
    assert model.n_iter_ <= 4
    coef, at_zeros = ridge(X, y[:, :outputs], s, alpha, intercept)
    size = np.abs(coef).max()
    np.testing.assert_allclose(np.atleast_2d(model.coef_), coef, rtol=0, atol=1e-6 * size)
    np.testing.assert_allclose(np.atleast_1d(model.intercept_), at_zeros, rtol=0, atol=1e-6 * size * 1e4)


def test_a_matrix_of_all_columns_needs_no_memory(monkeypatch):
    monkeypatch.setattr("fastgd._fit.available_bytes", lambda: 100)
    X, y = table()
    model = LinearRegression(alpha=0.01, optimizer="normal_equations").fit(sparse.csr_array(X), y[:, 0])
    assert model.fit_report_["converged"]


def test_targets_far_from_zero_are_reported_without_their_mean():
    """Raw float32 targets are centred here, and the evaluation at the start comes without a pass."""
    X, y = table()
    far = np.full(N, 1e3)
    model = LinearRegression(alpha=0.3, standardize=False, optimizer="normal_equations")
    assert model.fit(sparse.csr_array(X), far).fit_report_["objective"] == 0.0
    y = (far + y[:, 0]).astype(np.float32)
    report = model.fit(sparse.csr_array(X.astype(np.float32)), y).fit_report_
    coef, intercept = ridge(X, y[:, None].astype(float), np.ones(N), 0.3, True)
    expected = 0.5 * np.mean((X @ coef[0] + intercept - y) ** 2) + 0.15 * coef[0] @ coef[0]
    assert report["objective"] == pytest.approx(expected, rel=1e-5)
    assert model.history_["loss"][0] == pytest.approx(0.5 * y.var(dtype=float), rel=1e-5)


def test_rows_that_have_one_column_only_need_no_system():
    levels = np.eye(LEVELS)[np.random.default_rng(0).integers(0, LEVELS - 1, N)]
    y = levels @ np.arange(LEVELS) + table()[1][:, 0]
    model = LinearRegression(alpha=0.01, optimizer="normal_equations").fit(sparse.csr_array(levels), y)
    coef, intercept = ridge(levels, y[:, None], np.ones(N), 0.01, True)
    np.testing.assert_allclose(model.coef_, coef[0], rtol=0, atol=1e-8 * LEVELS)
    assert model.intercept_ == pytest.approx(intercept[0], rel=1e-8)


def test_a_fit_from_other_coefficients_ends_at_the_same_ones():
    X, y = table()
    model = LinearRegression(alpha=0.01, warm_start=True)
    first = model.fit(sparse.csr_array(X), y[:, 1]).coef_
    model.coef_ = first + 1.0
    np.testing.assert_allclose(model.fit(sparse.csr_array(X), y[:, 1]).coef_, first, rtol=0, atol=1e-9)


def test_dependent_columns_leave_the_least_loss():
    """Levels of both categories and the intercept depend on each other, and a column occurs twice."""
    X, y = table()
    X[:, 1] = X[:, 0]
    with pytest.warns(RankWarning, match="column 0 .of column 1."):
        model = LinearRegression(optimizer="normal_equations").fit(sparse.csr_array(X), y[:, 0])
    A = np.column_stack([X, np.ones(N)])
    residual = y[:, 0] - A @ np.linalg.lstsq(A, y[:, 0], rcond=None)[0]
    assert model.fit_report_["objective"] == pytest.approx(0.5 * np.mean(residual**2), rel=1e-10)
    assert model.fit_report_["certificate"] < 1e-6


def test_rounding_of_the_factor_leaves_the_rest_to_the_accelerated_gradient(monkeypatch):
    X, y = table()
    monkeypatch.setattr(EliminationFactor, "solve", lambda self, g: np.zeros_like(g))
    model = LinearRegression(alpha=0.3, max_iter=1000).fit(sparse.csr_array(X), y[:, 0])
    assert model.fit_report_["solver"] == "NormalEquations, then Accelerated"
    coef, _ = ridge(X, y[:, :1], np.ones(N), 0.3, True)
    np.testing.assert_allclose(model.coef_, coef[0], rtol=0, atol=1e-2 * np.abs(coef).max())


@pytest.mark.parametrize("options", [{"l1_ratio": 0.5}, {"positive": True}, {"loss": "huber"}])
def test_other_objectives_do_not_look_for_the_columns(options, monkeypatch):
    monkeypatch.setattr(CsrExclusiveColumns, "of", None)
    X, y = table()
    LinearRegression(alpha=0.1, max_iter=3, tol=1.0, **options).fit(sparse.csr_array(X[:, 2:]), y[:, 0])
