"""Callbacks of `fit`: they see the fit as it is, may end it, and may fail."""

import numpy as np
import pytest

import fastgd
from fastgd import LinearRegression, LogisticRegression, reference
from fastgd._config import FitConfig
from fastgd.backends.cpu.data import CpuData
from fastgd.callbacks import Iterates
from fastgd.optimizers import SAGA, GradientDescent, Momentum
from fastgd.solvers import learning_rate
from tests.estimators import holding_out
from tests.estimators.fits import Recorder, certificate_of, model_for, problem_for, refused, targets, theta_of, value_of

#: Rates of batches are given: automatic ones depend on the number of epochs.
WAYS = {
    **holding_out.WAYS,
    "momentum": {"optimizer": Momentum(0.1), "batch_size": "full"},
    "batches": {"optimizer": Momentum(0.01), "batch_size": 16},
    "averaged": {"optimizer": GradientDescent(0.05, average=True), "batch_size": 16},
    "saga": {"optimizer": SAGA(0.01), "batch_size": 16},
}
#: Those whose loss of an epoch is not that of its start.
BATCHES = ["batches", "averaged", "saga"]
#: Solvers that go back to the pass with the least certificate.
CERTIFIED = ["auto", "sketched newton", "accelerated", "lbfgs"]
KINDS = [("squared", 3), ("huber", 1), ("logistic", 1), ("softmax", 3)]


