"""What a fit decides for a schedule: the automatic rate, and its length."""

import numpy as np
import pytest

from fastgd.schedules import (
    BY_NAME,
    Constant,
    CosineDecay,
    OneCycle,
    PolynomialDecay,
    ReduceOnPlateau,
    WarmUp,
)


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


def test_lengths_are_the_fits_where_none_is_given():
    assert PolynomialDecay("auto").bind(0.5, 8) == PolynomialDecay(0.5, epochs=8)
    assert CosineDecay(0.5).bind(None, 8) == CosineDecay(0.5, epochs=8)
    assert OneCycle(0.5).bind(None, 8) == OneCycle(0.5, epochs=8)
    assert OneCycle(0.5, epochs=3).bind(None, 8) == OneCycle(0.5, epochs=3)
    assert CosineDecay(0.5, restart_every=3).bind(None, 8) == CosineDecay(0.5, restart_every=3)


def test_a_warm_up_leaves_the_rest_of_the_fit():
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
def test_nor_have_those_without_a_length(schedule):
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
