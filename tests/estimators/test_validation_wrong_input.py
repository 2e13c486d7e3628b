"""Parameters and rows with which there is nothing to validate on."""

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression
from fastgd.holdout import held_out_rows
from tests.estimators.fits import problem_for, targets
from tests.estimators.holding_out import SEED

X = np.arange(40.0).reshape(20, 2) % 7
Y = np.arange(20) % 2
WRONG = {
    "y_val alone": ({"y_val": Y}, "X_val and y_val must be given together"),
    "X_val alone": ({"X_val": X}, "X_val and y_val must be given together"),
    "weights alone": ({"sample_weight_val": Y}, "sample_weight_val needs X_val and y_val"),
    "columns": ({"X_val": X[:, :1], "y_val": Y}, "1 features, but"),
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
    with pytest.raises(ValueError, match=message):
        estimator(early_stopping=True).fit(X, Y, **given)


def test_targets_and_labels_unlike_those_of_the_fit():
    with pytest.raises(ValueError, match="y_val holds 2, which is not among the classes"):
        LogisticRegression().fit(X, Y, X_val=X, y_val=Y + 1)
    with pytest.raises(ValueError, match="y_val has 2 targets, y has 1"):
        LinearRegression().fit(X, Y, X_val=X, y_val=X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        *(({"early_stopping": value}, "early_stopping must be True or False") for value in (1, None, "yes")),
        *(
            ({"early_stopping": True, "validation_fraction": value}, "validation_fraction must be")
            for value in (0, 0.0, 1, 1.5, -0.1, np.nan, "0.1", True)
        ),
        ({"validation_fraction": 0.2}, "validation_fraction has no effect without early_stopping=True"),
        ({"early_stopping": True, "validation_fraction": 1e-9}, "validation_fraction=1e-09 of 20 rows .* leaves none"),
        ({"early_stopping": True, "validation_fraction": 1 - 1e-9}, "validation_fraction=1 of 20 rows .* leaves none"),
        *(({"n_iter_no_change": value}, "n_iter_no_change must be a positive") for value in (0, -1, 2.5, None, True)),
    ],
    ids=str,
)
def test_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        LinearRegression(**parameters).fit(X, Y)


@pytest.mark.parametrize("which", ["held out", "fitted"])
def test_rows_that_weigh_nothing_do_not_count(which):
    """All rows held out, or all that are fitted, with weight 0: a mean over nothing would stop the fit."""
    problem = problem_for("squared", n=40)
    rows = held_out_rows(40, 0.1, SEED)
    weights = np.ones(40) if which == "held out" else np.zeros(40)
    weights[rows] = 0.0 if which == "held out" else 1.0
    model = LinearRegression(early_stopping=True, random_state=3)
    with pytest.raises(ValueError, match=r"of 40 rows \(.* positive sample_weight\) leaves none"):
        model.fit(problem.x, targets(problem), weights)


def test_a_fraction_has_no_effect_on_given_rows():
    problem = problem_for("squared", n=40)
    X, y = problem.x, targets(problem)
    model = LinearRegression(early_stopping=True, validation_fraction=0.3)
    with pytest.raises(ValueError, match="validation_fraction has no effect with X_val"):
        model.fit(X[:30], y[:30], X_val=X[30:], y_val=y[30:])
