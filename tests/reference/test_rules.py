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


def test_torch_numbers_cover_every_rule_but_saga():
    """SAGA needs a sum over rows; test_loop has its checks. The forms of torch have the test below."""
    assert {case["rule"] for case in NUMBERS["cases"]} == set(RULES) - {"saga", *FORMS_OF_TORCH}


FORMS_OF_TORCH = {"momentum_torch": "momentum", "nesterov_torch": "nesterov"}


@pytest.mark.parametrize("rule", FORMS_OF_TORCH)
def test_forms_of_torch_by_its_recorded_iterates_and_its_formula(rule):
    """Iterates of torch.optim.SGD with a constant rate, then by the formula in its documentation with a falling one."""
    for case in NUMBERS["cases"]:
        if case["rule"] != FORMS_OF_TORCH[rule]:
            continue
        theta = np.array(NUMBERS["start"])
        state = init(rule, theta.shape)
        for t, expected in enumerate(case["iterates"], start=1):
            theta, state = update(
                rule, theta, torch_gradient(theta, case["l2"]), state, t, case["rate"], case["hyper"], 0.0
            )
            np.testing.assert_allclose(theta, expected, rtol=1e-10, atol=1e-12)
    theta, buffer = np.array(NUMBERS["start"]), 0.0
    other, state, old = theta, init(rule, theta.shape), (theta, init(FORMS_OF_TORCH[rule], theta.shape))
    for t in range(1, 41):
        rate = 0.05 if t < 10 else 0.005
        buffer = 0.9 * buffer + torch_gradient(theta, 0.0)
        direction = torch_gradient(theta, 0.0) + 0.9 * buffer if rule == "nesterov_torch" else buffer
        theta = theta - rate * direction
        other, state = update(rule, other, torch_gradient(other, 0.0), state, t, rate, {}, 0.0)
        np.testing.assert_allclose(other, theta, rtol=1e-12, atol=1e-14)
        old = update(FORMS_OF_TORCH[rule], old[0], torch_gradient(old[0], 0.0), old[1], t, rate, {}, 0.0)
    assert np.abs(old[0] - theta).max() > 0.01, "the forms differ where the rate falls"


#: Rule, hyper-parameters, L1 weights, start, and per update: gradient, rate, and the numbers after it.
HAND = {
    "gd": ({}, [1.0, 0.0, 1.0], [1.0, -1.0, 0.1], [([2.0, 2.0, 0.0], 0.25, {"theta": [0.25, -1.5, 0.0]})]),
    # theta is 1, 0, -1, -2, -3; from update 3 on its mean is -1, -1.5, -2.
    "averaged": (
        {"start": 3},
        [0.0],
        [2.0],
        [([1.0], 1.0, {"reported": [mean]}) for mean in (1.0, 0.0, -1.0, -1.5, -2.0)],
    ),
    # 1 - 0.5 * 1 = 0.5, thresholded by 0.5 * 0.4 to 0.3: V = -0.7, the difference after the prox.
    # Then 0.3 - 0.5 * 0.7 - 0.5 * 0 = -0.05, thresholded to 0: V = -0.3.
    "momentum": (
        {"momentum": 0.5},
        [0.4],
        [1.0],
        [([1.0], 0.5, {"theta": [0.3], "v": [-0.7]}), ([0.0], 0.5, {"theta": [0.0], "v": [-0.3]})],
    ),
    # V = -0.5, p = 1 - 0.25 - 0.5 = 0.25, thresholded by 0.75 * 0.4 to 0: v = -0.5 - 0.25 / 1.5, with the prox's share.
    # Then V = -1/3, p = -1/6, thresholded to 0: v = -1/3 + (1/6) / 1.5.
    "nesterov": (
        {"momentum": 0.5},
        [0.4],
        [1.0],
        [([1.0], 0.5, {"theta": [0.0], "v": [-2 / 3]}), ([0.0], 0.5, {"theta": [0.0], "v": [-2 / 9]})],
    ),
    # h = 9, then 25: steps 0.6 / (3 + 1) and 0.6 / (5 + 1), which threshold by 0.15 and 0.1 times 0.2.
    "adagrad": (
        {"eps": 1.0},
        [0.2],
        [1.0],
        [([3.0], 0.6, {"theta": [1 - 0.45 - 0.03]}), ([4.0], 0.6, {"theta": [0.52 - 0.4 - 0.02]})],
    ),
    # h = 0.25 * 16 = 4, then 0.75 * 4 + 0.25 * 4 = 4: steps 0.9 / (2 + 1) both times.
    "rmsprop": (
        {"decay": 0.75, "eps": 1.0},
        [0.5],
        [5.0],
        [([4.0], 0.9, {"theta": [5 - 1.2 - 0.15]}), ([2.0], 0.9, {"theta": [3.65 - 0.6 - 0.15]})],
    ),
    # First step: m^ = g and v^ = g^2 whatever the betas, so the step is rate g / (|g| + eps).
    "adam": (
        {"eps": 0.5},
        [0.0, 0.0],
        [1.0, 1.0],
        [([3.0, -0.5], 0.1, {"theta": [1 - 0.3 / 3.5, 1.05], "m": [0.3, -0.05], "v": [0.009, 0.00025]})],
    ),
    # Each coordinate is thresholded by its own step: 0.1 / (4 + 1) and 0.1 / (1 + 1), times 3.
    "adam, L1": (
        {"eps": 1.0},
        [3.0, 3.0],
        [1.0, 1.0],
        [([4.0, 1.0], 0.1, {"theta": [1 - 0.02 * 4 - 0.06, 1 - 0.05 - 0.15]})],
    ),
    # h = 0.75 * 4 = 3 and ratio sqrt(1 / (3 + 1)) = 1/2, so delta = 1; then d = 0.75 and h = 0.75.
    "adadelta": (
        {"decay": 0.25, "eps": 1.0},
        [0.4],
        [5.0],
        [
            ([2.0], 0.5, {"theta": [5 - 0.5 - 0.1], "h": [3.0], "d": [0.75]}),
            ([0.0], 0.5, {"theta": [4.4 - 0.5 * 0.4]}),
        ],
    ),
    # The decay leaves the intercept alone.
    "adamw": ({"weight_decay": 0.5}, [0.0] * 3, [1.0] * 3, [([0.0] * 3, 0.2, {"theta": [0.9, 0.9, 1.0]})]),
}


