"""The elastic net's value, prox and subdifferential against brute force."""

import numpy as np
import pytest

from fastgd.reference import elastic_net, prox, subgradient_distance


def test_value_by_hand():
    w = np.array([[2.0, -3.0, 0.0]])
    l1, l2 = np.array([[1.0, 0.5, 7.0]]), np.array([[0.1, 1.0, 7.0]])
    assert elastic_net(w, l1, l2) == pytest.approx(2.0 + 1.5 + 0.2 + 4.5, rel=1e-15)


def test_prox_minimises_by_brute_force():
    rng = np.random.default_rng(0)
    v, step, l1 = 2 * rng.standard_normal(40), rng.uniform(0.1, 2, 40), rng.uniform(0, 1.5, 40)
    l1[:4] = 0.0
    grid = np.linspace(-8, 8, 160_001)
    for k, x in enumerate(prox(v, step, l1)):
        cost = (grid - v[k]) ** 2 / 2 + step[k] * l1[k] * np.abs(grid)
        assert x == pytest.approx(grid[cost.argmin()], abs=1e-4)
        assert (x - v[k]) ** 2 / 2 + step[k] * l1[k] * abs(x) <= cost.min() + 1e-15


def test_prox_is_exactly_zero_inside_and_exactly_v_without_l1():
    np.testing.assert_array_equal(prox(np.array([0.3, -0.3, 0.5]), 0.5, 1.0), 0.0)
    v = np.array([0.1, -7.3])
    np.testing.assert_array_equal(prox(v, 3.0, 0.0), v)


def test_subgradient_distance_by_brute_force():
    """The subdifferential of l1 |w| at 0 is [-l1, l1]; elsewhere the slope."""
    rng = np.random.default_rng(1)
    g, l1 = 2 * rng.standard_normal(30), rng.uniform(0, 2, 30)
    at_zero = np.abs(g[:, None] + l1[:, None] * np.linspace(-1, 1, 20_001)).min(axis=1)
    np.testing.assert_allclose(subgradient_distance(np.zeros(30), g, l1), at_zero, atol=2e-4)
    w = rng.standard_normal(30)
    slope = (l1 * np.abs(w + 1e-6) - l1 * np.abs(w - 1e-6)) / 2e-6
    np.testing.assert_allclose(subgradient_distance(w, g, l1), np.abs(g + slope), rtol=1e-6, atol=1e-8)


def test_prox_point_is_certified():
    """x = prox(v) solves its own problem, so 0 is in (x - v) + step l1 d|x|."""
    rng = np.random.default_rng(2)
    v, step, l1 = rng.standard_normal(50), rng.uniform(0.1, 2, 50), rng.uniform(0, 1, 50)
    x = prox(v, step, l1)
    np.testing.assert_allclose(subgradient_distance(x, x - v, step * l1), 0.0, atol=1e-15)
