"""Line searches: every accepted step is checked by the reference, and so is where they end."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastgd import LinearRegression, reference, schedules
from fastgd.optimizers import GradientDescent
from tests.estimators.fits import (
    Recorder,
    certificate_of,
    features,
    fit,
    model_for,
    problem_for,
    refused,
    scipy_optimum,
    targets,
    theta_of,
)
from tests.objective_of import working
from tests.reference.problems import KINDS

SEARCHES = ["backtracking", "exact"]


def searched(problem, search, rate="auto", *, dtype="f8", order="C", **parameters):
    """A fit, and where each of its steps began, in the reference's working coordinates."""
    recorder = Recorder()
    model = model_for(
        problem, optimizer=GradientDescent(rate, line_search=search), **{"max_iter": 15, "tol": 0.0, **parameters}
    )
    data = features(problem, dtype, order), targets(problem), problem.weight
    start = theta_of(clone(model).set_params(max_iter=0, tol=0.0).fit(*data))
    model.fit(*data, callbacks=recorder)
    its, scaling = working(problem, model.standardize)
    thetas = [reference.working_theta(theta, scaling) for theta in (start, *recorder.thetas[:-1])]
    return model, its, thetas


def step(its, theta, rate):
    """A proximal gradient step, in the reference's words."""
    moved = theta - rate * reference.smooth_gradient(its, theta)
    return reference.prox(moved, rate, reference.l1_thresholds(its))


def armijo(its, theta, rate):
    """F after a step above what Armijo's condition asks for, relative to F; at most 0 where it holds."""
    moved = step(its, theta, rate)
    before, after = reference.objective(its, theta), reference.objective(its, moved)
    return (after - before + 1e-4 / rate * np.sum((moved - theta) ** 2)) / before


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("rate", ["auto", 0.3])
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_no_step_raises_the_loss(loss, outputs, search, rate, standardize):
    problem = problem_for(loss, outputs, alpha=0.05, l1_ratio=0.0 if search == "exact" else 0.5)
    model, its, thetas = searched(problem, search, rate, standardize=standardize)
    values = [reference.objective(its, theta) for theta in thetas]
    assert np.all(np.diff(values) <= 1e-15 * values[0])
    assert values[-1] < values[0]
    assert np.all(np.diff(model.history_["loss"]) <= 1e-15 * model.history_["loss"][0])


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rate", ["auto", 20.0])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_backtracking_takes_the_first_half_that_armijo_allows(loss, outputs, rate, l1_ratio):
    problem = problem_for(loss, outputs, alpha=0.05, l1_ratio=l1_ratio)
    model, its, thetas = searched(problem, "backtracking", rate)
    rates = model.history_["learning_rate"]
    rounding, halved = 1e-13, 0
    for k in range(len(thetas) - 1):
        np.testing.assert_allclose(thetas[k + 1], step(its, thetas[k], rates[k]), rtol=1e-9, atol=1e-12)
        assert armijo(its, thetas[k], rates[k]) <= rounding
        first = 20.0 if rate == 20.0 else 2.0 * rates[k - 1] if k else rates[0]
        assert np.log2(first / rates[k]) == pytest.approx(round(np.log2(first / rates[k])), abs=1e-12)
        if rates[k] < first:
            halved += 1
            assert armijo(its, thetas[k], 2.0 * rates[k]) >= -rounding
    assert halved > 0
    if rate == "auto":
        # The bound on L is at most 1.3 times too large, see test_objective.
        exact = 1.0 / reference.largest_curvature(its)
        assert exact / 1.31 <= rates[0] <= exact


@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("rate", ["auto", 1e-3, 50.0])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_an_exact_search_ends_where_the_slope_is_0(loss, outputs, rate, alpha):
    """|phi'(t)| <= 1e-6 |phi'(0)| along -g, whatever the first guess."""
    problem = problem_for(loss, outputs, alpha=alpha)
    model, its, thetas = searched(problem, "exact", rate, max_iter=6)
    for theta, moved, t in zip(thetas, thetas[1:], model.history_["learning_rate"], strict=False):
        g = reference.smooth_gradient(its, theta)
        np.testing.assert_allclose(moved, theta - t * g, rtol=1e-9, atol=1e-12)
        slope = np.sum(g * reference.smooth_gradient(its, theta - t * g))
        # The slope is a sum of products of about |g| |x~|, each rounded.
        assert abs(slope) <= 1.0001e-6 * np.sum(g * g) + 1e-13 * np.abs(g).sum()
    assert len(thetas) == 6


