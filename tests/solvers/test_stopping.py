"""The end of a fit by a flat loss, validation, callbacks or divergence, and its final parameters."""

import math

import numpy as np
import pytest

from fastgd.history import Epoch, History
from fastgd.solvers.progress import Monitor, Plateau, has_diverged


@pytest.mark.parametrize(
    ("losses", "tolerance", "patience", "ends"),
    [
        # Epochs are counted from 0; None where the plateau never ends the fit.
        ([5, 4, 3, 2, 1], 0.5, 2, None),
        ([5, 5, 5], 0.5, 2, 2),
        ([5, 4.6, 4.3, 4.1], 0.5, 2, None),
        ([5, 4.6, 4.5, 4.4], 0.5, 3, None),
        ([5, 4.5, 4.5, 4], 0.5, 1, 1),
        ([5, 4, 4, 3, 3, 3], 0.5, 2, 5),
        ([5, 9, 4, 9, 9], 0.5, 2, 4),
        ([5, 5, 5, 5, 5, 5], 0.0, 2, None),
        ([math.nan, math.nan], 0.5, 2, 1),
    ],
)
def test_plateau(losses, tolerance, patience, ends):
    plateau = Plateau(tolerance, patience)
    said = [plateau.observe(loss) for loss in losses]
    assert (said.index(True) if True in said else None) == ends


def test_plateau_restarts():
    plateau = Plateau(0.1, 1)
    assert not plateau.observe(1.0)
    plateau.restart()
    assert not plateau.observe(2.0)
    assert plateau.observe(2.0)


def monitor(**options):
    made = Monitor(History(9), Plateau(0.1, 2), lambda theta: (theta[:, :-1], theta[:, -1]), **options)
    made.begin_run(lambda: np.array([[7.0, 7.0]]))
    return made


def at(value):
    return np.array([[value, 0.0]])


class Ends:
    """A callback that returns a value, or raises an exception, in a given epoch."""

    def __init__(self, epoch, what=True):
        self.epoch, self.what, self.reported = epoch, what, []

    def on_epoch_end(self, state):
        self.reported.append((state.epoch, state.loss, state.coef[0, 0]))
        if state.epoch != self.epoch:
            return False
        if isinstance(self.what, BaseException):
            raise self.what
        return self.what


def test_monitor_without_validation_returns_the_rules_parameters():
    its = monitor()
    assert its.end_epoch(Epoch(3.0, 0.1, 1.0), at(1.0)) is None
    assert its.metric == 3.0
    assert its.theta.tolist() == [[7.0, 7.0]]
    assert [its.is_flat(loss) for loss in (3.0, 3.0, 3.0)] == [False, False, True]


def test_early_stopping_returns_to_the_best_epoch():
    losses = {1.0: 3.0, 2.0: 1.0, 3.0: 0.95, 4.0: 0.96}
    its = monitor(validation=lambda theta: losses[theta[0, 0]], early_stopping=True)
    theta = at(0.0)
    reasons = []
    for value in (1.0, 2.0, 3.0, 4.0):
        theta[0, 0] = value
        reasons.append(its.end_epoch(Epoch(9.0, 0.1, 1.0), theta))
    # 0.95 is no improvement by 0.1, but it is the least; and a rule's parameters change in place.
    assert reasons == [None, None, None, "early stopping"]
    assert its.theta.tolist() == [[3.0, 0.0]]
    assert its.metric == 0.96
    assert not any(its.is_flat(9.0) for _ in range(5))


def test_validation_alone_ends_nothing():
    its = monitor(validation=lambda theta: 5.0)
    assert [its.end_epoch(Epoch(9.0, 0.1, 1.0), at(1.0)) for _ in range(5)] == [None] * 5
    assert its.metric == 5.0
    assert its.theta.tolist() == [[7.0, 7.0]]
    assert [its.is_flat(9.0) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("answer", [True, 1, "enough", np.True_])
def test_true_value_of_a_callback_ends_the_fit_after_all_callbacks(answer):
    first, second = Ends(2, answer), Ends(5)
    its = monitor(callbacks=(first, second))
    assert its.end_epoch(Epoch(3.0, 0.1, 1.0), at(1.0)) is None
    assert its.end_epoch(Epoch(2.0, 0.1, 1.0), at(2.0)) == "callback"
    assert first.reported == second.reported == [(1, 3.0, 1.0), (2, 2.0, 2.0)]
    assert its.error is None


@pytest.mark.parametrize(
    ("error", "reason"), [(ArithmeticError("mine"), "callback error"), (KeyboardInterrupt(), "interrupted")]
)
def test_callback_exceptions_are_stored(error, reason):
    second = Ends(5)
    its = monitor(callbacks=(Ends(1, error), second))
    assert its.end_epoch(Epoch(3.0, 0.1, 1.0), at(1.0)) == reason
    assert its.error is error
    assert second.reported == []


def test_new_run_forgets_a_diverged_one():
    its = monitor(validation=lambda theta: theta[0, 0], early_stopping=True)
    its.end_epoch(Epoch(3.0, 0.1, 1.0), at(0.5))
    its.begin_run(lambda: at(8.0))
    assert len(its.history) == 0
    assert its.theta.tolist() == [[8.0, 0.0]]
    its.end_epoch(Epoch(3.0, 0.1, 1.0), at(2.0))
    assert its.theta.tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize(
    ("loss", "start", "expected"),
    [(9.9, 1.0, False), (10.1, 1.0, True), (math.nan, 1.0, True), (math.inf, 0.0, True), (5.0, 0.0, False)],
)
def test_divergence(loss, start, expected):
    assert has_diverged(loss, start) is expected
