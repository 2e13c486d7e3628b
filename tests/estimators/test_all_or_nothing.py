"""A call that fails leaves the fitted model as it was, and NumPy's error state changes nothing."""

import pickle
import warnings

import numpy as np
import pytest

from fastgd import DivergenceError, LinearRegression, LogisticRegression
from fastgd.backends.cpu import data as cpu
from fastgd.optimizers import GradientDescent
from tests.estimators.fits import interrupt, refused

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
LABELS = np.where(X[:, 0] + RNG.logistic(size=40) > 0.0, "yes", "no")
WIDE = np.hstack([X, X[:, :1] ** 2])


def everything(model):
    return {name: pickle.dumps(value) for name, value in vars(model).items()}


def fitted(kind):
    y = LABELS if kind is LogisticRegression else X[:, 0]
    return kind(alpha=0.01).fit(X, y), y


FAILURES = {
    "columns, NaN": lambda model, y: model.fit(np.where(WIDE > 1.0, np.nan, WIDE), y),
    "columns, y": lambda model, y: model.fit(WIDE, y[:7]),
    "columns, missing y": lambda model, y: model.fit(WIDE, [None] * 40),
    "columns, weights": lambda model, y: model.fit(WIDE, y, sample_weight=["a"] * 40),
    "columns, X_val": lambda model, y: model.fit(WIDE, y, X_val=X, y_val=y),
    "columns, callbacks": lambda model, y: model.fit(WIDE, y, callbacks=3),
    "columns, coef_init": lambda model, y: model.fit(WIDE, y, coef_init=[1.0]),
    "partial_fit, columns": lambda model, y: model.set_params(optimizer="gd").partial_fit(WIDE, y),
    "partial_fit, labels": lambda model, y: model.set_params(optimizer="gd").partial_fit(X, [2.0, None] * 20),
    "partial_fit, weights": lambda model, y: model.set_params(optimizer="gd").partial_fit(X, y, sample_weight=y[:3]),
}


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_call_changes_nothing(kind, name):
    model, y = fitted(kind)
    before = everything(model)
    with pytest.raises((ValueError, TypeError)):
        FAILURES[name](model, y)
    model.set_params(optimizer="auto")
    assert everything(model) == before
    assert model.predict(X).shape == (40,)


def test_a_divergent_refit_changes_nothing():
    model, _ = fitted(LinearRegression)
    model.set_params(optimizer=GradientDescent(1e6), batch_size=10)
    before = everything(model)
    with pytest.raises(DivergenceError):
        model.fit(WIDE, X[:, 0])
    assert {name: value for name, value in everything(model).items() if name in before} == before


def test_a_refit_interrupted_at_once_changes_nothing(monkeypatch):
    model, y = fitted(LinearRegression)
    model.set_params(optimizer="accelerated")
    before = everything(model)
    interrupt(monkeypatch, cpu.CpuData, "gradient", 1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(WIDE, y)
    assert everything(model) == before


def test_a_warning_that_is_an_error_changes_nothing():
    model, y = fitted(LogisticRegression)
    before = everything(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused("max_iter", model.set_params(max_iter=1, optimizer="accelerated").fit, WIDE, y, error=UserWarning)
    model.set_params(max_iter=None, optimizer="auto")
    assert everything(model) == before


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
def test_errors_of_floating_point_neither_raise_nor_warn(kind):
    """Far margins, weights from tiny to huge, and a stream: the same bits as without."""

    def run():
        model, y = fitted(kind)
        found = [model.coef_, model.predict(X * 1e300), model.score(X * 1e200, y, sample_weight=np.full(40, 1e308))]
        if kind is LogisticRegression:
            found += [model.predict_proba(X * 1e4), model.predict_log_proba(X * 1e200)]
        weights = np.geomspace(1e-300, 1e300, 40)
        model = kind(alpha=0.1, optimizer="gd", tol=0.0, max_iter=3, random_state=0).fit(X, y, sample_weight=weights)
        found += [model.coef_, model.partial_fit(X * 1e3, y).coef_]
        return [np.asarray(value).tolist() for value in found]

    expected = run()
    with np.errstate(all="raise"):
        assert run() == expected
