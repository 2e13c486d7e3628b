"""The optimizers as objects: parameters, checks, copies, and their numbers in the order of the kernels."""

import dataclasses
import pickle

import pytest
from sklearn.base import clone

import fastgd
from fastgd import reference
from fastgd.kernels.rules import RULES
from fastgd.optimizers import BY_NAME, Adam, GradientDescent, Momentum, Optimizer

KINDS = [GradientDescent, Momentum, Adam]
#: How the dataclasses' hyper-parameters are called by the reference.
FIELDS = {"gd": [], "momentum": ["momentum"], "adam": ["beta1", "beta2", "eps"]}


def test_every_rule_has_an_optimizer_and_a_kernel():
    assert BY_NAME.keys() == RULES.keys() == reference.RULES.keys()
    for name, kind in BY_NAME.items():
        assert kind.rule == name
        assert issubclass(kind, Optimizer)


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_the_references(kind):
    optimizer = kind()
    assert optimizer.learning_rate == "auto"
    defaults = reference.RULES[kind.rule].defaults
    assert {name: value for name, value in optimizer.get_params().items() if name != "learning_rate"} == defaults
    optimizer.check()


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_come_in_the_order_of_the_fields(kind):
    """tests/kernels/test_update.py checks that kernels take them in this order."""
    names = FIELDS[kind.rule]
    values = [0.5, 0.25, 0.125][: len(names)]
    optimizer = kind(**dict(zip(names, values, strict=True)))
    assert optimizer.numbers() == (*values, *[0.0] * (3 - len(values)))


def test_parameters_can_be_given_by_position_and_by_name():
    assert GradientDescent(0.1) == GradientDescent(learning_rate=0.1)
    assert Momentum(0.1, 0.5) == Momentum(learning_rate=0.1, momentum=0.5)
    assert Adam(0.1, 0.8, 0.9, 1e-6) == Adam(learning_rate=0.1, beta1=0.8, beta2=0.9, eps=1e-6)
    assert Adam(0.1) != Adam(0.2)
    assert repr(Momentum(0.1)) == "Momentum(learning_rate=0.1, momentum=0.9)"


@pytest.mark.parametrize("kind", KINDS)
def test_they_cannot_be_changed_by_accident(kind):
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().learning_rate = 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_are_equal_and_apart(kind):
    optimizer = kind(learning_rate=0.3)
    for copy in (clone(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert copy == optimizer
        assert copy is not optimizer


def test_set_params_sets_and_refuses_unknown_names():
    optimizer = Adam()
    assert optimizer.set_params(learning_rate=0.5, beta2=0.9) is optimizer
    assert (optimizer.learning_rate, optimizer.beta2) == (0.5, 0.9)
    with pytest.raises(ValueError, match=r"Adam has no parameter 'momentum'; it has learning_rate, beta1, beta2, eps"):
        optimizer.set_params(momentum=0.5)


def test_nested_parameters_reach_the_optimizer_of_an_estimator():
    """As a grid search over optimizer__learning_rate does, without touching the original."""
    optimizer = GradientDescent(0.5)
    model = fastgd.LinearRegression(optimizer=optimizer)
    other = clone(model).set_params(optimizer__learning_rate=0.25)
    assert other.optimizer.learning_rate == 0.25
    assert optimizer.learning_rate == 0.5
    assert model.get_params()["optimizer__learning_rate"] == 0.5


WRONG = [
    *(
        (kind, "learning_rate", value)
        for kind in KINDS
        for value in (0, -1.0, float("inf"), float("nan"), "fast", None, True)
    ),
    *((Momentum, "momentum", value) for value in (-0.1, 1, 1.5, "0.9", None, float("nan"))),
    *((Adam, name, value) for name in ("beta1", "beta2") for value in (-0.1, 1.0, "x", float("nan"))),
    *((Adam, "eps", value) for value in (0, -1e-8, "x", None, float("nan"))),
]


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_wrong_hyper_parameters_are_refused_by_name(kind, name, value):
    """A constructor takes anything, as scikit-learn wants it; the fit checks."""
    with pytest.raises(ValueError, match=rf"^{name} must be .*got {value!r}"):
        kind(**{name: value}).check()


@pytest.mark.parametrize(
    "optimizer",
    [
        GradientDescent(1),
        Momentum(0.1, 0),
        Momentum(1e-300, 0.999999),
        Adam(1, 0, 0, 1),
        Adam("auto", 0.0, 0.0, 1e-300),
    ],
)
def test_numbers_at_the_edges_of_their_ranges_are_accepted(optimizer):
    optimizer.check()
