"""`max_seconds`: fits end with the epoch in which the time is up, on batches within it, by a clock of the tests."""

from functools import partial

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastgd import LinearRegression, _data
from fastgd.backends.cpu import data as cpu
from fastgd.backends.cpu.data import CpuSample
from fastgd.objective.objective import Objective
from fastgd.optimizers import SAGA, Adam, AdamW, GradientDescent, Nesterov, NormalEquations, SketchedNewton
from fastgd.solvers import epochs as loop
from fastgd.solvers.progress import NEVER, Deadline
from fastgd.solvers.select import SOLVERS
from tests.estimators.fits import Recorder, fit, model_for, problem_for, targets, theta_of
from tests.objective_of import objective_of


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time

    def on_epoch_end(self, state):
        """As a callback: an epoch takes a second."""
        self.time += 1.0


@pytest.fixture
def hands(monkeypatch):
    """The clock of all fits."""
    made = Hands()
    monkeypatch.setattr(_data, "FitTimer", partial(_data.FitTimer, made))
    return made


#: They may be done after a pass.
DIRECT = (SketchedNewton, NormalEquations)
WAYS = {
    **{kind.rule: {"optimizer": kind()} for kind in SOLVERS if kind not in DIRECT},
    "full batch": {"optimizer": "gd", "batch_size": "full"},
    "nesterov": {"optimizer": Nesterov(form="lookahead"), "batch_size": "full"},
    "backtracking": {"optimizer": GradientDescent(line_search="backtracking")},
    "exact": {"optimizer": GradientDescent(line_search="exact")},
    "batches": {"optimizer": Adam(), "batch_size": 16},
    "averaged": {"optimizer": GradientDescent(average=True), "batch_size": 16},
    "rows": {"optimizer": SAGA(), "batch_size": 1},
}


def fit_with(problem, callbacks, **parameters):
    model = model_for(problem, **parameters)
    return model.fit(problem.x, targets(problem), problem.weight, callbacks=callbacks)


@pytest.mark.parametrize("name", WAYS)
def test_a_fit_ends_with_the_epoch_in_which_its_time_is_up(hands, name):
    problem = problem_for("squared", n=300, d=8, alpha=0.1)
    options = {**WAYS[name], "random_state": 3, "tol": 1e-15}
    watch = Recorder()
    with pytest.warns(ConvergenceWarning) as caught:
        model = fit_with(problem, [watch, hands], max_seconds=2.0, **options)
    report = model.fit_report_
    assert (report["stopped_by"], report["converged"], model.n_iter_) == ("max_seconds", False, 2)
    assert len(watch.states) == 2
    assert report["seconds_total"] == 2.0
    ended = fit_with(problem, [Recorder(2)], **options)
    assert np.array_equal(theta_of(model), theta_of(ended))
    (message,) = (str(warning.message) for warning in caught)
    reported = f"max_seconds reached after 2 epochs at certificate {report['certificate']:.3g} > tol=1e-15: "
    assert message == f"{reported}increase max_seconds or tol, or use optimizer='auto'"
    assert report["warnings"] == [message]


@pytest.mark.parametrize("kind", [None, *SOLVERS])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_whatever_the_time_a_fit_is_usable(hands, kind):
    problem = problem_for("squared", n=300, d=8, alpha=0.1)
    model = fit_with(problem, [hands], optimizer="auto" if kind is None else kind(), max_seconds=1.0)
    assert model.n_iter_ == 1
    assert np.all(np.isfinite(model.predict(problem.x)))
    assert model.fit_report_["stopped_by"] == ("certificate" if model.fit_report_["converged"] else "max_seconds")


@pytest.mark.parametrize("name", WAYS)
def test_time_enough_changes_nothing(hands, name):
    problem = problem_for("logistic", alpha=0.1)
    options = {**WAYS[name], "random_state": 3, "max_iter": 4, "tol": 0.0}
    assert np.array_equal(theta_of(fit(problem, max_seconds=4.5, **options)), theta_of(fit(problem, **options)))


def test_fit_without_tol_warns_of_no_time_limit(hands):
    """With tol=0, where fits end by their limits, none of them is a failure."""
    model = model_for(problem_for("squared", alpha=0.1), optimizer="accelerated", tol=0.0, max_seconds=2)
    X, y = np.eye(4), np.arange(4.0)
    assert model.fit(X, y, callbacks=hands).fit_report_["warnings"] == []
    assert model.fit_report_["stopped_by"] == "max_seconds"