@pytest.mark.parametrize(("dtype", "order"), [("f8", "F"), ("f4", "C"), ("f4", "F")])
def test_an_exact_search_in_other_layouts(dtype, order):
    problem = problem_for("logistic", dtype=dtype, alpha=0.1)
    model, its, thetas = searched(problem, "exact", dtype=dtype, order=order, max_iter=3)
    for theta, t in zip(thetas, model.history_["learning_rate"], strict=True):
        g = reference.smooth_gradient(its, theta)
        slope = np.sum(g * reference.smooth_gradient(its, theta - t * g))
        # Margins along the line are rounded to float32, which moves derivatives by as much.
        assert abs(slope) <= (1e-6 if dtype == "f8" else 1e-5) * np.sum(g * g)


def test_an_exact_search_on_a_parabola_in_closed_form():
    """t = g.g / g.Hg."""
    problem = problem_for("squared", alpha=0.1)
    model, its, thetas = searched(problem, "exact", max_iter=5)
    h = reference.hessian(its, thetas[0])
    for theta, t in zip(thetas, model.history_["learning_rate"], strict=True):
        g = reference.smooth_gradient(its, theta).ravel()
        assert t == pytest.approx(g @ g / (g @ h @ g), rel=2e-6)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_they_reach_the_optimum(loss, outputs, search, l1_ratio):
    if search == "exact" and l1_ratio:
        return
    problem = problem_for(loss, outputs, n=100, alpha=0.02, l1_ratio=l1_ratio)
    model, _, _ = searched(problem, search, tol=1e-7, max_iter=3000)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert certificate_of(problem, model) <= 1.0001e-7
    if l1_ratio == 0.0:
        np.testing.assert_allclose(theta_of(model), scipy_optimum(problem), rtol=0, atol=2e-5)
        return
    best = fit(problem, tol=1e-9, max_iter=20000)
    assert certificate_of(problem, best) <= 1.0001e-9
    np.testing.assert_allclose(model.coef_, best.coef_, rtol=0, atol=2e-5)
    assert np.array_equal(model.coef_ == 0.0, best.coef_ == 0.0)


@pytest.mark.parametrize("search", SEARCHES)
def test_line_search_without_a_step_ends_the_fit_with_a_warning(search):
    """The float32 loss is flat long before such a certificate."""
    problem = problem_for("logistic", dtype="f4", alpha=0.1)
    with pytest.warns(ConvergenceWarning, match=r"no step lowers .* float32; increase tol, or give X in float64, or"):
        model, _, _ = searched(problem, search, dtype="f4", tol=1e-12, max_iter=1000)
    report = model.fit_report_
    assert report["stopped_by"] == "no step"
    assert not report["converged"]
    assert report["certificate"] < 1e-3
    assert model.n_iter_ < 1000
    assert model.history_["learning_rate"][-1] == 0.0
    assert len(report["warnings"]) == 1
    quiet, _, _ = searched(problem, search, dtype="f4", tol=0.0, max_iter=1000)
    assert quiet.fit_report_["stopped_by"] == "no step"


@pytest.mark.parametrize("search", SEARCHES)
def test_at_the_optimum_there_is_no_step(search):
    X = np.random.default_rng(0).standard_normal((50, 2))
    for y in (np.zeros(50), np.full(50, 3.0)):
        model = LinearRegression(optimizer=GradientDescent(line_search=search), tol=0.0, alpha=0.1).fit(X, y)
        assert model.fit_report_["stopped_by"] in ("no step", "max_iter")
        np.testing.assert_allclose(model.coef_, 0.0, atol=1e-12)


REFUSED = [
    ({"optimizer": GradientDescent(line_search="exact"), "alpha": 0.1, "l1_ratio": 0.5}, "smooth objective"),
    *(
        ({"optimizer": GradientDescent(line_search=search), "batch_size": 32}, f"line_search='{search}' uses all rows")
        for search in SEARCHES
    ),
    ({"optimizer": GradientDescent(line_search="exact"), "shuffle": False}, "shuffle=False has no effect"),
    ({"optimizer": GradientDescent(line_search="wolfe")}, "line_search of GradientDescent must be"),
    ({"optimizer": GradientDescent(line_search="exact", average=True)}, "average of GradientDescent must be False"),
    ({"optimizer": GradientDescent(lambda *_: 0.1, line_search="exact")}, "learning_rate of GradientDescent must be"),
    (
        {"optimizer": GradientDescent(schedules.StepDecay(0.1), line_search="backtracking")},
        "learning_rate of GradientDescent must be 'auto' or a number",
    ),
]


@pytest.mark.parametrize(("parameters", "message"), REFUSED, ids=range(len(REFUSED)))
def test_line_search_refuses_unsupported_parameters(parameters, message):
    refused(message, LinearRegression(**parameters).fit, np.ones((5, 2)), np.arange(5.0))


def test_an_l1_ratio_without_penalty_is_no_l1():
    problem = problem_for("squared")
    model = LinearRegression(optimizer=GradientDescent(line_search="exact"), l1_ratio=0.5, max_iter=2, tol=0.0)
    assert model.fit(problem.x, targets(problem)).n_iter_ == 2
