"""What fits find does not depend on the units of columns, targets and weights, and weights are repeated rows."""

from dataclasses import replace

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression
from fastgd.reference import Problem, objective
from tests.estimators.fits import features, fit, problem_for, rounded, scipy_optimum, targets, theta_of, value_of
from tests.reference.problems import KINDS

#: float32 kernels for columns far from 0 that other tests compile too; the others are slow.
COMPILED = [("logistic", 1, "C"), ("huber", 1, "F")]


def badly_scaled(loss: str, outputs: int, dtype: str, **options) -> Problem:
    """Columns in units from 1e-6 to 1e6, half of them with a mean of 1e3 standard deviations."""
    problem = problem_for(loss, outputs, d=6, n=400, **options)
    sd = problem.x.std(axis=0)
    centred = (problem.x - problem.x.mean(axis=0)) / sd
    far = np.where(np.arange(6) % 2, 1e3, 0.0)
    return rounded(replace(problem, x=(centred + far) * 10.0 ** np.linspace(-6, 6, 6)), dtype)


def layouts():
    for loss, outputs in KINDS:
        yield pytest.param(loss, outputs, "f8", "C")
        for order in ("C", "F"):
            marks = () if (loss, outputs, order) in COMPILED else pytest.mark.slow
            yield pytest.param(loss, outputs, "f4", order, marks=marks)


@pytest.mark.parametrize("alpha", [0.0, 1e-4])
@pytest.mark.parametrize(("loss", "outputs", "dtype", "order"), list(layouts()))
def test_columns_of_any_unit_and_origin(loss, outputs, dtype, order, alpha):
    problem = badly_scaled(loss, outputs, dtype, alpha=alpha)
    optimum = objective(problem, scipy_optimum(problem))
    model = fit(problem, dtype=dtype, order=order, tol=1e-6)
    # Against the coefficients as float64 holds them: X . coef, not standardised columns.
    assert value_of(problem, model) <= optimum * (1 + (1e-8 if dtype == "f8" else 1e-5))


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize(("loss", "outputs"), [("squared", 1), ("squared", 3), ("huber", 1), ("huber", 2)])
def test_targets_of_any_unit(loss, outputs, unit):
    problem = problem_for(loss, outputs)
    scaled = replace(problem, y=problem.y * unit, delta=problem.delta * unit)
    model, other = fit(problem, tol=1e-9), fit(scaled, tol=1e-9)
    np.testing.assert_allclose(theta_of(other), theta_of(model) * unit, rtol=1e-7)
    assert other.n_iter_ == model.n_iter_
    assert other.fit_report_["objective"] == pytest.approx(model.fit_report_["objective"] * unit**2, rel=1e-9)


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_targets_far_from_zero(loss):
    problem = problem_for(loss)
    far = replace(problem, y=problem.y + 1e6)
    model, other = fit(problem, tol=1e-9), fit(far, tol=1e-9)
    np.testing.assert_allclose(other.coef_, model.coef_, rtol=1e-6)
    assert other.intercept_ - 1e6 == pytest.approx(model.intercept_, abs=1e-8)


@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_certificate_has_no_units(loss, outputs):
    """The same three passes in other units of columns, y and weights."""
    problem = problem_for(loss, outputs)
    with_units = replace(problem, x=problem.x * 10.0 ** np.linspace(-5, 5, 4) + 3.0, weight=problem.weight * 1e-4)
    if loss in ("squared", "huber"):
        with_units = replace(with_units, y=problem.y * 1e3, delta=problem.delta * 1e3)
    certificates = []
    for each in (problem, with_units):
        with pytest.warns(UserWarning, match="max_iter"):
            certificates.append(fit(each, max_iter=3, optimizer="accelerated").fit_report_["certificate"])
    assert certificates[0] > 1e-4
    assert certificates[1] == pytest.approx(certificates[0], rel=1e-6)


