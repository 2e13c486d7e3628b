"""Targets, labels, missing values and held-out rows: from a table to the data of a fit."""

import numpy as np
import pytest

from fastgd.cli.columns import find_column
from fastgd.cli.errors import InputError
from fastgd.cli.prepare import fill_means, split_rows
from fastgd.cli.target import describe_labels, number_classes, read_target
from fastgd.data.table import array_table
from fastgd.data.text_column import encode

INTEGERS = np.arange(400.0)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (INTEGERS, "linear"),
        (INTEGERS % 2, "logistic"),
        (INTEGERS % 10, "logistic"),
        (INTEGERS % 10 + 0.5, "linear"),
        (INTEGERS % 21, "linear"),
        (np.array([0, 1], dtype=np.uint8), "logistic"),
        (np.arange(10), "linear"),
        (np.array([True, False] * 9), "logistic"),
        (np.array([True, False] * 9, dtype=object), "logistic"),
    ],
)
def test_the_target_decides_the_task(values, task):
    found = read_target(values, "y", "auto")
    assert found.task == task
    assert "'y' holds" in found.reason
    assert found.y.tolist() == values.tolist()
    assert found.y.dtype.kind in ("f" if task == "linear" else "ib")


@pytest.mark.parametrize(
    ("texts", "expected", "kind"),
    [
        (["7", "8"], [7, 8], "i"),
        (["007", "7"], ["007", "7"], "O"),
        (["1e5", "100000"], ["1e5", "100000"], "O"),
        (["0.0", "1.0"], ["0.0", "1.0"], "O"),
        (["9223372036854775807", "-1"], [2**63 - 1, -1], "i"),
        (["9223372036854775808", "-1"], ["9223372036854775808", "-1"], "O"),
        (["true", "false"], ["true", "false"], "O"),
        ([" yes", "NA"], [" yes", "NA"], "O"),
    ],
)
def test_classes_keep_the_spelling_of_the_source(texts, expected, kind):
    found = read_target(encode(texts * 9, 18), "y", "auto")
    assert found.task == "logistic"
    assert found.y.tolist() == expected * 9
    assert found.y.dtype.kind == kind


@pytest.mark.parametrize("distinct", [[5.0, 1e19, 1e300], [1e19, 1e300], [-(2.0**64), 0.0], [0.0, 2.0**63]])
@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
def test_floats_beyond_64_bits_stay_distinct_classes(distinct, dtype):
    found = read_target(np.array(distinct * 9, dtype), "y", "auto")
    assert found.task == "logistic"
    assert found.y.tolist() == distinct * 9


def test_long_labels_take_their_memory_once():
    found = read_target(encode(["a", "b" * 100_000, "b", "a"] * 500, 2000), "y", "auto").y
    assert found.nbytes == 2000 * np.dtype(object).itemsize
    classes, codes = number_classes(found)
    assert classes.tolist() == ["a", "b", "b" * 100_000]
    assert codes[:4].tolist() == [0, 2, 1, 0]


def test_labels_that_a_reader_may_mistake_are_noted():
    (note,) = describe_labels(encode(["007", "7", "8"] * 9, 27), "y")
    assert "'007' and '7' are different values of 'y'" in note
    notes = describe_labels(encode([" yes", "no", "NA"] * 9, 27), "y")
    for text, note in zip(("keep their spaces: ' yes'", "--null NA"), notes, strict=True):
        assert text in note
    assert describe_labels(encode(["u", "v"], 2), "y") == []
    (note,) = describe_labels(encode(["0,5", "1,5"] * 9, 18), "y")
    assert "use --decimal ," in note


def test_the_user_decides_the_task():
    found = read_target(INTEGERS % 2, "y", "linear")
    assert (found.task, found.reason, found.y.dtype) == ("linear", "asked for", np.float64)
    with pytest.raises(InputError, match="not classes"):
        read_target(INTEGERS, "y", "logistic")
    with pytest.raises(InputError, match="not classes"):
        read_target(encode([f"name {i}" for i in range(50)], 50), "y", "auto")


def test_columns_by_position_where_there_are_no_names():
    array = np.zeros((2, 3))
    unnamed = array_table(array, None)
    assert find_column(unnamed, "1", "--target") == "column_1"
    assert find_column(unnamed, "-1", "--target") == "column_3"
    with pytest.raises(InputError, match="from 1 to 3"):
        find_column(unnamed, "4", "--target")
    named = array_table(array, ["2", "x", "y"])
    assert find_column(named, "2", "--target") == "2"
    with pytest.raises(InputError, match="no column '1'"):
        find_column(named, "1", "--target")


def test_means_come_from_the_fitted_rows_alone():
    X, held = np.array([[1.0, 5], [np.nan, 6], [3.0, 7]]), np.array([[np.nan, 1.0]])
    fill_means(X, held, ["a", "b"], {"a": 2})
    assert X[:, 0].tolist() == [1, 2, 3]
    assert held.tolist() == [[2, 1]]
    with pytest.raises(InputError, match="no value at all"):
        fill_means(np.full((2, 1), np.nan), held, ["a"], {"a": 2})


def test_rows_are_held_out_once_each():
    y = np.arange(1000.0)
    held, kept, notes = split_rows(y, "linear", 0.2, seed=3)
    assert len(held) == 200
    assert sorted([*held, *kept]) == list(range(1000))
    assert notes == []
    np.testing.assert_array_equal(held, split_rows(y, "linear", 0.2, seed=3).held)
    assert held.tolist() != split_rows(y, "linear", 0.2, seed=4).held.tolist()
    held, kept, _ = split_rows(y, "linear", 0.0, seed=3)
    assert np.arange(1000)[held].size == 0
    assert np.arange(1000)[kept].size == 1000


@pytest.mark.parametrize("seed", range(20))
def test_classes_are_held_out_in_proportion(seed):
    y = np.random.default_rng(seed).permutation(np.repeat(["common", "scarce", "rare", "single"], [900, 95, 4, 1]))
    held, kept, notes = split_rows(y, "logistic", 0.2, seed)
    labels, counts = np.unique(y[held], return_counts=True)
    assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == {"common": 180, "scarce": 19, "rare": 1}
    assert set(y[kept]) == set(y)
    assert notes == ["no row held out of class single (1 row): too rare, all rows are in the training part"]


def test_notes_name_a_few_of_many_rare_classes():
    y = np.repeat(np.arange(30), [200, *[1] * 28, 2])
    (note,) = split_rows(y, "logistic", 0.2, 0).notes
    assert note.startswith("no row held out of classes 1 (1 row), 2 (1 row), 3 (1 row), 4 (1 row), 5 (1 row) and ")
    assert note.endswith(" more: too rare, all rows are in the training part")


@pytest.mark.parametrize(
    ("y", "task", "share", "message"),
    [
        (np.arange(3.0), "linear", 0.6, "3 usable rows are too few to hold out a share of 0.6: use --holdout 0"),
        (np.arange(2.0), "linear", 0.01, "use --holdout 0"),
        (np.arange(9), "logistic", 0.2, "each class has one row alone"),
    ],
)
def test_refusals(y, task, share, message):
    with pytest.raises(InputError, match=message):
        split_rows(y, task, share, 0)
