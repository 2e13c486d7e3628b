"""Kinds of callbacks, and the state that they get."""

import numpy as np
import pytest

from fastgd.callbacks import Callback, EpochState, Iterates, StepState, check_callbacks
from tests.naming import name_of


class Observer:
    def on_epoch_end(self, state):
        return None


class IterableObserver(list):
    def on_epoch_end(self, state):
        return None


def test_one_callback_several_or_none():
    one, other = Observer(), Observer()
    assert check_callbacks(None) == ()
    assert check_callbacks(()) == ()
    assert check_callbacks(one) == (one,)
    assert check_callbacks([one, other]) == (one, other)
    assert check_callbacks(callback for callback in (other, one)) == (other, one)
    # An object with the method is one callback, also if it is iterable.
    both = IterableObserver([3, 4])
    assert check_callbacks(both) == (both,)
    assert isinstance(one, Callback)


@pytest.mark.parametrize(
    "wrong", [lambda: 0, lambda a, b: 0, 3, Observer, [Observer(), None], [Observer], {"a": 3}], ids=name_of
)
def test_other_values_are_refused_by_name(wrong):
    with pytest.raises(TypeError, match=r"callbacks must be objects with a method on_epoch_end\(state\), or functions"):
        check_callbacks(wrong)


def test_functions_of_a_state_become_callbacks():
    seen = []
    first, second = check_callbacks([seen.append, lambda state: state == 2])
    assert isinstance(first, Callback)
    assert [(first.on_epoch_end(k), second.on_epoch_end(k)) for k in (1, 2)] == [(None, False), (None, True)]
    assert seen == [1, 2]
    (alone,) = check_callbacks(lambda state, more=3: more)
    assert alone.on_epoch_end(None) == 3


def test_coefficients_are_computed_on_access():
    asked = []

    def raw():
        asked.append(None)
        return np.ones((1, 2)), np.zeros(1)

    state = EpochState(1, 9, 0.5, np.nan, 0.1, 2.0, np.nan, 0.01, raw)
    assert not asked
    assert state.coef.tolist() == [[1.0, 1.0]]
    assert state.intercept.tolist() == [0.0]
    assert len(asked) == 2
    assert "_raw" not in repr(state)
    with pytest.raises(AttributeError):
        state.loss = 0.0


def test_iterates_keep_every_step_up_to_a_number():
    iterates = Iterates(every=2, most=4)
    for step in range(13):
        state = StepState(step, step / 4, 0.5, 0.1, lambda step=step: (np.full((1, 2), step), np.zeros(1)))
        iterates.on_run_begin(state) if step == 0 else iterates.on_steps(state)
    # Above four records every second one goes, and the distance doubles.
    assert iterates.coef[:, 0, 0].tolist() == [0, 4, 8, 12]
    assert iterates.every == 4
    assert iterates.intercept.shape == (4, 1)


@pytest.mark.parametrize(
    ("options", "name"), [({"every": 0}, "every"), ({"every": 1.5}, "every"), ({"most": 1}, "most")]
)
def test_wrong_numbers_of_iterates(options, name):
    with pytest.raises(ValueError, match=name):
        Iterates(**options)