@pytest.mark.parametrize("standardize", [True, False])
def test_certificate_of_several_targets_has_no_units(standardize):
    problem = problem_for("squared", 2)
    certificates = []
    for unit in (1.0, 1e4):
        each = replace(problem, y=problem.y * [1.0, unit])
        with pytest.warns(UserWarning, match="max_iter"):
            report = fit(each, max_iter=1, standardize=standardize, optimizer="accelerated").fit_report_
        certificates.append(report["certificate"])
    assert certificates[1] == pytest.approx(certificates[0], rel=1e-6)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_weights_are_repeated_rows(loss, outputs, dtype):
    problem = problem_for(loss, outputs, dtype=dtype, alpha=1e-2)
    times = np.random.default_rng(2).integers(0, 4, problem.n_rows)
    repeated = replace(
        problem,
        x=np.repeat(problem.x, times, axis=0),
        y=np.repeat(problem.y, times, axis=0),
        weight=np.ones(times.sum()),
    )
    tol = 1e-10 if dtype == "f8" else 1e-6
    weighted = fit(replace(problem, weight=times.astype(float)), dtype=dtype, tol=tol)
    plain = model_without_weights(repeated, dtype, tol)
    np.testing.assert_allclose(theta_of(weighted), theta_of(plain), rtol=0, atol=1e-7 if dtype == "f8" else 1e-3)


def model_without_weights(problem, dtype, tol):
    return fit(replace(problem, weight=None), dtype=dtype, tol=tol)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("unit", [2.0**200, 2.0**-200])
@pytest.mark.parametrize(("loss", "outputs"), [("huber", 1), ("softmax", 3)])
def test_weights_of_any_unit(loss, outputs, unit, dtype):
    """Even one that float32 cannot hold."""
    problem = problem_for(loss, outputs, dtype=dtype, alpha=0.1)
    model, other = (fit(each, dtype=dtype) for each in (problem, replace(problem, weight=problem.weight * unit)))
    # In float32 they are rounded anew.
    np.testing.assert_allclose(theta_of(other), theta_of(model), rtol=0, atol=1e-12 if dtype == "f8" else 3e-6)
    assert other.n_iter_ == model.n_iter_


def test_rows_without_weight_have_no_say():
    """Not even in the means and scales."""
    problem = problem_for("squared")
    X, y, s = features(problem), targets(problem), problem.weight.copy()
    s[:3] = 0.0
    model = LinearRegression(tol=1e-10).fit(X, y, s)
    X[:3], y = 1e8, np.concatenate([[1e9] * 3, y[3:]])
    np.testing.assert_allclose(LinearRegression(tol=1e-10).fit(X, y, s).coef_, model.coef_, rtol=1e-6)


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "c"]])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_are_sample_weights(labels, weighted):
    problem = problem_for("softmax", len(labels))
    y = np.array(labels)[problem.y]
    s = problem.weight if weighted else None
    each = {"a": 0.5, "b": 3.0}
    model = LogisticRegression(class_weight=each, tol=1e-10).fit(problem.x, y, s)
    by_hand = np.array([each.get(label, 1.0) for label in y]) * (1.0 if s is None else s)
    np.testing.assert_allclose(model.coef_, LogisticRegression(tol=1e-10).fit(problem.x, y, by_hand).coef_, rtol=1e-6)
    model = LogisticRegression(class_weight="balanced", tol=1e-10).fit(problem.x, y, s)
    by_hand = np.ones(y.size) if s is None else s.copy()
    for label in labels:
        # Every class weighs the same.
        by_hand[y == label] /= by_hand[y == label].sum()
    np.testing.assert_allclose(model.coef_, LogisticRegression(tol=1e-10).fit(problem.x, y, by_hand).coef_, rtol=1e-6)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"optimizer": "lbfgs"}, {"optimizer": "accelerated"}, {"optimizer": "gd", "batch_size": "full"}],
    ids=str,
)
def test_float32_columns_and_targets_of_a_large_mean(parameters):
    """Raw columns, by numpy.linalg.lstsq in float64: targets are centred before they are rounded."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 3)).astype(np.float32)
    deviation = X @ np.array([0.02, -0.01, 0.015]) + 0.01 * rng.standard_normal(500)
    columns = np.column_stack([X, np.ones(500)]).astype(float)
    y = 1e6 + deviation
    best = np.linalg.lstsq(columns, y - 1e6, rcond=None)[0]
    model = LinearRegression(standardize=False, tol=1e-7, **parameters).fit(X, y)
    np.testing.assert_allclose(model.coef_, best[:3], rtol=1e-4)
    assert model.intercept_ - 1e6 == pytest.approx(best[3], abs=1e-7)
    loss = 0.5 * np.mean((columns @ best - (y - 1e6)) ** 2)
    assert model.fit_report_["objective"] == pytest.approx(loss, rel=1e-6)
