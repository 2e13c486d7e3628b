"""Small data take short ways: arrays that need no conversion, rows that are kept, nothing compiled."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from fastgd import LinearRegression, LogisticRegression
from fastgd.backends import design
from fastgd.losses import find_loss
from fastgd.objective import objective as objectives
from fastgd.objective.sampling import most_rows
from fastgd.optimizers import SketchedNewton
from fastgd.reference import make_problem
from fastgd.solvers import cost_model
from fastgd.solvers.cost_model import Shape
from fastgd.solvers.metric import make_metric
from fastgd.solvers.progress import Deadline
from tests.estimators.fits import fit, problem_for, refused, scipy_optimum, theta_of
from tests.objective_of import objective_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
WHICH = RNG.random(60) < 0.4
T = X @ [1.0, -2.0, 0.5] + RNG.standard_normal(60)


@pytest.mark.parametrize("dtype", ["i8", "i1", "u1", "u8", ">i4", "?"])
def test_two_integers_are_the_classes_that_a_list_of_them_has(dtype):
    y = np.where(WHICH, 1, 0).astype(dtype)
    found, expected = LogisticRegression().fit(X, y), LogisticRegression().fit(X, y.tolist())
    assert found.classes_.dtype == y.dtype
    assert found.classes_.tolist() == expected.classes_.tolist()
    assert np.array_equal(found.coef_, expected.coef_)
    assert np.array_equal(found.predict(X), expected.predict(X))


def test_the_extremes_of_an_integer_type_are_two_classes():
    ends = np.iinfo(np.int64)
    model = LogisticRegression().fit(X, np.where(WHICH, ends.max, ends.min))
    assert model.classes_.tolist() == [ends.min, ends.max]


def test_integers_between_the_least_and_the_largest_are_classes_too():
    y = np.where(WHICH, 3, -1)
    y[-1] = 1
    assert LogisticRegression(alpha=0.1).fit(X, y).classes_.tolist() == [-1, 1, 3]
    refused("one class only", LogisticRegression().fit, X, np.full(60, 2))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_arrays_as_kernels_want_them_are_fitted_as_others_are(dtype, order):
    given = np.array(X, dtype, order=order)
    strided = np.repeat(given, 2, axis=0)[::2]
    assert not strided.flags.forc
    found, expected = LinearRegression().fit(given, T), LinearRegression().fit(strided, T.tolist())
    assert found.fit_report_["bytes_converted"] == 0 < expected.fit_report_["bytes_converted"]
    # The copy is in C order.
    assert found.coef_ == pytest.approx(expected.coef_, rel=1e-9 if dtype == "f8" else 1e-5)


def test_a_fit_forgets_the_columns_of_the_last_one():
    model = LinearRegression().fit(pd.DataFrame(X, columns=list("abc")), T)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    model.fit(X[:, :2].copy(), T)
    assert model.n_features_in_ == 2
    assert not hasattr(model, "feature_names_in_")
    assert model.predict(X[:, :2]).shape == (60,)


@pytest.mark.parametrize("shape", [(0, 3), (60, 0), (60,), (60, 3, 1)])
def test_arrays_of_no_use_are_refused(shape):
    for model, y in ((LinearRegression(), T), (LogisticRegression(), WHICH)):
        refused(r"0 sample|0 feature|X must be a 2D array", model.fit, np.ones(shape), y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_targets_that_are_no_numbers_are_refused(bad):
    y = T.copy()
    y[7] = bad
    refused("Input y contains", LinearRegression().fit, X, y)


@pytest.mark.parametrize("y", [T[:-1], WHICH[:-1]])
def test_rows_without_a_target_are_refused(y):
    model = LogisticRegression() if y.dtype == bool else LinearRegression()
    refused("inconsistent numbers of samples", model.fit, X, y)


KINDS = [("squared", 1), ("squared", 3), ("huber", 1), ("logistic", 1), ("softmax", 3)]


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_kept_rows_end_where_rows_made_anew_do(monkeypatch, loss, outputs, l1_ratio):
    problem = problem_for(loss, outputs, alpha=0.05, l1_ratio=l1_ratio)
    options = {"optimizer": "sketched_newton", "tol": 1e-9}
    kept = fit(problem, **options)
    monkeypatch.setattr(objectives, "_KEPT_NUMBERS", 0)
    monkeypatch.setattr(design, "_BLOCK_NUMBERS", 1)
    monkeypatch.setattr(design, "_BLOCK_ROWS", 16)
    made = fit(problem, **options)
    # Coupled outputs take their passes by kernels either way.
    assert loss == "softmax" or kept.fit_report_["passes"] < made.fit_report_["passes"]
    assert kept.fit_report_.keys() == made.fit_report_.keys()
    assert theta_of(kept) == pytest.approx(theta_of(made), abs=1e-7)


@pytest.mark.parametrize("shortened", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("loss", "outputs"), [("huber", 2), ("logistic", 1)])
def test_newtons_first_step_goes_to_the_minimum_of_its_line(loss, outputs, shortened):
    problem = problem_for(loss, outputs, alpha=0.01, l1_ratio=0.0)
    objective = objective_of(problem)
    at, curvature = objective.second_order(objective.start())
    step = shortened * make_metric(objective, curvature, 0, sampled=False).step(at)
    found = objective.lengthen_step(at, step)
    length = np.vdot(found, step) / np.vdot(step, step)
    assert found == pytest.approx(length * step, rel=1e-12)
    slopes = [abs(np.vdot(objective.evaluate(at.theta + move).slope, step)) for move in (step, found)]
    assert slopes[1] < 0.1 * slopes[0]


def test_steps_are_as_they_are_where_their_line_would_take_passes(monkeypatch):
    problem = problem_for("logistic", alpha=0.1, l1_ratio=0.5)
    objective = objective_of(problem)
    at = objective.evaluate(objective.start())
    assert objective.lengthen_step(at, -at.slope) == pytest.approx(-at.slope, rel=0, abs=0)
    monkeypatch.setattr(objectives, "_KEPT_NUMBERS", 0)
    smooth = objective_of(problem_for("logistic", alpha=0.1, l1_ratio=0.0))
    assert smooth.lengthen_step(at, -at.slope) == pytest.approx(-at.slope, rel=0, abs=0)


FRESH = """
import numpy as np, fastgd
from fastgd.kernels._jit import compiled_kernels
rng = np.random.default_rng(0)
X = rng.standard_normal((100, 3))
t = X @ [1.0, -1.0, 0.5] + rng.standard_normal(100)
y = t > 0.3
for model, target in (
    (fastgd.LogisticRegression(), y),
    (fastgd.LinearRegression(), t),
    (fastgd.LinearRegression(alpha=0.1), t),
):
    model.fit(X, target)
    print(model.fit_report_["converged"], compiled_kernels(), model.fit_report_["seconds_compile"])
