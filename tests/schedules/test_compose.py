"""Schedules of schedules and of functions, and what they remember."""

import json
import math

import numpy as np
import pytest

from fastgd.schedules import (
    Constant,
    ExponentialDecay,
    FromFunction,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
    as_schedule,
)
from tests.naming import name_of
from tests.schedules.objects import ALL, halving, watch

CLOSE = {"rtol": 1e-12, "atol": 0.0}


def test_a_plateau_sees_only_what_follows_the_warm_up():
    losses = [1.0, 5.0, 5.0, 4.0, 4.0]
    alone, _ = watch(ReduceOnPlateau(0.5, patience=0), losses[2:])
    rates, _ = watch(WarmUp(2, then=ReduceOnPlateau(0.5, patience=0)), losses)
    np.testing.assert_allclose(rates[:2], [0.05, 0.275], **CLOSE)
    assert rates[2:] == alone == [0.5, 0.5, 0.5, 0.25]


def test_a_function_is_called_once_an_epoch_with_the_loss_before():
    calls = []

    def function(step, epoch, metric):
        calls.append((step, epoch, metric))
        return 0.1 * (1 + epoch)

    rates, _ = watch(as_schedule(function), [3.0, 2.0])
    assert calls == [(0, 0, None), (7, 1, 3.0), (14, 2, 2.0)]
    assert all(type(part) is int for call in calls for part in call[:2])
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3], **CLOSE)


def test_a_function_after_a_warm_up_starts_at_its_epoch_0():
    calls = []

    def function(step, epoch, metric):
        calls.append((step, epoch, metric))
        return 0.5**epoch

    rates, _ = watch(WarmUp(2, then=function), [9.0, 8.0, 7.0, 6.0])
    assert calls == [(0, 0, None), (0, 0, None), (14, 0, None), (21, 1, 7.0), (28, 2, 6.0)]
    np.testing.assert_allclose(rates, [0.1, 0.55, 1.0, 0.5, 0.25], **CLOSE)


def test_a_function_asked_for_several_epochs_at_once_is_called_at_their_first_steps():
    """As a plot of the rates asks."""
    calls = []

    def function(step, epoch, metric):
        calls.append((step, epoch, metric))
        return 1.0 + epoch

    rates = WarmUp(1, then=function, start_factor=0.5).rates([0, 2, 4, 5, 6, 7], [0.0, 0.5, 1.0, 1.25, 2.5, 2.75])
    assert calls == [(0, 0, None), (4, 0, None), (6, 1, None)]
    assert list(rates) == [0.5, 0.75, 1.0, 1.0, 2.0, 2.0]


def test_schedules_are_functions_too():
    schedule = StepDecay(0.1, every=2)
    assert watch(as_schedule(lambda *args: schedule(*args)), [1.0] * 4)[0] == watch(schedule, [1.0] * 4)[0]


def test_warm_ups_nest():
    schedule = WarmUp(1, then=WarmUp(1, then=ReduceOnPlateau(1.0, patience=0), start_factor=0.5), start_factor=0.5)
    rates, states = watch(schedule, [1.0, 1.0, 1.0, 1.0])
    assert rates == [0.25, 0.5, 1.0, 1.0, 0.5]
    assert states[-1]["then.then.share"] == 0.5


def test_a_warm_up_within_an_epoch():
    schedule = WarmUp(0.5, then=ExponentialDecay(1.0, factor=0.25), start_factor=0.5)
    np.testing.assert_allclose(schedule.rates(range(4), [0.0, 0.25, 0.5, 1.0]), [0.5, 0.75, 1.0, 0.5], **CLOSE)


