"""Hyper-parameters by name, as a grid search over optimizer__learning_rate__every sets them."""

import pytest
from sklearn.base import clone

import fastgd
from fastgd.optimizers import Accelerated, Adam, GradientDescent
from fastgd.parameters import replacements
from fastgd.schedules import ExponentialDecay, StepDecay, WarmUp


def test_it_sets_and_refuses_unknown_names():
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
    schedule = WarmUp(2, then=StepDecay(0.1))
    optimizer = Adam(schedule).set_params(learning_rate__then__every=4)
    assert optimizer.learning_rate == WarmUp(2, then=StepDecay(0.1, every=4))
    assert schedule == WarmUp(2, then=StepDecay(0.1))


def test_an_object_and_what_is_in_it_can_be_set_at_once():
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
def test_names_inside_that_do_not_exist_are_refused(name, message):
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


def test_a_schedule_held_elsewhere_is_left_alone():
    schedule = StepDecay(0.1, every=3)
    model = fastgd.LinearRegression(optimizer=GradientDescent(schedule))
    model.set_params(optimizer__learning_rate__every=5)
    assert model.optimizer.learning_rate == StepDecay(0.1, every=5)
    assert schedule == StepDecay(0.1, every=3)


def test_replacements_leave_everything_alone():
    optimizer = GradientDescent(StepDecay(0.1, every=3))
    model = fastgd.LinearRegression(optimizer=optimizer)
    found = replacements(model, {"optimizer__learning_rate__every": 5, "alpha": 0.5})
    assert found == {"alpha": 0.5, "optimizer": GradientDescent(StepDecay(0.1, every=5))}
    assert model.optimizer is optimizer
    assert optimizer == GradientDescent(StepDecay(0.1, every=3))
