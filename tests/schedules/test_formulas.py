"""Schedules against closed forms and other libraries' numbers, at their ends and in slices."""

import math

import numpy as np
import pytest

from fastgd.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    FromFunction,
    InverseTimeDecay,
    OneCycle,
    PolynomialDecay,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)
from tests.naming import name_of
from tests.schedules.objects import STATELESS, halving

CLOSE = {"rtol": 1e-12, "atol": 0.0}
TIMES = [0.0, 0.3, 1.0, 2.5, 3.0, 6.999, 7.0, 10.0, 19.75]


# Formulas, one time at a time, in the standard library's arithmetic.
@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (Constant(0.2), lambda t: 0.2),
        (StepDecay(0.2, factor=0.3, every=3), lambda t: 0.2 * 0.3 ** (t // 3)),
        (StepDecay(0.2, every=2.5), lambda t: 0.2 / 2 ** (t // 2.5)),
        (StepDecay(0.2), lambda t: 0.2 if t < 10 else 0.1),
        (ExponentialDecay(0.2, factor=0.9), lambda t: 0.2 * math.exp(t * math.log(0.9))),
        (InverseTimeDecay(0.2, decay=0.5), lambda t: 0.2 / (1 + t / 2)),
        (InverseTimeDecay(0.2, decay=3.0, power=0.5), lambda t: 0.2 / math.sqrt(1 + 3 * t)),
        (InverseTimeDecay(0.2, decay=0), lambda t: 0.2),
        (PolynomialDecay(0.2, epochs=20), lambda t: 0.2 * (20 - t) / 20),
        (
            PolynomialDecay(0.2, final=0.05, power=3.0, epochs=7),
            lambda t: 0.05 + 0.15 * (1 - t / 7) ** 3 if t < 7 else 0.05,
        ),
        (CosineDecay(0.2, epochs=20), lambda t: 0.1 + 0.1 * math.cos(math.pi * t / 20)),
        (
            CosineDecay(0.2, final=0.1, epochs=7),
            lambda t: 0.15 + 0.05 * math.cos(math.pi * t / 7) if t < 7 else 0.1,
        ),
        (CosineDecay(0.2, restart_every=2.5), lambda t: 0.1 + 0.1 * math.cos(math.pi * (t % 2.5) / 2.5)),
        (
            WarmUp(4, then=InverseTimeDecay(0.2), start_factor=0.25),
            lambda t: 0.05 + 0.15 * t / 4 if t < 4 else 0.2 / (t - 3),
        ),
        (
            WarmUp(2, then=OneCycle(0.2, epochs=10, start_factor=0.1)),
            lambda t: 0.002 + 0.018 * t / 2 if t < 2 else OneCycle(0.2, epochs=10, start_factor=0.1)(0, t - 2),
        ),
        (FromFunction(halving), lambda t: 0.5 ** int(t)),
        (WarmUp(2, then=halving), lambda t: 0.1 + 0.9 * t / 2 if t < 2 else 0.5 ** int(t - 2)),
    ],
    ids=name_of,
)
def test_closed_forms(schedule, formula):
    expected = [formula(t) for t in TIMES]
    rates = schedule.rates(np.arange(len(TIMES)), np.array(TIMES), schedule.start())
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, expected, **CLOSE)


# Rates of PyTorch's and optax's schedules, one update per epoch: torch.optim.lr_scheduler.{StepLR(3, 0.4),
# ExponentialLR(0.9), PolynomialLR(6, power=2), CosineAnnealingLR(5, eta_min=0.1), CosineAnnealingWarmRestarts(2,
# T_mult=3, eta_min=0.1), LinearLR(0.25, total_iters=4), OneCycleLR(0.5, total_steps=21, pct_start=6 / 21,
# final_div_factor=400)} with lr=0.5; optax.{exponential_decay(0.5, 4, 0.3), polynomial_schedule(0.5, 0.1, 3, 5),
# cosine_onecycle_schedule(20, 0.5, 0.25, 10, 100) at even steps, warmup_cosine_decay_schedule(0.05, 0.5, 3, 9, 0.01)}.
OTHERS = {
    "StepLR": (StepDecay(0.5, factor=0.4, every=3), [0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.08, 0.08]),
    "ExponentialLR": (ExponentialDecay(0.5, factor=0.9), [0.5, 0.45, 0.405, 0.3645, 0.32805, 0.295245]),
    "PolynomialLR": (
        PolynomialDecay(0.5, power=2.0, epochs=6),
        [0.5, 0.347222222222222, 0.222222222222222, 0.125, 0.0555555555555556, 0.0138888888888889, 0],
    ),
    "CosineAnnealingLR": (
        CosineDecay(0.5, final=0.1, epochs=5),
        [0.5, 0.46180339887499, 0.36180339887499, 0.238196601125011, 0.138196601125011, 0.1],
    ),
    "CosineAnnealingWarmRestarts": (
        CosineDecay(0.5, final=0.1, restart_every=2, growth=3.0),
        [0.5, 0.3, 0.5, 0.473205080756888, 0.4, 0.3, 0.2, 0.126794919243112, 0.5, 0.496961550602442, 0.487938524157182],
    ),
    "LinearLR": (WarmUp(4, then=0.5, start_factor=0.25), [0.125, 0.21875, 0.3125, 0.40625, 0.5, 0.5, 0.5]),
    "OneCycleLR": (
        OneCycle(0.5, epochs=20, rise=0.25),
        [
            *[0.02, 0.0658359213500126, 0.185835921350013, 0.334164078649987, 0.454164078649987, 0.5],
            *[0.494537446493433, 0.478388525774209, 0.452259023168878, 0.417290923324556, 0.3750125],
            *[0.327271523168877, 0.276154502605332, 0.223895497394668, 0.172778476831123, 0.1250375],
            *[0.0827590766754445, 0.0477909768311225, 0.0216614742257908, 0.00551255350656692, 5e-05],
        ],
    ),
    "exponential_decay": (
        ExponentialDecay(0.5, factor=0.3**0.25),
        [0.5, 0.370041402246143, 0.273861278752583, 0.202680023221055, 0.15, 0.111012420673843, 0.0821583836257749],
    ),
    "polynomial_schedule": (
        PolynomialDecay(0.5, final=0.1, power=3.0, epochs=5),
        [0.5, 0.3048, 0.1864, 0.1256, 0.1032, 0.1, 0.1, 0.1],
    ),
    "cosine_onecycle_schedule": (
        OneCycle(0.5, epochs=10, rise=0.25, start_factor=0.1, final_factor=1e-3),
        [
            *[0.05, 0.205471176265637, 0.457028823734363, 0.494542363283268, 0.452301994345143, 0.375125],
            *[0.276355983701096, 0.173073005654857, 0.0831346310618752, 0.0220920219537604, 0.0005],
        ],
    ),
    "warmup_cosine_decay_schedule": (
        WarmUp(3, then=CosineDecay(0.5, final=0.01, epochs=6)),
        [0.05, 0.2, 0.35, 0.5, 0.467176223927187, 0.3775, 0.255, 0.1325, 0.0428237760728125, 0.01],
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_numbers_of_other_libraries(name):
    schedule, expected = OTHERS[name]
    epochs = np.arange(len(expected))
    np.testing.assert_allclose(schedule.rates(epochs, epochs), expected, rtol=2e-14, atol=0.0)


@pytest.mark.parametrize("schedule", STATELESS, ids=name_of)
def test_one_rate_at_a_time_is_the_same(schedule):
    rates = schedule.rates(np.arange(len(TIMES)), np.array(TIMES))
    assert [schedule(step, t) for step, t in enumerate(TIMES)] == list(rates)
    assert schedule.rates([], []).shape == (0,)
    assert isinstance(schedule(0, 0), float)


@pytest.mark.parametrize("schedule", [*STATELESS, ReduceOnPlateau(0.2)], ids=name_of)
def test_rates_do_not_depend_on_slices(schedule):
    """A fit divides its epochs by time; the rates must not depend on that."""
    times = np.arange(12 * 5) / 5
    whole = schedule.rates(np.arange(times.size), times)
    for epoch in range(12):
        state = schedule.begin(schedule.start(), 5 * epoch, epoch)
        for part in (slice(0, 2), slice(2, 3), slice(3, 5)):
            steps = np.arange(5 * epoch, 5 * epoch + 5)[part]
            assert (schedule.rates(steps, steps / 5, state) == whole[steps]).all()


@pytest.mark.parametrize("kind", [PolynomialDecay, CosineDecay])
def test_zero_is_reached_at_the_very_end_only(kind):
    schedule = kind(0.1, epochs=4)
    rates = schedule.rates([0, 1, 2], [3.0, math.nextafter(4.0, 0.0), 4.0])
    assert rates[0] > rates[1] > rates[2] == 0.0
    with pytest.raises(ValueError, match=rf"{kind.__name__}\(.*is at rate 0 from epoch 4 on: give final > 0"):
        schedule.rates([0, 1], [4.0, 4.01])


@pytest.mark.parametrize("kind", [PolynomialDecay, CosineDecay])
def test_a_rate_of_0_before_the_end_of_the_fit_is_refused(kind):
    with pytest.raises(ValueError, match=r"is at rate 0 from epoch 4 on, and the fit may last 5: give final > 0"):
        kind(0.1, epochs=4).bind(None, 5)
    with pytest.raises(ValueError, match=r"and the fit may last 5"):
        WarmUp(2, then=kind(0.1, epochs=4)).bind(None, 7)
    assert kind(0.1, epochs=4).bind(None, 4) == kind(0.1, epochs=4)
    assert kind(0.1, final=0.01, epochs=4).bind(None, 5)(0, 4.5) == 0.01


def test_the_end_of_a_cosine_does_not_cancel():
    """With 1 + cos, the last 1e8-th of the time would have a rate of 0."""
    left = 1e-10
    schedule = CosineDecay(1.0, epochs=1)
    assert schedule(0, 1 - left) == pytest.approx((math.pi * left / 2) ** 2, rel=1e-5)


@pytest.mark.parametrize("growth", [1.0, 1.5, 2.0, 10.0])
@pytest.mark.parametrize("every", [0.1, 0.3, 1, 3, 7.7])
def test_restarts_begin_at_the_first_rate_and_never_reach_zero(every, growth):
    schedule = CosineDecay(1.0, restart_every=every, growth=growth)
    begin, length = 0.0, every
    for _ in range(12):
        assert schedule(0, begin * (1 + 1e-14)) == pytest.approx(1.0)
        assert schedule(0, begin * (1 - 1e-14)) == pytest.approx(1.0)
        assert schedule(0, begin + length / 2) == pytest.approx(0.5)
        begin, length = begin + length, length * growth
        assert 0.0 < schedule(0, begin * (1 - 1e-8)) < 1e-12
    dense = np.linspace(0.0, begin, 2001)
    assert (schedule.rates(np.zeros(2001), dense) > 0.0).all()


@pytest.mark.parametrize(
    ("every", "growth", "epoch"), [(5.8, 1.5, 14.499999999999998), (0.3, 1.3, 1.8561), (8.4, 1.1, 27.804000000000006)]
)
def test_a_time_that_misses_a_restart_by_rounding_belongs_to_the_next_cycle(every, growth, epoch):
    schedule = CosineDecay(1.0, restart_every=every, growth=growth)
    assert schedule(0, epoch) == pytest.approx(1.0)
    assert 0.0 < schedule(0, epoch * (1 - 1e-10)) < 1e-12


@pytest.mark.parametrize("batches", [1, 3, 7, 10, 23, 49])
def test_cuts_and_restarts_after_k_updates_come_at_update_k(batches):
    """With every = k / batches, 40 % of cuts came an update late before times were compared up to rounding."""
    updates = np.arange(6 * batches)
    epochs = updates // batches + updates % batches / batches
    for k in range(1, 2 * batches):
        step = StepDecay(1.0, every=k / batches).rates(updates, epochs)
        np.testing.assert_array_equal(step, 0.5 ** (updates // k))
        cosine = CosineDecay(1.0, restart_every=k / batches).rates(updates, epochs)
        np.testing.assert_allclose(cosine, np.cos(0.5 * np.pi * (updates % k) / k) ** 2, rtol=1e-6)
        later = WarmUp(2, then=StepDecay(1.0, every=k / batches)).rates(updates, epochs)[2 * batches :]
        np.testing.assert_array_equal(later, 0.5 ** (updates[: 4 * batches] // k))
        grows = CosineDecay(1.0, restart_every=k / batches, growth=3).rates(updates, epochs)
        np.testing.assert_allclose(grows[[at for at in (0, k, 4 * k) if at < updates.size]], 1.0)


@pytest.mark.parametrize(("updates", "share"), [(21, 0.3), (100, 0.25), (50, 0.1)])
def test_one_cycle_with_the_counts_of_torch(updates, share):
    """torch.optim.lr_scheduler.OneCycleLR(0.5, total_steps=updates, pct_start=share), by its formula."""
    peak, end = share * updates - 1, updates - 1
    schedule = OneCycle(0.5, epochs=end / 4, rise=peak / end, final_factor=0.04 / 1e4)
    for step in range(updates):
        if step <= peak:
            expected = 0.5 + (0.02 - 0.5) / 2 * (math.cos(math.pi * step / peak) + 1)
        else:
            expected = 2e-6 + (0.5 - 2e-6) / 2 * (math.cos(math.pi * (step - peak) / (end - peak)) + 1)
        assert schedule(step, step / 4) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "schedule",
    [
        ExponentialDecay(0.1, factor=1e-3),
        StepDecay(0.1, factor=1e-3, every=1),
        InverseTimeDecay(0.1, power=200.0),
        PolynomialDecay(0.1, power=200.0, epochs=1001),
    ],
    ids=name_of,
)
def test_rates_too_small_for_float64_stay_positive(schedule):
    assert 0.0 < schedule(0, 1000) < 1e-300


def test_one_cycle_stays_at_its_last_rate():
    schedule = OneCycle(0.5, epochs=10)
    assert schedule(0, 10) == schedule(0, 25) == pytest.approx(0.5e-4)
    assert schedule(0, 3) == 0.5
    assert max(schedule.rates(np.zeros(101), np.linspace(0, 10, 101))) == 0.5
