"""`optimizer="auto"` ends at the optimum that independent methods find: scipy, closed forms, scikit-learn, duality."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import linear_model

from fastgd import LinearRegression, LogisticRegression
from fastgd.optimizers import SketchedNewton
from fastgd.reference import duality_gap, fit_scaling, make_problem, objective, working_problem, working_theta
from tests.covering import pairwise
from tests.estimators.fits import (
    LAYOUTS,
    certificate_of,
    closed_form,
    features,
    fit,
    problem_for,
    rounded,
    scipy_optimum,
    targets,
    theta_of,
    value_of,
)
from tests.reference.problems import KINDS

#: The certificate that each dtype reaches with room to spare.
TIGHT = {"f4": 2e-6, "f8": 1e-10}


@pytest.mark.parametrize("optimizer", ["auto", "lbfgs"])
@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_scipys_optimum(loss, outputs, dtype, order, optimizer):
    problem = problem_for(loss, outputs, dtype=dtype, alpha=1e-3)
    best = scipy_optimum(problem)
    optimum = objective(problem, best)
    default = fit(problem, dtype=dtype, order=order, optimizer=optimizer)
    report = default.fit_report_
    assert (report["stopped_by"], report["converged"]) == ("certificate", True)
    assert (report["solver"] == "LBFGS") == (optimizer == "lbfgs")
    assert value_of(problem, default) <= optimum * (1 + 1e-6)
    tight = fit(problem, dtype=dtype, order=order, optimizer=optimizer, tol=TIGHT[dtype])
    assert tight.fit_report_["stopped_by"] == "certificate"
    # Suboptimality is quadratic in the certificate, parameters are linear in it.
    assert value_of(problem, tight) <= optimum * (1 + (1e-13 if dtype == "f8" else 1e-9))
    np.testing.assert_allclose(theta_of(tight), best, rtol=0, atol=1e-7 if dtype == "f8" else 1e-3)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_certificate_and_objective_are_the_references(loss, outputs, intercept, standardize):
    """At a point that is far from the optimum: after a few passes of a slow solver."""
    problem = problem_for(loss, outputs, alpha=0.05, l1_ratio=0.3, fit_intercept=intercept)
    with pytest.warns(UserWarning, match="max_iter reached"):
        model = fit(problem, max_iter=3, standardize=standardize, optimizer="accelerated")
    report = model.fit_report_
    assert report["certificate"] == pytest.approx(certificate_of(problem, model), rel=1e-9)
    assert report["certificate"] > 1e-5
    assert report["objective"] == pytest.approx(value_of(problem, model), rel=1e-12)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_reported_end_of_a_fit_is_true(loss, outputs, l1_ratio):
    """Certificate and objective are the reference's where the fit stands, however near the optimum that is."""
    problem = problem_for(loss, outputs, alpha=0.05, l1_ratio=l1_ratio)
    for tol in (1e-1, 1e-3, 1e-6):
        model = fit(problem, tol=tol)
        report = model.fit_report_
        assert report["converged"]
        assert report["certificate"] <= tol
        assert report["certificate"] == pytest.approx(certificate_of(problem, model), rel=1e-6, abs=1e-12)
        assert report["objective"] == pytest.approx(value_of(problem, model), rel=1e-12)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_without_intercept(loss, outputs, standardize):
    problem = problem_for(loss, outputs, alpha=1e-2, fit_intercept=False)
    model = fit(problem, tol=1e-9, standardize=standardize, max_iter=20000)
    assert np.all(model.intercept_ == 0.0)
    np.testing.assert_allclose(theta_of(model), scipy_optimum(problem), rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 3.0])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("intercept", [True, False])
