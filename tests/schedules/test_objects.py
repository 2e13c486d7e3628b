"""Schedules as objects: copies, nested parameters, documentation, and every wrong value refused by name."""

import doctest
import math
import pickle

import pytest
from sklearn.base import clone

from fastgd import schedules
from fastgd.schedules import (
    BY_NAME,
    Constant,
    CosineDecay,
    ExponentialDecay,
    FromFunction,
    InverseTimeDecay,
    OneCycle,
    PolynomialDecay,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
    as_schedule,
)
from tests.naming import name_of
from tests.schedules.objects import ALL


@pytest.mark.parametrize("schedule", [*ALL, *(kind() for kind in BY_NAME.values())], ids=name_of)
def test_copies_and_pickles_are_equal_and_apart(schedule):
    for copy in (clone(schedule), pickle.loads(pickle.dumps(schedule))):
        assert copy == schedule
        assert copy is not schedule
        assert hash(copy) == hash(schedule)


def test_defaults():
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


def test_values_decide_what_is_equal():
    assert StepDecay(0.1) == StepDecay(0.1, 0.5, 10)
    assert StepDecay(0.1) != StepDecay(0.2)
    assert Constant(0.1) != ExponentialDecay(0.1)
    assert WarmUp(then=StepDecay(0.1)) == WarmUp(then=StepDecay(0.1))
    assert repr(WarmUp(2, then=StepDecay(0.1))) == (
        "WarmUp(epochs=2, then=StepDecay(initial=0.1, factor=0.5, every=10), start_factor=0.1)"
    )


def test_nested_parameters_change_a_copy():
    inside = StepDecay(0.1)
    schedule, other = WarmUp(then=inside), WarmUp(2, then=inside)
    assert schedule.get_params()["then__every"] == 10
    assert schedule.get_params(deep=False) == {"epochs": 1, "then": inside, "start_factor": 0.1}
    schedule.set_params(then__every=3, epochs=5)
    assert schedule == WarmUp(5, then=StepDecay(0.1, every=3))
    assert inside == other.then == StepDecay(0.1)


def test_every_kind_is_public():
    assert {kind.__name__ for kind in BY_NAME.values()} <= set(schedules.__all__)
    assert list(BY_NAME) == [
        *("constant", "step", "exponential", "inverse", "polynomial", "cosine", "onecycle", "warmup", "plateau")
    ]
    assert all(issubclass(kind, Schedule) for kind in BY_NAME.values())


@pytest.mark.parametrize("kind", BY_NAME.values())
def test_they_state_source_and_an_example_that_runs(kind):
    assert "References\n" in kind.__doc__
    assert ".. math::" in kind.__doc__
    (example,) = doctest.DocTestFinder(recurse=False).find(kind, kind.__name__, globs=vars(schedules).copy())
    assert len(example.examples) > 0
    assert doctest.DocTestRunner().run(example).failed == 0


NOT_RATES = (0, -0.1, math.inf, math.nan, "fast", None, True, [0.1])
NOT_FACTORS = (0, -0.1, 1.1, math.nan, "x", None, True)
NOT_POSITIVE = (0, -1, math.inf, math.nan, "x", None, False)
NOT_COUNTS = (-1, 0.5, 2.0, math.nan, "x", None, True)
NEGATIVE = (-0.1, math.inf, math.nan, "x", None)
FROM_INITIAL = (Constant, StepDecay, ExponentialDecay, InverseTimeDecay, PolynomialDecay, CosineDecay, ReduceOnPlateau)
WRONG = [
    *((kind, "initial", value) for kind in FROM_INITIAL for value in NOT_RATES),
    *((OneCycle, "peak", value) for value in NOT_RATES),
    *((kind, "factor", value) for kind in (StepDecay, ExponentialDecay) for value in NOT_FACTORS),
    *((OneCycle, name, value) for name in ("start_factor", "final_factor") for value in NOT_FACTORS),
    *((WarmUp, "start_factor", value) for value in NOT_FACTORS),
    *((StepDecay, "every", value) for value in NOT_POSITIVE),
    *((WarmUp, "epochs", value) for value in NOT_POSITIVE),
    *((kind, "epochs", value) for kind in (PolynomialDecay, CosineDecay, OneCycle) for value in (0, -1, "x", math.nan)),
    *((kind, "power", value) for kind in (InverseTimeDecay, PolynomialDecay) for value in NOT_POSITIVE),
    *((InverseTimeDecay, "decay", value) for value in NEGATIVE),
    *((kind, "final", value) for kind in (PolynomialDecay, CosineDecay) for value in NEGATIVE),
    *((CosineDecay, "restart_every", value) for value in (0, -1, "x", math.nan)),
    *((CosineDecay, "growth", value) for value in (0.9, math.inf, math.nan, "x", None, 2.0)),
    *((OneCycle, "rise", value) for value in (0, 1, -0.1, math.nan, "x", None)),
    *((ReduceOnPlateau, "factor", value) for value in (0, 1, -0.1, 1.5, math.nan, "x", None)),
    *((ReduceOnPlateau, name, value) for name in ("patience", "cooldown") for value in NOT_COUNTS),
    *((ReduceOnPlateau, "threshold", value) for value in (-0.1, 1, math.nan, "x", None)),
    *((ReduceOnPlateau, "minimum", value) for value in NEGATIVE),
    *((FromFunction, "function", value) for value in (0.1, None)),
]


def escaped(value):
    return repr(value).replace("[", r"\[").replace("]", r"\]")


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_wrong_hyper_parameters_are_refused_by_name(kind, name, value):
    """A constructor takes anything, as scikit-learn wants it; `check`, `bind` and optimizers refuse."""
    schedule = kind(**{name: value})
    message = rf"^{name} of {kind.__name__} must be .*got {escaped(value)}"
    for refuse in (schedule.check, lambda: schedule.bind(0.1, 10), lambda: as_schedule(schedule)):
        with pytest.raises(ValueError, match=message):
            refuse()


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


@pytest.mark.parametrize(
    "schedule",
    [
        StepDecay(1, factor=1, every=1e-3),
        ExponentialDecay(1e-300, factor=1.0),
        InverseTimeDecay(1.0, decay=0, power=1e-9),
        PolynomialDecay(0.1, final=0.1, epochs=1),
        CosineDecay(0.1, restart_every=1, growth=1),
        OneCycle(1, 1, 0.999, 1, 1),
        WarmUp(1e-3, 1, 1),
        ReduceOnPlateau(0.1, 0.999, 0, 0, 0, 0.1),
    ],
    ids=name_of,
)
def test_numbers_at_the_edges_of_their_ranges_are_accepted(schedule):
    schedule.check()
    assert 0.0 < schedule.bind(None, 1).rates([0], [0.5])[0] < math.inf
