"""The parts of the command that need no process: targets, gaps, hold-out, scores, the page."""

import json
import sys

import numpy as np
import pytest

from fastgd import cli
from fastgd.cli.columns import find_column
from fastgd.cli.errors import InputError, describe, in_options
from fastgd.cli.prepare import fill_means
from fastgd.cli.report import _plain
from fastgd.cli.target import describe_labels, number_classes, read_target
from fastgd.data.table import array_table
from fastgd.data.text_column import encode
from fastgd.exceptions import DeviceError

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
    ("spelt", "expected", "kind"),
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
def test_classes_are_spelt_as_in_the_source(spelt, expected, kind):
    found = read_target(encode(spelt * 9, 18), "y", "auto")
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
    assert [text in note for text, note in zip(("keep their spaces: ' yes'", "--null NA"), notes, strict=True)] == [
        True
    ] * 2
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


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "max_iter reached at certificate 0.1 > tol=0.0001: increase max_iter or tol",
            "--epochs reached at certificate 0.1 > --tol 0.0001: increase --epochs or --tol",
        ),
        ("use optimizer='auto', or learning_rate=1e-09.", "use --optimizer auto, or --learning-rate 1e-09."),
        ("n_iter_no_change without early_stopping=True: leave it", "--patience without --early-stopping: leave it"),
        ("set alpha > 0, l1_ratio=0", "set --alpha > 0, --l1-ratio 0"),
        ("the alphabet's tolerance of max_iterations", "the alphabet's tolerance of max_iterations"),
    ],
)
def test_messages_of_estimators_name_options(message, expected):
    assert in_options(message) == expected


def test_json_holds_no_numbers_that_json_does_not_know():
    facts = {"a": np.float32(1.5), "b": [np.nan, np.int64(2)], "c": (np.inf, "x"), 1: np.array([1.0, np.nan])}
    assert json.loads(json.dumps(_plain(facts), allow_nan=False)) == {
        "a": 1.5,
        "b": [None, 2],
        "c": [None, "x"],
        "1": [1.0, None],
    }


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (
            DeviceError("the GPU stopped working: fit with device='cpu'"),
            "the GPU stopped working: fit with --device cpu",
        ),
        (MemoryError("the GPU has no room for the data"), "fewer rows or columns, or --device cpu"),
        (MemoryError("Unable to allocate 8 GiB"), "fewer rows or columns"),
        (
            ArithmeticError("[719] Call to cuCtxSynchronize results in CUDA_ERROR_LAUNCH_FAILED\nmore"),
            "reports CUDA_ERROR_LAUNCH_FAILED: check that nvidia-smi works, or use --device cpu",
        ),
    ],
)
def test_errors_of_gpus_are_reported_in_a_line(error, reported):
    line = describe(error)
    assert line.endswith(reported)
    assert "\n" not in line


def test_errors_of_the_program_are_shown_whole():
    assert describe(ArithmeticError("no such thing")) is None


@pytest.mark.parametrize(("cause", "lines"), [("CUDA_ERROR_LAUNCH_FAILED", 0), ("another cause", 2)])
def test_after_an_error_of_a_gpu_its_clean_up_is_silent(monkeypatch, capsys, cause, lines):
    def fail(*_):
        raise DeviceError(cause)

    monkeypatch.setattr(cli, "_parse", fail)
    # Whose watch would end the process of the tests at its next signal.
    monkeypatch.setattr(cli.signals, "install", lambda: None)
    hooks = "unraisablehook", "excepthook"
    for name in hooks:
        monkeypatch.setattr(sys, name, lambda *_: sys.stderr.write("pages\n"))
    assert cli.main([]) == 2
    for name in hooks:
        getattr(sys, name)(None)
    assert capsys.readouterr().err.splitlines().count("pages") == lines