def test_weighted_least_squares_and_ridge_in_closed_form(intercept, outputs, alpha):
    problem = problem_for("squared", outputs, alpha=alpha, fit_intercept=intercept)
    np.testing.assert_allclose(theta_of(fit(problem, tol=1e-11)), closed_form(problem), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_elastic_net_by_certificate_and_duality(loss, outputs, l1_ratio):
    problem = problem_for(loss, outputs, n=100, d=8, alpha=0.02, l1_ratio=l1_ratio)
    model = fit(problem, tol=1e-8, max_iter=20000)
    assert certificate_of(problem, model) <= 1.0001e-8
    scaling = fit_scaling(problem)
    working = working_problem(problem, scaling)
    gap = duality_gap(working, working_theta(theta_of(model), scaling))
    # The gap of the lasso, whose dual point is scaled, is linear in the certificate, the other quadratic.
    assert 0.0 <= gap.bound + 1e-15 < (1e-5 if l1_ratio == 1.0 else 1e-10) * objective(working, gap.theta)


@pytest.mark.parametrize("optimizer", ["auto", "normal_equations"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_zeros_are_exact(dtype, optimizer):
    """The coordinates that a coordinate-descent lasso leaves at 0 are 0.0 here, too, and no others."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((300, 30)).astype(dtype)
    y = X[:, :5] @ np.array([3.0, -2.0, 1.0, 0.5, -0.5]) + rng.standard_normal(300)
    exact = linear_model.Lasso(alpha=0.1, tol=1e-12, max_iter=10**6).fit(X.astype(float), y)
    model = LinearRegression(alpha=0.1, l1_ratio=1.0, optimizer=optimizer).fit(X, y)
    assert 3 < np.count_nonzero(exact.coef_) < 15
    assert np.array_equal(model.coef_ == 0.0, exact.coef_ == 0.0)


def test_l1_that_silences_every_column():
    problem = problem_for("logistic", alpha=10.0, l1_ratio=1.0)
    model = fit(problem, tol=1e-12)
    assert np.all(model.coef_ == 0.0)
    share = problem.weight @ (problem.y[:, 0] > 0) / problem.weight.sum()
    assert model.intercept_[0] == pytest.approx(np.log(share / (1 - share)), rel=1e-9)


@pytest.mark.parametrize(("loss", "outputs"), [("logistic", 1), ("softmax", 3)])
def test_logistic_regression_of_scikit_learn(loss, outputs):
    problem = problem_for(loss, outputs, alpha=0.01)
    C = 1.0 / (0.01 * problem.weight.sum())
    theirs = linear_model.LogisticRegression(C=C, tol=1e-12, max_iter=10**4, solver="newton-cholesky")
    theirs.fit(features(problem), targets(problem), problem.weight)
    ours = fit(problem, tol=1e-10)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-8)
    probability = theirs.predict_proba(features(problem))
    np.testing.assert_allclose(ours.predict_proba(features(problem)), probability, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "outputs", "optimizer"),
    [("squared", 3, "auto"), ("squared", 3, "normal_equations"), ("huber", 2, "auto")],
)
def test_several_targets_are_separate_fits(loss, outputs, optimizer):
    problem = problem_for(loss, outputs, alpha=0.05, l1_ratio=0.5)
    together = fit(problem, tol=1e-10, max_iter=20000, optimizer=optimizer)
    assert together.coef_.shape == (outputs, 4)
    for k in range(outputs):
        options = {"alpha": 0.05, "l1_ratio": 0.5, "tol": 1e-10, "max_iter": 20000, "optimizer": optimizer}
        delta = problem.delta if loss == "huber" else None
        alone = LinearRegression(loss, delta=delta, **options).fit(problem.x, problem.y[:, k], problem.weight)
        assert alone.coef_.shape == (4,)
        np.testing.assert_allclose(together.coef_[k], alone.coef_, rtol=1e-7, atol=1e-9)
        assert together.intercept_[k] == pytest.approx(alone.intercept_, rel=1e-7)


def test_softmax_of_two_classes_is_one_sigmoid_row():
    """Two softmax rows w/2 and -w/2 have the margin w and, at twice alpha, the penalty of one sigmoid row w."""
    problem = problem_for("logistic", alpha=0.05)
    model = fit(problem, tol=1e-10)
    assert model.coef_.shape == (1, 4)
    assert model.intercept_.shape == (1,)
    classes = (problem.y[:, 0] > 0).astype(int)
    rows = scipy_optimum(make_problem(problem.x, classes, "softmax", alpha=0.1, sample_weight=problem.weight))
    np.testing.assert_allclose(theta_of(model)[0], rows[1] - rows[0], rtol=1e-6)


def conditioned(loss, outputs, condition, **options):
    """Columns whose covariance has this condition number, spread evenly over its logarithm."""
    problem = problem_for(loss, outputs, n=400, d=8, **options)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((400, 8)) * np.sqrt(np.geomspace(1.0, condition, 8))
    turned = x @ np.linalg.qr(rng.standard_normal((8, 8)))[0].T
    return replace(problem, x=turned / np.sqrt(condition))


def badly_scaled(loss, outputs, **options):
    problem = problem_for(loss, outputs, n=400, d=7, **options)
    return replace(problem, x=problem.x * np.geomspace(1e-3, 1e3, 7))


HARD = {
    "condition 1e6": lambda loss, outputs, **options: conditioned(loss, outputs, 1e6, **options),
    "scales 1e-3 to 1e3": badly_scaled,
}


@pytest.mark.parametrize(
    ("hard", "loss", "outputs", "alpha", "dtype"),
    pairwise(
        (hard, *kind, alpha, dtype)
        for hard in HARD
        for kind in [*KINDS, ("softmax", 10)]
        for alpha in (0.0, 1e-6, 1e-2)
        for dtype in ("f4", "f8")
    ),
)
def test_hard_columns_take_no_more_of_the_user(hard, loss, outputs, alpha, dtype):
    """With defaults: a millionth of the optimum by scipy, whatever the condition and the units of columns.

    Ten classes of 40 rows each have flatter directions, of which the certificate sees less.
    """
    problem = rounded(HARD[hard](loss, outputs, alpha=alpha), dtype)
    model = fit(problem, dtype=dtype, tol=1e-4 if outputs < 10 else 1e-5)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert value_of(problem, model) <= objective(problem, scipy_optimum(problem)) * (1.0 + 1e-6)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize(("loss", "outputs"), [*KINDS, ("softmax", 10)])
@pytest.mark.parametrize("hard", HARD)
def test_elastic_nets_of_hard_columns(hard, loss, outputs, l1_ratio):
    """By the reference's certificate, and against another solver's last digits: in raw units the gap says little."""
    problem = HARD[hard](loss, outputs, alpha=0.01, l1_ratio=l1_ratio)
    model = fit(problem, tol=1e-6)
    assert certificate_of(problem, model) <= 1.0001e-6
    assert 0 < np.count_nonzero(model.coef_) < model.coef_.size
    exact = fit(problem, optimizer="accelerated", tol=1e-8, max_iter=20000)
    assert value_of(problem, model) <= value_of(problem, exact) * (1.0 + 1e-6)


@pytest.mark.parametrize(("outputs", "alpha"), [(3, 0.0), (10, 0.0), (3, 0.1)])
def test_the_coefficients_of_classes_sum_to_zero(outputs, alpha):
    problem = problem_for("softmax", outputs, n=600, alpha=alpha)
    # Newton's method with the whole Hessian, its gradients in 80 bits, ends at the same point from either: what differs
    # is what our tol leaves, at 1e-9 up to 2e-6 of coefficients of 40; scipy's are exact to 4e-14.
    model = fit(problem, tol=1e-10)
    np.testing.assert_allclose(model.coef_.sum(axis=0), 0.0, atol=1e-12)
    assert model.intercept_.sum() == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(theta_of(model), scipy_optimum(problem), rtol=0, atol=1e-6)


def with_a_rare_class(seed, n, d, classes, rare, signal=0.0):
    """Columns, perhaps correlated, and classes of which the last has so many rows."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    if seed % 2:
        X = X @ rng.standard_normal((d, d))
    shares = rng.gumbel(size=(n, classes - 1)) + signal * X @ rng.standard_normal((d, classes - 1))
    y = np.argmax(shares, axis=1)
    y[:rare] = classes - 1
    return X, y


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("signal", [0.0, 5.0])
@pytest.mark.parametrize(
    ("n", "d", "classes", "rare"), [(60, 3, 3, 1), (60, 3, 3, 2), (60, 3, 4, 1), (300, 10, 5, 1), (100, 5, 3, 1)]
)
def test_rare_classes_take_few_passes(n, d, classes, rare, signal, seed, dtype):
    """What is rare is flat: a metric that takes all classes for the same needs hundreds of passes."""
    X, y = with_a_rare_class(seed, n, d, classes, rare, signal)
    model = LogisticRegression(optimizer="sketched_newton").fit(X.astype(dtype), y)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert model.n_iter_ <= 60


@pytest.mark.parametrize("sample_rows", [None, 300])
def test_rare_classes_reach_scipys_optimum(sample_rows):
    problem = problem_for("softmax", 3, n=1500, alpha=1e-3)
    problem.y[problem.y == 2] = 0
    problem.y[[5, 700]] = 2
    optimizer = "auto" if sample_rows is None else SketchedNewton(sample_rows)
    model = fit(problem, optimizer=optimizer, tol=1e-8)
    assert certificate_of(problem, model) <= 1.001e-8
    assert value_of(problem, model) <= objective(problem, scipy_optimum(problem)) * (1.0 + 1e-10)
    assert model.n_iter_ <= 80