def test_a_certificate_counts_though_the_time_is_up(hands):
    model = LinearRegression(alpha=0.1, max_seconds=1.0, tol=10.0)
    model.fit(np.eye(4), np.arange(4.0), callbacks=hands)
    assert (model.fit_report_["stopped_by"], model.fit_report_["converged"]) == ("certificate", True)


@pytest.mark.parametrize("optimizer", [GradientDescent(0.01), AdamW(0.01)], ids=repr)
def test_an_epoch_of_batches_ends_between_slices(monkeypatch, hands, optimizer):
    """Five slices of a batch are the fit of the rows in those batches."""
    monkeypatch.setattr(loop, "_FIRST_SLICE_BYTES", 1)
    monkeypatch.setattr(loop, "_SLICE_SECONDS", 0.0)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 3)), rng.standard_normal(200)
    options = {"optimizer": optimizer, "batch_size": 16, "shuffle": False, "standardize": False, "tol": 0.0}
    few = LinearRegression(max_iter=1, **options).fit(X[:80], y[:80])
    run = cpu.CpuEpochs.run

    def a_second(self, *arguments):
        hands.time += 1.0
        return run(self, *arguments)

    monkeypatch.setattr(cpu.CpuEpochs, "run", a_second)
    model = LinearRegression(max_seconds=5.0, **options).fit(X, y)
    assert (model.fit_report_["stopped_by"], model.n_iter_) == ("max_seconds", 1)
    np.testing.assert_allclose(model.history_["loss"], few.history_["loss"], rtol=1e-12)
    np.testing.assert_allclose(model.history_["gradient_norm"], few.history_["gradient_norm"], rtol=1e-12)
    assert np.array_equal(theta_of(model), theta_of(few))


def test_halvings_of_a_line_search_end_too(monkeypatch, hands):
    """From a rate of 1e6 some twenty are to come."""
    passes, gradient = [], cpu.CpuData.gradient

    def a_second(self, *arguments):
        passes.append(hands.time)
        hands.time += 1.0
        return gradient(self, *arguments)

    monkeypatch.setattr(cpu.CpuData, "gradient", a_second)
    problem = problem_for("squared", alpha=0.1)
    options = {"optimizer": GradientDescent(1e6, line_search="backtracking"), "max_iter": 1, "tol": 0.0}
    fit(problem, **options)
    assert len(passes) > 10
    passes.clear()
    model = fit(problem, max_seconds=3.0, **options)
    # The start, two trials, and the one that certifies.
    assert len(passes) == 4
    assert model.fit_report_["stopped_by"] == "max_seconds"
    assert not np.any(model.coef_)


@pytest.mark.parametrize(("loss", "seconds"), [("squared", 1.0), ("logistic", 1.0), ("logistic", 3.0)])
def test_work_on_a_sample_ends_too(monkeypatch, hands, loss, seconds):
    """Each look at a sample takes a second; the first pass over all rows is made all the same."""
    looks = []
    for name in ("quadratic", "evaluate"):
        original = getattr(Objective, name)

        def a_second(self, theta, original=original):
            if isinstance(self.data, CpuSample):
                looks.append(hands.time)
                hands.time += 1.0
            return original(self, theta)

        monkeypatch.setattr(Objective, name, a_second)
    problem = problem_for(loss, n=2000, alpha=0.1)
    options = {"optimizer": SketchedNewton(200), "tol": 1e-12}
    fit(problem, **options)
    enough = len(looks)
    looks.clear()
    with pytest.warns(ConvergenceWarning, match="max_seconds reached after 1 epoch at"):
        model = fit(problem, max_seconds=seconds, **options)
    assert len(looks) < enough
    assert model.n_iter_ == 1
    assert model.fit_report_["objective"] < objective_of(problem).start_value()


def test_early_stopping_returns_to_the_best_epoch(hands):
    problem = problem_for("logistic", n=400, alpha=0.01)
    options = {"optimizer": GradientDescent(0.5), "batch_size": 16, "random_state": 1, "early_stopping": True}
    with pytest.warns(ConvergenceWarning, match="max_seconds reached after 4 epochs"):
        model = fit_with(problem, [hands], max_seconds=4.0, n_iter_no_change=50, tol=1e-6, **options)
    best = int(np.argmin(model.history_["validation_loss"])) + 1
    ended = fit_with(problem, [Recorder(best)], n_iter_no_change=50, tol=1e-6, **options)
    assert np.array_equal(theta_of(model), theta_of(ended))


def test_a_deadline_is_a_time_of_its_clock():
    hands = Hands()
    deadline = Deadline(101.0, hands)
    assert not deadline.passed
    hands.time = 101.0
    assert deadline.passed
    assert not NEVER.passed
