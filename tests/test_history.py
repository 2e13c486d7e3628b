"""The history of a fit: metrics per epoch, and their log records."""

import contextlib
import logging
import math

import numpy as np
import pytest

from fastgd import history
from fastgd.history import Epoch, History


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [10.0]
    monkeypatch.setattr(history.time, "perf_counter", lambda: now[0])
    return now


def test_one_entry_per_epoch(clock):
    metrics = History(max_iter=5)
    clock[0] = 10.25
    row = metrics.add(Epoch(3.0, 0.5, 2.0, 0.125), 4.0)
    assert row == {
        "loss": 3.0,
        "learning_rate": 0.5,
        "gradient_norm": 2.0,
        "certificate": 0.125,
        "validation_loss": 4.0,
        "seconds": 0.25,
    }
    clock[0] = 11.0
    metrics.add(Epoch(2.0, 0.25, 1.0, 0.0625), 5.0)
    assert len(metrics) == 2
    assert metrics.last_loss == 2.0
    arrays = metrics.arrays()
    assert {name: values.tolist() for name, values in arrays.items()} == {
        "loss": [3.0, 2.0],
        "validation_loss": [4.0, 5.0],
        "learning_rate": [0.5, 0.25],
        "gradient_norm": [2.0, 1.0],
        "seconds": [0.25, 0.75],
        "certificate": [0.125, 0.0625],
    }
    assert all(values.dtype == np.float64 for values in arrays.values())


@contextlib.contextmanager
def logging_by(*handlers):
    """Replace the handlers of the root logger, also those of pytest."""
    root = logging.getLogger()
    kept, root.handlers = root.handlers, list(handlers)
    try:
        yield
    finally:
        root.handlers = kept


@pytest.mark.parametrize("verbose", [True, False])
def test_epochs_are_printed_without_logging_handlers(capsys, verbose):
    with logging_by():
        with history.printed(verbose):
            History(max_iter=5, verbose=verbose).add(Epoch(3.0, 0.5, 2.0), math.nan)
        History(max_iter=5, verbose=True).add(Epoch(4.0, 0.5, 2.0), math.nan)
    line = "epoch 1 of at most 5: loss 3, learning rate 0.5, gradient norm 2\n"
    assert capsys.readouterr().err == (line if verbose else "")
    assert (history.logger.handlers, history.logger.level) == ([], logging.NOTSET)


def test_epochs_are_not_printed_with_logging_handlers(capsys):
    kept = []
    handler = logging.Handler()
    handler.emit = kept.append
    with logging_by(handler), history.printed(True):
        History(max_iter=5, verbose=True).add(Epoch(3.0, 0.5, 2.0), math.nan)
    assert capsys.readouterr().err == ""
    assert kept == []  # since the user's level is that of warnings


def test_metrics_that_no_epoch_has_are_left_out():
    metrics = History(max_iter=5)
    assert set(metrics.arrays()) == {"loss", "learning_rate", "gradient_norm", "seconds"}
    metrics.add(Epoch(math.nan, math.nan, math.nan), math.nan)
    assert set(metrics.arrays()) == {"loss", "learning_rate", "gradient_norm", "seconds"}
    metrics.add(Epoch(1.0, 1.0, 1.0), 0.5)
    np.testing.assert_array_equal(metrics.arrays()["validation_loss"], [math.nan, 0.5])


def test_clear_removes_the_epochs_of_a_run_that_diverged():
    metrics = History(max_iter=5)
    metrics.add(Epoch(9.0, 1.0, 1.0), math.nan)
    metrics.clear()
    assert len(metrics) == 0
    metrics.add(Epoch(1.0, 0.5, 1.0), math.nan)
    assert metrics.arrays()["loss"].tolist() == [1.0]


@pytest.mark.parametrize(("verbose", "level"), [(True, logging.INFO), (False, logging.DEBUG)])
def test_log_records(caplog, verbose, level):
    metrics = History(max_iter=7, verbose=verbose)
    with caplog.at_level(logging.DEBUG, "fastgd"):
        metrics.add(Epoch(0.123456789, 0.5, 2.0), 0.75)
    (record,) = caplog.records
    assert record.levelno == level
    assert record.getMessage() == (
        "epoch 1 of at most 7: loss 0.123457, validation loss 0.75, learning rate 0.5, gradient norm 2"
    )
    assert (record.fastgd["epoch"], record.fastgd["max_iter"], record.fastgd["loss"]) == (1, 7, 0.123456789)


def test_nothing_is_formatted_if_logging_is_off(caplog):
    with caplog.at_level(logging.INFO, "fastgd"):
        History(max_iter=7).add(Epoch(1.0, 1.0, 1.0), 1.0)
    assert not caplog.records
