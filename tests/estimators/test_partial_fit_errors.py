"""What `partial_fit` refuses, and that a call that fails leaves the model as it was."""

import re

import numpy as np
import pytest

import fastgd
from fastgd import LinearRegression, LogisticRegression, schedules
from fastgd.backends.cpu.epochs import CpuEpochs
from fastgd.optimizers import Accelerated, Adam, GradientDescent, Momentum
from tests.estimators.fits import interrupt, problem_for, refused, targets, theta_of, value_of
from tests.estimators.streams import BATCH, N, assert_same_bits, by_pickle, rule, stream


def error_cases():
    X, y = np.arange(20.0).reshape(10, 2) % 7, np.arange(10) % 2
    linear, logistic = LinearRegression, LogisticRegression
    return {
        "no classes": (lambda: logistic().partial_fit(X, y), "classes must be passed on the first call"),
        "one class": (lambda: logistic().partial_fit(X, y, [1]), "classes must be at least 2"),
        "other classes": (lambda: logistic().partial_fit(X, y, [0, 1]).partial_fit(X, y, [0, 2]), "classes="),
        "unseen label": (lambda: logistic().partial_fit(X, y + 1, [0, 1]), "y holds 2, which is not among"),
        "means twice": (lambda: linear().partial_fit(X, y).partial_fit(X, y, means=[0, 0]), "means and scales"),
        "scales after a fit": (lambda: linear().fit(X, y).partial_fit(X, y, scales=[1, 1]), "means and scales"),
        "raw": (lambda: linear(standardize=False).partial_fit(X, y, means=[0, 0]), "standardize=False"),
        "no intercept": (lambda: linear(fit_intercept=False).partial_fit(X, y, means=[1, 0]), "fit_intercept=False"),
        "three means": (lambda: linear().partial_fit(X, y, means=[0, 0, 0]), "means must be 2 finite numbers"),
        "NaN": (lambda: linear().partial_fit(X, y, means=[0, np.nan]), "means must be 2 finite numbers"),
        "no scale": (lambda: linear().partial_fit(X, y, scales=[1, 0]), "scales must be positive"),
        "bad X": (lambda: linear().partial_fit(np.full((3, 2), np.nan), y[:3]), "Input X contains NaN"),
        "columns": (lambda: linear().partial_fit(X, y).partial_fit(X[:, :1], y), "1 features, but LinearRegression"),
        "targets": (
            lambda: linear().partial_fit(X, y).partial_fit(X, X),
            "X has 2 columns and y 2 outputs, the fitted model has 2 and 1",
        ),
        "class weight": (lambda: logistic(class_weight="even").partial_fit(X, y, [0, 1]), "class_weight must be"),
        "negative": (lambda: logistic(class_weight={0: -1.0}).partial_fit(X, y, [0, 1]), "class_weight must be"),
        "weights": (lambda: linear().partial_fit(X, y, sample_weight=np.zeros(10)), "[Ss]ample.weight"),
    }


@pytest.mark.parametrize("name", error_cases())
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_partial_fit_refuses_invalid_calls(name):
    run, message = error_cases()[name]
    refused(message, run)


WITHOUT_STREAM = {
    "saga": (LinearRegression(optimizer="saga"), "keeps a number for each row"),
    "accelerated": (LinearRegression(optimizer=Accelerated()), "needs all rows"),
    "lbfgs": (LinearRegression(optimizer="lbfgs"), "optimizer='lbfgs', which needs all rows"),
    "newton": (LogisticRegression(optimizer="sketched_newton"), "needs all rows"),
    "normal": (LinearRegression(optimizer="normal_equations"), "needs all rows"),
    "line search": (LinearRegression(optimizer=GradientDescent(line_search="exact")), "line_search='exact'"),
    "early stopping": (LogisticRegression(early_stopping=True), "early_stopping=True"),
    "max_seconds": (LinearRegression(max_seconds=1.0), r"max_seconds=1\.0"),
    "drop_last": (LinearRegression(optimizer="gd", drop_last=True), "drop_last=True"),
    "balanced": (LogisticRegression(class_weight="balanced"), "class_weight='balanced'"),
    "positive": (LinearRegression(positive=True), "positive=True"),
    **{
        repr(schedule): (LinearRegression(optimizer=Adam(schedule)), "schedule takes its length from the fit")
        for schedule in (
            schedules.CosineDecay(0.1),
            schedules.PolynomialDecay(),
            schedules.OneCycle(0.1),
            schedules.WarmUp(2, then=schedules.WarmUp(1, then=schedules.OneCycle())),
        )
    },
}


