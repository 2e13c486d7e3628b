"""L-BFGS ends at the optimum of independent methods, in few passes, and reports rounding."""

import warnings

import numpy as np
import pytest
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from fastgd import DivergenceError, LinearRegression, LogisticRegression
from fastgd.backends.cpu import data as cpu
from fastgd.history import History
from fastgd.optimizers import LBFGS
from fastgd.reference import make_problem
from fastgd.solvers.lbfgs import solve_lbfgs
from fastgd.solvers.progress import Monitor, Plateau
from tests.estimators.fits import (
    Recorder,
    certificate_of,
    fit,
    model_for,
    problem_for,
    targets,
)
from tests.objective_of import objective_of
from tests.reference.problems import KINDS


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_the_certificate_is_the_references(loss, outputs, intercept, alpha):
    problem = problem_for(loss, outputs, alpha=alpha, d=6, fit_intercept=intercept)
    model = fit(problem, optimizer="lbfgs", tol=1e-9)
    assert certificate_of(problem, model) <= 1.0001e-9
    if not intercept:
        assert not np.any(model.intercept_)


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
def test_l1_is_refused(kind):
    X, y = np.eye(6)[:, :2], [0, 1, 0, 1, 1, 0]
    with pytest.raises(ValueError, match=r"optimizer='lbfgs' needs a smooth .* 'accelerated' or 'sketched_newton'"):
        kind(optimizer=LBFGS(), alpha=0.1, l1_ratio=0.5).fit(X, y)
    # The share of no penalty is nothing.
    LinearRegression(optimizer="lbfgs", l1_ratio=0.5).fit(X, y)


def test_every_pass_is_an_epoch(monkeypatch):
    problem = problem_for("softmax", 3, alpha=1e-3)
    seen, gradient = [], cpu.CpuData.gradient
    monkeypatch.setattr(cpu.CpuData, "gradient", lambda *given: (seen.append(None), gradient(*given))[1])
    model = fit(problem, optimizer="lbfgs", tol=1e-8)
    assert model.n_iter_ == len(seen) == len(model.history_["certificate"])
    assert model.history_["certificate"][-1] == model.fit_report_["certificate"] <= 1e-8
    assert np.all(model.history_["certificate"][:-1] > 1e-8)


def test_max_iter_ends_at_the_best_pass():
    problem = problem_for("huber", 2, alpha=1e-3, d=8)
    with pytest.warns(ConvergenceWarning, match="max_iter reached after 7 epochs"):
        model = fit(problem, optimizer="lbfgs", max_iter=7, tol=1e-10)
    assert (model.n_iter_, model.fit_report_["stopped_by"]) == (7, "max_iter")
    # The last pass ends the seventh epoch.
    assert model.fit_report_["objective"] < model.history_["loss"].min()


@pytest.mark.parametrize("long", [0.0, np.inf])
def test_a_gap_takes_the_place_of_a_metric_that_takes_long(long, monkeypatch):
    monkeypatch.setattr("fastgd.solvers.newton._LONG_METRIC", long)
    monkeypatch.setattr("fastgd.solvers.cost_model.Shape.passes_of_metric", lambda shape, rows: 50.0)
    problem = problem_for("squared", 1, alpha=1e-6, d=8, n=2000)
    model = fit(problem, optimizer="lbfgs", tol=1e-4)
    report, fall = model.fit_report_, np.mean((problem.y - problem.y.mean()) ** 2) / 2
    waits = long == 0.0
    assert report["converged"]
    assert (report["suboptimality"] is None) == waits
    if waits:
        assert 0.0 < report["duality_gap"] <= 1e-4 * fall


def test_a_callback_ends_it():
    problem, watch = problem_for("logistic", alpha=0.1), Recorder(4)
    model = model_for(problem, optimizer="lbfgs", tol=0.0)
    model.fit(problem.x, targets(problem), problem.weight, callbacks=watch)
    assert (model.n_iter_, model.fit_report_["stopped_by"]) == (4, "callback")


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_fits_flat_to_rounding_warn(loss, outputs):
    problem = problem_for(loss, outputs, dtype="f4", alpha=0.3)
    with pytest.warns(ConvergenceWarning, match="it is flat to the rounding of float32"):
        model = fit(problem, dtype="f4", optimizer="lbfgs", tol=1e-12)
    assert model.fit_report_["stopped_by"] == "no step"
    assert model.fit_report_["certificate"] < 1e-6


