"""Dates and durations are not numbers: one message that names the column, whatever library they come from."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastgd import LinearRegression, LogisticRegression

N = 6
DAYS = pd.date_range("2020", periods=N)
NUMBERS = np.arange(N) % 3 + 0.5
LABELS = np.arange(N) % 2
OBJECTS = np.empty((N, 2), object)
OBJECTS[:, 0], OBJECTS[:, 1] = 1.0, [datetime.date(2020, 1, 1)] * N
DURATIONS = OBJECTS.copy()
DURATIONS[:, 1] = [np.timedelta64(3, "s")] * N

FRAMES = {
    "dates": pd.DataFrame({"x": NUMBERS, "t": DAYS}),
    "dates alone": pd.DataFrame({"t": DAYS}),
    "missing dates": pd.DataFrame({"x": NUMBERS, "t": [pd.NaT, *DAYS[1:]]}),
    "zoned dates": pd.DataFrame({"x": NUMBERS, "t": DAYS.tz_localize("UTC")}),
    "periods": pd.DataFrame({"x": NUMBERS, "t": DAYS.to_period("D")}),
    "intervals": pd.DataFrame({"x": NUMBERS, "t": pd.interval_range(0, N)}),
    "durations": pd.DataFrame({"x": NUMBERS, "t": DAYS - DAYS[0]}),
    "objects": pd.DataFrame({"x": NUMBERS, "t": [datetime.date(2020, 1, 1)] * N}),
    "polars dates": pl.DataFrame({"x": NUMBERS, "t": [datetime.date(2020, 1, 1)] * N}),
    "polars times": pl.DataFrame({"x": NUMBERS, "t": [datetime.datetime(2020, 1, 1)] * N}),
    "polars durations": pl.DataFrame({"x": NUMBERS, "t": [datetime.timedelta(1)] * N}),
}
ARRAYS = {
    "dates": DAYS.to_numpy()[:, None],
    "NaT": np.full((N, 1), np.datetime64("NaT")),
    "durations": (DAYS - DAYS[0]).to_numpy()[:, None],
    "list": [[np.datetime64("2020-01-01")]] * N,
    "objects": OBJECTS,
    "durations as objects": DURATIONS,
}
MESSAGE = r"column {} of {} holds dates or durations \(.*convert them, for example to days with"


@pytest.mark.parametrize("name", FRAMES)
def test_dates_in_frames(name):
    with pytest.raises(ValueError, match=MESSAGE.format("'t'", "X")):
        LinearRegression().fit(FRAMES[name], NUMBERS)
    with pytest.raises(ValueError, match=MESSAGE.format("'t'", "X")):
        LogisticRegression(optimizer="gd").partial_fit(FRAMES[name], LABELS, classes=[0, 1])


@pytest.mark.parametrize("name", ARRAYS)
def test_dates_in_arrays(name):
    column = 1 if "objects" in name else 0
    with pytest.raises(ValueError, match=MESSAGE.format(column, "X")):
        LinearRegression().fit(ARRAYS[name], NUMBERS)


def test_dates_in_other_arguments():
    X = pd.DataFrame({"x": NUMBERS, "t": NUMBERS**2})
    model = LinearRegression(alpha=0.1).fit(X, NUMBERS)
    dates = FRAMES["dates"]
    for method in (model.predict, lambda X: model.score(X, NUMBERS)):
        with pytest.raises(ValueError, match=MESSAGE.format("'t'", "X")):
            method(dates)
    with pytest.raises(ValueError, match=MESSAGE.format("'t'", "X_val")):
        LinearRegression().fit(X, NUMBERS, X_val=dates, y_val=NUMBERS)
    for y in (DAYS, pd.Series(DAYS), DAYS.to_numpy(), (DAYS - DAYS[0]).to_numpy(), pl.Series(DAYS.to_pydatetime())):
        with pytest.raises(ValueError, match=r"^y holds dates or durations \("):
            LinearRegression().fit(X, y)
        with pytest.raises(ValueError, match=r"^y_val holds dates or durations \("):
            LinearRegression().fit(X, NUMBERS, X_val=X, y_val=y)
        with pytest.raises(ValueError, match=r"^sample_weight holds dates or durations \("):
            LinearRegression().fit(X, NUMBERS, sample_weight=y)


def test_arrow_dates():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"x": NUMBERS, "t": DAYS.to_numpy()})
    with pytest.raises(ValueError, match=MESSAGE.format("'t'", "X")):
        LinearRegression().fit(table, NUMBERS)
    frame = pd.DataFrame({"x": NUMBERS, "t": pd.Series(DAYS).astype("timestamp[ns][pyarrow]")})
    with pytest.raises(ValueError, match=MESSAGE.format("'t'", "X")):
        LinearRegression().fit(frame, NUMBERS)


@pytest.mark.parametrize("missing", [pd.NA, pd.NaT])
def test_missing_values_among_objects(missing):
    X = pd.DataFrame({"x": NUMBERS, "t": pd.Series([1.0, missing, *NUMBERS[2:]], dtype=object)})
    with pytest.raises(ValueError, match=r"column 't' of X has missing values in 1 of 6 rows, first in row 1: leave"):
        LinearRegression().fit(X, NUMBERS)
