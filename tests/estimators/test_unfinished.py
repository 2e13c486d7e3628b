"""What a fit says where it did not end at an optimum: a rate too small, too few epochs, a rate too large."""

import pickle
import re
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning

import fastgd
from fastgd import DivergenceError, LinearRegression, LogisticRegression, schedules
from fastgd.optimizers import GradientDescent, Momentum
from tests.estimators.fits import fit, problem_for, targets, theta_of, value_of
from tests.objective_of import objective_of
from tests.solvers.steps import NOISY, RULES
from tests.solvers.test_learning_rate import scaled

RUNS = [(rule, size) for rule in RULES for size in ("full", 16) if size != "full" or rule not in NOISY]


def warned(problem, **parameters):
    """A fit, and the one warning that it gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit(problem, random_state=0, **parameters)
    (warning,) = caught
    assert issubclass(warning.category, ConvergenceWarning)
    # It points at the caller's line, here in `fits.fit`.
    assert warning.filename.endswith("fits.py")
    assert model.fit_report_["warnings"] == [str(warning.message)]
    return model, str(warning.message)


@pytest.mark.parametrize(("rule", "batch_size"), RUNS)
def test_too_small_a_rate_warns_and_names_the_automatic_one(rule, batch_size):
    problem = problem_for("logistic", alpha=0.1)
    options = {"batch_size": batch_size, "max_iter": 20, "tol": 1e-9}
    model, message = warned(problem, optimizer=RULES[rule](learning_rate=1e-7), **options)
    automatic = fit(problem, optimizer=RULES[rule](), random_state=0, **{**options, "tol": 0.0})
    usual = automatic.fit_report_["learning_rate"]
    assert message.startswith("learning_rate=1e-07 is so small that the fit hardly moves: use learning_rate='auto'")
    assert f"begins at {usual:.3g} here: stopped by max_iter after 20 epochs at certificate" in message
    assert not model.fit_report_["converged"]


@pytest.mark.parametrize("rule", ["gd", "adam"])
def test_flat_loss_without_progress_warns(rule):
    problem = problem_for("logistic", alpha=0.1)
    model, message = warned(problem, optimizer=RULES[rule](learning_rate=1e-9), batch_size=16, tol=1e-4)
    assert model.fit_report_["stopped_by"] == "flat loss"
    assert "learning_rate=1e-09 is so small" in message
    # 200 rows are 13 batches: 100 updates take 8 epochs, after the first.
    assert "stopped by flat loss after 9 epochs" in message


def test_saga_that_does_not_move_goes_on_to_max_iter():
    """A flat loss is no sign of SAGA's end, which is its certificate."""
    problem = problem_for("logistic", alpha=0.1)
    optimizer = RULES["saga"](learning_rate=1e-9)
    model, message = warned(problem, optimizer=optimizer, batch_size=16, tol=1e-4, max_iter=12)
    assert model.fit_report_["stopped_by"] == "max_iter"
    assert not model.fit_report_["converged"]
    assert "learning_rate=1e-09 is so small" in message
    assert "stopped by max_iter after 12 epochs" in message


@pytest.mark.parametrize("rule", ["adam", "nadam", "rmsprop"])
def test_an_end_close_to_the_optimum_is_converged_and_another_warns(rule):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 10))
    y = X @ rng.standard_normal(10) + rng.logistic(size=2000) > 0.0
    model = LogisticRegression(optimizer=rule, random_state=0).fit(X, y)
    report = model.fit_report_
    assert (report["converged"], report["warnings"]) == (True, [])
    assert report["certificate"] > report["tol"]
    with pytest.warns(ConvergenceWarning, match="max_iter reached after 3 epochs .* above the optimum, .* of the dist"):
        model.set_params(max_iter=3).fit(X, y)
    assert not model.fit_report_["converged"]


@pytest.mark.parametrize("rule", ["momentum", "nesterov", "adadelta"])
def test_automatic_rates_are_given_the_time_to_get_there_on_few_rows(rule):
    """442 rows are two batches an epoch, and a loss that is flat while a rate is large is not flat for good."""
    X, y = load_diabetes(return_X_y=True)
    model = LinearRegression(optimizer=rule, random_state=0, tol=1e-4)
    with pytest.warns(ConvergenceWarning, match="max_iter reached"):
        model.fit(X, y)
    best = LinearRegression().fit(X, y).score(X, y)
    assert model.score(X, y) > best - 0.01


