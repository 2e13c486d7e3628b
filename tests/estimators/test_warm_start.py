"""Where fits start: at given coefficients, or where the last fit ended."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastgd
from fastgd import LinearRegression, LogisticRegression, reference, schedules
from fastgd.optimizers import SAGA, Adam, GradientDescent, Momentum, SketchedNewton
from tests.estimators.fits import certificate_of, fit, model_for, problem_for, refused, targets, theta_of, value_of
from tests.objective_of import working
from tests.reference.problems import KINDS, random_theta
from tests.solvers.steps import HYPER, RULES

#: Ways over the full batch.
FULL = {
    "sketched newton": {"optimizer": "sketched_newton"},
    "accelerated": {"optimizer": "accelerated"},
    "gd": {"optimizer": "gd", "batch_size": "full"},
    "adam": {"optimizer": "adam", "batch_size": "full"},
    "backtracking": {"optimizer": GradientDescent(line_search="backtracking")},
    "exact": {"optimizer": GradientDescent(line_search="exact")},
}
#: Rules without memory, which go on as if they had never stopped.
FORGETFUL = ["gd", "backtracking", "exact"]


def start_of(problem):
    """Raw coefficients and intercepts as a user gives them."""
    theta = random_theta(problem)
    return theta, {"coef_init": theta[:, :-1], "intercept_init": theta[:, -1]}


@pytest.mark.parametrize("way", FORGETFUL)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_three_epochs_and_three_more_are_six(loss, outputs, way):
    problem = problem_for(loss, outputs, alpha=0.05, l1_ratio=0.0 if way == "exact" else 0.5)
    options = {"tol": 0.0, **FULL[way]}
    if way == "backtracking":
        # Of its own it tries twice the last step first.
        options["optimizer"] = GradientDescent(1.0, line_search="backtracking")
    whole = fit(problem, max_iter=6, **options)
    model = model_for(problem, max_iter=3, warm_start=True, **options)
    losses = []
    for _ in range(2):
        model.fit(problem.x, targets(problem), problem.weight)
        losses.extend(model.history_["loss"])
    # An exact search ends a little elsewhere where its first guess differs: at a slope of 1e-6 of the first.
    tolerance = 1e-6 if way == "exact" else 1e-11
    np.testing.assert_allclose(theta_of(model), theta_of(whole), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(losses, whole.history_["loss"], rtol=1e-11)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("loss", "outputs"), [("squared", 3), ("logistic", 1), ("softmax", 3)])
def test_rules_start_at_the_given_coefficients(loss, outputs, rule):
    """Two epochs by the reference from there; the rule's memory is empty."""
    problem = problem_for(loss, outputs, n=60, alpha=0.05, l1_ratio=0.5)
    theta, start = start_of(problem)
    options = {"optimizer": RULES[rule](0.01, **HYPER[rule]), "batch_size": 8, "max_iter": 2, "tol": 0.0}
    model = model_for(problem, random_state=7, **options)
    model.fit(problem.x, targets(problem), problem.weight, **start)
    its, scaling = working(problem)
    seed = np.random.RandomState(7).randint(2**31 - 1)
    plan = reference.Plan(rule, 0.01, 2, 8, hyper=HYPER[rule], seed=seed)
    run = reference.run(its, reference.working_theta(theta, scaling), plan)
    expected = reference.raw_theta(run.reported, scaling)
    assert np.abs(theta_of(model) - expected).max() <= 1e-11 * np.abs(expected).max()


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("way", FULL)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_full_batch_starts_at_the_given_coefficients(loss, outputs, way, standardize):
    problem = problem_for(loss, outputs, alpha=0.05)
    theta, start = start_of(problem)
    model = model_for(problem, standardize=standardize, tol=0.0, max_iter=1, **FULL[way])
    model.fit(problem.x, targets(problem), problem.weight, **start)
    before = reference.objective(problem, theta)
    assert model.history_["loss"] == pytest.approx([before], rel=1e-12)
    assert model.n_iter_ == 1
    # One epoch is a step, also of solvers whose first one is too long.
    assert np.abs(theta_of(model) - theta).max() > 1e-3
    assert value_of(problem, model) < before


