"""Problems without a unique optimum, or without any."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge

from fastgd import LinearRegression, LogisticRegression
from fastgd.exceptions import RankWarning
from fastgd.solvers import collinearity, cost_model
from tests.estimators.fits import problem_for, targets


def minimum_norm(X, y, s=None):
    """Raw coefficients of the least-squares solution of least norm in centred columns."""
    s = np.ones(len(X)) if s is None else s
    centred, root = X - np.average(X, axis=0, weights=s), np.sqrt(s)
    y = y - np.average(y, axis=0, weights=s)
    return np.linalg.lstsq(centred * root[:, None], (y.T * root).T, rcond=1e-10)[0].T


def collinear_frame():
    """Column "total" is the sum of two others, "fixed" is constant."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((200, 3)) * [1.0, 50.0, 1e-3], columns=["a", "b", "c"])
    frame["total"] = frame["a"] + frame["b"]
    frame["fixed"] = 7.5
    return frame, frame["a"] * 2.0 + frame["c"] * 1e3 + rng.standard_normal(200)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("value", [7.5, 0.0, 0.1, 1e8 + 1 / 3])
def test_constant_columns_get_zero(value, standardize):
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.standard_normal(100), np.full(100, value)])
    y = X[:, 0] + rng.standard_normal(100)
    options = {"standardize": standardize, "tol": 1e-8}
    with pytest.warns(RankWarning, match="column 1"):
        model = LinearRegression(**options).fit(X, y)
    assert model.coef_[1] == 0.0
    np.testing.assert_allclose(model.coef_[0], np.polyfit(X[:, 0], y, 1)[0], rtol=1e-6)
    assert LinearRegression(alpha=0.1, **options).fit(X, y).coef_[1] == 0.0


def test_a_constant_column_stands_for_a_missing_intercept():
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.standard_normal(100), np.full(100, 2.0)])
    y = X[:, 0] + 6.0
    model = LinearRegression(fit_intercept=False, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.coef_, [1.0, 3.0], rtol=1e-8)


def test_collinear_columns_are_named_and_shared():
    frame, y = collinear_frame()
    with pytest.warns(RankWarning) as caught:
        model = LinearRegression(tol=1e-11).fit(frame, y)
    message = str(caught[0].message)
    named = re.search(r"combinations of others: ([^;]*);", message).group(1).split(", ")
    assert "fixed (constant)" in named
    parts = re.fullmatch(r"(\w+) \(of (\w+) and (\w+)\)", named[named.index("fixed (constant)") - 1]).groups()
    assert sorted(parts) == ["a", "b", "total"]
    named = [name.partition(" ")[0] for name in named]
    assert len(named) == 2
    assert [frame.columns[j] for j in model.fit_report_["collinear"]] == sorted(named, key=list(frame.columns).index)
    assert model.fit_report_["warnings"] == [message]
    np.testing.assert_allclose(model.coef_, minimum_norm(frame.to_numpy(), y.to_numpy()), rtol=1e-6, atol=1e-8)


FULL_BATCH = ["auto", "sketched_newton", "lbfgs", "accelerated", "normal_equations"]


@pytest.mark.parametrize("optimizer", FULL_BATCH)
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
def test_solvers_of_the_full_batch_find_the_least_norm_in_raw_columns(optimizer, standardize, intercept):
    """That of `numpy.linalg.lstsq`, with weights, some of them 0, and with two targets."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4)) * [1.0, 5.0, 0.3, 1.0]
    X[:, 3] = X[:, 0] + 2.0 * X[:, 1]
    s = rng.integers(0, 4, 300).astype(float)
    # Rows without weight may contradict what the others have in common.
    X[s == 0.0, 3] = rng.standard_normal(np.sum(s == 0.0))
    Y = X[:, :2] + rng.standard_normal((300, 2))
    options = {"optimizer": optimizer, "standardize": standardize, "fit_intercept": intercept, "tol": 1e-9}
    with pytest.warns(RankWarning, match="the one of least norm"):
        model = LinearRegression(max_iter=5000, **options).fit(X, Y, s)
    root = np.sqrt(s)[:, None]
    exact = minimum_norm(X, Y, s) if intercept else np.linalg.lstsq(X * root, Y * root, rcond=1e-10)[0].T
    np.testing.assert_allclose(model.coef_, exact, rtol=0, atol=1e-7)
    assert model.fit_report_["collinear"] != []


@pytest.mark.parametrize("optimizer", ["auto", "lbfgs"])
def test_the_least_norm_of_a_logistic_fit(optimizer):
    """Coefficients have nothing in common with what changes no margin."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3)) * [1.0, 7.0, 1.0]
    X[:, 2] = X[:, 0] + 2.0 * X[:, 1]
    y = X[:, 0] + X[:, 1] + 9.0 * rng.standard_normal(300) > 0.0
    with pytest.warns(RankWarning, match="the one of least norm"):
        model = LogisticRegression(alpha=0.0, optimizer=optimizer, tol=1e-8).fit(X, y)
    assert abs(model.coef_[0] @ [1.0, 2.0, -1.0]) < 1e-12
    alone = LogisticRegression(alpha=0.0, tol=1e-8).fit(X[:, :2], y)
    np.testing.assert_allclose(model.decision_function(X), alone.decision_function(X[:, :2]), rtol=0, atol=1e-6)


