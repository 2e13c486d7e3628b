"""Schedules in a fit: functions, warm-ups and plateaus, their states, automatic rates and lengths."""

import json
import math

import numpy as np
import pytest

from fastgd import schedules
from fastgd.schedules import (
    BY_NAME,
    Constant,
    CosineDecay,
    ExponentialDecay,
    FromFunction,
    OneCycle,
    PolynomialDecay,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
    as_schedule,
)
from tests.naming import name_of
from tests.schedules.objects import ALL, halving, watch

CLOSE = {"rtol": 1e-12, "atol": 0.0}


def test_a_plateau_observes_only_epochs_after_the_warm_up():
    losses = [1.0, 5.0, 5.0, 4.0, 4.0]
    alone, _ = watch(ReduceOnPlateau(0.5, patience=0), losses[2:])
    rates, _ = watch(WarmUp(2, then=ReduceOnPlateau(0.5, patience=0)), losses)
    np.testing.assert_allclose(rates[:2], [0.05, 0.275], **CLOSE)
    assert rates[2:] == alone == [0.5, 0.5, 0.5, 0.25]


def test_a_function_is_called_once_per_epoch_with_the_last_loss():
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


def test_rates_of_several_epochs_call_a_function_at_their_first_steps():
    """As a plot of the rates asks."""
    calls = []

    def function(step, epoch, metric):
        calls.append((step, epoch, metric))
        return 1.0 + epoch

    rates = WarmUp(1, then=function, start_factor=0.5).rates([0, 2, 4, 5, 6, 7], [0.0, 0.5, 1.0, 1.25, 2.5, 2.75])
    assert calls == [(0, 0, None), (4, 0, None), (6, 1, None)]
    assert list(rates) == [0.5, 0.75, 1.0, 1.0, 2.0, 2.0]


def test_schedules_can_be_called_like_functions():
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


def test_numbers_auto_schedules_and_functions_are_learning_rates():
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
def test_other_values_are_no_learning_rates(rate):
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


