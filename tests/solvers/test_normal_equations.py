"""The squared loss by normal equations: closed forms, scikit-learn, and the reference's certificate."""

from contextlib import nullcontext

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

from fastgd import LinearRegression, LogisticRegression
from fastgd.exceptions import RankWarning
from fastgd.memory import available_bytes
from tests.estimators.fits import (
    LAYOUTS,
    certificate_of,
    closed_form,
    features,
    fit,
    problem_for,
    scipy_optimum,
    targets,
    theta_of,
    value_of,
)

SOLVER = {"optimizer": "normal_equations"}


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("outputs", [1, 3])
def test_closed_form(outputs, alpha, intercept, standardize, dtype, order):
    problem = problem_for("squared", outputs, dtype=dtype, alpha=alpha, fit_intercept=intercept)
    model = fit(problem, dtype=dtype, order=order, standardize=standardize, **SOLVER)
    exact = closed_form(problem)
    # Targets in working units are rounded to the dtype of X.
    tolerance = 1e-10 if dtype == "f8" else 2e-6
    np.testing.assert_allclose(theta_of(model), exact, rtol=tolerance, atol=tolerance * np.abs(exact).max())
    report = model.fit_report_
    assert report["solver"] == "NormalEquations"
    assert report["stopped_by"] == "certificate"
    assert report["converged"]
    assert model.n_iter_ == len(model.history_["loss"]) == 1
    assert report["certificate"] == pytest.approx(certificate_of(problem, model), abs=1e-12 if dtype == "f8" else 1e-6)
    assert report["objective"] == pytest.approx(value_of(problem, model), rel=1e-12 if dtype == "f8" else 1e-5)


@pytest.mark.parametrize("optimizer", ["normal_equations", "auto"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_elastic_net_of_scikit_learn(l1_ratio, intercept, standardize, optimizer):
    problem = problem_for("squared", alpha=0.05, l1_ratio=l1_ratio, fit_intercept=intercept)
    theirs = linear_model.ElasticNet(alpha=0.05, l1_ratio=l1_ratio, fit_intercept=intercept, tol=1e-14, max_iter=10**6)
    theirs.fit(features(problem), targets(problem), problem.weight)
    ours = fit(problem, standardize=standardize, optimizer=optimizer, tol=1e-11, max_iter=20000)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8, atol=1e-11)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, rel=1e-8)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("noise", [0.1, 0.001])
def test_elastic_nets_of_almost_dependent_columns_meet_the_optimality_conditions(noise, l1_ratio):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 10)) @ rng.standard_normal((10, 100)) + noise * rng.standard_normal((2000, 100))
    y, alpha = X @ rng.standard_normal(100) + rng.standard_normal(2000), 1e-3
    model = LinearRegression(alpha=alpha, l1_ratio=l1_ratio, optimizer="normal_equations").fit(X, y)
    coef = model.coef_
    slope = X.T @ (X @ coef + model.intercept_ - y) / len(X) + alpha * (1.0 - l1_ratio) * coef
    bound = alpha * l1_ratio
    violation = np.where(coef == 0.0, np.maximum(np.abs(slope) - bound, 0.0), np.abs(slope + bound * np.sign(coef)))
    assert violation.max() <= 1e-9
    assert model.fit_report_["converged"]
    assert model.fit_report_["duality_gap"] <= 1e-8


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_columns_in_units_of_all_sizes(l1_ratio):
    """Some columns are so small that L2 is steeper than the loss."""
    problem = problem_for("squared", alpha=0.05, l1_ratio=l1_ratio, d=6)
    problem.x[:] *= 10.0 ** np.array([-9.0, -4.0, 0.0, 2.0, 5.0, 8.0])
    model = fit(problem, tol=1e-10, **SOLVER)
    assert model.fit_report_["converged"]
    assert certificate_of(problem, model) <= 1e-10


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_bits_do_not_depend_on_threads(dtype, order):
    problem = problem_for("squared", 2, dtype=dtype, n=30_000, d=20)
    fits = [fit(problem, dtype=dtype, order=order, n_threads=n, **SOLVER) for n in (1, 2, 3)]
    for model in fits[1:]:
        np.testing.assert_array_equal(theta_of(model), theta_of(fits[0]))


def test_tolerance_below_rounding_ends():
    problem = problem_for("squared")
    for tol in (1e-15, 0.0):
        model = fit(problem, tol=tol, **SOLVER)
        assert model.n_iter_ < 10
        np.testing.assert_allclose(theta_of(model), scipy_optimum(problem), rtol=1e-9)


