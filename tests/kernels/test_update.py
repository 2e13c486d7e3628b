"""One update of a rule, prox included, compiled, against the reference."""

import numpy as np
import pytest

from fastgd import reference
from fastgd.backends.cpu import RuleState
from fastgd.kernels.rules import RULES
from fastgd.optimizers import BY_NAME

HYPER = {
    "gd": [{}],
    "momentum": [{}, {"momentum": 0.0}, {"momentum": 0.99}],
    "adam": [{}, {"beta1": 0.0}, {"beta2": 0.5, "eps": 1e-3}, {"beta1": 0.0, "beta2": 0.0}],
}
SLOTS = {"gd": [], "momentum": ["v"], "adam": ["m", "v"]}
# Rounding of an update is some eps of its terms; over 50 updates it adds up.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


@pytest.mark.parametrize(("name", "hyper"), [(name, hyper) for name in HYPER for hyper in HYPER[name]])
def test_updates_against_the_reference(name, hyper):
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((3, 8))
    l1 = np.abs(rng.standard_normal((3, 8)))
    l1[:, -1] = 0.0
    rule = RuleState(name, BY_NAME[name](**hyper).numbers(), theta.copy())
    state = reference.init(name, theta.shape)
    zeros = 0
    for t in range(1, 51):
        g = rng.standard_normal((3, 8)) + 0.3 * theta
        rate = 0.3 / t
        rule.update(g, rate, l1)
        theta, state = reference.update(name, theta, g, state, t, rate, hyper, l1)
        np.testing.assert_allclose(rule.theta, theta, **CLOSE)
        np.testing.assert_array_equal(rule.theta == 0.0, theta == 0.0)
        for k, slot in enumerate(SLOTS[name]):
            np.testing.assert_allclose(rule.state.slots[k], state[slot], **CLOSE)
        zeros += (theta == 0.0).sum()
    assert rule.state.step[0] == 50
    assert zeros > 50, "the prox has hardly been at work"


@pytest.mark.parametrize("name", RULES)
def test_gradients_that_are_not_finite_are_not_hidden(name):
    for bad in (np.nan, np.inf):
        rule = RuleState(name, BY_NAME[name]().numbers(), np.ones((1, 3)))
        rule.update(np.array([[1.0, bad, 1.0]]), 0.1, np.full((1, 3), 0.5))
        assert not np.isfinite(rule.theta[0, 1]), bad
        assert np.isfinite(rule.theta[0, [0, 2]]).all()


@pytest.mark.parametrize("name", RULES)
def test_the_gradient_is_not_written_to_and_theta_is_updated_in_place(name):
    theta, g, l1 = np.ones((2, 3)), np.full((2, 3), 0.5), np.zeros((2, 3))
    rule = RuleState(name, BY_NAME[name]().numbers(), theta)
    rule.update(g, 0.1, l1)
    assert rule.theta is theta
    assert (theta < 1.0).all()
    assert (g == 0.5).all()
