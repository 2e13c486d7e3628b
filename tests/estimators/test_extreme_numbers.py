"""Numbers at the ends of float64, integers beyond it, and values that are no numbers: right, or an error by name."""

from fractions import Fraction

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression
from tests.estimators.fits import refused

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 2))
Y = X[:, 0]
LABELS = Y > 0.0
HUGE, HUGER = 10**400, 10**5000

PARAMETERS = {
    "alpha": {},
    "l1_ratio": {},
    "tol": {},
    "max_iter": {},
    "max_seconds": {},
    "n_iter_no_change": {},
    "n_threads": {},
    "batch_size": {"optimizer": "gd"},
    "random_state": {"optimizer": "gd"},
    "validation_fraction": {"early_stopping": True},
    "delta": {"loss": "huber"},
}


@pytest.mark.parametrize(
    "value", [HUGE, HUGER, np.timedelta64(1, "s"), np.timedelta64(1, "ns")], ids=["huge", "huger", "s", "ns"]
)
@pytest.mark.parametrize("name", PARAMETERS)
def test_huge_integers_and_durations_as_parameters(name, value):
    refused(f"^{name} must be", LinearRegression(**PARAMETERS[name], **{name: value}).fit, X, Y)


def test_huge_integers_as_data():
    model = LinearRegression(alpha=0.1).fit(X, Y)
    rows, ones = [[1.0, HUGE]] * 50, [HUGE] * 50
    column = r"^column 1 of {} holds an integer in row 0 that is beyond the range of float64: scale it down$".format
    calls = {
        column("X"): [lambda: model.fit(rows, Y), lambda: model.predict(rows), lambda: model.score(rows, Y)],
        column("X_val"): [lambda: model.fit(X, Y, X_val=rows, y_val=Y)],
        r"^y holds an integer": [lambda: model.fit(X, ones), lambda: model.score(X, ones)],
        r"^y_val holds an integer": [lambda: model.fit(X, Y, X_val=X, y_val=ones)],
        r"^sample_weight holds": [lambda: model.fit(X, Y, ones), lambda: model.score(X, Y, ones)],
        r"^sample_weight_val holds": [lambda: model.fit(X, Y, X_val=X, y_val=Y, sample_weight_val=ones)],
        r"^coef_init holds": [lambda: model.fit(X, Y, coef_init=[HUGE, 1])],
        r"^intercept_init must be numbers": [lambda: model.fit(X, Y, intercept_init=HUGE)],
        r"^means holds": [lambda: LinearRegression(optimizer="gd").partial_fit(X, Y, means=[HUGE, 1])],
    }
    for message, several in calls.items():
        for call in several:
            refused(message, call)


JUNK = {
    "array": np.ones(3),
    "duration": np.timedelta64(1, "s"),
    "function": lambda state: 1,
    "object": object(),
    "list": [1],
}


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize("name", ["loss", "verbose", "optimizer", "device", "batch_size", "early_stopping"])
def test_values_that_are_no_parameters(name, kind):
    refused(f"^{name} must be", LinearRegression(**{name: JUNK[kind]}).fit, X, Y)


@pytest.mark.parametrize("kind", JUNK)
def test_values_that_are_no_alpha(kind):
    """A list of one number is an alpha of a linear regression with one target, and of nothing else."""
    calls = [
        lambda: LogisticRegression(alpha=JUNK[kind]).fit(X, LABELS),
        lambda: LogisticRegression(alpha=JUNK[kind]).partial_fit(X, LABELS, classes=[False, True]),
        lambda: LinearRegression(alpha=JUNK[kind]).fit(X, np.c_[Y, Y]),
        lambda: LinearRegression(alpha=JUNK[kind]).partial_fit(X, np.c_[Y, Y]),
    ]
    if kind != "list":
        calls += [lambda: LinearRegression(alpha=JUNK[kind]).fit(X, Y)]
    for call in calls:
        refused(r"^alpha must be", call)


@pytest.mark.parametrize("kind", JUNK)
def test_values_that_are_no_class_weights(kind):
    refused(r"^class_weight must be", LogisticRegression(class_weight=JUNK[kind]).fit, X, LABELS)
    with pytest.raises(ValueError, match=r"^class_weight must be"):
        LogisticRegression(class_weight=JUNK[kind], optimizer="gd").partial_fit(X, LABELS, classes=[False, True])


def test_values_that_are_no_callbacks_or_results_of_them():
    refused(r"^callbacks must be", LinearRegression().fit, X, Y, callbacks={"on_epoch_end": print}, error=TypeError)
    with pytest.raises(ValueError, match=r"^a callback must return a true or a false value or None, got array"):
        LinearRegression(optimizer="accelerated").fit(X, Y, callbacks=lambda state: np.ones(2))


@pytest.mark.parametrize("coef", [[2.0, 2.0], [1.0, -3.0], [1e300, 1e-300], [1e-10, 7.0]])
def test_predictions_whose_terms_overflow(coef):
    """Exact sums in rational numbers, rounded; where these overflow themselves, the largest numbers of that sign."""
    model = LinearRegression(alpha=0.1).fit(X, Y)
    model.coef_, model.intercept_ = np.array(coef), 0.25
    far = np.array([[1e308, -1e308], [-1.7e308, 1.7e308], [1e308, 1e308], [5e307, -1e307], [1.0, 2.0]])
    largest = Fraction(np.finfo(np.float64).max)
    for row, found in zip(far, model.predict(far), strict=True):
        exact = sum(Fraction(x) * Fraction(w) for x, w in zip(row, coef, strict=True)) + Fraction(0.25)
        if abs(exact) <= largest:
            scale = max(abs(Fraction(x) * Fraction(w)) for x, w in zip(row, coef, strict=True))
            assert abs(Fraction(found) - exact) <= scale / 2**50
        else:
            assert found * np.sign(float(exact / abs(exact))) > 8e307


