"""Classes of a row or two: few passes to the optimum, and that optimum."""

import numpy as np
import pytest

from fastgd import LogisticRegression
from fastgd.optimizers import SketchedNewton
from fastgd.reference import objective
from tests.estimators.fits import certificate_of, fit, problem_for, scipy_optimum, value_of


def with_a_rare_class(seed, n, d, classes, rare, signal=0.0):
    """Columns, perhaps correlated, and classes of which the last has so many rows."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    if seed % 2:
        X = X @ rng.standard_normal((d, d))
    shares = rng.gumbel(size=(n, classes - 1)) + signal * X @ rng.standard_normal((d, classes - 1))
    y = np.argmax(shares, axis=1)
    y[:rare] = classes - 1
    return X, y


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("signal", [0.0, 5.0])
@pytest.mark.parametrize(
    ("n", "d", "classes", "rare"), [(60, 3, 3, 1), (60, 3, 3, 2), (60, 3, 4, 1), (300, 10, 5, 1), (100, 5, 3, 1)]
)
def test_few_passes(n, d, classes, rare, signal, seed, dtype):
    """What is rare is flat: a metric that takes all classes for the same needs hundreds of passes."""
    X, y = with_a_rare_class(seed, n, d, classes, rare, signal)
    model = LogisticRegression(optimizer="sketched_newton").fit(X.astype(dtype), y)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert model.n_iter_ <= 60


@pytest.mark.parametrize("sample_rows", [None, 300])
def test_scipys_optimum(sample_rows):
    problem = problem_for("softmax", 3, n=1500, alpha=1e-3)
    problem.y[problem.y == 2] = 0
    problem.y[[5, 700]] = 2
    optimizer = "auto" if sample_rows is None else SketchedNewton(sample_rows)
    model = fit(problem, optimizer=optimizer, tol=1e-8)
    assert certificate_of(problem, model) <= 1.001e-8
    assert value_of(problem, model) <= objective(problem, scipy_optimum(problem)) * (1.0 + 1e-10)
    assert model.n_iter_ <= 80
