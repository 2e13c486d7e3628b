"""Coefficients of at least 0: those of scipy's and scikit-learn's solvers."""

import numpy as np
import pytest
from scipy import optimize
from sklearn import linear_model

import fastgd
from fastgd import LinearRegression
from fastgd.exceptions import RankWarning
from fastgd.objective.duality_gap import duality_gaps
from tests.estimators.fits import refused


def data(n=150, outputs=2):
    """Columns of several scales, far from 0, some of which pull the other way."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 6)) * [1.0, 10.0, 0.1, 3.0, 1.0, 1.0] + 2.0
    coef = np.array([1.0, 0.5, -3.0, 0.0, 2.0, -1.0])[:, None] * [1.0, -1.0]
    return X, (X @ coef + rng.standard_normal((n, 2)))[:, :outputs], rng.integers(0, 3, n).astype(float)


@pytest.mark.parametrize("optimizer", ["auto", "normal_equations"])
@pytest.mark.parametrize("standardize", [True, False])
def test_least_squares_of_scipy(optimizer, standardize):
    X, Y, s = data()
    root = np.sqrt(s)
    options = {"optimizer": optimizer, "standardize": standardize, "fit_intercept": False}
    model = LinearRegression(positive=True, **options).fit(X, Y, s)
    for k in range(2):
        exact = optimize.nnls(X * root[:, None], Y[:, k] * root)[0]
        np.testing.assert_allclose(model.coef_[k], exact, rtol=1e-9, atol=1e-12)
        assert np.array_equal(model.coef_[k] == 0.0, exact == 0.0)
    assert 0 < np.count_nonzero(model.coef_ == 0.0) < model.coef_.size
    assert model.fit_report_["converged"]
    assert model.fit_report_["certificate"] < 1e-9


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_scikit_learns_models(intercept, dtype):
    X, Y, s = data()
    X, y, options = X.astype(dtype), Y[:, 0], {"fit_intercept": intercept, "positive": True}
    exact, rtol = X.astype(float), 1e-7 if dtype == "f8" else 1e-3
    ridge = linear_model.Ridge(alpha=0.1 * s.sum(), tol=1e-12, solver="lbfgs", max_iter=10_000, **options)
    net = {"alpha": 0.1, "tol": 1e-12, "max_iter": 100_000, **options}
    for theirs, ours in (
        (linear_model.LinearRegression(**options), LinearRegression(**options)),
        (ridge, LinearRegression(alpha=0.1, **options)),
        (linear_model.Lasso(**net), LinearRegression(alpha=0.1, l1_ratio=1.0, **options)),
        (linear_model.ElasticNet(l1_ratio=0.3, **net), LinearRegression(alpha=0.1, l1_ratio=0.3, **options)),
    ):
        theirs.fit(exact, y, s)
        ours.fit(X, y, s)
        loose = 1e-4 if theirs is ridge else rtol
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=loose, atol=loose)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=loose, atol=loose)
        assert np.all(ours.coef_ >= 0.0)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
def test_duality_gap_vanishes_at_the_constrained_optimum(l1_ratio):
    X, Y, s = data()
    report = LinearRegression(alpha=0.1, l1_ratio=l1_ratio, positive=True).fit(X, Y, s).fit_report_
    assert 0.0 <= report["duality_gap"] <= 1e-12 * report["objective"]


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.2), (0.3, 0.2)])
def test_duality_gap_bounds_the_distance_to_the_constrained_optimum(l1, l2):
    X, Y, _ = data(outputs=1)
    y = Y[:, 0]

    def objective(w):
        return 0.5 * np.mean((X @ w - y) ** 2) + l1 * w.sum() + 0.5 * l2 * w @ w

    def gradient(w):
        return X.T @ (X @ w - y) / len(y)

    best = optimize.minimize(
        objective, np.ones(6), jac=lambda w: gradient(w) + l1 + l2 * w, bounds=[(0.0, None)] * 6, method="L-BFGS-B"
    )
    for w in np.random.default_rng(1).exponential(size=(20, 6)):
        gap = duality_gaps(w[None], gradient(w)[None], np.array([l1]), np.array([l2]), positive=True)[0]
        assert gap >= objective(w) - best.fun


def test_each_target_has_its_alpha():
    X, Y, _ = data()
    model = LinearRegression(alpha=[0.0, 2.0], positive=True).fit(X, Y)
    for k, alpha in enumerate((0.0, 2.0)):
        alone = LinearRegression(alpha=alpha, positive=True).fit(X, Y[:, k])
        np.testing.assert_allclose(model.coef_[k], alone.coef_, rtol=1e-9, atol=1e-12)


def test_dependent_columns(tmp_path):
    X, Y, _ = data()
    X[:, 5] = X[:, 0] + X[:, 4]
    with pytest.warns(RankWarning, match="of all optima one is found"):
        model = LinearRegression(positive=True).fit(X, Y[:, 0])
    exact = optimize.nnls(X - X.mean(axis=0), Y[:, 0] - Y[:, 0].mean())[1] ** 2 / len(X) / 2
    assert model.fit_report_["objective"] == pytest.approx(exact, rel=1e-10)
    model.save(tmp_path / "model")
    assert fastgd.load(tmp_path / "model").positive is True


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"optimizer": "adam"}, "optimizer='adam' does not constrain coefficients: use 'auto' or 'normal_equations'"),
        ({"optimizer": "lbfgs"}, "optimizer='lbfgs' does not constrain coefficients"),
        ({"loss": "huber"}, "positive=True needs loss='squared'"),
    ],
)
def test_solvers_that_cannot_say_so(parameters, message):
    X, Y, _ = data(30)
    refused(message, LinearRegression(positive=True, **parameters).fit, X, Y)


def test_streams_are_hidden_and_other_values_refused():
    X, Y, _ = data(30)
    assert not hasattr(LinearRegression(positive=True), "partial_fit")
    assert hasattr(LinearRegression(), "partial_fit")
    refused("positive must be True or False", LinearRegression(positive="yes").fit, X, Y)


@pytest.mark.filterwarnings("ignore::fastgd.exceptions.RankWarning")  # checked in test_dependent_columns
@pytest.mark.parametrize("X", [[[1.0]], [[2.0, 3.0]] * 4])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_constant_columns_have_coefficient_0(X, alpha):
    y = np.arange(float(len(X)))
    model = LinearRegression(positive=True, alpha=alpha).fit(X, y)
    np.testing.assert_array_equal(model.coef_, 0.0)
    assert model.intercept_ == pytest.approx(y.mean())
