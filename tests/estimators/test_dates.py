"""Dates and durations are not numbers: one message that names the column, whatever library they come from."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastgd import LinearRegression, LogisticRegression, minimize, optimizers, set_num_threads
from tests.estimators.fits import refused

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
    "polars arrays": pl.DataFrame({"x": NUMBERS, "t": [[datetime.date(2020, 1, 1)]] * N}),
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
    refused(MESSAGE.format("'t'", "X"), LinearRegression().fit, FRAMES[name], NUMBERS)
    with pytest.raises(ValueError, match=MESSAGE.format("'t'", "X")):
        LogisticRegression(optimizer="gd").partial_fit(FRAMES[name], LABELS, classes=[0, 1])


@pytest.mark.parametrize("name", ARRAYS)
def test_dates_in_arrays(name):
    column = 1 if "objects" in name else 0
    refused(MESSAGE.format(column, "X"), LinearRegression().fit, ARRAYS[name], NUMBERS)


def test_dates_in_other_arguments():
    X = pd.DataFrame({"x": NUMBERS, "t": NUMBERS**2})
    model = LinearRegression(alpha=0.1).fit(X, NUMBERS)
    dates = FRAMES["dates"]
    for method in (model.predict, lambda X: model.score(X, NUMBERS)):
        refused(MESSAGE.format("'t'", "X"), method, dates)
    refused(MESSAGE.format("'t'", "X_val"), LinearRegression().fit, X, NUMBERS, X_val=dates, y_val=NUMBERS)
    for y in (DAYS, pd.Series(DAYS), DAYS.to_numpy(), (DAYS - DAYS[0]).to_numpy(), pl.Series(DAYS.to_pydatetime())):
        refused(r"^y holds dates or durations \(", LinearRegression().fit, X, y)
        refused(r"^y_val holds dates or durations \(", LinearRegression().fit, X, NUMBERS, X_val=X, y_val=y)
        refused(r"^sample_weight holds dates or durations \(", LinearRegression().fit, X, NUMBERS, sample_weight=y)


def test_arrow_dates():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"x": NUMBERS, "t": DAYS.to_numpy()})
    refused(MESSAGE.format("'t'", "X"), LinearRegression().fit, table, NUMBERS)
    frame = pd.DataFrame({"x": NUMBERS, "t": pd.Series(DAYS).astype("timestamp[ns][pyarrow]")})
    refused(MESSAGE.format("'t'", "X"), LinearRegression().fit, frame, NUMBERS)


@pytest.mark.parametrize("missing", [pd.NA, pd.NaT])
def test_missing_values_among_objects(missing):
    X = pd.DataFrame({"x": NUMBERS, "t": pd.Series([1.0, missing, *NUMBERS[2:]], dtype=object)})
    with pytest.raises(ValueError, match=r"column 't' of X has missing values in 1 of 6 rows, first in row 1: leave"):
        LinearRegression().fit(X, NUMBERS)


def test_missing_dates_of_numpy_among_objects():
    """NumPy counts them as -2^63."""
    for nat in (np.datetime64("NaT"), np.timedelta64("NaT")):
        column = np.array([*NUMBERS[:-1], nat], object)
        rows = np.column_stack([NUMBERS.astype(object), column])
        model = LinearRegression(alpha=0.1).fit(np.c_[NUMBERS, LABELS], NUMBERS)
        for X in (rows, rows.tolist(), pd.DataFrame(rows)):
            for call in (lambda X: LinearRegression().fit(X, NUMBERS), model.predict):
                refused(r"^column '?1'? of X has missing values in 1 of 6 rows, .* row 5", call, X)
        X, message = np.c_[NUMBERS, LABELS], r"^{} has missing values in {} rows, first in row {}: leave out"
        for y in (column, column.tolist(), pd.Series(column)):
            for call in (model.score, LinearRegression(alpha=0.1).fit, LinearRegression(optimizer="gd").partial_fit):
                refused(message.format("y", "1 of 6", 5), call, X, y)
            refused(message.format("y_val", "1 of 6", 5), LinearRegression().fit, X, NUMBERS, X_val=X, y_val=y)
        refused(message.format("y", "6 of 6", 0), model.fit, X, [nat] * N)
        with pytest.raises(ValueError, match=message.format("means", "1 of 2", 1)):
            LinearRegression(optimizer="gd").partial_fit(X, NUMBERS, means=[0.0, nat])


DAY_OBJECTS = [datetime.date(2020, 1, 1 + k) for k in range(N)]
WRAPPED = {
    "categories": pd.Series(pd.Categorical(DAYS)),
    "categories of objects": pd.Series(pd.Categorical(DAY_OBJECTS)),
    "categories of periods": pd.Series(pd.Categorical(DAYS.to_period("D"))),
    "sparse": pd.Series(pd.arrays.SparseArray(DAYS.to_numpy())),
    "periods as objects": pd.Series(list(DAYS.to_period("D")), dtype=object),
    "polars objects": pl.Series(DAY_OBJECTS, dtype=pl.Object),
}


def check_wrapped(y):
    X = np.c_[NUMBERS, LABELS]
    frame = pl.DataFrame({"t": y}) if isinstance(y, pl.Series) else pd.DataFrame({"t": y})
    refused(MESSAGE.format("'t'", "X"), LinearRegression().fit, frame, NUMBERS)
    for values in (y, getattr(y, "array", y)):
        refused(r"^y holds dates or durations \(", LinearRegression().fit, X, values)
        refused(r"^sample_weight holds dates or durations \(", LinearRegression().fit, X, NUMBERS, sample_weight=values)


@pytest.mark.parametrize("name", WRAPPED)
def test_dates_inside_other_dtypes(name):
    check_wrapped(WRAPPED[name])


def test_encoded_dates_of_arrow():
    pa = pytest.importorskip("pyarrow")
    encoded = pa.array(DAYS.to_numpy()).dictionary_encode()
    check_wrapped(pd.Series(encoded, dtype=pd.ArrowDtype(encoded.type)))
    refused(MESSAGE.format("'t'", "X"), LinearRegression().fit, pa.table({"t": encoded}), NUMBERS)
    for y in (encoded, pa.chunked_array([encoded])):
        refused(r"^y holds dates or durations \(", LinearRegression().fit, np.c_[NUMBERS, LABELS], y)


def test_names_of_categories_are_no_dates():
    frame = pl.DataFrame({"t": pl.Series(["date", "time"] * 3, dtype=pl.Enum(["date", "time"]))})
    assert LinearRegression(alpha=0.1).fit(frame, NUMBERS).coef_names_.tolist() == ["t=time"]
    refused("column 't' of X holds text, such as 'date'", LinearRegression(categorical=None).fit, frame, NUMBERS)
    found = LinearRegression(alpha=0.1).fit(pd.DataFrame({"x": pd.Categorical(LABELS)}), NUMBERS)
    assert np.array_equal(found.coef_, LinearRegression(alpha=0.1).fit(LABELS[:, None].astype(float), NUMBERS).coef_)


def test_scalars_that_are_dates():
    for value in (np.datetime64("2020"), np.timedelta64(1, "s")):
        with pytest.raises(ValueError, match=r"^intercept_init holds dates or durations \("):
            LinearRegression(alpha=0.1).fit(np.c_[NUMBERS, LABELS], NUMBERS, intercept_init=value)


TIMES = [datetime.time(k % 3) for k in range(N)]
DATED_LABELS = {
    **{name: frame["t"] for name, frame in FRAMES.items() if name != "missing dates" and "arrays" not in name},
    **WRAPPED,
    "array": DAYS.to_numpy(),
    "other unit": DAYS.to_numpy().astype("M8[D]"),
    "duration array": (DAYS - DAYS[0]).to_numpy(),
    "NaT": np.array(["2020", "2021", "2020", "2021", "2020", "NaT"], "M8[Y]"),
    "list": list(DAYS.to_numpy()),
    "list of days": DAY_OBJECTS,
    "list of durations": [np.timedelta64(k % 2, "s") for k in range(N)],
    "objects": np.array(TIMES, object),
    "durations as objects": np.array([np.timedelta64(k % 2, "s") for k in range(N)], object),
    "column": pd.DataFrame({"t": DAYS}),
}


@pytest.mark.filterwarnings("ignore:A column-vector")
@pytest.mark.parametrize("name", DATED_LABELS)
def test_dates_are_no_labels(name):
    y, X = DATED_LABELS[name], np.c_[NUMBERS, LABELS]
    model = LogisticRegression(alpha=0.1).fit(X, LABELS)
    for call in (LogisticRegression().fit, model.score, model.partial_fit):
        refused(r"^y holds dates or durations \(.* or labels to text", call, X, y)
    refused(r"^y_val holds dates or durations \(", LogisticRegression().fit, X, LABELS, X_val=X, y_val=y)
    with pytest.raises(ValueError, match=r"^classes holds dates or durations \("):
        LogisticRegression(optimizer="gd").partial_fit(X, LABELS, classes=y)


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_durations_are_no_numbers(unit):
    """NumPy registers them as integers. Parameters of estimators: test_extreme_numbers.py."""
    duration, X = np.timedelta64(1, unit), NUMBERS[:, None]
    calls = {
        "class_weight must be": lambda: LogisticRegression(class_weight={0: duration, 1: 1}).fit(X, LABELS),
        "learning_rate must be": lambda: LinearRegression(optimizer=optimizers.Adam(duration)).fit(X, NUMBERS),
        "memory of LBFGS must be": lambda: LinearRegression(optimizer=optimizers.LBFGS(duration)).fit(X, NUMBERS),
        "n must be": lambda: set_num_threads(duration),
        "max_iter must be": lambda: minimize(np.sum, [1.0], optimizer="lbfgs", max_iter=duration),
    }
    for message, call in calls.items():
        refused(message, call)
