"""A fit that diverges raises, and leaves what there is to look at: its history and the last finite coefficients."""

import pickle

import numpy as np
import pytest

import fastgd
from fastgd import DivergenceError, LinearRegression
from fastgd.optimizers import GradientDescent, Momentum
from tests.estimators.fits import problem_for, targets, theta_of

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
    assert (str(again), again.rate, again.safe_rate) == (str(error), error.rate, error.safe_rate)
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