def test_warm_start_and_early_stopping():
    problem = problem_for("squared", alpha=0.1, l1_ratio=0.5)
    model = fit(problem, warm_start=True, **SOLVER)
    first = theta_of(model)
    model.fit(features(problem), targets(problem), problem.weight)
    np.testing.assert_allclose(theta_of(model), first, rtol=1e-9, atol=1e-12)
    stopped = fit(problem, early_stopping=True, random_state=0, **SOLVER)
    assert stopped.fit_report_["stopped_by"] == "early stopping"
    assert np.all(np.isfinite(stopped.history_["validation_loss"]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_named(bad):
    X = np.random.default_rng(5).standard_normal((50_000, 3))
    X[777, 1] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        LinearRegression(**SOLVER).fit(X, X[:, 0])


@pytest.mark.parametrize("model", [LinearRegression("huber", **SOLVER), LogisticRegression(**SOLVER)])
def test_other_losses_are_refused(model):
    with pytest.raises(ValueError, match="optimizer='normal_equations' solves for a squared loss"):
        model.fit([[0.0], [1.0], [2.0]], [0, 1, 1])


@pytest.mark.parametrize(("tol", "certified"), [(1e-8, True), (1e-10, True), (1e-18, False)])
def test_loss_at_rounding_is_certified_in_higher_precision(tol, certified):
    """A pass in float32 gives a certificate of 3e-8; a smaller tol warns."""
    X = np.random.default_rng(0).standard_normal((2000, 5)).astype(np.float32)
    y = X.astype(float) @ np.arange(1.0, 6.0)
    with nullcontext() if certified else pytest.warns(ConvergenceWarning, match="no step"):
        report = LinearRegression(tol=tol, **SOLVER).fit(X, y).fit_report_
    assert (report["certificate"] <= tol) == report["converged"] == certified
    assert report["stopped_by"] == ("certificate" if certified else "no step")


def test_matrices_that_do_not_fit_in_memory_are_refused(monkeypatch):
    X, y = np.random.default_rng(0).standard_normal((5, 3)), np.arange(5.0)
    monkeypatch.setattr("fastgd._fit.available_bytes", lambda: 100)
    with pytest.raises(MemoryError, match=r"matrices of 3 columns, and 1e-07 GB are available: use optimizer='auto'"):
        LinearRegression(**SOLVER).fit(X, y)
    monkeypatch.setattr("fastgd._fit._LARGE_BYTES", 100)
    monkeypatch.setattr("fastgd._fit.available_bytes", lambda: None)
    with pytest.warns(UserWarning, match="GB for matrices of 3 columns"):
        LinearRegression(**SOLVER).fit(X, y)


def test_memory_of_the_machine_is_known_where_linux_reports_it(monkeypatch, tmp_path):
    found = available_bytes()
    assert found is None or 1 << 20 < found < 1 << 50
    for name in ("_SYSTEM", "_LIMIT", "_USED"):
        monkeypatch.setattr(f"fastgd.memory.{name}", str(tmp_path / "none"))
    assert available_bytes() is None


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("intercept", [True, False])
def test_combinations_of_columns_leave_the_least_norm_after_the_gram_matrix(intercept, dtype):
    """By numpy.linalg.lstsq: targets, weights, units of all sizes, a constant column; without an orthogonal factor."""
    rng = np.random.default_rng(0)
    X = rng.integers(-8, 9, (20_000, 7)) * 2.0 ** np.array([-9, 3, 0, 5, 0, 0, 0])
    X[:, 4], X[:, 5], X[:, 6] = X[:, 0] + 2.0 * X[:, 1], X[:, 3] - X[:, 2], 4.0
    s, Y = rng.integers(0, 3, len(X)).astype(float), rng.standard_normal((len(X), 2))
    X[s == 0.0, 4] = 77.0
    with pytest.warns(RankWarning, match="the one of least norm"):
        model = LinearRegression(fit_intercept=intercept, **SOLVER).fit(X.astype(dtype), Y.astype(dtype), s)
    exact = Y.astype(dtype).astype(float)
    if intercept:
        rows, exact = (a - np.average(a, axis=0, weights=s) for a in (X, exact))
    else:
        rows = X
    root = np.sqrt(s)[:, None]
    theirs = np.linalg.lstsq(rows * root, exact * root, rcond=1e-10)[0].T
    tolerance = 1e-10 if dtype == "f8" else 1e-5
    np.testing.assert_allclose(model.coef_, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())
    report = model.fit_report_
    assert len(report["collinear"]) == (3 if intercept else 2)
    assert (6 in report["collinear"]) == intercept
    assert report["converged"]
    assert report["passes"] <= 3


@pytest.mark.parametrize("distance", [1e-4, 1e-7, 1e-9, 1e-10])
def test_a_column_close_to_a_combination_of_others_keeps_its_coefficient(distance):
    """Its square is lost in the Gram matrix, which alone would make it a combination."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((50_000, 4))
    X[:, 3] = X[:, 0] + X[:, 1] + distance * X[:, 3]
    y = X @ np.array([3.0, 2.0, 1.0, -1.0])
    model = LinearRegression(**SOLVER).fit(X, y)
    # The rounding of y, relative to what only the last column explains.
    np.testing.assert_allclose(model.coef_, [3.0, 2.0, 1.0, -1.0], rtol=0, atol=1e-14 / distance)
    assert model.fit_report_["collinear"] == []