def test_probabilities_of_margins_that_overflow():
    X = RNG.standard_normal((60, 2))
    model = LogisticRegression(alpha=0.1).fit(X, np.arange(60) % 3)
    model.coef_ = np.array([[2.0, 2.0], [3.0, 3.0], [-1.0, 1.0]])
    far = np.array([[1e308, 1e308], [-1e308, -1e308], [1e308, -1e308]])
    found = model.predict_proba(far)
    assert model.predict(far)[:2].tolist() == [1, 2]
    assert np.array_equal(found[:2], np.eye(3)[[1, 2]])
    # The terms of the first two classes cancel, which leaves their intercepts.
    ratio = np.exp(model.intercept_[0] - model.intercept_[1])
    np.testing.assert_allclose(found[2], [ratio / (1.0 + ratio), 1.0 / (1.0 + ratio), 0.0], rtol=1e-9)


@pytest.mark.parametrize("exponent", [-151, -155, -158, -161, -163, -300])
@pytest.mark.parametrize("parameters", [{}, {"optimizer": "gd"}, {"standardize": False}], ids=str)
def test_columns_that_vary_by_too_little(parameters, exponent):
    small = X * [1.0, 10.0**exponent]
    with pytest.raises(ValueError, match=r"^column 1 of X varies by so little that squares underflow .* scale it up$"):
        LinearRegression(**parameters).fit(small, Y)


@pytest.mark.parametrize("intercept", [True, False])
def test_targets_too_large_or_too_small(intercept):
    model = LinearRegression(fit_intercept=intercept)
    for factor in (1e154, 1e160, 1e300):
        refused(r"^y has values so large that their squares overflow .* scale y down$", model.fit, X, Y * factor)
    with pytest.raises(ValueError, match=r"^column 1 of y has values so large .* in row \d+: scale y down$"):
        model.fit(X, np.column_stack([Y, Y * 1e200]))
    rule = LinearRegression(optimizer="adam", standardize=False, fit_intercept=intercept)
    refused(r"^y has values so large that their squares overflow .* scale y down$", rule.fit, X[:1], [1e300])
    for factor in (1e-150, 1e150):
        np.testing.assert_allclose(model.fit(X, Y * factor).coef_ / factor, [1.0, 0.0], atol=1e-9)
        assert model.score(X, Y * factor) == pytest.approx(1.0)
    if intercept:
        refused(r"^y varies by so little that squares underflow .* scale y up$", model.fit, X, Y * 1e-170)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("weight", [5e-324, 1e-310, 1e-200, 1e200, 1e308])
def test_weights_of_any_size(dtype, weight):
    """All alike they change nothing."""
    for kind, y in ((LinearRegression, Y), (LogisticRegression, LABELS)):
        model = kind(alpha=0.1, tol=1e-8)
        plain = model.fit(X.astype(dtype), y, np.ones(50)).coef_
        found = model.fit(X.astype(dtype), y, np.full(50, weight)).coef_
        np.testing.assert_allclose(found, plain, rtol=1e-4 if dtype == "f4" else 1e-6)
    with pytest.raises(ValueError, match=r"^sample_weight is up to .* give weights of about 1"):
        LinearRegression(optimizer="gd").partial_fit(X, Y, np.full(50, weight))


@pytest.mark.parametrize("weight", [5e-324, 1e-320, 1e-200, 1e200, 1e308])
def test_class_weights_of_any_size(weight):
    """All alike they change nothing, whatever the sample weights."""
    model = LogisticRegression(alpha=0.1, tol=1e-8)
    plain = model.fit(X, LABELS, np.ones(50)).coef_
    model.set_params(class_weight={False: weight, True: weight})
    for s in (None, np.full(50, 5e-324), np.full(50, 1e20), np.full(50, 1e308)):
        np.testing.assert_allclose(model.fit(X, LABELS, s).coef_, plain, rtol=1e-6)
    model.set_params(optimizer="gd")
    refused(r"^class_weight is up to .* give weights of about 1", model.partial_fit, X, LABELS, classes=[False, True])


def test_class_weights_times_sample_weights():
    """The largest of both may be of different rows."""
    s = np.where(LABELS, 5e-324, 1.0)
    model = LogisticRegression(alpha=0.1, class_weight={False: 0.0, True: 1.0}).fit(X, LABELS, s)
    assert model.predict(X).all()
    message = "^class_weight times sample_weight is zero for every row: at least one row needs a positive weight$"
    refused(message, model.fit, X, LABELS, 1.0 - LABELS)
    balanced = LogisticRegression(alpha=0.1, class_weight="balanced", tol=1e-8)
    np.testing.assert_allclose(balanced.fit(X, LABELS, s).coef_, balanced.fit(X, LABELS).coef_, rtol=1e-6)
    stream = LogisticRegression(alpha=0.1, class_weight={False: 0.0, True: 1.0}, optimizer="gd")
    refused(message, stream.partial_fit, X, LABELS, [False, True], 1.0 - LABELS)