def test_rules_return_the_optimum_of_their_formula():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    X[:, 1] = 2.0 * X[:, 0]
    with pytest.warns(RankWarning, match="of all optima one is found"):
        LinearRegression(optimizer="gd", batch_size="full").fit(X, X[:, 0] + rng.standard_normal(200))


@pytest.mark.parametrize("shape", [(20, 40), (90, 40)])
@pytest.mark.parametrize("intercept", [True, False])
def test_more_columns_than_are_looked_at_give_the_minimum_norm(monkeypatch, shape, intercept):
    """Fewer rows, or a direct solution."""
    monkeypatch.setattr(collinearity, "MOST_COLUMNS", 30)
    rng = np.random.default_rng(1)
    n, d = shape
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-1, 1, d)
    X[:, -1] = X[:, 0] + X[:, 1]
    y = rng.standard_normal(n)
    options = {"optimizer": "normal_equations", "fit_intercept": intercept, "tol": 1e-10}
    if n < d:
        with pytest.warns(RankWarning, match="least norm"):
            model = LinearRegression(**options).fit(X, y)
    else:
        model = LinearRegression(**options).fit(X, y)
    exact = minimum_norm(X, y) if intercept else np.linalg.lstsq(X, y, rcond=1e-10)[0]
    np.testing.assert_allclose(model.coef_, exact, rtol=0, atol=1e-7 * np.abs(exact).max())


