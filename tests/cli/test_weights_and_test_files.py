"""Sample weights against copies of rows, and scores on a file of their own."""

import json

import numpy as np
import pytest
from sklearn.metrics import log_loss, r2_score

N = 90


@pytest.fixture
def tables(tmp_path):
    """Return a function that writes rows (a, b, w, y) under a name."""

    def write(name, rows, header="a,b,w,y"):
        text = "\n".join([header, *(",".join(map(str, row)) for row in rows)])
        (tmp_path / name).write_text(text + "\n")

    return write


@pytest.fixture
def rows():
    """Return rows (a, b, w, y), the weights 0, 1, 2."""
    rng = np.random.default_rng(1)
    X, noise = rng.normal(size=(N, 2)).round(3), rng.normal(size=N)
    return [(a, b, i % 3, round(a - 2 * b + e, 3)) for i, ((a, b), e) in enumerate(zip(X, noise, strict=True))]


def with_labels(rows):
    return [(a, b, w, "yes" if y > 0 else "no") for a, b, w, y in rows]


def facts(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def coefficients(reported, key="value"):
    return {entry["name"]: entry[key] for entry in reported["coefficients"]}


@pytest.mark.parametrize("kind", ["linear", "logistic"])
def test_weights_equal_copies_of_rows(call, tables, rows, kind):
    rows = with_labels(rows) if kind == "logistic" else rows
    tables("weighted.csv", rows)
    tables("copies.csv", [row for row in rows for _ in range(row[2])])
    words = ("--target", "y", "--holdout", 0, "--tol", 1e-9, "--json")
    weighted = facts(call("fit", "weighted.csv", *words, "--weight", "w"))
    copies = facts(call("fit", "copies.csv", *words, "--drop", "w"))
    assert coefficients(weighted).keys() == {"a", "b"}
    for key in ("value", "per_sd"):
        assert coefficients(weighted, key) == pytest.approx(coefficients(copies, key), rel=1e-6)
    for key in ("score", "baseline"):
        assert weighted[key] == pytest.approx(copies[key], rel=1e-6, abs=1e-12)
    assert (weighted["weight"], weighted["rows_of_weight_0"], weighted["rows_fitted"]) == ("w", 30, 60)
    page = call("fit", "weighted.csv", *words[:-1], "--weight", "w").stdout
    assert "weights      of the rows: column 'w'" in page
    assert "left out     30 rows of weight 0" in page


def test_means_that_fill_gaps_are_weighted(call, tables, rows):
    gaps = [("" if i % 10 == 4 else a, b, w, y) for i, (a, b, w, y) in enumerate(rows)]
    tables("weighted.csv", gaps)
    tables("copies.csv", [row for row in gaps for _ in range(row[2])])
    words = ("--target", "y", "--holdout", 0, "--missing", "mean", "--tol", 1e-9, "--json")
    weighted = facts(call("fit", "weighted.csv", *words, "--weight", "w"))
    copies = facts(call("fit", "copies.csv", *words, "--drop", "w"))
    assert coefficients(weighted) == pytest.approx(coefficients(copies), rel=1e-6)


@pytest.mark.parametrize(
    ("words", "change", "message"),
    [
        (("--weight", "q"), {}, "--weight: there is no column 'q'"),
        (("--weight", "y"), {}, "--weight y: that column is the target as well"),
        (("--weight", "w", "--drop", "w"), {}, "--weight w: that column is in --drop as well"),
        (("--weight", "w"), {2: -1.5}, "--weight w: -1.5 in row 5 of data, but weights are finite and at least 0"),
        (("--weight", "w"), {2: "heavy"}, "--weight w: the column holds text: name a column of numbers"),
        (("--weight", "w"), {2: ""}, "missing values in 'w' (1 row"),
        (("--weight", "w", "--missing", "mean"), {2: "inf"}, "--weight w: inf in row 5"),
    ],
)
def test_weights_that_cannot_be_used(call, tables, rows, words, change, message):
    for position, value in change.items():
        rows[4] = (*rows[4][:position], value, *rows[4][position + 1 :])
    tables("t.csv", rows)
    done = call("fit", "t.csv", "--target", "y", *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_weights_of_zero(call, tables, rows):
    tables("t.csv", [(a, b, 0, y) for a, b, _, y in rows])
    assert "--weight w: no row has a positive weight" in call("fit", "t.csv", "--target", "y", "--weight", "w").stderr


def test_scores_on_a_test_file(call, tables, rows):
    """The same numbers as from predictions; columns in another order, rows with gaps left out."""
    tables("train.csv", rows[:60])
    tables("test.csv", [(y, b, 9, a) for a, b, w, y in rows[60:]] + [(1, "", 9, 1), ("", 1, 9, 1)], "y,b,other,a")
    words = ("fit", "train.csv", "--target", "y", "--drop", "w", "--save", "m.model", "--test", "test.csv")
    refused = call(*words)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--test test.csv: missing values in 'b' (1 row" in refused.stderr
    reported = facts(call(*words, "--missing", "drop", "--json"))
    assert (reported["rows_fitted"], reported["scored_on"], reported["rows_scored"]) == (60, "test rows", 30)
    assert reported["notes"][-1] == "2 rows of test.csv left out of the score: missing values or weight 0"
    predicted = call("predict", "m.model", "test.csv", "--missing", "empty").stdout.split()[1:31]
    truth = [row[3] for row in rows[60:]]
    assert reported["score"]["r2"] == pytest.approx(r2_score(truth, np.array(predicted, dtype=float)), rel=1e-9)


def test_classes_and_weights_of_a_test_file(call, tables, rows):
    labelled = with_labels(rows)
    tables("train.csv", labelled[:60])
    tables("test.csv", labelled[60:])
    words = ("fit", "train.csv", "--target", "y", "--weight", "w", "--save", "m.model", "--json")
    reported = facts(call(*words, "--test", "test.csv"))
    lines = call("predict", "m.model", "test.csv", "--probabilities").stdout.splitlines()
    shares = np.array([line.split(",")[1:] for line in lines[1:]], dtype=float)
    y, w = [row[3] for row in labelled[60:]], [row[2] for row in labelled[60:]]
    assert lines[0] == "prediction,probability_no,probability_yes"
    assert reported["score"]["log_loss"] == pytest.approx(log_loss(y, shares, sample_weight=w), rel=1e-9)
    assert reported["rows_scored"] == np.count_nonzero(w)
    tables("bare.csv", [(a, b, y) for a, b, _, y in labelled[60:]], "a,b,y")
    bare = facts(call(*words, "--test", "bare.csv"))
    assert bare["notes"][-1] == "the test file has no column 'w': its rows weigh alike"
    assert bare["score"]["log_loss"] == pytest.approx(log_loss(y, shares), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ("other", (), "--test test.csv: 30 rows of a class that no fitted row has, such as 'other'"),
        ("yes", ("--holdout", 0.1), "--holdout and --test both name rows to score on"),
        ("", (), "--test test.csv: 30 rows without a target or weight: use --missing drop"),
        ("", ("--missing", "drop"), "--test test.csv: no row has values in all columns"),
        ("yes", ("--test", "absent.csv"), "absent.csv does not exist"),
    ],
)
def test_test_files_that_cannot_be_used(call, tables, rows, change, words, message):
    labelled = with_labels(rows)
    tables("train.csv", labelled[:60])
    tables("test.csv", [(a, b, w, change) for a, b, w, _ in labelled[60:]])
    done = call("fit", "train.csv", "--target", "y", "--test", "test.csv", *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
