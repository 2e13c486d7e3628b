"""One update of a rule, prox included, compiled, against the reference."""

import itertools

import numpy as np
import pytest

from fastgd import reference
from fastgd.kernels.rules import RULES, STEPS
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KernelRule, Recipe
from tests.kernels.minibatch import recipe

#: Other numbers than the defaults, at the edges of their ranges where those are harmless.
OTHERS = {
    "start": [1.0, 5.0, 100.0],
    "momentum": [0.0, 0.5, 0.99],
    "decay": [0.0, 0.5],
    "beta1": [0.0, 0.5],
    "beta2": [0.0, 0.5],
    "eps": [1e-3, 1.0],
    "momentum_decay": [0.0, 0.1],
    "weight_decay": [0.0, 0.3],
}
# Rounding of an update is some eps of its terms; over 50 updates it adds up.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def setups() -> list:
    """Every rule with its defaults, and with each hyper-parameter changed."""
    found = []
    for name, rule in reference.RULES.items():
        found.append((name, {}))
        found += [(name, {key: value}) for key in rule.defaults for value in OTHERS[key]]
    return found


@pytest.mark.parametrize(("name", "hyper"), setups())
def test_updates_against_the_reference(name, hyper):
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((3, 8))
    l1 = np.abs(rng.standard_normal((3, 8)))
    l1[:, -1] = 0.0
    rule = RuleState(recipe(name, **hyper), theta.copy())
    hyper = {**reference.RULES[name].defaults, **hyper}
    state = reference.init(name, theta.shape)
    zeros = 0
    # AdaDelta's first steps are about sqrt(eps) long.
    first = 100.0 if name == "adadelta" else 0.3
    for t in range(1, 51):
        np.testing.assert_allclose(rule.point, reference.point(name, theta, state, hyper), **CLOSE)
        g = rng.standard_normal((3, 8)) + 0.3 * theta
        rate = first / t
        rule.update(g, rate, l1)
        theta, state = reference.update(name, theta, g, state, t, rate, hyper, l1)
        np.testing.assert_allclose(rule.theta, theta, **CLOSE)
        np.testing.assert_allclose(rule.reported, reference.reported(name, theta, state, hyper), **CLOSE)
        np.testing.assert_array_equal(rule.theta == 0.0, theta == 0.0)
        for k, slot in enumerate(reference.RULES[name].state):
            # The prox's share in a sum of gradients is a difference of parameters divided by the rate.
            rounding = CLOSE["atol"] / (rate if name.endswith("_torch") else 1.0)
            np.testing.assert_allclose(rule.memory.slots[k], state[slot], rtol=CLOSE["rtol"], atol=rounding)
        zeros += (theta == 0.0).sum()
    assert rule.memory.step[0] == 50
    assert zeros > 20, "the prox has hardly been at work"


@pytest.mark.parametrize(("name", "bad"), list(itertools.product(RULES, (np.nan, np.inf))))
def test_gradients_that_are_not_finite_are_not_hidden(name, bad):
    rule = RuleState(recipe(name), np.ones((1, 3)))
    rule.update(np.array([[1.0, bad, 1.0]]), 0.1, np.full((1, 3), 0.5))
    assert not np.isfinite(rule.theta[0, 1])
    assert np.isfinite(rule.theta[0, [0, 2]]).all()


def test_unknown_rules_are_refused_and_unknown_steps_leave_nan():
    with pytest.raises(ValueError, match=r"rule must be one of gd, .*, got 'adamm'"):
        RuleState(Recipe(KernelRule("adamm"), (0.0, 0.0, 0.0, 0.0)), np.ones((1, 3)))
    rule = RuleState(recipe("adam"), np.ones((1, 3)))
    rule._record = rule._record._replace(step=len(STEPS))
    rule.update(np.ones((1, 3)), 0.1, np.zeros((1, 3)))
    assert np.isnan(rule.theta).all()


@pytest.mark.parametrize("name", RULES)
def test_the_gradient_is_not_written_to_and_theta_is_updated_in_place(name):
    theta, g, l1 = np.ones((2, 3)), np.full((2, 3), 0.5), np.zeros((2, 3))
    rule = RuleState(recipe(name), theta)
    rule.update(g, 0.1, l1)
    assert rule.theta is theta
    assert (theta < 1.0).all()
    assert (g == 0.5).all()


def test_before_the_first_update_theta_is_reported():
    theta = np.ones((1, 3))
    assert RuleState(recipe("averaged"), theta).reported is theta
