"""scikit-learn's own callbacks see a fit and each of its epochs."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from fastgd import LinearRegression, LogisticRegression
from tests.estimators.fits import problem_for, refused, targets

pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has no callbacks")
PROBLEM = problem_for("squared")
X, Y = PROBLEM.x, targets(PROBLEM)


class Recorder:
    """A callback by scikit-learn's protocol, which keeps calls and predictions, and ends a fit after some epochs."""

    def __init__(self, stop_after=None):
        self.calls, self.fitted, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.calls.append(f"end {context.task_name}")
        if context.task_name == "epoch" and fitted_estimator is not None:
            self.fitted.append((fitted_estimator.coef_, fitted_estimator.predict(X)))
        return self.stop_after is not None and len(self.fitted) == self.stop_after


def test_hooks_are_called_around_the_fit_and_each_epoch():
    recorder = Recorder()
    model = LinearRegression(optimizer="gd", batch_size=32, max_iter=3, tol=0.0, random_state=0).set_callbacks(recorder)
    model.fit(X, Y)
    epochs = ["begin epoch", "end epoch"] * (model.n_iter_ + 1)
    assert recorder.calls == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    np.testing.assert_array_equal(recorder.fitted[-1][0], model.coef_)
    np.testing.assert_array_equal(recorder.fitted[-1][1], model.predict(X))


def test_a_hook_can_end_the_fit_and_other_callbacks_are_called_too():
    recorder, states = Recorder(stop_after=2), []
    model = LinearRegression(optimizer="gd", batch_size=32, max_iter=9, tol=0.0, random_state=0).set_callbacks(recorder)
    model.fit(X, Y, callbacks=states.append)
    assert (model.n_iter_, len(states), model.fit_report_["stopped_by"]) == (2, 2, "callback")


def test_copies_for_hooks_predict_from_frames_with_categories():
    recorder, frame = Recorder(), pd.DataFrame({"x": X[:, 0], "c": np.where(X[:, 1] > 0, "a", "b")})
    model = LinearRegression(alpha=0.1).set_callbacks(recorder).fit(frame, Y)
    np.testing.assert_allclose(recorder.fitted[-1][1], model.predict(frame))


def test_copies_for_hooks_predict_labels_and_several_targets():
    recorder, labels = Recorder(), np.array(["low", "high"])[(Y > 0).astype(int)]
    model = LogisticRegression(max_iter=5).set_callbacks(recorder).fit(X, labels)
    assert set(recorder.fitted[-1][1]) == {"low", "high"}
    recorder = Recorder()
    model = LinearRegression().set_callbacks(recorder).fit(X, np.c_[Y, -Y])
    assert recorder.fitted[-1][1].shape == (len(Y), 2)
    assert model.set_callbacks().fit(X, Y).n_iter_ >= 1


def test_an_error_of_a_fit_still_ends_the_callbacks():
    recorder = Recorder()
    refused("alpha", LinearRegression(alpha=-1.0).set_callbacks(recorder).fit, X, Y)
    assert recorder.calls == []  # no task had begun
    refused("inconsistent", LinearRegression().set_callbacks(recorder).fit, X, Y[:-1])
    assert recorder.calls[-1] == "teardown"


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
def test_hooks_predict_sparse_rows(kind):
    recorder = Recorder()
    rows, y = sparse.csr_array(X), Y if kind is LinearRegression else (np.ravel(Y) > 0.0).astype(int)
    model = kind(alpha=0.1, optimizer="lbfgs").set_callbacks(recorder).fit(rows, y)
    assert len(recorder.fitted) == model.n_iter_
    np.testing.assert_array_equal(recorder.fitted[-1][1], model.predict(rows))
