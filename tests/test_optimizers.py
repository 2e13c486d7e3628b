"""The optimizers as objects: parameters, checks, copies, and their recipes for the kernels."""

import dataclasses
from typing import get_args

import numpy as np
import pytest

from fastgd import optimizers, reference
from fastgd.kernels.rules import RULES
from fastgd.optimizers import (
    BY_NAME,
    KERNEL_RULES,
    LBFGS,
    SAGA,
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
    NormalEquations,
    Optimizer,
    Recipe,
    RMSProp,
    SketchedNewton,
)
from fastgd.schedules import StepDecay

KINDS = list(BY_NAME.values())
#: Those with a learning rate, which run in kernels.
RULED = [kind for kind in KINDS if not issubclass(kind, FullBatch)]
FORMS = [*(kind() for kind in RULED), GradientDescent(average=True), Nesterov(form="lookahead")]
FORMS += [Momentum(form="torch"), Nesterov(form="torch")]


def test_every_optimizer_is_listed_by_its_name():
    assert {kind.__name__ for kind in KINDS} == set(optimizers.__all__) - {"Optimizer"}
    for name, kind in BY_NAME.items():
        assert kind.rule == name
        assert issubclass(kind, Optimizer)


def test_recipes_reach_every_rule_of_the_reference_and_of_the_kernels():
    reached = {optimizer.recipe(8).rule.name for optimizer in FORMS}
    assert reached == KERNEL_RULES.keys() == reference.RULES.keys() == RULES.keys()


@pytest.mark.parametrize("name", RULES)
def test_every_memory_slot_has_a_unit(name):
    assert len(KERNEL_RULES[name].slot_degrees) == RULES[name].slots == len(reference.RULES[name].state)


@pytest.mark.parametrize("optimizer", FORMS, ids=repr)
def test_defaults_are_those_of_the_reference(optimizer):
    """The reference lists its hyper-parameters in the order of the kernels."""
    rule, numbers = optimizer.recipe(8)
    defaults = tuple(reference.RULES[rule.name].defaults.values())
    assert numbers == (*defaults, *[0.0] * (4 - len(defaults)))
    assert optimizer.learning_rate == "auto"
    optimizer.check()


@pytest.mark.parametrize(
    ("optimizer", "recipe"),
    [
        (GradientDescent(0.1), ("gd", ())),
        (Momentum(0.1, 0.5), ("momentum", (0.5,))),
        (Nesterov(0.1, 0.5), ("nesterov", (0.5,))),
        (Nesterov(0.1, 0.5, form="lookahead"), ("lookahead", (0.5,))),
        (Momentum(0.1, 0.5, form="torch"), ("momentum_torch", (0.5,))),
        (Nesterov(0.1, 0.5, form="torch"), ("nesterov_torch", (0.5,))),
        (AdaGrad(0.1, 0.5), ("adagrad", (0.5,))),
        (RMSProp(0.1, 0.5, 0.25), ("rmsprop", (0.5, 0.25))),
        (AdaDelta(0.1, 0.5, 0.25), ("adadelta", (0.5, 0.25))),
        (Adam(0.1, 0.5, 0.25, 0.125), ("adam", (0.5, 0.25, 0.125))),
        (AMSGrad(0.1, 0.5, 0.25, 0.125), ("amsgrad", (0.5, 0.25, 0.125))),
        (Nadam(0.1, 0.5, 0.25, 0.125, 0.0625), ("nadam", (0.5, 0.25, 0.125, 0.0625))),
        (AdamW(0.1, 0.5, 0.25, 0.125, 0.0625), ("adamw", (0.5, 0.25, 0.125, 0.0625))),
        (SAGA(0.1), ("saga", ())),
        (RMSProp(decay=np.float32(0.5), eps=1), ("rmsprop", (0.5, 1.0))),
    ],
    ids=repr,
)
def test_recipes(optimizer, recipe):
    rule, numbers = recipe
    found = optimizer.recipe(32)
    assert found == Recipe(KERNEL_RULES[rule], (*numbers, *[0.0] * (4 - len(numbers))))
    assert [type(number) for number in found.numbers] == [float] * 4


@pytest.mark.parametrize(
    ("average", "batch_size", "start"),
    [(True, 1, 1), (True, 64, 1), (1, 64, 1), (64, 64, 1), (65, 64, 2), (1000, 1, 1000), (1000, 300, 4)],
)
def test_averaging_begins_with_the_update_after_so_many_samples(average, batch_size, start):
    assert GradientDescent(average=average).recipe(batch_size) == Recipe(
        KERNEL_RULES["averaged"], (start, 0.0, 0.0, 0.0)
    )


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (Accelerated, {}),
        (SketchedNewton, {"sample_rows": "auto", "memory": 10}),
        (NormalEquations, {}),
        (LBFGS, {"memory": 10}),
    ],
)
def test_full_batch_solvers_have_no_kernel_rule(kind, params):
    assert issubclass(kind, FullBatch)
    assert kind().get_params() == params
    kind().check()
    with pytest.raises(TypeError, match=f"{kind.__name__} works on all rows with a step of its own"):
        kind().recipe(32)


def test_parameters_can_be_given_by_position_and_by_name():
    assert GradientDescent(0.1) == GradientDescent(learning_rate=0.1)
    assert Momentum(0.1, 0.5) == Momentum(learning_rate=0.1, momentum=0.5)
    assert Adam(0.1, 0.8, 0.9, 1e-6) == Adam(learning_rate=0.1, beta1=0.8, beta2=0.9, eps=1e-6)
    assert Adam(0.1) != Adam(0.2)
    assert Adam(0.1) != AMSGrad(0.1)
    assert repr(Momentum(0.1)) == "Momentum(learning_rate=0.1, momentum=0.9, form='polyak')"


@pytest.mark.parametrize("kind", RULED)
def test_optimizers_are_frozen(kind):
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().learning_rate = 0.5


@pytest.mark.parametrize("search", ["backtracking", "exact"])
def test_line_searches_exclude_schedules_and_averaging(search):
    GradientDescent(line_search=search).check()
    GradientDescent(0.1, line_search=search).check()
    for rate in (StepDecay(0.1), lambda step, epoch, metric: 0.1):
        with pytest.raises(ValueError, match=rf"^learning_rate of .* must be 'auto' or a number with .*{search}"):
            GradientDescent(rate, line_search=search).check()
    for average in (True, 10):
        with pytest.raises(ValueError, match=rf"^average of .* must be False with line_search='{search}'.*{average}"):
            GradientDescent(line_search=search, average=average).check()


def test_names_for_type_checkers_are_those_of_the_optimizers():
    assert get_args(optimizers.OptimizerName) == tuple(BY_NAME)
