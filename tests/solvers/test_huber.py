"""Huber fits for any ratio of the targets' spread to delta, against an optimum found by SciPy."""

import warnings

import numpy as np
import pytest
from scipy import optimize
from sklearn.datasets import load_diabetes

from fastgd import LinearRegression, LogisticRegression


def huber_objective(X, y, delta, coef, intercept, s=None, alpha=0.0, l1_ratio=0.0):
    """Return F as the documentation defines it."""
    r = np.abs(X @ coef + intercept - y)
    losses = np.where(r <= delta, 0.5 * r * r, delta * (r - 0.5 * delta))
    penalty = alpha * (l1_ratio * np.abs(coef).sum() + 0.5 * (1.0 - l1_ratio) * (coef**2).sum())
    return np.average(losses, weights=s) + penalty


def least_absolute_deviations(X, y, fit_intercept=True):
    """Return min mean |y - X w - b| by linear programming."""
    n, d = X.shape
    columns = np.column_stack([X, np.full(n, float(fit_intercept))])
    bounds = [(None, None)] * (d + 1) + [(0, None)] * (2 * n)
    equalities = np.hstack([columns, np.eye(n), -np.eye(n)])
    cost = np.concatenate([np.zeros(d + 1), np.full(2 * n, 1.0 / n)])
    return optimize.linprog(cost, A_eq=equalities, b_eq=y, bounds=bounds, method="highs").fun


def data_of(n, d, tail, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X @ rng.standard_normal(d) + rng.standard_t(tail, n) + 3.0


SOLVERS = ["auto", "sketched_newton", "lbfgs", "accelerated"]


@pytest.mark.parametrize("optimizer", SOLVERS)
def test_targets_like_prices_are_fitted(optimizer):
    X = np.arange(20.0)[:, None]
    y = 1e5 + 1e4 * X[:, 0] + 1e3 * np.sin(X[:, 0])
    model = LinearRegression("huber", optimizer=optimizer).fit(X, y)
    assert model.fit_report_["converged"]
    assert model.score(X, y) > 0.999
    # Half of delta is all that a Huber loss lies below the absolute one.
    best = least_absolute_deviations(X, y)
    assert best - 0.5 <= model.fit_report_["objective"] <= best * (1 + 1e-4)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("spread", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_any_spread_of_targets_ends_at_the_optimum(spread, fit_intercept):
    X, y = data_of(150, 4, tail=3)
    y = spread * y
    model = LinearRegression("huber", tol=1e-6, fit_intercept=fit_intercept).fit(X, y)
    assert model.fit_report_["converged"]
    found = huber_objective(X, y, 1.0, model.coef_, model.intercept_)
    assert model.fit_report_["objective"] == pytest.approx(found, rel=1e-9)
    if spread <= 1e-3:
        columns = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
        residual = np.linalg.lstsq(columns, y, rcond=None)[0] @ columns.T - y
        assert found == pytest.approx(0.5 * np.mean(residual**2), rel=1e-6)
    elif spread >= 1e3:
        best = least_absolute_deviations(X, y, fit_intercept)
        assert best - 0.5 <= found <= best * (1 + 1e-5)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_diabetes_in_any_unit(scale):
    X, y = load_diabetes(return_X_y=True)
    model = LinearRegression("huber").fit(X, scale * y)
    assert model.fit_report_["converged"]
    best = scale * least_absolute_deviations(X, y)
    assert best - 0.5 <= model.fit_report_["objective"] <= best * (1 + 1e-4)


def test_each_target_is_fitted_as_alone():
    X, y = data_of(200, 3, tail=2)
    Y = np.column_stack([y, 100.0 * y[::-1], 1e4 * np.sin(y), np.full(200, 7.0)])
    together = LinearRegression("huber", tol=1e-8).fit(X, Y)
    for k, target in enumerate(Y.T):
        alone = LinearRegression("huber", tol=1e-8).fit(X, target)
        values = [
            huber_objective(X, target, 1.0, m, b)
            for m, b in ((together.coef_[k], together.intercept_[k]), (alone.coef_, alone.intercept_))
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("spread", [1.0, 1e4])
def test_weights_and_zeros_of_an_elastic_net(spread):
    """The subdifferential of the documented objective contains 0."""
    X, y = data_of(120, 6, tail=3, seed=1)
    y, s = spread * y, np.random.default_rng(2).uniform(0.0, 2.0, 120)
    alpha, l1_ratio = 0.2, 0.9
    model = LinearRegression("huber", alpha=alpha, l1_ratio=l1_ratio, tol=1e-8).fit(X, y, s)
    assert model.fit_report_["converged"]
    r = np.clip(X @ model.coef_ + model.intercept_ - y, -1.0, 1.0)
    gradient = (s * r) @ X / s.sum() + alpha * (1 - l1_ratio) * model.coef_
    l1, zero = alpha * l1_ratio, model.coef_ == 0.0
    assert np.abs(gradient + l1 * np.sign(model.coef_))[~zero].max(initial=0.0) < 1e-6
    assert np.abs(gradient)[zero].max(initial=0.0) <= l1 + 1e-6
    assert abs(s @ r / s.sum()) < 1e-6


@pytest.mark.parametrize("rows", [500, 3000])
def test_a_far_start_does_not_matter(rows):
    X, y = data_of(rows, 3, tail=2)
    y = 1e3 * y
    fits = [
        LinearRegression("huber", tol=1e-6).fit(X, y, coef_init=start, intercept_init=7e5)
        for start in (np.zeros(3), np.array([1e6, -1e6, 3.0]))
    ]
    best = LinearRegression("huber", tol=1e-6).fit(X, y)
    for model in fits:
        assert model.fit_report_["converged"]
        assert model.fit_report_["objective"] == pytest.approx(best.fit_report_["objective"], rel=1e-5)


@pytest.mark.parametrize("optimizer", ["gd", "momentum", "nesterov", "saga", "adam"])
def test_rules_do_not_report_unreached_convergence(optimizer):
    X, y = data_of(400, 3, tail=3)
    y = 1e4 * y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LinearRegression("huber", optimizer=optimizer, random_state=0).fit(X, y)
    report, best = model.fit_report_, least_absolute_deviations(X, y)
    start = huber_objective(X, y, 1.0, np.zeros(3), np.median(y))
    assert report["objective"] - best < 0.2 * (start - best)
    assert report["converged"] <= (report["certificate"] < 0.1)


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
@pytest.mark.parametrize("optimizer", ["auto", "lbfgs", "gd", "saga"])
def test_columns_whose_squares_overflow_end_in_an_error(optimizer, l1_ratio):
    X, y = data_of(17, 3, tail=3)
    X[:, 1] = 1e200
    model = LinearRegression(
        "huber", delta=0.1, optimizer=optimizer, fit_intercept=False, standardize=False, l1_ratio=l1_ratio
    )
    with pytest.raises(ValueError, match="largest in column 1: scale it down"):
        model.fit(X, 1e6 + y)


def test_steps_of_no_length_are_cut_too():
    """Without tol steps continue at the optimum, where rounding makes slopes 0 or positive."""
    for seed in (0, 3, 4, 5):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((17, 3)), rng.integers(0, 2, 17)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LogisticRegression(tol=0.0, alpha=1e-4, l1_ratio=1.0).fit(X, y)
        assert np.isfinite(model.coef_).all()
