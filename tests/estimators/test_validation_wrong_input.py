"""Parameters and rows with which there is nothing to validate on."""

import warnings

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression
from fastgd.holdout import held_out_rows
from tests.estimators.fits import problem_for, refused, targets

X = np.arange(40.0).reshape(20, 2) % 7
Y = np.arange(20) % 2
WRONG = {
    "y_val alone": ({"y_val": Y}, "X_val and y_val must be given together"),
    "X_val alone": ({"X_val": X}, "X_val and y_val must be given together"),
    "weights alone": ({"sample_weight_val": Y}, "sample_weight_val needs X_val and y_val"),
    "columns": ({"X_val": X[:, :1], "y_val": Y}, "X_val must have rows and the 2 columns of X, got shape"),
    "rows": ({"X_val": X, "y_val": Y[:5]}, "inconsistent numbers of samples"),
    "weights": ({"X_val": X, "y_val": Y, "sample_weight_val": Y[:5]}, "sample_weight"),
    "NaN": ({"X_val": X * np.nan, "y_val": Y}, "Input X_val contains NaN"),
    "NaN targets": ({"X_val": X, "y_val": Y * np.nan}, "y_val contains NaN"),
    "no weight": ({"X_val": X, "y_val": Y, "sample_weight_val": 0 * Y}, "[Ss]ample.weight"),
}


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize("name", WRONG)
def test_validation_rows_that_cannot_be_used(estimator, name):
    given, message = WRONG[name]
    refused(message, estimator(early_stopping=True).fit, X, Y, **given)


def test_targets_and_labels_unlike_those_of_the_fit():
    refused("y_val holds 2, which is not among the classes", LogisticRegression().fit, X, Y, X_val=X, y_val=Y + 1)
    refused("y_val has 2 targets, y has 1", LinearRegression().fit, X, Y, X_val=X, y_val=X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        *(({"early_stopping": value}, "early_stopping must be True or False") for value in (1, None, "yes")),
        *(
            ({"early_stopping": True, "validation_fraction": value}, "validation_fraction must be")
            for value in (0, 0.0, 1, 1.5, -0.1, np.nan, "0.1", True)
        ),
        ({"validation_fraction": 0.2}, "validation_fraction has no effect without early_stopping=True"),
        *(({"n_iter_no_change": value}, "n_iter_no_change must be a positive") for value in (0, -1, 2.5, None, True)),
    ],
    ids=str,
)
def test_parameters(parameters, message):
    refused(message, LinearRegression(**parameters).fit, X, Y)


@pytest.mark.parametrize("fraction", [1e-9, 0.1, 1.0 - 1e-9])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_any_share_of_any_two_rows_leaves_rows_on_both_sides(n, fraction):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 2))
    for seed in range(5):
        model = LinearRegression(early_stopping=True, validation_fraction=fraction, max_iter=2, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.isfinite(model.fit(X, X[:, 0]).history_["validation_loss"]).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_one_row_is_fitted(seed):
    y = np.zeros(30, int)
    y[7] = 1
    model = LogisticRegression(alpha=0.1, early_stopping=True, validation_fraction=0.9, random_state=seed)
    held = held_out_rows(30, 0.9, np.random.RandomState(seed).randint(2**31 - 1), classes=y)
    assert (held.size, y[held].sum()) == (27, 0)
    assert model.fit(np.arange(30.0)[:, None], y).predict_proba([[7.0]])[0, 1] > 0.1


def test_weight_0_is_a_row_left_out():
    """Also of the rows held out: the same fit to the rounding."""
    problem = problem_for("squared", n=40)
    X, y, weights = problem.x, targets(problem), np.arange(40) % 4
    model = LinearRegression(optimizer="accelerated", early_stopping=True, random_state=3, max_iter=5, tol=0.0)
    some = model.fit(X, y, weights).history_["validation_loss"]
    live = weights > 0
    np.testing.assert_allclose(model.fit(X[live], y[live], weights[live]).history_["validation_loss"], some, rtol=1e-9)


@pytest.mark.parametrize(
    ("estimator", "weights"), [(LinearRegression, np.eye(20)[3]), (LogisticRegression, np.eye(20)[3] + np.eye(20)[4])]
)
def test_too_few_rows_of_positive_weight(estimator, weights):
    with pytest.raises(ValueError, match=r"early_stopping=True needs two rows.* n_samples=20, [12] with a"):
        estimator(early_stopping=True).fit(X, Y, weights)


def test_a_fraction_has_no_effect_on_given_rows():
    problem = problem_for("squared", n=40)
    X, y = problem.x, targets(problem)
    model = LinearRegression(early_stopping=True, validation_fraction=0.3)
    refused("validation_fraction has no effect with X_val", model.fit, X[:30], y[:30], X_val=X[30:], y_val=y[30:])
