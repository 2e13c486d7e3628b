"""Accelerated proximal steps in a metric, for classes with an L1 penalty: optimum, zeros and number of passes."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastgd.optimizers import SketchedNewton
from fastgd.solvers import cost_model
from tests.estimators.fits import certificate_of, fit, problem_for, value_of
from tests.estimators.test_auto import HARD

#: All rows at once, and a sample of them.
WAYS = {"all rows": SketchedNewton(), "sample": SketchedNewton(120)}


@pytest.fixture(autouse=True)
def _apart(monkeypatch):
    """Switch off the joint metric of few classes of few columns."""
    monkeypatch.setattr(cost_model, "MOST_JOINT", 0)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("outputs", [3, 10])
@pytest.mark.parametrize("way", WAYS)
def test_optimum_equals_that_of_accelerated_gradient(way, outputs, l1_ratio):
    problem = problem_for("softmax", outputs, n=600, d=5, alpha=0.02, l1_ratio=l1_ratio, sample_weight=None)
    model = fit(problem, optimizer=WAYS[way], tol=1e-7)
    exact = fit(problem, optimizer="accelerated", tol=1e-9, max_iter=20000)
    assert model.fit_report_["solver"] == "SketchedNewton"
    assert certificate_of(problem, model) <= 1.0001e-7
    assert value_of(problem, model) <= value_of(problem, exact) * (1.0 + 1e-10)
    assert np.array_equal(model.coef_ == 0.0, exact.coef_ == 0.0)
    assert 0 < np.count_nonzero(model.coef_) < model.coef_.size


@pytest.mark.parametrize("outputs", [3, 10])
def test_metric_saves_passes_on_ill_conditioned_columns(outputs):
    problem = HARD["condition 1e6"]("softmax", outputs, alpha=1e-3, l1_ratio=0.5)
    passes = [fit(problem, optimizer=name, tol=1e-5).n_iter_ for name in ("sketched_newton", "accelerated")]
    assert 2 * passes[0] <= passes[1]


def test_float32_fits_end_at_rounding():
    problem = problem_for("softmax", 3, dtype="f4", alpha=0.02, l1_ratio=0.5)
    with pytest.warns(ConvergenceWarning, match="no step"):
        model = fit(problem, dtype="f4", optimizer="sketched_newton", tol=1e-12)
    assert model.n_iter_ < 300
    assert certificate_of(problem, model) <= 2e-6
