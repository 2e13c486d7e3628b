"""Everything that a fit cannot use raises at once, by name, and says what to do."""

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from fastgd import DivergenceError, LinearRegression, LogisticRegression, optimizers
from tests.estimators.fits import refused

X = np.arange(20.0).reshape(10, 2) % 7
Y = np.arange(10.0) % 3
LABELS = np.arange(10) % 2

PARAMETERS = [
    *({"alpha": value} for value in (-1e-9, np.nan, np.inf, "1", None, True)),
    *({"l1_ratio": value} for value in (-0.1, 1.1, np.nan, "0.5")),
    *({"tol": value} for value in (-1.0, np.nan, None, np.inf)),
    *({"max_iter": value} for value in (-1, 2.5, True, "10")),
    *({"max_seconds": value} for value in (0, 0.0, -1.0, np.nan, np.inf, True, "10")),
    *({"n_threads": value} for value in (0, -1, 1.5, True, "2")),
    *({"fit_intercept": value} for value in (1, None, "yes")),
    *({"standardize": value} for value in (0, "no")),
    *({"shuffle": value} for value in (0, None)),
    *({"drop_last": value} for value in (1, None)),
    *({"batch_size": value} for value in (0, -3, 2.5, "half", None, True)),
    *({"optimizer": value} for value in ("sgd", None, 3, optimizers.Adam)),
]
RULES = [
    *((kind, {"learning_rate": value}) for kind in ("GradientDescent", "Momentum", "Adam") for value in (0, "big")),
    ("Momentum", {"momentum": 1.0}),
    ("Adam", {"beta2": np.nan}),
]
UNUSED = [
    ({"batch_size": 32}, "batch_size"),
    ({"shuffle": False}, "shuffle"),
    ({"drop_last": True}, "drop_last"),
    ({"optimizer": "gd", "batch_size": "full", "shuffle": False}, "shuffle"),
    ({"optimizer": "adam", "batch_size": "full", "drop_last": True}, "drop_last"),
    ({"optimizer": "gd", "batch_size": 11, "drop_last": True}, "drop_last"),
    ({"optimizer": "gd", "drop_last": True}, "drop_last"),
]


def names(parameter):
    """A message that begins with the parameter's name, or has it as a word."""
    return rf"(?<![\w]){re.escape(parameter)}(?![\w])"


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_parameters(estimator, parameters):
    ((name, value),) = parameters.items()
    with pytest.raises(ValueError, match=names(name)) as caught:
        estimator(**parameters).fit(X, LABELS)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(("kind", "parameters"), RULES, ids=str)
def test_hyper_parameters_of_rules(kind, parameters):
    """At the fit, as scikit-learn has it: a grid search sets them later. tests/test_parameters.py has them all."""
    optimizer = getattr(optimizers, kind)(**parameters)
    refused(names(next(iter(parameters))), LinearRegression(optimizer=optimizer).fit, X, Y)


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize(("parameters", "name"), UNUSED, ids=str)
def test_parameters_without_a_use(estimator, parameters, name):
    refused(names(name), estimator(**parameters).fit, X, LABELS)


@pytest.mark.parametrize("optimizer", ["auto", "gd"])
@pytest.mark.parametrize(
    "random_state",
    ["seed", -1, 2.5, 1 << 32, 10**400, np.random.default_rng(0)],
    ids=["text", "-1", "2.5", "2^32", "10^400", "Generator"],
)
def test_random_state(optimizer, random_state):
    """Also where a fit needs no seed."""
    with pytest.raises(ValueError, match="random_state must be an integer") as caught:
        LinearRegression(optimizer=optimizer, random_state=random_state).fit(X, Y)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"loss": "absolute"}, "loss"),
        ({"loss": None}, "loss"),
        ({"delta": 1.0}, "delta"),
        *(({"loss": "huber", "delta": value}, "delta") for value in (0.0, -1.0, np.inf, np.nan, True, "1")),
    ],
    ids=str,
)
def test_losses(parameters, name):
    refused(names(name), LinearRegression(**parameters).fit, X, Y)


@pytest.mark.parametrize(
    "class_weight", ["even", {0: -1.0}, {0: 0.0, 1: 0.0}, {0: np.nan}, {7: 1.0}, [1, 2], {0: "a"}, {0: 10**400}, X]
)
def test_class_weights(class_weight):
    refused(r"class_weight", LogisticRegression(class_weight=class_weight).fit, X, LABELS)