@pytest.mark.parametrize("learning_rate", ["auto", 0.1, schedules.WarmUp(4, then=0.5, start_factor=1e-3)], ids=str)
@pytest.mark.parametrize("batch_size", ["full", 16])
def test_too_few_epochs_warn(batch_size, learning_rate):
    """A warm-up begins at a tiny rate, but does not stay there."""
    problem = problem_for("logistic", alpha=0.1)
    options = {"optimizer": GradientDescent(learning_rate), "batch_size": batch_size, "max_iter": 6, "tol": 1e-9}
    model, message = warned(problem, **options)
    report, best = model.fit_report_, value_of(problem, fit(problem, tol=1e-10))
    above = re.fullmatch(
        f"max_iter reached after 6 epochs at certificate {report['certificate']:.3g} > tol=1e-09, about (.*) above "
        "the optimum, (.*) of the distance between the constant model and the optimum: increase max_iter or tol, or "
        "use optimizer='auto'",
        message,
    )
    assert above is not None
    distance, fall = value_of(problem, model) - best, objective_of(problem).constant_value() - best
    assert float(above[1]) == pytest.approx(distance, rel=0.3)
    assert float(above[2]) == pytest.approx(distance / fall, rel=0.3)


@pytest.mark.parametrize("optimizer", ["auto", "sketched_newton"])
def test_the_automatic_solver_is_not_advised_where_it_ran(optimizer):
    """Nor where it is the one that the user named."""
    _, message = warned(problem_for("logistic", alpha=0.1), max_iter=2, optimizer=optimizer)
    assert message.endswith("increase alpha, max_iter or tol, or use optimizer='lbfgs'")


def test_the_automatic_solver_is_advised_where_it_is_another():
    _, message = warned(problem_for("logistic", alpha=0.1), max_iter=3, optimizer="accelerated")
    assert message.endswith("increase max_iter or tol, or use optimizer='auto'")


def test_fit_without_tol_does_not_warn():
    model = fit(problem_for("logistic"), optimizer=GradientDescent(1e-9), max_iter=3, tol=0.0)
    assert model.fit_report_["warnings"] == []


STEEP = {
    "constant": schedules.Constant(1e4),
    "step": schedules.StepDecay(1e4, every=1),
    "inverse": schedules.InverseTimeDecay(1e4),
    "cosine": schedules.CosineDecay(1e4),
    "plateau": schedules.ReduceOnPlateau(1e4),
    "function": lambda step, epoch, metric: 1e4 / (1 + epoch),
}


@pytest.mark.parametrize("name", STEEP)
@pytest.mark.parametrize("batch_size", ["full", 16])
def test_divergence_of_a_schedule_names_its_largest_rate(batch_size, name):
    problem = scaled(problem_for("squared", n=300, d=5, seed=4))
    options = {"batch_size": batch_size, "max_iter": 30, "tol": 0.0, "random_state": 0}
    with pytest.raises(DivergenceError, match=r"Momentum diverged in epoch \d+ with learning_rate=10000") as caught:
        fit(problem, optimizer=Momentum(STEEP[name]), **options)
    error = caught.value
    assert error.rate == 1e4
    assert re.search(rf"learning_rate={error.safe_rate:.3g} is known to be safe here", str(error))
    model = fit(problem, optimizer=Momentum(error.safe_rate), **options)
    assert value_of(problem, model) < objective_of(problem).start_value()


@pytest.mark.parametrize(
    "schedule", [schedules.WarmUp(10, then=30.0, start_factor=1e-4), schedules.OneCycle(100.0, start_factor=1e-4)]
)
@pytest.mark.parametrize("batch_size", ["full", 16])
def test_a_rate_that_rises_is_not_blamed_for_its_beginning(batch_size, schedule):
    """The first rate is safe; the named one is the largest of the epoch that left, or of the one before."""
    problem = problem_for("squared", n=300)
    options = {"batch_size": batch_size, "max_iter": 30, "tol": 0.0, "random_state": 0}
    with pytest.raises(DivergenceError) as caught:
        fit(problem, optimizer=GradientDescent(schedule), **options)
    error, bound = caught.value, schedule.bind(None, 30)
    assert 0.01 < error.safe_rate < error.rate
    updates = 1 if batch_size == "full" else 19
    ends = [bound(0, epoch + (updates - 1) / updates) for epoch in (error.epoch - 1, error.epoch)]
    assert error.rate == pytest.approx(ends[batch_size != "full"], rel=1e-12)
    fit(problem, optimizer=GradientDescent(error.safe_rate), **options)