@pytest.mark.parametrize("case", HAND)
def test_updates_by_hand(case):
    (rule, *_), (hyper, l1, start, updates) = case.split(","), HAND[case]
    theta, state = np.array([start]), init(rule, (1, len(start)))
    for t, (g, rate, expected) in enumerate(updates, start=1):
        theta, state = update(rule, theta, np.array([g]), state, t, rate, hyper, np.array(l1))
        found = {"theta": theta, "reported": reported(rule, theta, state, hyper), **state}
        for name, numbers in expected.items():
            np.testing.assert_allclose(found[name][0], numbers, rtol=1e-15, atol=1e-16)


def test_lookahead_takes_its_gradient_ahead():
    theta, state = np.array([1.0]), {"v": np.array([-0.5])}
    np.testing.assert_allclose(point("lookahead", theta, state, {"momentum": 0.5}), [0.75])
    np.testing.assert_allclose(point("lookahead", theta, state, {}), [0.55])
    for rule in set(RULES) - {"lookahead"}:
        assert point(rule, theta, state, {}) is theta


def test_amsgrad_remembers_the_largest_square():
    """After a gradient of 10, one of 0.1 moves it less than Adam, whose v has decayed; while squares grow, the same."""
    hyper = {"beta1": 0.0, "beta2": 0.5, "eps": 0.0}
    both = {rule: (np.zeros(1), init(rule, (1,))) for rule in ("adam", "amsgrad")}
    for t, g in enumerate([1.0, 10.0, 0.1], start=1):
        before = {rule: theta for rule, (theta, _) in both.items()}
        both = {
            rule: update(rule, *(theta, np.array([g]), state, t, 1.0, hyper, 0.0))
            for rule, (theta, state) in both.items()
        }
        moves = {rule: (theta - before[rule])[0] for rule, (theta, _) in both.items()}
        if t < 3:
            assert moves["amsgrad"] == moves["adam"]
    # v = 0.5, 50.25 and then 25.13: the largest stays 50.25, over 1 - 1/8.
    assert moves["amsgrad"] == pytest.approx(-0.1 / np.sqrt(50.25 * 8 / 7), rel=1e-12)
    assert moves["adam"] == pytest.approx(-0.1 / np.sqrt(25.13 * 8 / 7), rel=1e-12)


def path(rule, hyper=None, l1=0.05, steps=30):
    """Iterates from a random start, with a rate that decays."""
    theta = np.random.default_rng(0).standard_normal((2, 3))
    state, found = init(rule, theta.shape), []
    for t in range(1, steps + 1):
        at = point(rule, theta, state, hyper or {})
        theta, state = update(rule, theta, np.tanh(at) + 0.1, state, t, 0.3 / (1 + 0.1 * t), hyper or {}, l1)
        found.append(theta)
    return np.array(found)