@pytest.mark.parametrize("optimizer", ["auto", "gd"])
@pytest.mark.parametrize("n", [300, 20_000])
def test_values_too_small_for_their_squares(n, optimizer):
    """They pass for constants, which columns that are constant where there is weight are."""
    small = np.random.default_rng(0).standard_normal((n, 3))
    y, s = small @ np.ones(3), np.ones(n)
    small[:, 1] = 1e-165 * np.sign(small[:, 1])
    with pytest.raises(ValueError, match=r"column 1 of X varies by so little .* scale it up"):
        LinearRegression(alpha=0.1, optimizer=optimizer).fit(small, y)
    s[small[:, 1] < 0.0] = 0.0
    assert LinearRegression(alpha=0.1, optimizer=optimizer, tol=0.1).fit(small, y, s).coef_[1] == 0.0


def test_values_too_large_for_their_squares_where_no_sample_looks():
    large = np.random.default_rng(0).standard_normal((40_000, 3))
    large[20_001, 1] = 1e160
    refused(r"X has values so large .* scale", LinearRegression("huber", optimizer="lbfgs").fit, large, large[:, 0])


@pytest.mark.parametrize("optimizer", ["lbfgs", "accelerated"])
def test_overflow_not_caused_by_X_does_not_blame_X(optimizer):
    with pytest.raises(DivergenceError, match="loss or gradient overflow"):
        LinearRegression(optimizer=optimizer).fit(X, Y, coef_init=np.full(X.shape[1], 1e200))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_missing_values_in_y(missing):
    message = r"^y has missing values, 2 of them, first in row 3: leave out those rows$"
    for estimator, y in (
        (LogisticRegression(), ["a", "b", "a", missing, "b", missing, "a", "b", "b", "b"]),
        (LinearRegression(), [0.0, 1.0, 2.0, missing, 4.0, missing, 6.0, 7.0, 8.0, 9.0]),
        (LinearRegression(), [[k, None if k in (3, 7) else k] for k in range(10)]),
    ):
        refused(message, estimator.fit, X, np.array(y, dtype=object))
    with pytest.raises(ValueError, match="y_val has missing values, 1 of them, first in row 1"):
        LinearRegression().fit(X, Y, X_val=X[:2], y_val=[1.0, None])


def test_message_for_sgd_names_gd():
    with pytest.raises(ValueError, match=r"one of 'auto', 'gd', .* got 'sgd': stochastic .* is 'gd' with a batch_size"):
        LinearRegression(optimizer="sgd").fit(X, Y)


def test_nan_in_rows_of_weight_zero_is_refused():
    broken, s = X.copy(), np.ones(10)
    broken[4, 1], s[4] = np.nan, 0.0
    refused("Input X contains NaN", LinearRegression().fit, broken, Y, s)


SHAPES = [
    (X[:, 0], Y, "2D array"),
    (X[None], Y, "dim"),
    (X[:0], Y[:0], "0 sample"),
    (X[:, :0], Y, r"0 feature\(s\)"),
    (X[:5], Y, "inconsistent"),
    (X, None, "y"),
    (X, Y[:, None, None], "dim|1d array"),
    *((X, np.where(Y > 1.0, bad, Y), "Input y contains") for bad in (np.nan, np.inf)),
]


@pytest.mark.parametrize(("data", "targets", "message"), SHAPES, ids=range(len(SHAPES)))
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_shapes(estimator, data, targets, message):
    refused(message, estimator().fit, data, targets)


MATRIX, TARGETS = r"must be a 2D array of shape \(rows, columns\)", r"must be an array of shape \(rows,\) or "
COLUMN, WEIGHTS = r"must be a 1d array of shape \(rows,\)", r"must be 1D, of shape \(rows,\)"
NO_ARRAYS = {"dict": ({"a": 1}, r"\{'a': 1\}"), "text": ("abc", "'abc'"), "iterator": (iter("a"), "<str_ascii_iter")}


@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_arguments_that_are_no_arrays(kind):
    wrong, shown = NO_ARRAYS[kind]
    linear, logistic = LinearRegression(alpha=0.1).fit(X, Y), LogisticRegression(alpha=0.1).fit(X, LABELS)
    for model, y, form in ((linear, Y, TARGETS), (logistic, LABELS, COLUMN)):
        for call in (model.fit, model.score, model.partial_fit):
            # Text names a file, and iterators are sources, except for single chunks.
            if kind == "dict" or call == model.partial_fit:
                refused(rf"^X {MATRIX}, got {shown}", call, wrong, y)
            refused(rf"^y {form}.*, got {shown}", call, X, wrong)
            refused(rf"^sample_weight {WEIGHTS}, got {shown}", call, X, y, sample_weight=wrong)
        for value in ({"a": 1}, None):
            refused(rf"^X {MATRIX}, got {re.escape(str(value))}", model.predict, value)
        refused(rf"^y_val {form}.*, got {shown}", model.fit, X, y, X_val=X, y_val=wrong)