def test_states_hold_no_numbers_of_numpy():
    schedule = ReduceOnPlateau(np.float32(0.5), np.float32(0.5), np.int64(0), cooldown=np.int64(2))
    rates, states = watch(schedule, [np.float32(1.0)] * 5)
    assert json.loads(json.dumps(states)) == states
    assert rates == [0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_a_saved_state_continues_a_schedule():
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


def test_a_schedule_is_refused_as_a_function():
    with pytest.raises(ValueError, match=r"function of FromFunction must be a callable"):
        FromFunction(FromFunction(halving)).check()


def test_functions_see_whole_epochs_after_a_warm_up_that_ends_inside_an_epoch():
    seen = []

    def rate(step, epoch, metric):
        seen.append((step, epoch))
        return 0.5

    schedule = WarmUp(1.5, then=rate).bind(None, 10)
    state = schedule.start()
    for epoch in range(5):
        state = schedule.begin(state, 10 * epoch, epoch)
        state = schedule.observe(state, 1.0)
    # Epoch 2 begins half an epoch after the warm-up: no epoch of the next schedule is done.
    assert seen == [(0, 0), (0, 0), (20, 0), (30, 1), (40, 2)]


@pytest.mark.parametrize("name", BY_NAME)
def test_automatic_rates_and_lengths_are_filled_in(name):
    schedule = BY_NAME[name]()
    schedule.check()
    assert schedule.kind == name
    assert schedule.automatic
    bound = schedule.bind(0.25, 8)
    assert not bound.automatic
    assert type(bound) is type(schedule)
    assert schedule == BY_NAME[name]()
    assert bound.rates([0], [0]).max() <= 0.25
    assert max(bound.rates(np.arange(80), np.arange(80) / 10)) == pytest.approx(0.25)
    assert bound.bind(None, 8) == bound


def test_schedules_without_a_length_take_that_of_the_fit():
    assert PolynomialDecay("auto").bind(0.5, 8) == PolynomialDecay(0.5, epochs=8)
    assert CosineDecay(0.5).bind(None, 8) == CosineDecay(0.5, epochs=8)
    assert OneCycle(0.5).bind(None, 8) == OneCycle(0.5, epochs=8)
    assert OneCycle(0.5, epochs=3).bind(None, 8) == OneCycle(0.5, epochs=3)
    assert CosineDecay(0.5, restart_every=3).bind(None, 8) == CosineDecay(0.5, restart_every=3)


def test_the_schedule_after_a_warm_up_takes_the_remaining_epochs():
    assert WarmUp(3, then=CosineDecay()).bind(0.5, 8) == WarmUp(3, then=CosineDecay(0.5, epochs=5))
    assert WarmUp(3, then="auto").bind(0.5, 8) == WarmUp(3, then=Constant(0.5))
    assert WarmUp(3, then=0.5).bind(None, 8) == WarmUp(3, then=Constant(0.5))


@pytest.mark.parametrize("then", [PolynomialDecay(0.5), CosineDecay(0.5, epochs=1), OneCycle(0.5)], ids=repr)
def test_a_fit_may_end_within_the_warm_up(then):
    bound = WarmUp(3, then=then).bind(None, 2)
    assert 0.0 < bound(0, 0.0) < bound(0, 1.9) < 0.5


@pytest.mark.parametrize("schedule", [kind() for kind in BY_NAME.values()], ids=repr)
def test_unbound_schedules_have_no_rates(schedule):
    with pytest.raises(ValueError, match=r"leaves its rate to the fit"):
        schedule.rates([0], [0])
    with pytest.raises(ValueError, match=r"leaves its rate to the fit, which knows none: give (initial|peak)"):
        schedule.bind(None, 10)


@pytest.mark.parametrize("schedule", [PolynomialDecay(0.1), CosineDecay(0.1, final=0.01), OneCycle(0.1)], ids=repr)
def test_schedules_without_a_length_have_no_rates(schedule):
    with pytest.raises(ValueError, match=r"leaves its length to the fit: give epochs, or bind it"):
        schedule.rates([0], [0])


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        (PolynomialDecay(final=0.1), "final"),
        (CosineDecay(final=0.1), "final"),
        (ReduceOnPlateau(minimum=0.1), "minimum"),
    ],
    ids=repr,
)
def test_an_automatic_rate_below_the_last_one_is_refused(schedule, name):
    with pytest.raises(ValueError, match=rf"^{name} of .* must be at most initial=0.05, got 0.1"):
        schedule.bind(0.05, 10)


def test_automatic_rates_are_checked():
    with pytest.raises(ValueError, match=r"^initial of Constant must be .*, got -0.1"):
        Constant().bind(-0.1, 10)


def test_plateau_numbers_of_torch():
    """Of ReduceLROnPlateau(factor=0.3, patience=2, threshold=1e-4, cooldown=1, min_lr=0.03)."""
    losses = [5, 4, 4, 4, 4, 3.99999, *[3.9] * 9]
    schedule = ReduceOnPlateau(0.5, factor=0.3, patience=2, threshold=1e-4, cooldown=1, minimum=0.03)
    rates, _ = watch(schedule, losses)
    np.testing.assert_allclose(rates, [*[0.5] * 5, *[0.15] * 5, *[0.045] * 4, 0.03, 0.03], rtol=1e-14)


def test_falling_losses_leave_the_rate():
    rates, _ = watch(ReduceOnPlateau(0.5, patience=0), [10.0 * 0.99**k for k in range(20)])
    assert rates == [0.5] * 21


def test_every_flat_epoch_counts_without_patience():
    rates, _ = watch(ReduceOnPlateau(0.5, patience=0), [1.0, 1.0, 1.0, 0.5, 0.5])
    assert rates == [0.5, 0.5, 0.25, 0.125, 0.125, 0.0625]