@pytest.mark.parametrize(
    ("rule", "hyper", "other", "others"),
    [
        ("momentum", {"momentum": 0.0}, "gd", {}),
        ("lookahead", {"momentum": 0.0}, "gd", {}),
        ("nesterov", {"momentum": 0.0}, "gd", {}),
        ("averaged", {"start": 7}, "gd", {}),
        ("adamw", {"weight_decay": 0.0, "beta1": 0.7}, "adam", {"beta1": 0.7}),
        ("nadam", {"beta1": 0.0}, "adam", {"beta1": 0.0}),
        ("rmsprop", {"decay": 0.0, "eps": 0.1}, "adam", {"beta1": 0.0, "beta2": 0.0, "eps": 0.1}),
    ],
)
def test_rules_equal_others_in_special_cases(rule, hyper, other, others):
    np.testing.assert_allclose(path(rule, hyper), path(other, others), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("start", [1, 12])
def test_averaged_reports_the_mean_of_the_iterates(start):
    theta = np.random.default_rng(0).standard_normal((2, 3))
    state, iterates = init("averaged", theta.shape), []
    for t in range(1, 31):
        theta, state = update("averaged", theta, np.tanh(theta), state, t, 0.3, {"start": start}, 0.05)
        iterates.append(theta)
        expected = np.mean(iterates[start - 1 :], axis=0) if t >= start else theta
        np.testing.assert_allclose(reported("averaged", theta, state, {"start": start}), expected, rtol=1e-13)


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9, 0.99])
def test_the_two_nesterov_forms_are_one_sequence(mu):
    """Y = X + mu V with the same V, at every rate, while there is no L1."""
    x = y = np.random.default_rng(0).standard_normal((2, 3))
    ahead, bengio, hyper = init("lookahead", x.shape), init("nesterov", x.shape), {"momentum": mu}
    for t in range(1, 101):
        at = point("lookahead", x, ahead, hyper)
        np.testing.assert_allclose(at, y, rtol=1e-11, atol=1e-13)
        rate = 0.2 + 0.1 * np.sin(t)
        x, ahead = update("lookahead", x, np.tanh(at) + at / 10, ahead, t, rate, hyper, 0.0)
        y, bengio = update("nesterov", y, np.tanh(y) + y / 10, bengio, t, rate, hyper, 0.0)
        np.testing.assert_allclose(ahead["v"], bengio["v"], rtol=1e-11, atol=1e-13)
    assert np.abs(x).max() < 5


# One lasso or elastic net (w - y)^2 / 2 + l1 |w| + l2 w^2 / 2 a coordinate.
TARGET = np.array([2.0, -1.0, 0.3, 2.0, -1.7])
L1, L2 = np.array([0.5, 0.5, 0.5, 0.25, 0.2]), np.array([0.0, 0.0, 0.0, 0.25, 0.5])
OPTIMUM = np.array([1.5, -0.5, 0.0, 1.4, -1.0])


def solve(rule, rate, hyper, steps=2000):
    theta, state = np.ones(5), init(rule, (5,))
    for t in range(1, steps + 1):
        at = point(rule, theta, state, hyper)
        theta, state = update(rule, theta, at - TARGET + L2 * at, state, t, rate / (1 + 0.01 * t), hyper, L1)
    return reported(rule, theta, state, hyper)


@pytest.mark.parametrize(
    ("rule", "rate", "hyper"),
    [
        ("gd", 0.3, {}),
        ("averaged", 0.3, {"start": 1000}),
        ("momentum", 0.1, {}),
        ("lookahead", 0.1, {}),
        ("nesterov", 0.1, {}),
        ("adagrad", 0.5, {}),
        ("rmsprop", 0.05, {}),
        ("adam", 0.05, {}),
        ("amsgrad", 0.05, {}),
        ("nadam", 0.05, {"momentum_decay": 1.0}),
        ("adadelta", 20.0, {}),
        ("adamw", 0.05, {"weight_decay": 0.0}),
        ("saga", 0.3, {}),
        ("momentum_torch", 0.1, {}),
        ("nesterov_torch", 0.1, {}),
    ],
    ids=list(RULES),
)
def test_reaches_the_closed_form_of_the_lasso(rule, rate, hyper):
    np.testing.assert_allclose(solve(rule, rate, hyper), OPTIMUM, atol=1e-7)


def test_nadam_is_off_by_the_change_of_its_momentum():
    """It moves by g (1 + c), c the last change of mu_t, so rests where g (1 + c) = -l1: w is off by c l1 / (1 + l2)."""
    change = np.diff(0.9 * (1 - 0.5 * 0.96 ** (np.array([2000, 2001]) * 4e-3)))
    off = change * L1 / (1 + L2) * np.sign(OPTIMUM)
    np.testing.assert_allclose(solve("nadam", 0.05, {}) - OPTIMUM, off, rtol=0.05, atol=1e-15)


def test_adamw_minimises_another_objective():
    """At its optimum the decay w |g| / 100 is in balance with g + l1: w - 1.5 + w (2 - w) / 100 = 0, a quadratic."""
    expected = (1.02 - np.sqrt(1.02**2 - 0.06)) / 0.02
    assert abs(expected - 1.5) > 0.007
    assert solve("adamw", 0.05, {"weight_decay": 0.01, "beta2": 0.9})[0] == pytest.approx(expected, abs=1e-7)


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
    with pytest.raises(ValueError, match="rule must be one of"):
        point("sgd", np.ones(1), {}, {})
    with pytest.raises(ValueError, match="decay"):
        reported("gd", np.ones(1), {}, {"decay": 0.9})
    with pytest.raises(ValueError, match="from 1"):
        update("gd", np.ones(1), np.ones(1), {}, 0, 0.1, {}, 0.0)
