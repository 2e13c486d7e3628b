"""When the loss of rows held out ends a fit, where it ends then, and what else sees that loss."""

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression, reference, schedules
from fastgd.optimizers import Adam
from tests.estimators.fits import Recorder, theta_of
from tests.estimators.holding_out import WAYS, held, without

#: Without the rows held out there are fewer than columns.
pytestmark = pytest.mark.filterwarnings("ignore:fewer rows:fastgd.exceptions.RankWarning")
#: Those that have a squared loss's optimum in a step or two.
DIRECT = ["auto", "sketched newton"]


def overfitted(way="batches", **parameters):
    """Few rows, many columns: the validation loss rises long before the training loss has fallen."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 60))
    y = X[:, 0] + rng.standard_normal(80)
    recorder = Recorder()
    options = {"random_state": 3, "max_iter": 60, **WAYS[way], **parameters}
    model = LinearRegression(early_stopping=True, validation_fraction=0.4, **options)
    return model.fit(X, y, callbacks=recorder), recorder, reference.make_problem(X, y)


@pytest.mark.parametrize("patience", [1, 4])
@pytest.mark.parametrize("way", [way for way in WAYS if way not in DIRECT])
def test_early_stopping_ends_on_a_plateau_and_returns_to_the_best_epoch(way, patience):
    """The constant model's loss by the reference; parameters to the bit those of the epoch where the loss was least."""
    model, recorder, problem = overfitted(way, n_iter_no_change=patience, tol=1e-4)
    assert model.fit_report_["stopped_by"] == "early stopping"
    assert model.fit_report_["converged"]
    seen = without(problem, held(problem, 0.4))
    enough = 1e-4 * reference.mean_loss(seen, reference.best_constant(seen))
    losses, best, waited = model.history_["validation_loss"], np.inf, []
    for loss in losses:
        fell = loss < best - enough
        waited.append(0 if fell else waited[-1] + 1)
        best = loss if fell else best
    assert waited[-1] == patience
    assert max(waited[:-1], default=0) < patience
    assert theta_of(model).tobytes() == recorder.thetas[np.argmin(losses)].tobytes()
    assert np.argmin(losses) < len(losses) - 1


@pytest.mark.parametrize("way", [way for way in WAYS if way != "auto"])
def test_early_stopping_without_tol_runs_to_the_end(way):
    model, recorder, _ = overfitted(way, tol=0.0)
    best = np.argmin(model.history_["validation_loss"])
    assert best < 40
    assert model.n_iter_ == 60
    assert model.fit_report_["stopped_by"] == "max_iter"
    assert theta_of(model).tobytes() == recorder.thetas[best].tobytes()


def test_a_plateau_schedule_sees_the_validation_loss():
    schedule = schedules.ReduceOnPlateau(0.03, patience=1)
    model, _, _ = overfitted(tol=0.0, optimizer=Adam(schedule))
    rates = {}
    for name in ("loss", "validation_loss"):
        state, rates[name] = schedule.start(), []
        for epoch, loss in enumerate(model.history_[name]):
            rates[name].append(schedule.rates([0], [epoch], state)[0])
            state = schedule.observe(state, loss)
    assert np.array_equal(model.history_["learning_rate"], rates["validation_loss"])
    assert not np.array_equal(rates["loss"], rates["validation_loss"])


def test_a_function_for_a_rate_sees_the_validation_loss():
    reported = []

    def rate(step, epoch, metric):
        reported.append((step, epoch, metric))
        return 0.01

    model, _, _ = overfitted(tol=0.0, max_iter=5, optimizer=Adam(rate))
    losses = [None, *model.history_["validation_loss"]]
    assert reported == [(5 * epoch, epoch, losses[epoch]) for epoch in range(5)]


def test_certified_fit_with_early_stopping_returns_to_its_best_epoch():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 10))
    y = (X[:, 0] + rng.standard_normal(60) > 0).astype(int)
    model = LogisticRegression(alpha=1e-6, early_stopping=True, n_iter_no_change=1000, random_state=0).fit(X, y)
    assert model.history_["certificate"].min() <= 1e-4 < model.fit_report_["certificate"]
    assert model.fit_report_["stopped_by"] == "early stopping"
