"""The page of ``fastgd fit``: widths, plurals, scores next to the baseline, convergence in plain words."""

import dataclasses
import json
import math

import numpy as np
import pytest

from fastgd.cli.output import plural
from fastgd.cli.page import WIDTH, page
from fastgd.cli.prepare import PreparedData
from fastgd.cli.report import Coefficient, EarlyStop, FitResult, HistorySummary, _plain
from tests.cli.conftest import page_lines

REPORT = {
    "solver": "SketchedNewton",
    "reason": "optimizer='auto': expected to be the quickest for this shape, before LBFGS",
    "expected_seconds": {"SketchedNewton": 0.01, "LBFGS": 0.02},
    "device": "cpu",
    "threads": 2,
    "passes": 2.0,
    "bytes_read": 10**7,
    "bytes_converted": 0,
    "bytes_transferred": 0,
    "n_rows": 1000,
    "n_features": 2,
    "n_outputs": 1,
    "dtype": "float64",
    "order": "C",
    "seconds_compile": 0.5,
    "seconds_compute": 1.0,
    "certificate": 2e-5,
    "tol": 1e-4,
    "converged": True,
    "stopped_by": "certificate",
    "objective": 0.25,
    "duality_gap": None,
    "suboptimality": 3e-9,
}


X, X_HELD = np.zeros((1000, 2)), np.zeros((250, 2))
DATA = PreparedData(
    *("t.csv", 1250, 3, "y", "logistic", "'y' holds text", ["a", "b"]),
    X=X,
    y=X[:, 0],
    X_held=X_HELD,
    y_held=X_HELD[:, 0],
)


def data_of(**changes):
    return dataclasses.replace(DATA, **changes)


def result_of(report=(), **changes):
    base = {
        "data": data_of(),
        "report": {**REPORT, **dict(report)},
        "scores": {"accuracy": 0.95, "log_loss": 0.125, "auc": math.nan},
        "baseline": {"accuracy": 0.6, "log_loss": 0.673, "auc": 0.5},
        "constant": "no",
        "scored_on": "held-out rows",
        "n_scored": 250,
        "coefficients": [Coefficient("a", None, 0.5, 1.5), Coefficient("b", None, -0.25, -0.5)],
        "intercept": [-3.0],
        "classes": ["no", "yes"],
        "history": HistorySummary(1, None, 1.0, 1.0, None),
        "command": "fastgd fit t.csv",
    }
    return FitResult(**{**base, **changes})


def lines_of(result):
    return page_lines(page(result))


NUMBERS = {"r2": -0.00001, "rmse": 67_890.4, "mae": 0.012345}


@pytest.mark.parametrize(
    ("changes", "rows", "baseline"),
    [
        (
            {},
            ["accuracy 0.9500 0.6000", "log-loss (lower is better) 0.1250 0.6730", "AUC - 0.5000"],
            "baseline: always the largest class, no;",
        ),
        (
            {"data": data_of(task="linear"), "scores": NUMBERS, "baseline": NUMBERS, "constant": 2.5, "classes": []},
            ["R2 0.0000 0.0000", "root mean squared error 67,890 67,890", "mean absolute error 0.01235 0.01235"],
            "always the mean of the fitted rows, 2.500",
        ),
    ],
)
def test_scores_stand_next_to_the_baseline(changes, rows, baseline):
    text = page(result_of(**changes))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert {"score on 250 held-out rows model baseline", *rows} <= set(lines)
    assert baseline in text


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({}, "yes (largest gradient 2e-05 of its bound at the constant model; --tol 0.0001)"),
        (
            {"certificate": 0.02, "stopped_by": "flat loss"},
            "yes, the loss has stopped falling (largest gradient 0.02 of its bound at the constant model)",
        ),
        (
            {"certificate": 0.02, "stopped_by": "max_iter"},
            "yes, about 3e-09 above the minimum (largest gradient 0.02 of its bound at the constant model)",
        ),
        (
            {"stopped_by": "max_iter", "converged": False, "suboptimality": 0.5},
            "no, about 0.5 above the minimum (largest gradient 2e-05 of its bound at the constant model; "
            "--tol 0.0001): allow more --epochs",
        ),
        (
            {"certificate": 0.02, "stopped_by": "max_iter", "converged": False},
            "no (largest gradient 0.02 of its bound at the constant model; --tol 0.0001): allow more --epochs",
        ),
        (
            {"certificate": 0.02, "stopped_by": "no optimum", "converged": False},
            "no (largest gradient 0.02 of its bound at the constant model; --tol 0.0001): stopped by no optimum",
        ),
    ],
)
def test_convergence_line(report, expected):
    assert lines_of(result_of(report))["converged"] == expected


