"""Updates without a gradient of the loss: closed forms against the reference, update by update."""

import itertools

import numpy as np
import pytest

from fastgd import reference
from fastgd.backends.csr.epochs import may_rest
from fastgd.kernels.rules import POWERS, RULES, Span, sum_rates

EPS = 1e-10


def span_of(rates: np.ndarray, first: int = 3) -> Span:
    """The updates of these rates, after `first` others in a window."""
    all_rates = np.concatenate([[9.0], np.linspace(0.5, 1.0, first), rates])
    sums = np.zeros((first + len(rates) + 1, POWERS + 1))
    sum_rates(all_rates, 1, first + len(rates), sums)
    return Span(all_rates, 1, sums, first, first + len(rates), 1)


def stepped(rule: str, w: float, square: float, l1: float, l2: float, rates: np.ndarray) -> tuple[float, float]:
    """The coordinate and its memory after updates one by one."""
    theta, state = np.array([w]), {"h": np.array([square])} if rule == "adagrad" else {}
    for t, rate in enumerate(rates, 1):
        theta, state = reference.update(rule, theta, l2 * theta, state, t, rate, {}, l1)
    return theta[0], state["h"][0] if state else square


def check(rule: str, w: float, square: float, l1: float, l2: float, rates: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        want = stepped(rule, w, square, l1, l2, rates)
        got = RULES[rule].rest(np.float64(w), np.float64(square), l1, l2, EPS, span_of(rates))
    # Where a coordinate is at its threshold nothing is left of its digits.
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 * abs(w) if l1 else 0.0)


@pytest.mark.parametrize("rule", ["gd", "adagrad"])
def test_any_sizes_of_numbers(rule):
    rng = np.random.default_rng(0)
    for _ in range(300):
        w, square, l2 = rng.standard_normal(), 10.0 ** rng.uniform(-9, 2), 10.0 ** rng.uniform(-9, -1)
        rates = np.full(int(10.0 ** rng.uniform(0, 2.5)), 10.0 ** rng.uniform(-3, -0.5))
        check(rule, w, square, 0.0, l2, rates)


@pytest.mark.parametrize("rule", ["gd", "adagrad"])
def test_zeros_and_extreme_weights(rule):
    sizes = (0.0, 1e-300, 1e-12, 1e-5, 1.0, 1e6)
    for w, square, l2, count in itertools.product((0.0, 1e-200, -0.3), sizes, sizes, (1, 5, 60)):
        if rule == "adagrad" or l2 <= 1.0:
            check(rule, w, square, 0.0, l2, np.full(count, 0.1))


@pytest.mark.parametrize("rule", ["gd", "adagrad"])
@pytest.mark.parametrize("l1", [0.0, 1e-4])
def test_rates_that_change_or_vanish(rule, l1):
    for rates in (
        np.zeros(20),
        0.1 / np.arange(1.0, 40.0),
        np.repeat([0.1, 0.0, 0.3], 9),
        np.r_[0.2, np.full(30, 0.1)],
    ):
        for square, l2 in itertools.product((1e-7, 1e-3, 1.0), (1e-6, 1e-4, 0.1)):
            check(rule, 0.4, square, l1, l2, rates)


def test_adagrad_rests_with_a_light_penalty_alone():
    assert may_rest("adagrad", 1e-4)
    assert not may_rest("adagrad", 0.1)
    assert may_rest("gd", np.inf)
    assert not may_rest("adam", 0.0)


@pytest.mark.parametrize("constant", [True, False])
def test_the_closed_form_of_adagrad_is_used_for_one_rate(constant, monkeypatch):
    """The usual sizes of numbers: a light penalty of a column with a gradient every 50 batches."""
    rates = np.full(50, 0.1)
    rates[-1] = 0.1 if constant else 0.1001
    taken = []
    monkeypatch.setattr("fastgd.kernels.rules.descend", lambda *its: taken.append(its) or its[0])
    RULES["adagrad"].rest(0.3, 4e-7, 0.0, 1e-6, EPS, span_of(rates))
    assert len(taken) == (0 if constant else 50)