def test_a_cut_resets_the_count():
    rates, _ = watch(ReduceOnPlateau(0.5, patience=1), [1.0] * 6)
    assert rates == [0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_an_equal_loss_is_no_improvement_without_a_threshold():
    assert watch(ReduceOnPlateau(1.0, patience=0, threshold=0), [1.0, 1.0])[0][-1] == 0.5


def test_the_threshold_is_relative_also_below_zero():
    schedule = ReduceOnPlateau(1.0, patience=0, threshold=0.1)
    assert watch(schedule, [-10.0, -10.9])[0][-1] == 0.5
    assert watch(schedule, [-10.0, -11.1])[0][-1] == 1.0
    assert watch(schedule, [10.0, 9.1])[0][-1] == 0.5
    assert watch(schedule, [10.0, 8.9])[0][-1] == 1.0


def test_a_loss_that_is_nan_is_no_improvement():
    assert watch(ReduceOnPlateau(1.0, patience=0), [1.0, math.nan, 0.5])[0] == [1.0, 1.0, 0.5, 0.5]


def test_a_plateau_never_reaches_zero():
    rates, _ = watch(ReduceOnPlateau(0.5, factor=1e-9, patience=0), [1.0] * 60)
    assert min(rates) > 0.0


def test_a_plateau_has_no_rate_without_losses():
    with pytest.raises(TypeError, match=r"ReduceOnPlateau has no rate without the losses"):
        ReduceOnPlateau(0.1)(0, 0)
    with pytest.raises(TypeError, match=r"ReduceOnPlateau has no rate without the losses"):
        WarmUp(1, then=ReduceOnPlateau(0.1))(0, 1)
    assert WarmUp(1, then=ReduceOnPlateau(0.1))(0, 0.5) == pytest.approx(0.055)


def test_defaults_of_schedules():
    assert repr([kind() for kind in BY_NAME.values()]) == (
        "[Constant(initial='auto'), "
        "StepDecay(initial='auto', factor=0.5, every=10), "
        "ExponentialDecay(initial='auto', factor=0.95), "
        "InverseTimeDecay(initial='auto', decay=1.0, power=1.0), "
        "PolynomialDecay(initial='auto', final=0.0, power=1.0, epochs=None), "
        "CosineDecay(initial='auto', final=0.0, epochs=None, restart_every=None, growth=1.0), "
        "OneCycle(peak='auto', epochs=None, rise=0.3, start_factor=0.04, final_factor=0.0001), "
        "WarmUp(epochs=1, then='auto', start_factor=0.1), "
        "ReduceOnPlateau(initial='auto', factor=0.5, patience=3, threshold=0.0001, cooldown=0, minimum=0.0)]"
    )


def test_schedules_with_equal_values_are_equal():
    assert StepDecay(0.1) == StepDecay(0.1, 0.5, 10)
    assert StepDecay(0.1) != StepDecay(0.2)
    assert Constant(0.1) != ExponentialDecay(0.1)
    assert WarmUp(then=StepDecay(0.1)) == WarmUp(then=StepDecay(0.1))
    assert repr(WarmUp(2, then=StepDecay(0.1))) == (
        "WarmUp(epochs=2, then=StepDecay(initial=0.1, factor=0.5, every=10), start_factor=0.1)"
    )


def test_every_kind_is_public():
    assert {kind.__name__ for kind in BY_NAME.values()} <= set(schedules.__all__)
    assert list(BY_NAME) == [
        *("constant", "step", "exponential", "inverse", "polynomial", "cosine", "onecycle", "warmup", "plateau")
    ]
    assert all(issubclass(kind, Schedule) for kind in BY_NAME.values())


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (PolynomialDecay(0.1, final=0.2), "final of PolynomialDecay must be at most initial=0.1, got 0.2"),
        (CosineDecay(0.1, final=0.2), "final of CosineDecay must be at most initial=0.1, got 0.2"),
        (CosineDecay(growth=2.0), "growth of CosineDecay must be 1 without restart_every, got 2.0"),
        (CosineDecay(epochs=9, restart_every=3), "epochs of CosineDecay must be None with restart_every.*got 9"),
        (ReduceOnPlateau(0.1, minimum=0.2), "minimum of ReduceOnPlateau must be at most initial=0.1, got 0.2"),
        (WarmUp(then=StepDecay(factor=2)), "factor of StepDecay must be .*got 2"),
    ],
)
def test_hyper_parameters_that_contradict_each_other_are_refused(schedule, message):
    with pytest.raises(ValueError, match=message):
        schedule.check()