def run(problem, way, *callbacks, **parameters):
    model = model_for(problem, **{"max_iter": 6, "tol": 0.0, "random_state": 3, **WAYS[way], **parameters})
    return model.fit(problem.x, targets(problem), problem.weight, callbacks=callbacks or None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("validated", [True, False])
def test_states_are_the_history(way, validated):
    problem, recorder = problem_for("squared"), Recorder()
    given = {"X_val": problem.x, "y_val": targets(problem)} if validated else {}
    model = LinearRegression(max_iter=6, tol=0.0, **WAYS[way])
    model.fit(problem.x, targets(problem), callbacks=recorder, **given)
    # What is solved directly is done before.
    assert model.n_iter_ == 6 or way == "auto"
    assert [state.epoch for state in recorder.states] == list(range(1, model.n_iter_ + 1))
    assert all(state.max_iter == 6 for state in recorder.states)
    nothing = np.full(model.n_iter_, np.nan)
    for name in ("loss", "validation_loss", "learning_rate", "gradient_norm", "certificate", "seconds"):
        reported = [getattr(state, name) for state in recorder.states]
        np.testing.assert_array_equal(reported, model.history_.get(name, nothing), err_msg=name)
    assert ("certificate" in model.history_) == (way not in BATCHES)
    assert ("validation_loss" in model.history_) == validated


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_coefficients_are_those_of_the_end_of_the_epoch(loss, outputs, way):
    """A fit of as many epochs returns them."""
    problem, recorder = problem_for(loss, outputs, alpha=0.1), Recorder()
    model = run(problem, way, recorder)
    for epochs in {1, min(4, model.n_iter_)}:
        stopped = theta_of(run(problem, way, max_iter=epochs))
        _check_same(stopped, recorder.thetas[epochs - 1], direct=(loss, way) == ("squared", "auto"))
    assert recorder.thetas[-1].shape == problem.shape
    _check_same(theta_of(model), recorder.thetas[-1], direct=(loss, way) == ("squared", "auto"))


def _check_same(found, expected, direct):
    """Bit for bit, but for the last correction of a direct solution."""
    np.testing.assert_allclose(found, expected, rtol=1e-13 if direct else 0.0, atol=1e-15 if direct else 0.0)


@pytest.mark.parametrize("way", [way for way in WAYS if way not in (*BATCHES, "accelerated", "full batch")])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_losses_of_the_full_batch_are_those_of_the_start_of_the_epoch(loss, outputs, way):
    """Solvers whose every step lowers F begin an epoch where the one before ended; others take gradients elsewhere."""
    problem, recorder = problem_for(loss, outputs, alpha=0.1), Recorder()
    model = run(problem, way, recorder)
    values = np.array([reference.objective(problem, theta) for theta in recorder.thetas])
    losses = model.history_["loss"][1:]
    # A pass whose step was not the best so far leaves the fit where it stood.
    falls = np.diff(model.history_["loss"], prepend=np.inf)[1:] < 0.0
    np.testing.assert_allclose(losses[falls], values[:-1][falls], rtol=1e-12)
    assert model.fit_report_["objective"] == pytest.approx(values[-1], rel=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_a_fit_that_a_callback_ends_stands_where_the_callback_saw_it(loss, outputs, way):
    """That is where a fit of as many epochs stands."""
    problem, recorder = problem_for(loss, outputs, alpha=0.1), Recorder(last=2)
    model = run(problem, way, recorder)
    if loss == "squared" and way == "auto":
        return  # solved in one epoch
    assert model.fit_report_["stopped_by"] == "callback"
    assert not model.fit_report_["converged"]
    assert model.n_iter_ == len(recorder.states) == 2
    assert theta_of(model).tobytes() == recorder.thetas[-1].tobytes()
    assert theta_of(model).tobytes() == theta_of(run(problem, way, max_iter=2)).tobytes()
    assert model.fit_report_["objective"] == pytest.approx(value_of(problem, model), rel=1e-12)


@pytest.mark.parametrize("way", CERTIFIED)
def test_some_solvers_return_to_the_least_certificate(way):
    problem, recorder = problem_for("logistic", alpha=0.1), Recorder(last=4)
    model = run(problem, way, recorder, max_iter=50)
    assert model.fit_report_["stopped_by"] == "callback"
    assert certificate_of(problem, model) <= min(model.history_["certificate"]) * (1.0 + 1e-9)


def test_callbacks_run_in_order_and_each_may_end_the_fit():
    order = []

    class Named:
        def __init__(self, name, last):
            self.name, self.last = name, last

        def on_epoch_end(self, state):
            order.append((self.name, state.epoch))
            return state.epoch == self.last

    model = run(problem_for("squared"), "batches", Named("a", 5), Named("b", 2), Named("c", 9))
    assert order == [(name, epoch) for epoch in (1, 2) for name in "abc"]
    assert model.n_iter_ == 2


class Fails:
    """Raises in an epoch."""

    def __init__(self, epoch, error):
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, state):
        if state.epoch == self.epoch:
            raise self.error


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("way", WAYS)
def test_an_exception_is_raised_and_leaves_a_usable_model(tmp_path, way, error, early_stopping):
    problem, recorder = problem_for("logistic", alpha=0.1), Recorder()
    options = {"max_iter": 50, "tol": 1e-12, "random_state": 3, "early_stopping": early_stopping, **WAYS[way]}
    model = LogisticRegression(alpha=0.1, **options)
    with pytest.raises(type(error)) as caught:
        model.fit(problem.x, targets(problem), callbacks=[recorder, Fails(3, error)])
    assert caught.value is error
    interrupted = isinstance(error, KeyboardInterrupt)
    assert model.fit_report_["stopped_by"] == ("interrupted" if interrupted else "callback error")
    assert not model.fit_report_["converged"]
    assert model.n_iter_ == len(model.history_["loss"]) == len(recorder.states) == 3
    if early_stopping:
        best = np.argmin(model.history_["validation_loss"])
        assert theta_of(model).tobytes() == recorder.thetas[best].tobytes()
    assert model.score(problem.x, targets(problem)) > 0.6
    model.save(tmp_path / "model")
    loaded = fastgd.load(tmp_path / "model")
    assert np.array_equal(loaded.predict(problem.x), model.predict(problem.x))


def test_an_error_while_the_certificate_is_met_is_raised_as_well():
    problem, error = problem_for("squared"), OSError("disk full")
    model = LinearRegression(tol=1e6)
    refused("disk full", model.fit, problem.x, targets(problem), callbacks=Fails(1, error), error=OSError)
    assert model.n_iter_ == 1


@pytest.mark.parametrize("wrong", [lambda: 0, Recorder, [Recorder(), "verbose"]], ids=["function", "class", "text"])
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_wrong_objects_are_refused_before_any_work(monkeypatch, estimator, wrong):
    problem = problem_for("logistic")
    model = estimator()
    monkeypatch.setattr(CpuData, "__init__", lambda *_: pytest.fail("data were touched"))
    with pytest.raises(TypeError, match=r"callbacks must be objects with a method on_epoch_end\(state\), or functions"):
        model.fit(problem.x, targets(problem), callbacks=wrong)
    assert not hasattr(model, "coef_")


def test_restart_at_half_the_rate_is_reported_to_callbacks(monkeypatch):
    monkeypatch.setattr(learning_rate, "automatic_rate", lambda *_: 8.0)
    recorder = Recorder()
    problem = problem_for("squared")
    model = LinearRegression(optimizer="gd", batch_size="full", max_iter=30, tol=0.0, random_state=0)
    model.fit(problem.x, targets(problem), callbacks=recorder)
    begun = [state.learning_rate for state in recorder.states if state.epoch == 1]
    assert len(begun) > 1
    assert begun == [8.0 / 2**k for k in range(len(begun))]
    assert [state.epoch for state in recorder.states[-30:]] == list(range(1, 31))
    assert np.array_equal(model.history_["loss"], [state.loss for state in recorder.states[-30:]])


def test_a_state_that_is_kept_stays_that_of_its_epoch():
    problem = problem_for("squared", n=100)
    recorder = Recorder()
    model = LinearRegression(optimizer="adam", batch_size=10, max_iter=3, tol=0.0, random_state=0)
    model.fit(problem.x, targets(problem), callbacks=recorder)
    for state, theta in zip(recorder.states, recorder.thetas, strict=True):
        np.testing.assert_array_equal(np.column_stack([state.coef, state.intercept]), theta)
    assert not np.array_equal(recorder.thetas[0], recorder.thetas[2])


class StepRecorder(Recorder):
    """Records states of updates, and ends the fit after some."""

    def __init__(self, every, end=None):
        super().__init__()
        self.every, self.end, self.steps = every, end, []

    def on_run_begin(self, start):
        self.steps = [] if start is None else [start]

    def on_steps(self, state):
        self.steps.append(state)
        return state.step == self.end


def descent(x, y, rate, size, epochs):
    """Return the iterates of mini-batches in order, and the loss of each batch before its update."""
    w, path, losses = np.zeros(x.shape[1]), [np.zeros(x.shape[1])], []
    for _ in range(epochs):
        for first in range(0, len(x), size):
            a, b = x[first : first + size], y[first : first + size]
            losses.append(0.5 * np.mean((a @ w - b) ** 2))
            w = w - rate * a.T @ (a @ w - b) / len(a)
            path.append(w)
    return np.array(path), np.array(losses)


def plain_descent(x, y, size, epochs, *callbacks):
    options = {"fit_intercept": False, "standardize": False, "shuffle": size == "full", "alpha": 0.0}
    model = LinearRegression(optimizer=GradientDescent(0.1), batch_size=size, max_iter=epochs, tol=0.0, **options)
    return model.fit(x, y, callbacks=callbacks or None)


def test_iterates_within_an_epoch_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    y, iterates, recorder = x @ [1.0, -2.0] + rng.normal(size=50), Iterates(), StepRecorder(2)
    model = plain_descent(x, y, 8, 3, iterates, recorder)
    path, losses = descent(x, y, 0.1, 8, 3)
    np.testing.assert_allclose(iterates.coef[:, 0], path, rtol=1e-10)
    np.testing.assert_allclose(iterates.epochs, np.arange(22) / 7)
    np.testing.assert_array_equal(model.coef_, plain_descent(x, y, 8, 3).coef_)
    # The shorter of two intervals holds for both.
    np.testing.assert_allclose([state.loss for state in recorder.steps[1:]], losses, rtol=1e-10)
    assert [state.learning_rate for state in recorder.steps[1:]] == [0.1] * 21
    full = Iterates()
    plain_descent(x, y, "full", 3, full)
    np.testing.assert_allclose(full.coef[:, 0], descent(x, y, 0.1, 50, 3)[0], rtol=1e-10)


def test_fewer_states_and_the_end_of_a_fit_between_epochs():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 2))
    y = x @ [1.0, -2.0] + rng.normal(size=50)
    path, losses = descent(x, y, 0.1, 8, 3)
    recorder = StepRecorder(3, end=10)
    model = plain_descent(x, y, 8, 3, recorder)
    assert [state.step for state in recorder.steps] == [0, 3, 6, 7, 10]
    np.testing.assert_allclose(recorder.steps[1].loss, losses[:3].mean(), rtol=1e-10)
    np.testing.assert_allclose(recorder.steps[-1].coef[0], path[10], rtol=1e-10)
    np.testing.assert_allclose(model.coef_.ravel(), path[10], rtol=1e-10)
    assert (model.fit_report_["stopped_by"], model.n_iter_) == ("callback", 2)
    every = Iterates(every=4)
    plain_descent(x, y, 8, 2, every)
    np.testing.assert_allclose(every.coef[:, 0], path[[0, 4, 7, 11, 14]], rtol=1e-10)


@pytest.mark.parametrize("seed", [756443316, 0])
def test_an_error_within_an_epoch_is_raised_and_leaves_a_usable_model(seed, monkeypatch):
    """Also where the loss of the first batch, of the first seed, is far above that of all rows."""
    monkeypatch.setattr(FitConfig, "draw_seed", lambda config: seed)

    def fail(state):
        raise KeyError("step")

    x = np.random.default_rng(2).normal(size=(40, 2))
    recorder = StepRecorder(1)
    recorder.on_steps = fail
    model = LinearRegression(optimizer="gd", batch_size=10)
    with pytest.raises(KeyError, match="step"):
        model.fit(x, x[:, 0], callbacks=recorder)
    assert model.predict(x).shape == (40,)


def test_iterates_of_solvers_of_the_full_batch_and_of_a_second_fit():
    problem, iterates = problem_for("logistic"), Iterates()
    model = run(problem, "accelerated", iterates)
    assert iterates.epochs.tolist() == list(range(1, model.n_iter_ + 1))
    run(problem, "batches", iterates)
    assert iterates.epochs[[0, -1]].tolist() == [0.0, 6.0]
