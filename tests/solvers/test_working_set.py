"""Working sets of columns for L1 and wide data: optima by the reference and scikit-learn, and their use."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from sklearn.linear_model import LogisticRegression as SklearnLogistic

from fastgd.backends.csr.data import CsrData
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.solvers import select
from tests.covering import pairwise
from tests.estimators.fits import Recorder, certificate_of, interrupt, model_for, problem_for, targets, value_of
from tests.kernels.table import DTYPES
from tests.objective_of import objective_of
from tests.solvers.test_progress import monitor_for

KINDS = [("squared", 1), ("squared", 2), ("huber", 2), ("logistic", 1), ("softmax", 3)]
CASES = [
    (kind, dtype, is_sparse, intercept)
    for kind in KINDS
    for dtype in DTYPES
    for is_sparse in (True, False)
    for intercept in (True, False)
]
N, D = 80, 300


@pytest.fixture(autouse=True)
def few_columns(monkeypatch):
    """Working sets from a few columns on, and metrics for the smaller ones of them."""
    monkeypatch.setattr(select, "_FEW_COLUMNS", 60)


def wide(loss, outputs, dtype="f8", l1=0.03, l2=0.01, **options):
    """A problem of few rows, half of whose numbers are 0, with unequal weights and scales of columns."""
    problem = problem_for(loss, outputs, dtype=dtype, n=N, d=D, alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), **options)
    problem.x[np.random.default_rng(0).random((N, D)) < 0.5] = 0.0
    return problem


def fitted(problem, dtype="f8", is_sparse=True, callbacks=None, **parameters):
    rows = problem.x.astype(np.dtype(dtype))
    model = model_for(problem, **parameters)
    return model.fit(
        sparse.csr_array(rows) if is_sparse else rows, targets(problem), problem.weight, callbacks=callbacks
    )


def took_working_sets(model):
    return model.fit_report_["solver"] == "WorkingSets"


@pytest.mark.parametrize(("kind", "dtype", "is_sparse", "intercept"), pairwise(CASES))
def test_the_certificate_is_the_references(kind, dtype, is_sparse, intercept):
    problem = wide(*kind, dtype, fit_intercept=intercept)
    # Gradients of the Huber loss in float32 have too much rounding for 1e-4; the accelerated gradient ends farther off.
    tol = 1e-7 if dtype == "f8" else 1e-3 if kind[0] == "huber" else 1e-4
    model = fitted(problem, dtype, is_sparse, tol=tol, standardize=dtype == "f8")
    assert took_working_sets(model)
    assert model.fit_report_["converged"]
    assert certificate_of(problem, model) <= 1.01 * tol + np.finfo(dtype).eps
    assert intercept or not np.any(model.intercept_)
    assert 0 < np.count_nonzero(model.coef_) < model.coef_.size // 2


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_the_optimum_is_scikit_learns(l2):
    problem = wide("squared", 1, l2=l2)
    model = fitted(problem, tol=1e-9)
    rival = ElasticNet(alpha=0.03 + l2, l1_ratio=0.03 / (0.03 + l2), tol=1e-12, max_iter=100_000)
    rival.fit(problem.x, targets(problem), sample_weight=problem.weight)
    assert took_working_sets(model)
    # Coefficients are ill-determined without L2, F is not.
    assert value_of(problem, model) == pytest.approx(value_of(problem, rival), rel=1e-9)
    rival = SklearnLogistic(l1_ratio=1.0, C=1.0 / (0.03 * N), solver="saga", tol=1e-10, max_iter=100_000)
    problem = wide("logistic", 1, l2=0.0, sample_weight=None)
    model = fitted(problem, tol=1e-9)
    rival.fit(problem.x, targets(problem))
    assert value_of(problem, model) <= value_of(problem, rival) * (1.0 + 1e-9)


def test_only_passes_over_all_columns_are_epochs():
    """Each epoch's loss is F at that point for all rows, and callbacks get these points."""
    problem, recorder = wide("logistic", 1), Recorder(1000)
    model = fitted(problem, callbacks=recorder, tol=1e-7)
    assert took_working_sets(model)
    assert model.history_["loss"][-1] == pytest.approx(value_of(problem, model), rel=1e-10)
    assert np.all(np.diff(model.history_["loss"]) <= 0.0)
    assert model.n_iter_ == len(model.history_["loss"]) < 20


def test_the_certificate_is_that_of_all_columns(monkeypatch):
    """With a subproblem that is not solved, nothing is claimed."""
    problem = wide("logistic", 1)
    monkeypatch.setattr(select, "accelerate", lambda part, theta, tol, progress: select.Solution(theta, True, "", 1.0))
    monkeypatch.setattr(select, "select_solver", lambda part: select.Selection(select.Accelerated(), "", {}))
    objective = objective_of(problem)
    monitor = monitor_for(objective, 100)
    solution = select.solve(select.WorkingSets(), objective, objective.start(), 1e-6, monitor)
    assert (solution.converged, solution.reason) == (False, "no step")