def test_a_stream_names_its_largest_rate():
    problem = problem_for("squared", n=300)
    schedule = schedules.WarmUp(1, then=1e200, start_factor=1e-3)
    model = LinearRegression(optimizer=GradientDescent(schedule), batch_size=16)
    with pytest.raises(DivergenceError, match="diverged in partial_fit, epoch 0") as caught:
        model.partial_fit(problem.x, targets(problem))
    rates = np.array([schedule(0, t / 19) for t in range(19)])
    assert caught.value.rate in rates[1:]
    assert caught.value.safe_rate is None


def test_a_rate_that_is_only_slow_is_not_called_standing_still():
    """Near the optimum the warning names the remedy for what is left, not a larger rate."""
    problem = problem_for("logistic", alpha=0.1)
    options = {"batch_size": "full", "max_iter": 500, "tol": 1e-9}
    usual = fit(problem, optimizer="gd", **options).fit_report_["learning_rate"]
    model, message = warned(problem, optimizer=GradientDescent(usual / 50.0), **options)
    assert model.fit_report_["certificate"] < 0.1
    assert message.startswith("max_iter reached")


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_flat_loss_far_from_an_optimum_warns(rate):
    """The noise of single rows holds it up."""
    options = {"optimizer": GradientDescent(rate), "batch_size": 1, "tol": 1e-3}
    model, message = warned(problem_for("logistic", n=400, alpha=0.01), **options)
    assert model.fit_report_["stopped_by"] == "flat loss"
    assert model.fit_report_["certificate"] > 0.1
    assert re.match(r"the loss has not fallen for 5 epochs, far from an optimum, after \d+ epochs at cert", message)


WAYS = {
    "full batch": {"optimizer": GradientDescent(3.0), "batch_size": "full"},
    "batches": {"optimizer": Momentum(3.0), "batch_size": 16, "random_state": 0},
}


def data():
    problem = problem_for("squared")
    return problem.x, targets(problem)


@pytest.mark.parametrize("way", WAYS)
def test_a_first_fit_keeps_its_history_and_the_last_finite_coefficients(tmp_path, way):
    model = LinearRegression(**WAYS[way])
    with pytest.raises(DivergenceError) as caught:
        model.fit(*data())
    report, error = model.fit_report_, caught.value
    assert (report["stopped_by"], report["converged"]) == ("diverged", False)
    assert model.n_iter_ == len(model.history_["loss"]) == error.epoch
    assert np.all(np.isfinite(theta_of(model)))
    assert model.predict(data()[0]).shape == data()[1].shape
    for name, values in model.history_.items():
        np.testing.assert_array_equal(error.history[name], values)
    again = pickle.loads(pickle.dumps(error))
    for name in ("args", "rate", "epoch", "safe_rate"):
        assert getattr(again, name) == getattr(error, name)
    np.testing.assert_array_equal(again.history["loss"], error.history["loss"])
    model.save(tmp_path / "model")
    assert fastgd.load(tmp_path / "model").fit_report_["stopped_by"] == "diverged"


def test_the_coefficients_are_those_of_as_many_epochs():
    model = LinearRegression(**WAYS["full batch"])
    with pytest.raises(DivergenceError) as caught:
        model.fit(*data())
    stopped = LinearRegression(max_iter=caught.value.epoch, tol=0.0, **WAYS["full batch"]).fit(*data())
    np.testing.assert_array_equal(theta_of(model), theta_of(stopped))


@pytest.mark.parametrize("way", WAYS)
def test_a_later_fit_leaves_the_model_as_it_was(way):
    model = LinearRegression().fit(*data())
    before = dict(vars(model))
    model.set_params(**WAYS[way])
    with pytest.raises(DivergenceError) as caught:
        model.fit(*data())
    assert len(caught.value.history["loss"]) == caught.value.epoch
    for name in ("coef_", "intercept_", "history_", "fit_report_", "n_iter_"):
        assert getattr(model, name) is before[name]
