"""The end of mini-batch fits: exact zeros of an L1 term, and SAGA at its tolerance."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastgd import LogisticRegression
from fastgd.optimizers import GradientDescent
from fastgd.solvers.first_order import solve_rule


@pytest.mark.parametrize("optimizer", ["gd", "momentum", "adagrad", "adam", "rmsprop", "saga"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_hot_columns_without_effect_are_exactly_0(optimizer):
    """Of 68 columns of six categories four have an effect: the support equals that of another solver's optimum."""
    rng = np.random.default_rng(0)
    groups = [rng.integers(0, size, 3000) for size in (3, 8, 5, 12, 30, 10)]
    X = np.hstack([np.eye(group.max() + 1)[group] for group in groups])
    effect = np.zeros(X.shape[1])
    effect[[0, 4, 9, 20]] = [1.5, -2.0, 1.0, -1.5]
    y = rng.random(3000) < 1.0 / (1.0 + np.exp(-X @ effect))
    options = {"alpha": 8e-3, "l1_ratio": 1.0}
    best = LogisticRegression(optimizer="accelerated", tol=1e-8, max_iter=20_000, **options).fit(X, y)
    model = LogisticRegression(optimizer=optimizer, random_state=0, **options).fit(X, y)
    np.testing.assert_array_equal(model.coef_ != 0.0, best.coef_ != 0.0)
    assert np.count_nonzero(model.coef_) == 4
    assert model.fit_report_["objective"] < best.fit_report_["objective"] + 1e-7


def test_saga_with_single_rows_reaches_tol():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = X @ [1.0, -2.0, 0.0] + rng.normal(size=400) > 0.0
    best = LogisticRegression(optimizer="lbfgs", tol=1e-10, alpha=1e-2).fit(X, y)
    model = LogisticRegression(optimizer="saga", batch_size=1, tol=1e-8, alpha=1e-2, max_iter=500, random_state=0).fit(
        X, y
    )
    assert model.fit_report_["stopped_by"] == "certificate"
    assert model.fit_report_["certificate"] <= 1e-8
    np.testing.assert_allclose(model.coef_, best.coef_, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "batch_size", "remedy"),
    [
        ("gd", 64, "n_iter_no_change above 16, or optimizer='auto'"),
        (GradientDescent(0.5), 16, "n_iter_no_change above 5, a rate that falls, or optimizer='auto'"),
        (GradientDescent(0.5), 64, "n_iter_no_change above 16, a rate that falls, or optimizer='auto'"),
    ],
)
def test_the_warning_of_a_flat_loss_names_the_epochs_waited_and_what_helps(optimizer, batch_size, remedy, monkeypatch):
    def ended(*args):
        return replace(solve_rule(*args), reason="flat loss", gain=np.ones(1), is_close=False)

    monkeypatch.setattr("fastgd._fit.solve_rule", ended)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = X @ [1.0, -2.0, 0.0] + rng.normal(size=400) > 0.0
    model = LogisticRegression(optimizer=optimizer, alpha=0.1, batch_size=batch_size, max_iter=3, random_state=0)
    waited = re.search(r"\d+", remedy)[0]
    with pytest.warns(ConvergenceWarning, match=rf"not fallen for {waited} epochs.*: use tol=0 or {remedy}$"):
        model.fit(X, y)


@pytest.mark.parametrize("is_close", [False, True])
@pytest.mark.parametrize("small", [False, True])
def test_an_estimate_decides_a_flat_loss_and_a_fit_that_has_not_converged_warns(monkeypatch, is_close, small):
    """Whether the gradient is small or far from it."""

    def ended(*args):
        found = solve_rule(*args)
        theta = found.theta if small else np.zeros_like(found.theta)
        end = {"converged": True, "reason": "flat loss", "gain": np.ones(1), "is_close": is_close}
        return replace(found, theta=theta, evaluation=None, **end)

    monkeypatch.setattr("fastgd._fit.solve_rule", ended)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = X @ [1.0, -2.0, 0.0] + rng.normal(size=200) > 0.0
    model = LogisticRegression(optimizer="gd", alpha=0.1, batch_size=16, tol=0.05, max_iter=10, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    certificate = model.fit_report_["certificate"]
    assert certificate < 0.05 if small else certificate > 0.1
    assert model.fit_report_["converged"] == is_close
    assert len(caught) == (not is_close)
    assert all(issubclass(warning.category, ConvergenceWarning) for warning in caught)