@pytest.mark.parametrize("name", WITHOUT_STREAM)
def test_parameters_that_rule_out_partial_fit(name):
    model, message = WITHOUT_STREAM[name]
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as caught:
        _ = model.partial_fit
    assert re.search(
        f"{type(model).__name__} has no partial_fit with .*{message}.*; use fit", str(caught.value.__cause__)
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        "auto",
        "adam",
        "gd",
        Momentum(form="torch"),
        np.array(["adam", "gd"]),
        "sgd",
        3,
        Adam(schedules.CosineDecay(restart_every=2)),
        Adam(schedules.WarmUp(2)),
        Adam(schedules.OneCycle(epochs=-1)),
        Adam("fast"),
    ],
)
def test_partial_fit_checks_other_parameters_in_the_call(optimizer):
    model = LinearRegression(optimizer=optimizer, early_stopping=np.array([1, 2]))
    assert hasattr(model, "partial_fit")
    message = r"optimizer must be|early_stopping must be|epochs of OneCycle|learning_rate must"
    refused(message, model.partial_fit, np.ones((3, 1)), np.arange(3.0))


@pytest.mark.parametrize("changed", [Adam(0.05, beta1=0.5), Momentum(0.05)])
def test_another_rule_cannot_use_the_memory(changed):
    problem = problem_for("squared", n=N)
    model = LinearRegression(optimizer=Adam(0.05)).partial_fit(problem.x, targets(problem))
    model.set_params(optimizer=changed)
    with pytest.raises(ValueError, match=r"optimizer .* was adam .* and now is .* keep the optimizer"):
        model.partial_fit(problem.x, targets(problem))


@pytest.mark.parametrize("changed", [{"fit_intercept": False}, {"standardize": False}, {"loss": "huber"}])
def test_parameters_of_the_problem_cannot_change_in_a_stream(changed):
    problem = problem_for("squared", n=N)
    model = LinearRegression(optimizer=Adam(0.05)).partial_fit(problem.x, targets(problem))
    with pytest.raises(ValueError, match=f"{next(iter(changed))} was .* before and now is"):
        model.set_params(**changed).partial_fit(problem.x, targets(problem))


def test_schedule_with_its_own_length_ends_the_stream():
    problem = problem_for("squared", n=N)
    model = LinearRegression(optimizer=Adam(schedules.CosineDecay(0.1, epochs=2)), batch_size=8)
    for _ in range(2):
        model.partial_fit(problem.x, targets(problem))
    refused("at rate 0 from epoch 2 on", model.partial_fit, problem.x, targets(problem))


def test_a_row_after_a_fit_does_not_undo_it():
    problem = problem_for("logistic", n=2000, alpha=1e-3)
    model = LogisticRegression(alpha=1e-3).fit(problem.x, targets(problem), problem.weight)
    best = value_of(problem, model)
    model.partial_fit(problem.x[:1], targets(problem)[:1])
    assert best < value_of(problem, model) < 1.01 * best


def everything(model):
    """What a model knows, to compare; wall times left out."""
    state = model._training
    fitted = {key: values.tolist() for key, values in model.history_.items()}
    arrays = {key: values.tobytes() for key, values in state.arrays().items()}
    return fitted, model.n_iter_, theta_of(model).tobytes(), arrays, state.facts(), dict(model.fit_report_)


@pytest.mark.parametrize("name", ["momentum", "adam", "averaged"])
@pytest.mark.parametrize("accident", ["divergence", "interrupt", "function"])
def test_after_an_accident_the_model_is_as_before(monkeypatch, accident, name):
    problem = problem_for("squared", n=N)
    X, y = problem.x / np.abs(problem.x).max(axis=0), targets(problem)
    model = stream(LinearRegression(optimizer=rule(name), batch_size=BATCH), X, y)
    before, twin = everything(model), by_pickle(model)
    if accident == "divergence":
        bad = X.copy()
        bad[50] = 1e150
        with pytest.raises(fastgd.DivergenceError, match=r"learning_rate=0\.05:") as caught:
            model.partial_fit(bad, y)
        assert (caught.value.rate, caught.value.epoch) == (0.05, 3)
    elif accident == "interrupt":
        with monkeypatch.context() as patch:
            # In the middle of an epoch, after some of its slices have moved the parameters.
            interrupt(patch, CpuEpochs, "run", 3)
            patch.setattr(fastgd.solvers.epochs, "_FIRST_SLICE_BYTES", 1)
            patch.setattr(fastgd.solvers.epochs, "_SLICE_SECONDS", 1e-9)
            with pytest.raises(KeyboardInterrupt):
                model.partial_fit(X, y)
    else:
        model.set_params(optimizer__learning_rate=lambda *_: -1.0)
        refused("learning_rate must be positive", model.partial_fit, X, y)
        model.set_params(optimizer__learning_rate=0.05)
    assert everything(model) == before
    assert_same_bits(model.partial_fit(X, y), twin.partial_fit(X, y))


def test_an_accident_in_the_first_call_leaves_an_unfitted_model():
    X, y = np.full((20, 2), 1e150), np.arange(20.0)
    model = LinearRegression(optimizer=GradientDescent(1.0), batch_size=10)
    with pytest.raises(fastgd.DivergenceError):
        model.partial_fit(X, y)
    assert not hasattr(model, "coef_")
    model.partial_fit(np.ones((20, 3)), y)
    assert model.coef_.shape == (3,)