@pytest.mark.parametrize(("loss", "outputs"), [("huber", 2), ("softmax", 3)])
def test_values_flat_to_rounding_are_not_the_end(loss, outputs):
    """By differences from gradients certificates get far below the root of eps."""
    problem = problem_for(loss, outputs, alpha=1e-3, d=8)
    assert certificate_of(problem, fit(problem, optimizer="lbfgs", tol=3e-11)) < 3.1e-11


def test_overflow_raises_divergence_error():
    """Squares of 1e25 are beyond float32."""
    made = objective_of(problem_for("squared", dtype="f4"), dtype="f4")
    monitor = Monitor(History(5), Plateau(0.0, 1), made.to_user)
    with pytest.raises(DivergenceError, match="overflow"):
        solve_lbfgs(made, np.full_like(made.start(), 1e25), 1e-4, monitor)


def unequal(rng):
    """Return rows of classes with a rare last one."""
    X = rng.standard_normal((3000, 10)) * np.logspace(-2, 2, 10)
    margins = X / X.std(axis=0) @ rng.standard_normal((10, 5)) + rng.gumbel(size=(3000, 5)) - 1.2 * np.arange(5)
    return X, margins.argmax(axis=1)


def test_units_halve_the_passes_on_unequal_classes():
    """Counted against SciPy on the same objective in standardised coordinates."""
    X, y = unequal(np.random.default_rng(0))
    model = LogisticRegression(alpha=1e-3, optimizer="lbfgs", tol=1e-5).fit(X, y)
    made = objective_of(make_problem(X, y, "softmax", alpha=1e-3))
    passes = []

    class Done(Exception):
        pass

    def plain(v):
        at = made.evaluate(v.reshape(made.start().shape))
        passes.append(made.certificate(at))
        if passes[-1] <= 1e-5:
            raise Done
        return np.sum(at.losses + at.penalties), (at.gradient + made.l2 * at.theta).ravel()

    options = {"ftol": 0.0, "gtol": 0.0, "maxfun": 10**6, "maxiter": 10**6}
    with pytest.raises(Done):
        optimize.minimize(plain, made.start().ravel(), jac=True, method="L-BFGS-B", options=options)
    assert 2 * model.n_iter_ < len(passes)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_raw_columns_of_any_scale(loss):
    """Without `standardize` scales differ by 1e6."""
    problem = problem_for(loss, alpha=1e-3, n=500, d=6)
    scaled = problem.x * np.logspace(-3, 3, 6)
    model = model_for(problem, optimizer="lbfgs", standardize=False, tol=1e-6)
    model.fit(scaled, targets(problem), problem.weight)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert model.n_iter_ < 60


def test_memory_is_used():
    X, y = unequal(np.random.default_rng(1))
    passes = [LogisticRegression(optimizer=LBFGS(memory), tol=1e-6).fit(X, y).n_iter_ for memory in (1, 20)]
    assert passes[1] < 0.8 * passes[0]


def test_columns_and_classes_that_say_nothing():
    """A constant column and a class without weight have no effect."""
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((90, 3)), np.arange(90) % 3
    X[:, 1] = 4.0
    weight = np.where(y == 2, 0.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LogisticRegression(alpha=0.1, optimizer="lbfgs", tol=1e-8).fit(X, y, weight)
    assert not np.any(model.coef_[:, 1])
    assert model.fit_report_["certificate"] <= 1e-8


def test_blas_runs_on_one_thread_meanwhile():
    """Its threads would compete with those of the passes, and their number would change bits."""

    class Look:
        def on_epoch_end(self, state):
            seen.append({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})

    seen, problem = [], problem_for("logistic", n=4000, alpha=0.1)
    with threadpool_limits(2, user_api="blas"):
        model = model_for(problem, optimizer="lbfgs", max_iter=3, tol=0.0)
        model.fit(problem.x, targets(problem), problem.weight, callbacks=Look())
        after = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    assert seen == [{1}] * 3
    assert after == {2}