def test_what_can_be_given_for_a_learning_rate():
    assert as_schedule(0.1) == Constant(0.1)
    assert as_schedule(1) == Constant(1)
    assert as_schedule(np.float32(0.5)) == Constant(0.5)
    assert as_schedule("auto") == Constant("auto")
    schedule = StepDecay()
    assert as_schedule(schedule) is schedule
    assert as_schedule(halving) == FromFunction(halving)
    assert not as_schedule(halving).automatic
    assert as_schedule(halving).bind(None, 3) == FromFunction(halving)
    assert as_schedule(halving).bind(0.1, 3) == FromFunction(halving)


@pytest.mark.parametrize("rate", [0, -0.1, math.inf, math.nan, True, None, "0.1", [0.1], StepDecay, object()])
def test_what_cannot(rate):
    with pytest.raises(ValueError, match=r"^learning_rate must be 'auto', a positive number, .*got "):
        as_schedule(rate)
    with pytest.raises(ValueError, match=r"^then of WarmUp must be 'auto', a positive number, .*got "):
        WarmUp(then=rate).check()


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan, None, "fast", True])
def test_wrong_results_of_functions_are_refused(rate):
    schedule = as_schedule(lambda step, epoch, metric: rate)
    message = rf"positive and finite, but .*lambda.* gave {rate!r} at step 7, epoch 1, metric 0.5"
    with pytest.raises(ValueError, match=message):
        schedule.begin(schedule.observe(schedule.start(), 0.5), 7, 1)


@pytest.mark.parametrize("schedule", ALL, ids=name_of)
def test_states_survive_json_and_observing_is_pure(schedule):
    _, states = watch(schedule, [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    for state in states:
        assert json.loads(json.dumps(state, allow_nan=False)) == state
    before = [dict(state) for state in states]
    again = [schedule.observe(state, 2.0) for state in states]
    schedule.begin(states[-1], 70, 7)
    schedule.rates([70], [7.0], states[-1])
    assert [schedule.observe(state, 2.0) for state in states] == again
    assert states == before


def test_numbers_of_numpy_do_not_get_into_states():
    schedule = ReduceOnPlateau(np.float32(0.5), np.float32(0.5), np.int64(0), cooldown=np.int64(2))
    rates, states = watch(schedule, [np.float32(1.0)] * 5)
    assert json.loads(json.dumps(states)) == states
    assert rates == [0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_a_fit_goes_on_where_a_saved_one_ended():
    schedule, losses = WarmUp(1, then=ReduceOnPlateau(1.0, patience=1)), [4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    rates, states = watch(schedule, losses)
    state = json.loads(json.dumps(states[4]))
    for epoch in range(4, 7):
        assert schedule.rates([0], [epoch], state)[0] == rates[epoch]
        state = schedule.observe(state, losses[epoch])
    assert state == states[7]


def test_warm_ups_nested_deeply_are_refused_when_they_are_made():
    schedule = WarmUp()
    for _ in range(19):
        schedule = WarmUp(then=schedule)
    with pytest.raises(ValueError, match=r"then of WarmUp nests more than 20 warm-ups"):
        WarmUp(then=schedule)
    with pytest.raises(ValueError, match=r"then of WarmUp nests more than 20 warm-ups"):
        WarmUp().set_params(then=schedule).check()


@pytest.mark.parametrize("value", [np.array([0.1, 0.2]), np.array(0.1), np.array("auto"), len, int, 10**400, 1j])
def test_errors_name_the_learning_rate(value):
    """Arrays, numbers beyond float64, functions of another number of arguments."""
    with pytest.raises(ValueError, match=r"learning_rate must be"):
        as_schedule(value)
    with pytest.raises(ValueError, match=r"initial of StepDecay must be 'auto' or a positive number"):
        StepDecay(value).check()


def test_a_function_may_have_more_arguments_with_defaults():
    assert as_schedule(lambda step, epoch, metric=None, base=0.5: base / (1 + epoch))(0, 1) == 0.25


def test_schedules_are_no_functions_of_the_users():
    with pytest.raises(ValueError, match=r"function of FromFunction must be a callable"):
        FromFunction(FromFunction(halving)).check()
