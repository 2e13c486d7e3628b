"""The domains of the conjugates, edge by edge: finite on them, infinite a little outside."""

import numpy as np
import pytest

from fastgd.reference import LOSSES

#: A derivative no loss can have by this much counts as outside.
OFF = 1e-9
DELTA = 1.3


def conjugate(loss: str, r: list[float], y: object) -> float:
    """Of one row."""
    return float(LOSSES[loss].conjugate(np.array([r]), np.array([y]), DELTA)[0])


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_huber_is_finite_up_to_delta_on_both_sides(sign):
    assert conjugate("huber", [sign * DELTA], [0.5]) == pytest.approx(DELTA**2 / 2 + 0.5 * sign * DELTA)
    assert conjugate("huber", [sign * (DELTA + OFF)], [0.5]) == np.inf
    assert conjugate("huber", [0.1, sign * 2 * DELTA], [0.0, 0.0]) == np.inf


@pytest.mark.parametrize("y", [-1.0, 1.0])
def test_logistic_is_finite_for_probabilities(y):
    """q = -y r from 0 to 1, where it is q log q + (1 - q) log(1 - q)."""
    assert conjugate("logistic", [0.0], [y]) == conjugate("logistic", [-y], [y]) == 0.0
    assert conjugate("logistic", [-0.25 * y], [y]) == pytest.approx(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    for q in (-0.5, -OFF, 1.0 + OFF, 1.5):
        assert conjugate("logistic", [-q * y], [y]) == np.inf, q


@pytest.mark.parametrize("label", [0, 1, 2])
def test_softmax_is_finite_on_the_simplex_and_its_corners(label):
    """p = r + [k = y]; derivatives that are 0 mean that the right class is certain."""
    right = np.eye(3)[label]
    assert conjugate("softmax", [0.0, 0.0, 0.0], label) == 0.0
    for corner in np.eye(3):
        assert conjugate("softmax", corner - right, label) == 0.0
    inside = np.array([0.2, 0.5, 0.3])
    assert conjugate("softmax", inside - right, label) == pytest.approx(inside @ np.log(inside))
    outside = [[-OFF, 0.5, 0.5], [1.0 + OFF, 0.0, 0.0], [1.5, 0.2, 0.2], [0.9, 0.3, -0.2], [-1.0, 1.0, 1.0]]
    for p in outside:
        assert conjugate("softmax", np.array(p) - right, label) == np.inf, p
