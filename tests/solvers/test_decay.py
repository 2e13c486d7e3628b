"""Decays of AdamW that flip the signs of weights are refused: at once for known rates, else during the fit."""

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression, minimize
from fastgd.optimizers import AdamW
from fastgd.schedules import Constant, StepDecay, WarmUp
from tests.minimization.functions import logcosh

X = np.random.default_rng(0).standard_normal((60, 3))
Y = (X[:, 0] > 0).astype(int)
WORDS = r"learning_rate=0.5 of AdamW turns the signs of weights, .*weight_decay=3: use rates of at most 0.333333,"


class Epochs:
    """A callback that counts epochs."""

    def __init__(self):
        self.count = 0

    def on_epoch_end(self, state):
        self.count += 1


def test_a_known_rate_is_refused_before_anything_is_read():
    for optimizer in (AdamW(0.5, weight_decay=3.0), AdamW(np.float32(0.5), weight_decay=3)):
        with pytest.raises(ValueError, match=WORDS):
            optimizer.check()
        for run in (LinearRegression(optimizer=optimizer).fit, LogisticRegression(optimizer=optimizer).partial_fit):
            with pytest.raises(ValueError, match=WORDS):
                run(None, None)
        with pytest.raises(ValueError, match=WORDS):
            minimize(sum, [1.0], optimizer=optimizer)


def test_at_most_is_allowed():
    AdamW(0.5, weight_decay=2.0).check()
    AdamW(1e300, weight_decay=0.0).check()
    LinearRegression(optimizer=AdamW(0.5, weight_decay=2.0), max_iter=1, tol=0.0).fit(X, Y)


@pytest.mark.parametrize("batch_size", [8, "full"])
def test_schedules_are_refused_when_their_rate_gets_too_large(batch_size):
    rising, watch = WarmUp(4, then=0.5, start_factor=0.1), Epochs()
    model = LinearRegression(optimizer=AdamW(rising, weight_decay=3.0), batch_size=batch_size, max_iter=9, tol=0.0)
    with pytest.raises(ValueError, match=r"AdamW turns the signs of weights"):
        model.fit(X, Y, callbacks=watch)
    # From 0.05 to 0.5 in 4 epochs: a third is passed in the third.
    assert watch.count == 2 + (batch_size == "full")


@pytest.mark.parametrize(
    "rate", [Constant(0.5), StepDecay(0.5), lambda *_: 0.5], ids=["constant", "falling", "function"]
)
def test_streams_and_functions_of_the_users_are_refused_too(rate):
    optimizer = AdamW(rate, weight_decay=3.0)
    with pytest.raises(ValueError, match=WORDS):
        LinearRegression(optimizer=optimizer).partial_fit(X, Y)
    function, x0 = logcosh()
    with pytest.raises(ValueError, match=WORDS):
        minimize(function, x0, optimizer=optimizer)