@pytest.mark.parametrize(("taken", "shown"), [(0.0033, False), (0.0034, True), (0.029, True), (0.031, False)])
def test_expected_seconds_are_shown_where_they_were_about_right(taken, shown):
    solver = lines_of(result_of({"seconds_compute": taken}))["solver"]
    assert solver.endswith("before LBFGS; expected to take 0.01 s") == shown
    assert "expected to take" not in lines_of(result_of({"seconds_compute": taken, "expected_seconds": {}}))["solver"]


def test_no_line_is_longer_than_the_page():
    long, label = "a long name of a column, " * 12, "a label of many words " * 9
    hostile = data_of(
        source="/folder" * 40,
        target=long,
        dropped=[long, "b"],
        one_hot={long: [label, "b"]},
        filled={long: 7},
        notes=[long * 3, "x" * 400],
        n_rows_dropped=1,
    )
    history = HistorySummary(1200, f"step:{long}", 1.0, 0.5, EarlyStop(True, 1100, 0.5, 0.6))
    coefficients = [Coefficient(long, label, -1.23456e-300, -1.23456e-300)] * 12
    for classes, intercept in ((["no", label], [1.0]), ([label, "b", "c"], [1.0, 2.0, 3.0])):
        result = result_of(
            data=hostile,
            history=history,
            coefficients=coefficients,
            classes=classes,
            intercept=intercept,
            saved=long,
            constant=label,
        )
        text = page(result)
        assert max(map(len, text.splitlines())) <= WIDTH
        assert text.isascii()


def test_control_characters_are_escaped():
    hostile = "a\x1b[31m\rb\nc"
    text = page(result_of(data=data_of(target=hostile), coefficients=[Coefficient(hostile, None, 1.0, 1.0)]))
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.count(r"a\x1b[31m\rb\nc") == 2 + 1  # beside the task, in the title of the table, and in it


def test_rows_without_target_or_weight_are_left_out():
    reported = lines_of(result_of(data=data_of(n_rows_dropped=3, missing="mean", weight="w")))["left out"]
    assert reported == "3 rows with missing values in 'y' or 'w', which no mean fills"
    reported = lines_of(result_of(data=data_of(n_rows_dropped=1, missing="drop")))["left out"]
    assert reported == "1 row with missing values"


def test_columns_that_a_note_explains_are_listed_once():
    data = data_of(dropped=["c", "d"], notes=["--drop-text leaves out 'd' (text: 'u' in line 2)"])
    assert lines_of(result_of(data=data))["left out"] == "column c"
    assert "left out" not in lines_of(result_of(data=dataclasses.replace(data, dropped=["d"])))


def test_plurals():
    assert [plural(n, "row") for n in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert [plural(n, "pass") for n in (1.0, 2.5)] == ["1 pass", "2.5 passes"]
    one = data_of(n_rows_read=1, n_columns_read=2, n_rows_dropped=1, filled={"a": 1}, dropped=["c"])
    text = page(dataclasses.replace(result_of({"threads": 1, "passes": 1.0}), data=one))
    for part in ("1 row x 1 column and", "1 row with missing", "a (1 row)", "column c", "1 thread", "1 pass over"):
        assert part in text


def test_json_replaces_non_finite_numbers():
    facts = {"a": np.float32(1.5), "b": [np.nan, np.int64(2)], "c": (np.inf, "x"), 1: np.array([1.0, np.nan])}
    assert json.loads(json.dumps(_plain(facts), allow_nan=False)) == {
        "a": 1.5,
        "b": [None, 2],
        "c": [None, "x"],
        "1": [1.0, None],
    }