@pytest.mark.parametrize("optimizer", ["auto", "accelerated", "lbfgs", "sketched_newton"])
def test_fits_of_one_epoch_reach_the_optimum(optimizer):
    problem = problem_for("logistic", alpha=0.05)
    model = model_for(problem, optimizer=optimizer, max_iter=1, warm_start=True, tol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(200):
            if model.fit(problem.x, targets(problem), problem.weight).fit_report_["converged"]:
                break
    assert certificate_of(problem, model) <= 1.0001e-6


@pytest.mark.parametrize("way", ["auto", "lbfgs", *FULL])
def test_no_epochs_return_the_start(way):
    problem = problem_for("logistic", alpha=0.05)
    theta, start = start_of(problem)
    model = model_for(problem, max_iter=0, tol=0.0, **FULL.get(way, {"optimizer": way}))
    model.fit(problem.x, targets(problem), problem.weight, **start)
    np.testing.assert_allclose(theta_of(model), theta, rtol=1e-12, atol=1e-13)
    assert (model.n_iter_, model.fit_report_["stopped_by"]) == (0, "max_iter")
    assert model.history_["loss"].size == 0
    assert model.fit_report_["objective"] == pytest.approx(reference.objective(problem, theta), rel=1e-12)


def test_no_epochs_from_the_usual_start():
    """The constant model of a regression; margins of 0 of a classifier; both warn that this is no optimum."""
    problem = problem_for("squared")
    with pytest.warns(ConvergenceWarning, match="max_iter reached after 0 epochs"):
        model = LinearRegression(max_iter=0, optimizer="adam").fit(problem.x, targets(problem))
    assert not model.coef_.any()
    assert model.intercept_ == pytest.approx(targets(problem).mean())
    rated = Adam(schedules.OneCycle(0.1))
    with pytest.warns(ConvergenceWarning, match="max_iter reached after 0 epochs"):
        model = LinearRegression(max_iter=0, optimizer=rated).fit(problem.x, targets(problem))
    assert not model.coef_.any()
    with pytest.warns(ConvergenceWarning, match="max_iter reached after 0 epochs"):
        model = LogisticRegression(max_iter=0).fit(problem.x, targets(problem) > 0)
    assert not theta_of(model).any()


@pytest.mark.parametrize("way", ["auto", "lbfgs", *FULL])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_at_the_optimum_a_fit_stays(loss, outputs, way):
    problem = problem_for(loss, outputs, alpha=0.05)
    best = fit(problem, tol=1e-10, max_iter=20000)
    start = {"coef_init": best.coef_, "intercept_init": best.intercept_}
    options = FULL.get(way, {"optimizer": way})
    model = model_for(problem, tol=1e-9, **options).fit(problem.x, targets(problem), problem.weight, **start)
    assert model.n_iter_ == 1
    assert model.fit_report_["stopped_by"] == "certificate"
    assert certificate_of(problem, model) <= 1.0001e-9
    np.testing.assert_allclose(theta_of(model), theta_of(best), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["coef_init", "intercept_init"])
def test_missing_part_of_a_start_is_0(name):
    problem = problem_for("softmax", 3, alpha=0.05)
    theta, start = start_of(problem)
    model = model_for(problem, tol=0.0, max_iter=0, optimizer="accelerated")
    model.fit(problem.x, problem.y, problem.weight, **{name: start[name]})
    theta[:, -1 if name == "coef_init" else slice(-1)] = 0.0
    np.testing.assert_allclose(theta_of(model), theta, rtol=1e-12, atol=1e-13)


def test_given_start_takes_precedence_over_the_last_fit():
    problem = problem_for("squared", 3, alpha=0.05)
    theta, start = start_of(problem)
    model = fit(problem, warm_start=True)
    theta[:, -1] = model.intercept_
    model.set_params(optimizer="accelerated", max_iter=0, tol=0.0)
    model.fit(problem.x, problem.y, coef_init=start["coef_init"])
    np.testing.assert_allclose(theta_of(model), theta, rtol=1e-12)


def test_one_output_may_be_given_without_its_axis():
    problem = problem_for("logistic", alpha=0.05)
    ends = []
    for coef, intercept in (([1, 2, 3, 4], 5), ([[1.0, 2, 3, 4]], [5.0]), (np.float32([1, 2, 3, 4]), np.array(5))):
        model = model_for(problem, tol=0.0, max_iter=0, optimizer="accelerated")
        model.fit(problem.x, targets(problem), coef_init=coef, intercept_init=intercept)
        ends.append(theta_of(model))
    np.testing.assert_allclose(ends, [[[1.0, 2.0, 3.0, 4.0, 5.0]]] * 3, rtol=1e-12)


@pytest.mark.parametrize(("optimizer", "saved"), [("accelerated", 10), ("lbfgs", 5), ("sketched_newton", 5)])
def test_warm_starts_along_a_path_of_penalties_are_shorter_and_end_at_the_same_optimum(optimizer, saved):
    problem = problem_for("logistic", n=400, d=12)
    options = {"optimizer": optimizer, "tol": 1e-6, "max_iter": 20000}
    warm, passes = LogisticRegression(warm_start=True, **options), 0
    for alpha in (0.1, 0.0999, 0.0998, 0.0997):
        warm.set_params(alpha=alpha).fit(problem.x, targets(problem))
        cold = LogisticRegression(alpha=alpha, **options).fit(problem.x, targets(problem))
        np.testing.assert_allclose(warm.coef_, cold.coef_, atol=1e-4)
        passes += cold.n_iter_ - warm.n_iter_
    assert passes > saved


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize(("loss", "outputs"), [("logistic", 1), ("softmax", 3)])
def test_a_start_near_the_optimum_is_where_a_fit_from_a_sample_begins(loss, outputs, l1_ratio):
    """At the optimum of all rows there is nothing to do; from near it one pass leaves less than there was."""
    problem = problem_for(loss, outputs, n=20_000, d=8, sample_weight=None, alpha=1e-3, l1_ratio=l1_ratio)
    options = {"optimizer": SketchedNewton(800), "tol": 1e-6, "max_iter": 200}
    best = fit(problem, **options)
    assert best.n_iter_ > 2
    start = {"coef_init": best.coef_, "intercept_init": best.intercept_}
    again = model_for(problem, **options).fit(problem.x, targets(problem), **start)
    assert again.n_iter_ == 1
    assert again.fit_report_["stopped_by"] == "certificate"
    start["coef_init"] = best.coef_ * (1.0 + 1e-4)
    near = reference.objective(problem, np.column_stack([start["coef_init"], best.intercept_]))
    last = model_for(problem, **{**options, "max_iter": 2, "tol": 1e-9})
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        last.fit(problem.x, targets(problem), **start)
    optimum = value_of(problem, fit(problem, **{**options, "tol": 1e-9}))
    assert value_of(problem, last) - optimum < 0.2 * (near - optimum)


def test_fit_continues_from_the_better_of_start_and_sample_optimum():
    """One iteration never leaves more than the start had; from far away the sample's optimum is taken."""
    problem = problem_for("logistic", n=20_000, d=8, sample_weight=None, alpha=1e-3)
    best = fit(problem, optimizer=SketchedNewton(800), tol=1e-6)
    for factor in (1.001, 30.0):
        start = np.column_stack([factor * best.coef_, best.intercept_])
        losses = []
        for max_iter in (1, 2):
            model = model_for(problem, optimizer=SketchedNewton(800), tol=1e-9, max_iter=max_iter)
            with pytest.warns(ConvergenceWarning, match="max_iter"):
                model.fit(problem.x, targets(problem), coef_init=start[:, :-1], intercept_init=start[:, -1])
            losses.append(value_of(problem, model))
        assert losses[0] <= reference.objective(problem, start) * (1.0 + 1e-12)
        assert losses[1] <= value_of(problem, best) * (1.0 + 1e-2)


def test_without_warm_start_the_last_fit_does_not_matter():
    problem = problem_for("squared", alpha=0.05)
    model = LinearRegression(alpha=0.05)
    first = theta_of(model.fit(problem.x, targets(problem)))
    assert theta_of(model.fit(problem.x, targets(problem))).tobytes() == first.tobytes()


def test_a_loaded_model_and_a_stream_can_be_gone_on_from(tmp_path):
    problem = problem_for("squared", n=64)
    X, y = problem.x, targets(problem)
    model = LinearRegression(optimizer=GradientDescent(0.1), batch_size="full", max_iter=3, tol=0.0, warm_start=True)
    model.fit(X, y).save(tmp_path / "model")
    loaded = fastgd.load(tmp_path / "model")
    assert theta_of(loaded.fit(X, y)).tobytes() == theta_of(model.fit(X, y)).tobytes()
    streamed = LinearRegression(optimizer=Momentum(0.01), warm_start=True, tol=0.0).partial_fit(X, y)
    before = theta_of(streamed)
    streamed.set_params(optimizer="accelerated", max_iter=0).fit(X, y)
    np.testing.assert_allclose(theta_of(streamed), before, rtol=1e-12)


def test_a_start_far_away_is_no_divergence():
    """The first loss is some 10^8 times that of margins 0."""
    problem = problem_for("squared", alpha=0.05)
    start = {"coef_init": np.full(4, 1e4), "intercept_init": -1e4}
    for way in ("auto", *(way for way in FULL if way != "adam")):
        model = model_for(problem, tol=1e-6, max_iter=5000, **FULL.get(way, {}))
        model.fit(problem.x, targets(problem), problem.weight, **start)
        assert certificate_of(problem, model) <= 1.0001e-6
    options = {"optimizer": SAGA(), "batch_size": 8, "tol": 0.0, "random_state": 0}
    model = model_for(problem, **options).fit(problem.x, targets(problem), problem.weight, **start)
    assert model.history_["loss"][-1] < 1e-3 * model.history_["loss"][0]


def test_constant_columns_stay_at_0():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal(50), np.full(50, 3.0)])
    model = LinearRegression(optimizer=Adam(0.01), alpha=0.1, max_iter=2, tol=0.0, random_state=0)
    model.fit(X, X[:, 0], coef_init=[1.0, 5.0])
    assert model.coef_[1] == 0.0