"""


def test_first_small_fits_compile_and_load_no_kernel(python):
    assert python("-c", FRESH).splitlines() == 3 * ["True [] 0.0"]


@pytest.mark.parametrize("loss", ["squared", "huber", "logistic", "softmax"])
@pytest.mark.parametrize("rows", [10, 1000, 20_000, 1_000_000])
def test_no_sample_is_missed_where_none_is_looked_for(loss, rows):
    for columns, outputs, rarity in itertools.product((2, 21, 201), (1, 10), (1.0, 7.0)):
        shape = Shape(rows, columns, outputs, 8, find_loss(loss), False, rarity)
        ratios = [ratio * shape.parameters * rarity for ratio in cost_model._ROWS_A_PARAMETER]
        if most_rows(rows) == 0 or shape.takes_all_rows:
            assert shape.sample_rows == rows
            continue
        quickest = min(shape.seconds_sampled(min(size, most_rows(rows))) for size in ratios)
        assert shape._least_seconds_sampled <= quickest * (1 + 1e-12)
        assert (shape.sample_rows == rows) == (quickest >= shape.seconds_all_rows)


@pytest.mark.parametrize("d", [5, 300])
@pytest.mark.parametrize("n", [2, 5, 20, 31, 40])
def test_newtons_method_takes_all_of_few_rows(n, d):
    """Whatever sample is asked for: there may be no whole run of rows."""
    data = np.random.default_rng(n).standard_normal((n, d))
    for optimizer in (SketchedNewton(sample_rows=4), SketchedNewton(), "auto"):
        model = LogisticRegression(alpha=0.1, optimizer=optimizer).fit(data, np.arange(n) % 2)
        assert model.fit_report_["stopped_by"] == "certificate"


def classical() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Data sets of scikit-learn and generated models of 32 to 10,000 rows, none of them separable."""
    rng = np.random.default_rng(3)
    found = {}
    for n, d in ((32, 3), (944, 5), (10_000, 8)):
        X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2.0, 2.0, d) + rng.uniform(0.0, 5.0, d)
        z = (X - X.mean(axis=0)) / X.std(axis=0) @ rng.standard_normal(d)
        found[f"{n} rows"] = X, (z + rng.logistic(size=n) > 0.0).astype(float)
        if n < 1000:
            scores = np.stack([z, -z, np.zeros(n)], axis=1) + rng.gumbel(size=(n, 3))
            found[f"{n} rows, classes"] = X, scores.argmax(axis=1).astype(float)
    X, y = load_breast_cancer(return_X_y=True)
    found["breast cancer"] = X[:, [0, 1, 8, 9]], y.astype(float)
    X, y = load_wine(return_X_y=True)
    found["wine, classes"] = X[:, [1, 2, 7]], y.astype(float)
    found["diabetes, classes"] = load_diabetes().data, np.digitize(load_diabetes().target, [100.0, 200.0]).astype(float)
    return found


