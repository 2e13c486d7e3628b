"""Optimizers and schedules as scikit-learn's parameter objects: copies, nested parameters, checks, documentation."""

import doctest
import inspect
import math
import pickle
import re
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone

import fastgd
from fastgd import optimizers, schedules
from fastgd.optimizers import (
    LBFGS,
    Accelerated,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    AMSGrad,
    FullBatch,
    GradientDescent,
    Momentum,
    Nadam,
    Nesterov,
    RMSProp,
    SketchedNewton,
)
from fastgd.parameters import replacements
from fastgd.schedules import (
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
from tests.schedules.objects import ALL, halving

RULES = [kind for kind in optimizers.BY_NAME.values() if not issubclass(kind, FullBatch)]
RATES = [0.3, "auto", halving, StepDecay(0.3, every=3), WarmUp(2, then=StepDecay(0.3)), WarmUp(2, then=halving)]
OBJECTS = [
    *ALL,
    *(kind() for kind in schedules.BY_NAME.values()),
    *(kind(learning_rate=rate) for kind in RULES for rate in RATES),
]


@pytest.mark.parametrize("made", OBJECTS, ids=name_of)
def test_copies_and_pickles_are_equal_and_apart(made):
    made.check()
    for copy in (clone(made), pickle.loads(pickle.dumps(made))):
        assert copy == made
        assert copy is not made
        assert hash(copy) == hash(made)


@pytest.mark.parametrize("kind", [*optimizers.BY_NAME.values(), *schedules.BY_NAME.values()])
def test_docstrings_state_formula_source_and_examples_that_run(kind):
    assert ".. math::" in kind.__doc__
    assert "References\n" in inspect.cleandoc(kind.__doc__)
    assert (r"\eta" if issubclass(kind, Schedule) else r"\theta") in kind.__doc__
    (example,) = doctest.DocTestFinder(recurse=False).find(kind, kind.__name__, globs=vars(schedules).copy())
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


NOT_RATES = (0, -0.1, math.inf, math.nan, "fast", None, True, [0.1])
NOT_FRACTIONS = (-0.1, 1, 1.5, "0.9", None, math.nan, True)
NOT_FACTORS = (0, -0.1, 1.1, math.nan, "x", None, True)
NOT_INSIDE = (0, 1, -0.1, 1.5, math.nan, "x", None)
NOT_POSITIVE = (0, -1, -1e-8, math.inf, math.nan, "x", None, False)
NOT_LENGTHS = (0, -1, "x", math.nan)
NOT_COUNTS = (-1, 0.5, 2.0, math.nan, "x", None, True)
NOT_POSITIVE_INTEGERS = (0, -1, 2.5, "many", None, True)
NEGATIVE = (-0.1, math.inf, math.nan, "x", None)
ADAMS = (Adam, AMSGrad, Nadam, AdamW)
FROM_INITIAL = (Constant, StepDecay, ExponentialDecay, InverseTimeDecay, PolynomialDecay, CosineDecay, ReduceOnPlateau)
#: Classes, names of hyper-parameters, and values that these cannot have.
WRONG = [
    ((Momentum, Nesterov), ["momentum"], NOT_FRACTIONS),
    ((RMSProp, AdaDelta), ["decay"], NOT_FRACTIONS),
    (ADAMS, ["beta1", "beta2"], NOT_FRACTIONS),
    ((*ADAMS, AdaGrad, RMSProp, AdaDelta), ["eps"], NOT_POSITIVE),
    ([Nadam], ["momentum_decay"], NEGATIVE),
    ([AdamW], ["weight_decay"], NEGATIVE),
    ([Nesterov], ["form"], ("classic", None, 1)),
    ([GradientDescent], ["line_search"], ("armijo", True, 1)),
    ([GradientDescent], ["average"], (0, -1, 2.5, "yes", None)),
    ([LBFGS], ["memory"], NOT_POSITIVE_INTEGERS),
    ([SketchedNewton], ["memory"], (-1, 2.5, "many", None, True)),
    ([SketchedNewton], ["sample_rows"], NOT_POSITIVE_INTEGERS),
    (FROM_INITIAL, ["initial"], NOT_RATES),
    ([OneCycle], ["peak"], NOT_RATES),
    ((StepDecay, ExponentialDecay), ["factor"], NOT_FACTORS),
    ([OneCycle], ["start_factor", "final_factor"], NOT_FACTORS),
    ([WarmUp], ["start_factor"], NOT_FACTORS),
    ([StepDecay], ["every"], NOT_POSITIVE),
    ([WarmUp], ["epochs"], NOT_POSITIVE),
    ((PolynomialDecay, CosineDecay, OneCycle), ["epochs"], NOT_LENGTHS),
    ((InverseTimeDecay, PolynomialDecay), ["power"], NOT_POSITIVE),
    ([InverseTimeDecay], ["decay"], NEGATIVE),
    ((PolynomialDecay, CosineDecay), ["final"], NEGATIVE),
    ([CosineDecay], ["restart_every"], NOT_LENGTHS),
    ([CosineDecay], ["growth"], (0.9, math.inf, math.nan, "x", None, 2.0)),
    ([OneCycle], ["rise"], NOT_INSIDE),
    ([ReduceOnPlateau], ["factor"], NOT_INSIDE),
    ([ReduceOnPlateau], ["patience", "cooldown"], NOT_COUNTS),
    ([ReduceOnPlateau], ["threshold"], (-0.1, 1, math.nan, "x", None)),
    ([ReduceOnPlateau], ["minimum"], NEGATIVE),
    ([FromFunction], ["function"], (0.1, None)),
]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kinds, names, values in WRONG for kind in kinds for name in names for value in values],
)
def test_wrong_hyper_parameters_are_refused_by_name(kind, name, value):
    """A constructor takes anything, as scikit-learn wants it; `check`, `bind`, optimizers and fits refuse."""
    made = kind(**{name: value})
    refusing = [made.check]
    if isinstance(made, Schedule):
        refusing += [partial(made.bind, 0.1, 10), partial(as_schedule, made), Adam(made).check]
    for refuse in refusing:
        with pytest.raises(ValueError, match=rf"^{name} of {kind.__name__} must be .*got {re.escape(repr(value))}$"):
            refuse()


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "fast", None, True, StepDecay, Adam(), [0.1]])
@pytest.mark.parametrize("kind", RULES)
def test_wrong_rates_are_refused(kind, value):
    with pytest.raises(ValueError, match=r"^learning_rate must be 'auto', a positive number, .*got "):
        kind(learning_rate=value).check()