WRONG = [
    ({"coef_init": np.zeros(5)}, r"coef_init must have shape \(1, 4\), got \(5,\)"),
    ({"coef_init": np.zeros((2, 4))}, "coef_init"),
    ({"coef_init": np.zeros((4, 1))}, "coef_init"),
    ({"coef_init": np.zeros((1, 1, 4))}, "coef_init"),
    ({"coef_init": 0.0}, "coef_init"),
    ({"coef_init": [0, np.nan, 0, 0]}, "coef_init must be finite"),
    ({"intercept_init": [0.0, 0.0]}, r"intercept_init must have shape \(1,\), got \(2,\)"),
    ({"intercept_init": [[0.0]]}, "intercept_init"),
    ({"intercept_init": np.inf}, "intercept_init must be finite"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=range(len(WRONG)))
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_starts_that_cannot_be_used(loss, given, message):
    problem = problem_for(loss)
    refused(message, model_for(problem).fit, problem.x, targets(problem), **given)


@pytest.mark.parametrize("shape", [(12,), (4, 3), (1, 4), (4,)])
def test_coefficients_of_several_outputs_are_not_guessed_from_their_number(shape):
    problem = problem_for("softmax", 3)
    with pytest.raises(ValueError, match=r"coef_init must have shape \(3, 4\)"):
        LogisticRegression().fit(problem.x, problem.y, coef_init=np.zeros(shape))


def test_an_intercept_without_an_intercept():
    problem = problem_for("squared", alpha=0.1)
    model = LinearRegression(fit_intercept=False, alpha=0.1)
    with pytest.raises(ValueError, match=r"intercept_init .* must be None or 0 with fit_intercept=False"):
        model.fit(problem.x, targets(problem), intercept_init=1.0)
    assert model.fit(problem.x, targets(problem), intercept_init=0.0).intercept_ == 0.0


def test_a_last_fit_of_another_shape():
    problem = problem_for("squared", 3, alpha=0.1)
    model = LinearRegression(alpha=0.1, warm_start=True).fit(problem.x, problem.y)
    with pytest.raises(ValueError, match=r"^warm_start=True .* coef_ of the last fit must have shape \(1, 4\)"):
        model.fit(problem.x, problem.y[:, 0])
    with pytest.raises(ValueError, match=r"^warm_start=True .* coef_ of the last fit must have shape \(3, 2\)"):
        model.fit(problem.x[:, :2], problem.y)


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_the_parameter(value):
    refused("warm_start must be True or False", LinearRegression(warm_start=value).fit, np.ones((3, 1)), np.ones(3))