def test_a_warm_start_at_the_optimum_takes_two_passes():
    problem = wide("softmax", 3)
    model = fitted(problem, tol=1e-6, warm_start=True)
    before = model.coef_.copy()
    model.set_params(tol=1e-5).fit(sparse.csr_array(problem.x), targets(problem), problem.weight)
    assert took_working_sets(model)
    assert model.n_iter_ <= 2
    np.testing.assert_allclose(model.coef_, before, atol=1e-6)


def test_where_working_sets_are_used(monkeypatch):
    problem = wide("squared", 1)
    assert took_working_sets(fitted(problem))
    assert not took_working_sets(fitted(problem, optimizer="accelerated"))
    assert not took_working_sets(fitted(wide("squared", 1), positive=True))
    assert not took_working_sets(fitted(wide("squared", 1, l1=0.0)))
    monkeypatch.setattr(select, "_FEW_COLUMNS", D)
    assert not took_working_sets(fitted(problem))


def test_accelerated_steps_take_over_if_most_columns_are_wanted():
    problem = problem_for("logistic", 1, n=250, d=D, alpha=0.01, l1_ratio=1.0)
    model = fitted(problem, tol=0.05)
    assert model.fit_report_["solver"] == "Accelerated"
    assert "most of the data violate optimality" in model.fit_report_["reason"]


def test_validation_losses_are_those_of_the_passes_and_end_the_fit():
    """Validation rows without relation to their targets: early stopping returns the epoch of their least loss."""
    problem, recorder, rng = wide("squared", 1, l1=0.003), Recorder(), np.random.default_rng(1)
    X_val, y_val = rng.standard_normal((40, D)), rng.standard_normal(40)
    model = model_for(problem, tol=1e-9, early_stopping=True, n_iter_no_change=2)
    model.fit(
        sparse.csr_array(problem.x),
        targets(problem),
        problem.weight,
        X_val=sparse.csr_array(X_val),
        y_val=y_val,
        callbacks=recorder,
    )
    assert took_working_sets(model)
    losses = [0.5 * np.mean((X_val @ theta[0, :-1] + theta[0, -1] - y_val) ** 2) for theta in recorder.thetas]
    np.testing.assert_allclose(model.history_["validation_loss"], losses, rtol=1e-9)
    assert model.fit_report_["stopped_by"] == "early stopping"
    np.testing.assert_array_equal(model.coef_, recorder.thetas[int(np.argmin(losses))][0, :-1])


def test_a_time_limit_ends_the_subproblems():
    problem = wide("logistic", 1)
    with pytest.warns(ConvergenceWarning, match="max_seconds"):
        model = fitted(problem, tol=1e-9, max_seconds=1e-9)
    assert took_working_sets(model)
    assert model.n_iter_ == 1


def test_pure_l1_waits_for_the_duality_gap():
    problem = wide("logistic", 1, l1=0.01, l2=0.0, sample_weight=None)
    report = fitted(problem, tol=1e-4).fit_report_
    fall = np.log(2.0) - report["objective"]
    assert report["stopped_by"] == "certificate"
    assert report["duality_gap"] <= 0.5e-4 * fall


def test_without_a_tolerance_all_passes_are_taken():
    model = fitted(wide("logistic", 1, l1=50.0), tol=0.0, max_iter=30)
    assert took_working_sets(model)
    assert model.n_iter_ == 30


def test_no_column_is_needed_for_a_strong_penalty():
    problem = wide("logistic", 1, l1=50.0)
    model = fitted(problem, tol=1e-10)
    assert took_working_sets(model)
    assert model.fit_report_["converged"]
    assert not model.coef_.any()


def test_max_iter_and_interrupts_keep_the_best_point(monkeypatch):
    problem = wide("logistic", 1)
    with pytest.warns(ConvergenceWarning, match="max_iter reached after 2 epochs"):
        model = fitted(problem, tol=1e-9, max_iter=2)
    assert model.fit_report_["objective"] < model.history_["loss"][0]
    interrupt(monkeypatch, CsrData, "columns", 2)
    model = model_for(problem, tol=1e-9)
    with pytest.raises(KeyboardInterrupt):
        model.fit(sparse.csr_array(problem.x), targets(problem))
    assert model.fit_report_["stopped_by"] == "interrupted"


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_columns_of_sparse_rows_are_scipys(index):
    X = sparse.random_array((30, 50), density=0.2, rng=np.random.default_rng(0), format="csr")
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    numbers = np.array([0, 3, 7, 49])
    part = CsrMatrix.of(X, "X").columns(numbers)
    assert part.indices.dtype == index
    np.testing.assert_array_equal(part.to_scipy().toarray(), X.toarray()[:, numbers])
