"""Errors about X name the column, by its number if columns have no names."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastgd import LinearRegression, LogisticRegression
from tests.estimators.fits import refused

N = 300
X = np.random.default_rng(0).standard_normal((N, 3))
Y = X[:, 0]
LABELS = Y > 0.0


def broken(value, dtype="f8"):
    found = X.astype(dtype)
    found[[4, 70, 200], 1] = value
    found[9, 2] = value
    return found


@pytest.mark.parametrize("optimizer", ["auto", "adam", "gd"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_columns_that_are_not_finite_are_named(value, what, dtype, optimizer):
    data = broken(value, dtype)
    frame = pd.DataFrame(data, columns=["a", "b b", "c"])
    message = f"Input X contains {what}: column %s in 3 of {N} rows and 1 more columns; leave out those rows"
    for given, name in ((data, "1"), (frame, "'b b'"), (frame.assign(d=1), "'b b'"), (data.tolist(), "1")):
        refused(message % name, LinearRegression(optimizer=optimizer).fit, given, Y)
    refused(message % "1", LinearRegression(optimizer=optimizer, standardize=False).fit, data, Y)
    refused(message % "1", LogisticRegression(optimizer=optimizer).fit, data, LABELS)
    refused(message % "1", LogisticRegression().partial_fit, data, LABELS, classes=[False, True])
    refused(message % "'b b'", LinearRegression().fit(frame.fillna(0.0).clip(-1, 1), Y).predict, frame)
    refused(f"Input X_val contains {what}: column 1 in 3 of", LinearRegression().fit, X, Y, X_val=data, y_val=Y)


def test_squares_that_overflow():
    large = X * [1.0, 1.0, 1e160]
    refused(r"X has values so large .*, largest in column 2: scale it down", LinearRegression().fit, large, Y)
    with pytest.raises(ValueError, match=r"largest in column 'c': scale it down"):
        LinearRegression(optimizer="gd").fit(pd.DataFrame(large, columns=["a", "b", "c"]), Y)


def test_squares_that_underflow():
    small = X * [1.0, 1.0, 1e-165]
    for given, name in ((small, "2"), (pd.DataFrame(small, columns=["a", "b", "c"]), "'c'")):
        refused(f"^column {name} of X varies by so little .* scale it up", LinearRegression().fit, given, Y)


def test_text():
    words = {"a": X[:, 0], "origin": ["EWR", "JFK", "LGA"] * 100, "dest": ["x"] * N}
    message = "column 'origin' of X holds text, such as 'EWR': leave it out, make numbers of it, or"
    for kind in (pd.DataFrame, pl.DataFrame):
        refused(message, LinearRegression(categorical=None).fit, kind(words), Y)
    with pytest.raises(ValueError, match="column 1 of X holds text, such as 'no'"):
        LinearRegression().fit([[1.0, "2", 3.0], [1.0, "no", 3.0]], [1.0, 2.0])
    model = LinearRegression().fit(pd.DataFrame({"a": X[:, 0], "origin": X[:, 1], "dest": X[:, 2]}), Y)
    refused(message, model.predict, pd.DataFrame(words))
    # Numbers in text are numbers, as scikit-learn takes them.
    assert LinearRegression(alpha=0.1).fit([["1", "2"], ["3", "5"]], [1.0, 2.0]).coef_.shape == (2,)