@pytest.mark.parametrize("kind", RULES)
def test_wrong_schedules_are_refused(kind):
    with pytest.raises(ValueError, match=r"^every of StepDecay must be a positive number, got 0$"):
        kind(StepDecay(every=0)).check()


@pytest.mark.parametrize(
    "made",
    [
        GradientDescent(1),
        GradientDescent(average=1),
        GradientDescent(average=np.True_),
        Momentum(0.1, 0),
        Momentum(1e-300, 0.999999),
        Adam(1, 0, 0, 1),
        Adam("auto", 0.0, 0.0, 1e-300),
        Nadam(momentum_decay=0),
        AdamW(weight_decay=0),
        RMSProp(decay=0),
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
def test_numbers_at_the_edges_of_their_ranges_are_accepted(made):
    made.check()
    if isinstance(made, Schedule):
        assert 0.0 < made.bind(None, 1).rates([0], [0.5])[0] < math.inf


def test_set_params_refuses_unknown_names():
    optimizer = Adam()
    assert optimizer.set_params(learning_rate=0.5, beta2=0.9) is optimizer
    assert (optimizer.learning_rate, optimizer.beta2) == (0.5, 0.9)
    with pytest.raises(ValueError, match=r"decay is not a parameter of Adam; it has learning_rate, beta1, beta2, eps"):
        optimizer.set_params(beta1=0.1, decay=0.5)
    assert optimizer.beta1 == 0.9
    with pytest.raises(ValueError, match=r"learning_rate is not a parameter of Accelerated; it has none"):
        Accelerated().set_params(learning_rate=0.1)


def test_nested_parameters_change_a_copy_of_the_schedule():
    schedule = StepDecay(0.1, every=3)
    one, other = GradientDescent(schedule), Adam(schedule)
    assert one.get_params()["learning_rate__every"] == 3
    assert "learning_rate__every" not in one.get_params(deep=False)
    one.set_params(learning_rate__every=5, learning_rate__initial=0.2)
    assert one == GradientDescent(StepDecay(0.2, every=5))
    assert other.learning_rate is schedule
    assert schedule == StepDecay(0.1, every=3)


def test_parameters_can_be_nested_deeply():
    inside = StepDecay(0.1)
    schedule, other = WarmUp(2, then=inside), WarmUp(1, then=inside)
    optimizer = Adam(schedule).set_params(learning_rate__then__every=4)
    assert optimizer.learning_rate == WarmUp(2, then=StepDecay(0.1, every=4))
    assert schedule == WarmUp(2, then=StepDecay(0.1))
    assert other.get_params()["then__every"] == 10
    assert other.get_params(deep=False) == {"epochs": 1, "then": inside, "start_factor": 0.1}
    assert other.set_params(then__every=3, epochs=5) == WarmUp(5, then=StepDecay(0.1, every=3))
    assert inside == schedule.then == StepDecay(0.1)


def test_an_object_and_its_parameters_can_be_set_together():
    schedule = ExponentialDecay(0.1)
    optimizer = Adam(0.1).set_params(learning_rate__factor=0.5, learning_rate=schedule)
    assert optimizer.learning_rate == ExponentialDecay(0.1, factor=0.5)
    assert schedule == ExponentialDecay(0.1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("learning_rate__every", "learning_rate=0.1 has no parameter 'every'"),
        ("every", "every is not a parameter of Adam; it has"),
        ("beta1__", "beta1=0.9 has no parameter ''"),
        ("rule", "rule is not a parameter of Adam; it has"),
    ],
)
def test_unknown_nested_names_are_refused(name, message):
    optimizer = Adam(0.1)
    with pytest.raises(ValueError, match=message):
        optimizer.set_params(beta2=0.1, **{name: 3})
    assert optimizer == Adam(0.1)


def test_unknown_names_of_schedules_are_refused():
    with pytest.raises(ValueError, match="power is not a parameter of StepDecay; it has initial, factor, every"):
        Adam(StepDecay()).set_params(learning_rate__power=3)


def test_nested_parameters_of_a_clone():
    schedule = StepDecay(0.1, every=3)
    optimizer = GradientDescent(schedule)
    model = fastgd.LinearRegression(optimizer=optimizer)
    assert model.get_params()["optimizer__learning_rate__every"] == 3
    other = clone(model).set_params(optimizer__learning_rate__every=5)
    assert other.optimizer == GradientDescent(StepDecay(0.1, every=5))
    assert model.optimizer is optimizer
    assert optimizer == GradientDescent(StepDecay(0.1, every=3))
    assert optimizer.learning_rate is schedule
    assert clone(other).get_params()["optimizer__learning_rate__every"] == 5
    model.set_params(optimizer__learning_rate__every=7)
    assert model.optimizer == GradientDescent(StepDecay(0.1, every=7))
    assert schedule == StepDecay(0.1, every=3)


def test_replacements_change_nothing_in_place():
    optimizer = GradientDescent(StepDecay(0.1, every=3))
    model = fastgd.LinearRegression(optimizer=optimizer)
    found = replacements(model, {"optimizer__learning_rate__every": 5, "alpha": 0.5})
    assert found == {"alpha": 0.5, "optimizer": GradientDescent(StepDecay(0.1, every=5))}
    assert model.optimizer is optimizer
    assert optimizer == GradientDescent(StepDecay(0.1, every=3))
