"""The update rules against torch.optim's recorded iterates, hand values and each other's special cases."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastgd.reference import RULES, init, point, reported, update

NUMBERS = json.loads((Path(__file__).parent / "torch_numbers.json").read_text())


def torch_gradient(theta: np.ndarray, l2: float) -> np.ndarray:
    """Gradient of sum_i log cosh(a_i . theta - c_i) + sum_j theta_j^4 / 8 + l2 |theta|^2 / 2."""
    a, c = np.array(NUMBERS["a"]), np.array(NUMBERS["c"])
    return a.T @ np.tanh(a @ theta - c) + theta**3 / 2 + l2 * theta


@pytest.mark.parametrize("case", NUMBERS["cases"], ids=lambda case: case["name"])
def test_forty_steps_of_torch(case):
    theta = np.array(NUMBERS["start"])
    state = init(case["rule"], theta.shape)
    for t, expected in enumerate(case["iterates"], start=1):
        at = point(case["rule"], theta, state, case["hyper"])
        g = torch_gradient(at, case["l2"])
        rate = case["rate"] * case["drop"] ** (t - 1)
        theta, state = update(case["rule"], theta, g, state, t, rate, case["hyper"], 0.0)
        found = reported(case["rule"], theta, state, case["hyper"])
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert t == 40
    assert np.abs(theta - NUMBERS["start"]).max() > 0.1


def test_torch_numbers_name_every_rule_but_saga():
    """SAGA needs a sum over rows; test_loop has its checks."""
    assert {case["rule"] for case in NUMBERS["cases"]} == set(RULES) - {"saga"}


def test_gd_by_hand():
    theta, g, l1 = np.array([1.0, -1.0, 0.1]), np.array([2.0, 2.0, 0.0]), np.array([1.0, 0.0, 1.0])
    theta, _ = update("gd", theta, g, {}, 1, 0.25, {}, l1)
    np.testing.assert_allclose(theta, [0.25, -1.5, 0.0], rtol=1e-15)


def test_momentum_by_hand_keeps_the_difference_after_the_prox():
    # 1 - 0.5 * 1 = 0.5, thresholded by 0.5 * 0.4 to 0.3: V = -0.7.
    # Then 0.3 - 0.5 * 0.7 - 0.5 * 0 = -0.05, thresholded to 0: V = -0.3.
    theta, state = np.array([1.0]), init("momentum", (1,))
    theta, state = update("momentum", theta, np.array([1.0]), state, 1, 0.5, {"momentum": 0.5}, 0.4)
    np.testing.assert_allclose([theta[0], state["v"][0]], [0.3, -0.7], rtol=1e-15)
    theta, state = update("momentum", theta, np.array([0.0]), state, 2, 0.5, {"momentum": 0.5}, 0.4)
    np.testing.assert_allclose([theta[0], state["v"][0]], [0.0, -0.3], atol=1e-16)


def test_adam_by_hand():
    """First step: m^ = g and v^ = g^2 whatever the betas, so the step is rate g / (|g| + eps)."""
    theta, g = np.array([1.0, 1.0]), np.array([3.0, -0.5])
    theta, state = update("adam", theta, g, init("adam", (2,)), 1, 0.1, {"eps": 0.5}, 0.0)
    np.testing.assert_allclose(theta, [1 - 0.3 / 3.5, 1 + 0.05 / 1.0], rtol=1e-12)
    np.testing.assert_allclose(state["m"], [0.3, -0.05], rtol=1e-12)
    np.testing.assert_allclose(state["v"], [0.009, 0.00025], rtol=1e-12)


def test_adam_thresholds_by_its_own_step():
    """Steps 0.1 / (4 + 1) and 0.1 / (1 + 1) times the threshold 3."""
    g, hyper = np.array([4.0, 1.0]), {"eps": 1.0}
    theta, _ = update("adam", np.array([1.0, 1.0]), g, init("adam", (2,)), 1, 0.1, hyper, np.array([3.0, 3.0]))
    np.testing.assert_allclose(theta, [1 - 0.02 * 4 - 0.06, 1 - 0.05 - 0.15], rtol=1e-12)


def test_momentum_zero_is_gd():
    rng = np.random.default_rng(0)
    a = b = rng.standard_normal((2, 3))
    state = init("momentum", a.shape)
    for t in range(1, 6):
        a, state = update("momentum", a, np.tanh(a) + 0.1, state, t, 0.3, {"momentum": 0.0}, 0.05)
        b, _ = update("gd", b, np.tanh(b) + 0.1, {}, t, 0.3, {}, 0.05)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rule", RULES)
def test_inputs_are_not_changed(rule):
    theta, g, state = np.ones(3), np.full(3, 0.5), init(rule, (3,))
    update(rule, theta, g, state, 1, 0.1, {}, np.full(3, 0.2))
    np.testing.assert_array_equal(theta, 1.0)
    np.testing.assert_array_equal(g, 0.5)
    assert all(not array.any() for array in state.values())


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="rule must be one of"):
        init("sgd", (1,))
    with pytest.raises(ValueError, match="beta1"):
        update("momentum", np.ones(1), np.ones(1), init("momentum", (1,)), 1, 0.1, {"beta1": 0.9}, 0.0)
    with pytest.raises(ValueError, match="from 1"):
        update("gd", np.ones(1), np.ones(1), {}, 0, 0.1, {}, 0.0)