def test_dependent_columns_without_names_leave_predictions_unchanged():
    frame, y = collinear_frame()
    with pytest.warns(RankWarning, match=r"column \d"):
        model = LinearRegression(tol=1e-11).fit(frame.to_numpy(), y)
    independent = frame[["a", "b", "c"]].to_numpy()
    alone = LinearRegression(tol=1e-11).fit(independent, y)
    np.testing.assert_allclose(model.predict(frame.to_numpy()), alone.predict(independent), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["auto", "normal_equations"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_fewer_rows_than_columns_give_the_minimum_norm(dtype, optimizer):
    rng = np.random.default_rng(2)
    X = (rng.standard_normal((20, 50)) * 10.0 ** rng.uniform(-2, 2, 50)).astype(dtype)
    y = rng.standard_normal(20)
    with pytest.warns(RankWarning, match=r"^fewer rows \(20\) than columns \(50\), so these are linearly dependent"):
        model = LinearRegression(optimizer=optimizer, tol=1e-10 if dtype == "f8" else 1e-5).fit(X, y)
    sd, tolerance = X.std(axis=0, dtype=float), 1e-10 if dtype == "f8" else 1e-5
    np.testing.assert_allclose(model.coef_ * sd, minimum_norm(X.astype(float), y) * sd, rtol=0, atol=tolerance)
    assert len(model.fit_report_["collinear"]) == 31
    ridge = LinearRegression(alpha=0.1, optimizer=optimizer, tol=tolerance).fit(X, y)
    theirs = Ridge(alpha=2.0, solver="svd").fit(X.astype(float), y)
    np.testing.assert_allclose(ridge.coef_ * sd, theirs.coef_ * sd, rtol=0, atol=tolerance)


def test_full_rank_does_not_warn():
    """Though two columns correlate at 1 - 1e-12, which float64 distinguishes."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((500, 3))
    X[:, 2] = X[:, 1] + 1e-6 * X[:, 2]
    y = X[:, 0] + rng.standard_normal(500)
    model = LinearRegression(tol=1e-9).fit(X, y)
    assert model.fit_report_["collinear"] == []
    assert model.fit_report_["converged"]
    exact = np.linalg.lstsq(np.column_stack([X, np.ones(500)]), y, rcond=None)[0]
    np.testing.assert_allclose(model.coef_, exact[:3], rtol=1e-6)


def test_a_penalty_needs_no_warning():
    frame, y = collinear_frame()
    assert LinearRegression(alpha=1e-6).fit(frame, y).fit_report_["collinear"] == []


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_collinear_columns_of_a_logistic_fit(dtype):
    problem = problem_for("logistic", dtype=dtype)
    y = targets(problem)
    X = np.column_stack([problem.x, problem.x[:, 0] - 2.0 * problem.x[:, 1]]).astype(dtype)
    # In float32 the last column is rounded, yet dependent to the precision of float32.
    with pytest.warns(RankWarning):
        model = LogisticRegression(alpha=0.0, tol=1e-6 if dtype == "f4" else 1e-10).fit(X, y, problem.weight)
    alone = LogisticRegression(alpha=0.0, tol=1e-10).fit(problem.x, y, problem.weight)
    ours, theirs = model.decision_function(X), alone.decision_function(problem.x)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 if dtype == "f8" else 1e-3)


@pytest.mark.parametrize("optimizer", ["auto", "normal_equations", "gd", "adam"])
@pytest.mark.parametrize("value", [0.0, -3.25, 1e9 + 1 / 3])
def test_constant_targets(value, optimizer):
    X = np.random.default_rng(5).standard_normal((50, 3))
    model = LinearRegression(optimizer=optimizer).fit(X, np.full(50, value))
    np.testing.assert_allclose(model.predict(X), value, rtol=1e-12, atol=1e-12)


def test_one_row_and_one_column():
    with pytest.warns(RankWarning):
        model = LinearRegression().fit([[2.0]], [5.0])
    assert model.predict([[2.0]])[0] == pytest.approx(5.0)
    assert model.coef_[0] == 0.0


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_classes_by_nearly_equal_columns_end_where_rounding_does(seed, monkeypatch):
    """In float32 no step distinguishes columns whose difference is rounding; what F still had to fall is gained.

    By a metric that is not of all classes jointly.
    """
    monkeypatch.setattr(cost_model, "MOST_JOINT", 0)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((500, 4))
    X[:, 1] = X[:, 0] + 1e-6 * rng.standard_normal(500)
    X[:, 3] = X[:, 2] + 1e-5 * X[:, 0]
    y = (X[:, 0] + rng.logistic(size=500) > 0.0) + 1 * (X[:, 2] > 1.0)
    X = X.astype("f4")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(alpha=0.0, tol=1e-7).fit(X, y)
    assert {warning.category for warning in caught} == {RankWarning, ConvergenceWarning}
    assert model.fit_report_["stopped_by"] == "no step"
    assert model.n_iter_ < 300
    with pytest.warns(RankWarning), pytest.warns(ConvergenceWarning, match="above the optimum"):
        apart = LogisticRegression(alpha=0.0, optimizer="accelerated", max_iter=100).fit(X, y)
    assert model.fit_report_["objective"] <= apart.fit_report_["objective"]


def test_dependent_columns_above_a_thousand():
    """Orthogonal columns and a multiple of the first, which share a coefficient by their scales, as by lstsq."""
    n = 2048
    independent = np.cos(np.outer(np.arange(n) + 0.5, np.arange(1, 1050)) * np.pi / n)
    X = np.column_stack([independent, 2.0 * independent[:, 0]])
    y = independent[:, 0] + np.random.default_rng(0).standard_normal(n)
    with pytest.warns(RankWarning, match="the one of least norm"):
        model = LinearRegression(optimizer="lbfgs", tol=1e-8).fit(X, y)
    exact = 2.0 / n * (y @ independent)
    np.testing.assert_allclose(model.coef_[[0, -1]], exact[0] * np.array([0.2, 0.4]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.coef_[1:-1], exact[1:], rtol=0, atol=1e-6)
    assert len(model.fit_report_["collinear"]) == 1


@pytest.mark.parametrize("intercept", [True, False])
def test_the_span_of_many_rows_by_their_gram_matrix(monkeypatch, intercept):
    """Rows that repeat and rows of zeros among them."""
    monkeypatch.setattr(collinearity, "_SPAN_PRODUCTS", 0.0)
    rng = np.random.default_rng(1)
    X = rng.standard_normal((30, 50)) * 10.0 ** rng.uniform(-1, 1, 50)
    X[3], X[4] = X[5], 0.0
    y = rng.standard_normal(30)
    y[3] = y[5]
    with pytest.warns(RankWarning, match="the one of least norm"):
        model = LinearRegression(fit_intercept=intercept, optimizer="lbfgs", tol=1e-11).fit(X, y)
    exact = minimum_norm(X, y) if intercept else np.linalg.lstsq(X, y, rcond=1e-10)[0]
    np.testing.assert_allclose(model.coef_, exact, rtol=0, atol=1e-7 * np.abs(exact).max())


def test_report_if_dependent_columns_were_not_searched(monkeypatch):
    monkeypatch.setattr(collinearity, "MOST_COLUMNS", 3)
    frame, y = collinear_frame()
    with pytest.warns(RankWarning, match="fixed \\(constant\\); of all optima one is found"):
        model = LinearRegression(optimizer="lbfgs", tol=1e-6).fit(frame, y)
    assert model.fit_report_["collinear"] is None