def test_text_and_iterators_that_are_no_sources():
    for model, y in ((LinearRegression(), Y), (LogisticRegression(), LABELS)):
        refused(
            r"^X='abc' names no file: give rows, or the path of a file", model.fit, "abc", y, error=FileNotFoundError
        )
        refused(r"^part 0 of the iterator is str: give a 2-D array", model.fit, iter("a"), y)


def test_shapes_are_named():
    linear, logistic = LinearRegression(alpha=0.1).fit(X, Y), LogisticRegression(alpha=0.1).fit(X, LABELS)
    refused(rf"^X {MATRIX}, got 1 dimension, shape \(2,\)\. Reshape your data: X\.", linear.predict, X[0])
    for model, y, form in ((linear, Y, TARGETS), (logistic, LABELS, COLUMN)):
        refused(rf"^y {form}.*, got 3 dimensions, shape \(10, 1, 1\)$", model.fit, X, y[:, None, None])
        for call in (model.fit, model.score, model.partial_fit):
            refused(r"^y has 5 rows and X 10, .*: give one value for each row of X$", call, X, y[:5])
            refused(rf"^y has rows of unequal lengths: it {form}", call, X, [[1.0], [1.0, 2.0]] * 5)
        refused(r"^y_val has 5 rows and X_val 10, .* for each row of X_val$", model.fit, X, y, X_val=X, y_val=y[:5])
        refused(r"dense data is required.*toarray\(\)", model.fit, X, sparse.csr_matrix(y[:, None]), error=TypeError)


@pytest.mark.parametrize("convert", [np.asarray, np.ndarray.tolist, pd.DataFrame], ids=["array", "list", "frame"])
def test_complex_numbers_are_named(convert):
    model = LinearRegression(alpha=0.1).fit(X, Y)
    message = r"^Complex data not supported: {} holds \S+j\)? in row 0: give real numbers".format
    rows, one = convert(X + 1j), convert((Y + 1j)[:, None])
    for call in (lambda: model.fit(rows, Y), lambda: model.predict(rows), lambda: model.score(rows, Y)):
        refused(message("column '?0'? of X"), call)
    for call in (lambda: model.fit(X, one), lambda: model.score(X, one), lambda: model.partial_fit(X, one)):
        refused(message("(column '?0'? of )?y"), call)
    refused(message("column '?0'? of X_val"), model.fit, X, Y, X_val=rows, y_val=Y)
    refused(message("sample_weight"), model.fit, X, Y, Y + 1j)
    with pytest.raises(ValueError, match=r"^Complex data not supported: coef_init is array\(\[1\.\+1\.j"):
        model.fit(X, Y, coef_init=np.array([1.0 + 1.0j, 0.0]))


def test_missing_values_beside_decimals():
    """Decimals are numbers; the missing value is what cannot be used."""
    y = [Decimal(k) for k in range(9)]
    with pytest.raises(ValueError, match=r"^sample_weight has missing values in 1 of 10 rows, first in row 9: leave"):
        LinearRegression().fit(X, Y, [*y, None])
    found = LinearRegression(alpha=0.1).fit(X[:9], y).coef_
    assert np.array_equal(found, LinearRegression(alpha=0.1).fit(X[:9], np.arange(9.0)).coef_)


def test_unusable_labels_are_refused():
    refused("one class", LogisticRegression().fit, X, np.ones(10))
    refused("continuous", LogisticRegression().fit, X, Y + 0.5)
    refused("1d array", LogisticRegression().fit, X, np.eye(10))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(10), r"[Ss]ample.weight.* (zero|non-zero)"),
        (np.full(10, -1.0), "[Nn]egative"),
        (np.ones(9), r"sample_weight"),
        (np.ones((10, 2)), "[Ss]ample.?weights? must be 1D"),
        (np.full(10, np.nan), "sample_weight contains NaN"),
    ],
    ids=["zero", "negative", "short", "two columns", "NaN"],
)
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_weights(estimator, weights, message):
    refused(message, estimator().fit, X, LABELS, weights)


def test_predictions_for_other_columns():
    model = LinearRegression(alpha=0.1).fit(X, Y)
    refused("3 features, but LinearRegression is expecting 2", model.predict, np.ones((4, 3)))


def test_a_failed_fit_leaves_no_half_fitted_model():
    model = LinearRegression()
    refused("NaN", model.fit, np.full((5, 2), np.nan), np.ones(5))
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "fit_report_")