@pytest.mark.parametrize("name", classical())
def test_default_settings_give_small_data_six_digits(name):
    """All coefficients without a penalty, by an independent optimum, as tables of statistics packages print them."""
    x, y = classical()[name]
    classes = int(y.max()) + 1
    problem = make_problem(x, y.astype(int), "softmax") if classes > 2 else make_problem(x, 2.0 * y - 1.0, "logistic")
    exact = scipy_optimum(problem)
    model = LogisticRegression(alpha=0.0).fit(x, y)
    found, expected = theta_of(model), exact
    if classes > 2:
        found, expected = found - found[0], expected - expected[0]
    assert model.fit_report_["stopped_by"] == "certificate"
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("kind", ["callback", "seconds", "max_iter"])
def test_steps_for_digits_end_when_the_fit_has_to(kind, monkeypatch):
    x, y = classical()["944 rows"]
    whole = LogisticRegression(alpha=0.0).fit(x, y)
    certified = int(np.flatnonzero(whole.history_["certificate"] <= 1e-4)[0]) + 1
    assert whole.n_iter_ > certified
    calls = []

    def stop(state):
        calls.append(state.epoch)
        return state.certificate <= 1e-4

    if kind == "callback":
        model = LogisticRegression(alpha=0.0).fit(x, y, callbacks=stop)
        assert calls == list(range(1, certified + 1))
    elif kind == "max_iter":
        model = LogisticRegression(alpha=0.0, max_iter=certified).fit(x, y)
    else:
        monkeypatch.setattr(Deadline, "passed", property(lambda self: len(calls) >= certified))
        model = LogisticRegression(alpha=0.0, max_seconds=60.0).fit(
            x, y, callbacks=lambda state: calls.append(state.epoch)
        )
    assert model.n_iter_ == certified
    assert model.fit_report_["stopped_by"] == "certificate"
    assert model.fit_report_["converged"]


def test_single_precision_ends_at_its_digits():
    x, y = classical()["944 rows"]
    double, single = (LogisticRegression(alpha=0.0).fit(x.astype(dtype), y) for dtype in (np.float64, np.float32))
    assert single.n_iter_ <= double.n_iter_
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=1e-4)
