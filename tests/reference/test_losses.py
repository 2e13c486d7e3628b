"""The losses against hand values, extreme arguments, finite differences, conjugacy and scikit-learn's losses."""

import math

import numpy as np
import pytest

from fastgd.reference import LOSSES
from tests.reference.problems import KINDS, gradient


def sample(loss: str, outputs: int, n: int = 50, size: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    z = size * rng.standard_normal((n, outputs))
    if loss == "softmax":
        return z, rng.integers(0, outputs, n)
    if loss == "logistic":
        return z, rng.choice([-1.0, 1.0], (n, 1))
    return z, size * rng.standard_normal((n, outputs))


HAND = [
    # loss, z, y, delta, value, gradient, diagonal of the curvature
    ("squared", [3.0], [1.0], 1.0, 2.0, [2.0], [1.0]),
    ("squared", [1.0, -2.0], [0.0, 2.0], 1.0, 8.5, [1.0, -4.0], [1.0, 1.0]),
    ("huber", [0.5], [0.0], 1.0, 0.125, [0.5], [1.0]),
    ("huber", [-3.0], [0.0], 1.0, 2.5, [-1.0], [0.05 / 3.0]),
    ("huber", [2.0, -2.0], [0.0, 0.0], 2.0, 4.0, [2.0, -2.0], [1.0, 1.0]),
    ("huber", [5.0, 2.0], [1.0, 1.0], 2.0, 6.5, [2.0, 1.0], [0.05 * 2.0 / 4.0, 1.0]),
    ("logistic", [0.0], [1.0], 1.0, math.log(2), [-0.5], [0.25]),
    ("logistic", [math.log(3)], [-1.0], 1.0, math.log(4), [0.75], [3 / 16]),
    ("softmax", [0.0, 0.0], 1, 1.0, math.log(2), [0.5, -0.5], [0.25, 0.25]),
    ("softmax", [math.log(2), 0.0, 0.0], 0, 1.0, math.log(2), [-0.5, 0.25, 0.25], [0.25, 3 / 16, 3 / 16]),
]


@pytest.mark.parametrize(("name", "z", "y", "delta", "value", "slope", "bend"), HAND)
def test_hand_values(name, z, y, delta, value, slope, bend):
    loss, margins, target = LOSSES[name], np.array([z]), np.array([y])
    np.testing.assert_allclose(loss.value(margins, target, delta), [value], rtol=1e-15)
    np.testing.assert_allclose(loss.gradient(margins, target, delta), [slope], rtol=1e-15)
    np.testing.assert_allclose(np.diagonal(loss.curvature(margins, target, delta)[0]), bend, rtol=1e-15)


@pytest.mark.parametrize(("name", "outputs"), KINDS)
def test_derivatives_against_finite_differences(name, outputs):
    loss = LOSSES[name]
    z, y = sample(name, outputs)
    if name == "huber":
        away = np.all(np.abs(np.abs(z - y) - 1.3) > 0.01, axis=1)
        z, y = z[away], y[away]
    for i in range(len(z)):
        row, target = z[i], y[i : i + 1]
        slope = gradient(lambda t, target=target: loss.value(t[None], target, 1.3)[0], row)
        np.testing.assert_allclose(loss.gradient(row[None], target, 1.3)[0], slope, rtol=1e-9, atol=1e-11)
        bend = gradient(lambda t, target=target: loss.gradient(t[None], target, 1.3)[0], row)
        if name == "huber":
            # Beyond delta the curvature is that of the model, not of the loss, which is linear.
            bend += np.diag(np.where(np.abs(row - target[0]) > 1.3, 0.05 * 1.3 / np.abs(row - target[0]), 0.0))
        np.testing.assert_allclose(loss.curvature(row[None], target, 1.3)[0], bend, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("name", "outputs"), KINDS)
def test_largest_curvature_is_reached_and_never_passed(name, outputs):
    loss = LOSSES[name]
    z, y = sample(name, outputs, n=500)
    top = np.linalg.eigvalsh(loss.curvature(z, y, 1.3)).max()
    assert top <= loss.largest_curvature * (1 + 1e-12)
    # Softmax reaches 1/2 where two classes share everything.
    z = np.zeros((1, outputs)) if name != "softmax" else np.array([[40.0, 40.0, 0.0]])
    y = np.zeros((1, outputs)) if name != "softmax" else np.array([0])
    np.testing.assert_allclose(np.linalg.eigvalsh(loss.curvature(z, y, 1.3)).max(), loss.largest_curvature)


@pytest.mark.parametrize("size", [40.0, 1e4, 1e8, 1e300])
def test_logistic_at_extreme_margins(size):
    loss, one = LOSSES["logistic"], np.array([[1.0]])
    right, wrong = np.array([[size]]), np.array([[-size]])
    expected = math.exp(-size)
    assert loss.value(right, one, 1.0)[0] == pytest.approx(expected, rel=1e-14)
    assert loss.value(wrong, one, 1.0)[0] == pytest.approx(size + expected, rel=1e-15)
    assert loss.gradient(right, one, 1.0)[0, 0] == pytest.approx(-expected, rel=1e-14)
    assert loss.gradient(wrong, one, 1.0)[0, 0] == -1.0
    assert loss.curvature(right, one, 1.0)[0, 0, 0] == pytest.approx(expected, rel=1e-14)
    assert loss.curvature(wrong, one, 1.0)[0, 0, 0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("size", [40.0, 1e4, 1e8, 1e300])
def test_softmax_at_extreme_margins(size):
    loss = LOSSES["softmax"]
    z = np.array([[size, 0.0, -size], [size, 0.0, -size], [size, size, -size]])
    y = np.array([0, 1, 0])
    e = math.exp(-size)
    np.testing.assert_allclose(loss.value(z, y, 1.0), [e + math.exp(-2 * size), size, math.log(2)], rtol=1e-14)
    np.testing.assert_allclose(loss.gradient(z, y, 1.0)[0, :2], [-e, e], rtol=1e-14)
    np.testing.assert_allclose(loss.gradient(z, y, 1.0)[1], [1.0, -1.0, 0.0], atol=2 * e)
    np.testing.assert_allclose(loss.gradient(z, y, 1.0)[2], [-0.5, 0.5, 0.0], atol=2 * e)
    np.testing.assert_allclose(np.diagonal(loss.curvature(z, y, 1.0)[0])[:2], [e, e], rtol=1e-14)


def test_softmax_does_not_change_when_all_margins_move():
    z, y = sample("softmax", 3)
    for shift in (1e4, -1e4):
        np.testing.assert_allclose(
            LOSSES["softmax"].value(z + shift, y, 1.0), LOSSES["softmax"].value(z, y, 1.0), atol=1e-10
        )


@pytest.mark.parametrize("size", [1e4, 1e300])
def test_huber_at_extreme_margins(size):
    loss, zero = LOSSES["huber"], np.zeros((2, 1))
    z = np.array([[size], [-size]])
    np.testing.assert_allclose(loss.value(z, zero, 2.0), 2.0 * size - 2.0, rtol=1e-15)
    np.testing.assert_array_equal(loss.gradient(z, zero, 2.0), [[2.0], [-2.0]])
    np.testing.assert_allclose(loss.curvature(z, zero, 2.0), np.full((2, 1, 1), 0.1 / size), rtol=1e-15)


def test_squared_at_extreme_margins():
    assert LOSSES["squared"].value(np.array([[1e150]]), np.zeros((1, 1)), 1.0)[0] == pytest.approx(1e300 / 2, rel=1e-15)
    assert LOSSES["squared"].gradient(np.array([[-1e150]]), np.zeros((1, 1)), 1.0)[0, 0] == -1e150


def test_nan_margins_give_nan():
    for name, outputs in KINDS:
        z, y = sample(name, outputs, n=2)
        z[0, 0] = np.nan
        assert np.isnan(LOSSES[name].value(z, y, 1.0)[0]), name
        assert np.isnan(LOSSES[name].gradient(z, y, 1.0)[0]).any(), name


@pytest.mark.parametrize(("name", "outputs"), KINDS)
def test_conjugate_meets_fenchel(name, outputs):
    """loss(z) + conjugate(r) >= r.z for every z, equal at r = loss'(z): both halves define the conjugate."""
    loss = LOSSES[name]
    z, y = sample(name, outputs)
    r = loss.gradient(z, y, 1.3)
    conjugate = loss.conjugate(r, y, 1.3)
    np.testing.assert_allclose(loss.value(z, y, 1.3) + conjugate, (r * z).sum(axis=1), rtol=1e-12, atol=1e-12)
    other = z + np.random.default_rng(5).standard_normal(z.shape)
    assert np.all(loss.value(other, y, 1.3) + conjugate >= (r * other).sum(axis=1) - 1e-12)


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


def sklearn_loss(name: str):
    """scikit-learn's loss, and our targets in its coding."""
    private = pytest.importorskip("sklearn._loss", reason="scikit-learn's private losses have moved")
    return {
        "squared": lambda: (private.HalfSquaredError(), lambda y: y[:, 0]),
        "huber": lambda: (private.HuberLoss(delta=1.3), lambda y: y[:, 0]),
        "logistic": lambda: (private.HalfBinomialLoss(), lambda y: (y[:, 0] + 1) / 2),
        "softmax": lambda: (private.HalfMultinomialLoss(n_classes=3), lambda y: y.astype(np.float64)),
    }[name]()


@pytest.mark.parametrize(("name", "outputs"), [("squared", 1), ("huber", 1), ("logistic", 1), ("softmax", 3)])
@pytest.mark.parametrize("size", [1.0, 30.0, 300.0])
def test_against_scikit_learn(name, outputs, size):
    ours = LOSSES[name]
    theirs, code = sklearn_loss(name)
    z, y = sample(name, outputs, n=400, size=size)
    raw = z if outputs > 1 else z[:, 0].copy()
    value, slope = theirs.loss_gradient(code(y), raw)
    np.testing.assert_allclose(ours.value(z, y, 1.3), value, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ours.gradient(z, y, 1.3), slope.reshape(z.shape), rtol=1e-12, atol=1e-13)
    if name in ("squared", "logistic"):
        bend = np.broadcast_to(theirs.gradient_hessian(code(y), raw)[1], len(z))
        np.testing.assert_allclose(ours.curvature(z, y, 1.3)[:, 0, 0], bend, rtol=1e-12, atol=1e-13)
    if name == "softmax":
        bend = theirs.gradient_hessian(code(y), raw)[1]
        np.testing.assert_allclose(
            np.diagonal(ours.curvature(z, y, 1.3), axis1=1, axis2=2), bend, rtol=1e-12, atol=1e-13
        )
