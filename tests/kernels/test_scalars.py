"""Losses, penalties and rules as plain Python scalars, against the reference and finite differences."""

import numba
import numpy as np
import pytest

from fastgd import reference
from fastgd.kernels import losses, penalties, records, rules
from fastgd.kernels._jit import cpu_kernel
from fastgd.kernels.cpu.residual import make_residual, softmax_residual
from tests.kernels.table import LOSSES
from tests.reference.problems import derivative

KINDS = {"f4": np.float32, "f8": np.float64}
DELTA = 0.75
MARGINS = [0.0, 1e-30, 0.3, 0.75, 1.0, 5.0, 17.0, 40.0, 88.0, 90.0, 700.0, 1e4, 1e8]
TARGETS = {"squared": [-3.0, 0.0, 0.5], "huber": [-3.0, 0.0, 0.5], "logistic": [-1.0, 1.0]}
#: Losses of single outputs.
SEPARABLE = [name for name, loss in losses.LOSSES.items() if not loss.is_coupled]
# Cancellation-free losses are a few roundings off at any argument.
ULPS = 8


def scalar_cases(loss: str, kind) -> np.ndarray:
    """Pairs (z, y) rounded to the dtype."""
    pairs = [(sign * z, y) for z in MARGINS for sign in (-1, 1) for y in TARGETS[loss]]
    return np.array(pairs, kind)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("loss", SEPARABLE)
def test_losses_against_the_reference(loss, dtype):
    kind = KINDS[dtype]
    ours, truth = losses.find_loss(loss), reference.LOSSES[loss]
    for z, y in scalar_cases(loss, kind):
        at = np.array([[float(z)]]), np.array([[float(y)]]), DELTA
        with np.errstate(under="ignore"):
            got = [function(z, y, kind(DELTA)) for function in (ours.value, ours.grad, ours.curvature)]
        expected = [truth.value(*at)[0], truth.gradient(*at)[0, 0], truth.curvature(*at)[0, 0, 0]]
        assert {type(number) for number in got} == {kind}, "float64 has crept in"
        # z - y itself is rounded to the dtype; below the smallest normal number relative errors grow.
        rtol = ULPS * np.finfo(kind).eps
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=np.finfo(kind).tiny, err_msg=f"z={z}, y={y}")


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("part", ["value", "grad", "curvature"])
@pytest.mark.parametrize("loss", SEPARABLE)
def test_compiled_losses_keep_the_dtype_and_the_value(loss, part, dtype):
    """Only compiled: a float literal is weak in plain Python, and makes float64 of float32 in a kernel."""
    function, kind = getattr(losses.find_loss(loss), part), KINDS[dtype]

    @cpu_kernel(f"test_loss[{loss},{part}]")
    def compiled(z, y, p):
        return function(z, y, p)

    for z in (-2.0, 0.3, 40.0):
        at = kind(z), kind(-1.0), kind(DELTA)
        assert compiled(*at) == pytest.approx(float(function(*at)), rel=float(ULPS * np.finfo(kind).eps))
    (signature,) = compiled.nopython_signatures
    assert {*signature.args, signature.return_type} == {numba.from_dtype(np.dtype(dtype))}


@pytest.mark.parametrize("loss", SEPARABLE)
def test_derivatives_against_finite_differences(loss):
    _, value, grad, curvature = losses.find_loss(loss)
    rng = np.random.default_rng(0)
    step = 1e-3
    for z, y in zip(5 * rng.standard_normal(100), rng.choice(TARGETS[loss], 100), strict=True):
        if loss == "huber" and abs(abs(z - y) - DELTA) < 3 * step:
            continue
        # A difference of numbers of size |f| over a step: their rounding over the step.
        atol = 1e-10 * (1.0 + value(z, y, DELTA))
        slope = derivative(lambda t, z=z, y=y: value(np.float64(z + t), y, DELTA), step)
        bend = derivative(lambda t, z=z, y=y: grad(np.float64(z + t), y, DELTA), step)
        np.testing.assert_allclose(grad(np.float64(z), y, DELTA), slope, rtol=1e-9, atol=atol)
        if loss == "huber" and abs(z - y) > DELTA:
            # The loss is linear; its curvature is that of Newton's model.
            np.testing.assert_allclose(bend, 0.0, atol=atol)
            bend = 0.05 * DELTA / abs(z - y)
        np.testing.assert_allclose(curvature(np.float64(z), y, DELTA), bend, rtol=1e-9, atol=atol)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize(
    ("residual", "delta", "expected"),
    [(0.5, 1.0, 1.0), (-2.0, 2.0, 1.0), (-4.0, 2.0, 0.025), (5.0, 1.0, 0.01), (1e6, 2.0, 1e-7)],
)
def test_huber_curvature_by_hand(residual, delta, expected, dtype):
    kind = KINDS[dtype]
    found = losses.huber_curvature(kind(1.0 + residual), kind(1.0), kind(delta))
    assert found == pytest.approx(expected, rel=float(4 * np.finfo(kind).eps))


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("loss", SEPARABLE)
def test_losses_at_nan_and_infinity(loss, dtype):
    kind = KINDS[dtype]
    _, value, grad, _ = losses.find_loss(loss)
    y, p = kind(1.0), kind(DELTA)
    assert np.isnan(value(kind(np.nan), y, p))
    assert np.isnan(grad(kind(np.nan), y, p))
    assert np.isnan(value(kind(0.5), kind(np.nan), p))
    assert value(kind(-np.inf), y, p) == np.inf
    assert grad(kind(-np.inf), y, p) == {"squared": -np.inf, "huber": -p, "logistic": -1.0}[loss]
    if loss != "logistic":
        assert value(kind(np.inf), y, p) == np.inf
    else:
        assert value(kind(np.inf), y, p) == grad(kind(np.inf), y, p) == 0.0


@pytest.mark.parametrize("loss", LOSSES)
def test_largest_curvature_is_the_references(loss):
    assert losses.find_loss(loss).largest_curvature == reference.LOSSES[loss].largest_curvature


@pytest.mark.parametrize(
    ("find", "message"),
    [(losses.find_loss, "loss must be one of squared, .*"), (rules.find_rule, "rule must be one of gd, .*")],
)
def test_unknown_names_are_refused(find, message):
    with pytest.raises(ValueError, match=f"{message}, got 'adamm'"):
        find("adamm")


def run_residual(loss: str, z: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted derivatives (K, m) and loss sums (K,) of the plain residual loop; r starts as NaN."""
    r, lost = np.full_like(z, np.nan), np.zeros(2 + len(z))
    with np.errstate(under="ignore", invalid="ignore"):
        make_residual(loss)(z.copy(), y.copy(), s, z.shape[1], z.dtype.type(DELTA), r, lost, 2)
    assert not lost[:2].any()
    return r, lost[2:]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("size", [1.0, 30.0, 300.0, 1e4])
@pytest.mark.parametrize(("loss", "outputs"), [("softmax", 2), ("softmax", 3), ("softmax", 7), ("squared", 3)])
def test_residual_loop_against_the_reference(loss, outputs, size, dtype):
    rng = np.random.default_rng(5)
    z = (size * rng.standard_normal((outputs, 40))).astype(dtype)
    z[1, :3] = z[0, :3]
    y = (rng.integers(0, outputs, (1, 40)) if loss == "softmax" else rng.standard_normal((outputs, 40))).astype(dtype)
    s = rng.uniform(0, 2, 40).astype(dtype)
    s[5] = 0
    r, lost = run_residual(loss, z, y, s)
    truth, label = reference.LOSSES[loss], y[0].astype(int) if loss == "softmax" else y.T.astype(float)
    margins = z.T.astype(float)
    expected = truth.gradient(margins, label, DELTA).T * s
    losses_of_rows = s * truth.value(margins, label, DELTA)
    # exp turns a rounding of a margin difference, size x eps, into a relative error.
    rtol = (20 + 6 * size) * np.finfo(dtype).eps
    np.testing.assert_allclose(r, expected, rtol=rtol, atol=40 * np.finfo(dtype).eps)
    np.testing.assert_allclose(lost.sum(), losses_of_rows.sum(), rtol=rtol)
    assert r.dtype == z.dtype
    if loss == "softmax":
        assert not lost[1:].any()


def test_softmax_with_a_nan_margin_is_nan_wherever_it_stands():
    for k in range(3):
        z = np.array([[0.5], [1.0], [-2.0]])
        z[k] = np.nan
        r, lost = np.zeros((3, 1)), np.zeros(3)
        softmax_residual(z, np.ones((1, 1)), np.ones(1), 1, 0.0, r, lost, 0)
        assert np.isnan(r).all(), k
        assert np.isnan(lost[0]), k


@pytest.mark.parametrize("dtype", KINDS)
def test_soft_threshold_against_the_reference(dtype):
    kind = KINDS[dtype]
    points = [0.0, 1e-30, 0.3, 0.5, 0.7, 3.0, 1e30]
    for v in [sign * p for p in points for sign in (-1, 1)]:
        for t in [0.0, 0.3, 0.5, 1e30]:
            got = penalties.soft_threshold(kind(v), kind(t))
            assert type(got) is kind
            assert got == kind(reference.prox(np.array(float(kind(v))), 1.0, float(kind(t)))), (v, t)
    assert np.isnan(penalties.soft_threshold(kind(np.nan), kind(0.1)))
    assert np.isnan(penalties.soft_threshold(kind(1.0), kind(np.nan)))


def test_elastic_net_value_against_the_reference():
    rng = np.random.default_rng(2)
    w, l1, l2 = rng.standard_normal((3, 50))
    total = sum(penalties.elastic_net_value(*row) for row in zip(w, abs(l1), abs(l2), strict=True))
    np.testing.assert_allclose(total, reference.elastic_net(w, abs(l1), abs(l2)), rtol=1e-14)


@pytest.mark.parametrize("name", sorted(rules.RULES))
def test_steps_of_rules_against_the_reference(name):
    """Update 3 of a rule from any memory, in plain Python."""
    rng, rule, truth = np.random.default_rng(3), rules.find_rule(name), reference.RULES[name]
    theta, g, l1 = rng.standard_normal((3, 1, 9))
    slots, l1[:, -1] = rng.uniform(0.5, 2.0, (rule.slots, 1, 9)), 0.0
    hyper = {key: value / (1.0 + value) for key, value in truth.defaults.items()}
    product = float(np.prod([0.9 * (1.0 - 0.5 * 0.96 ** (t * 0.004)) for t in (1, 2, 3)]))
    if name == "nadam":
        hyper = truth.defaults
    expected = reference.update(name, theta, g, dict(zip(truth.state, slots, strict=True)), 3, 0.1, hyper, abs(l1))
    record = records.Rule(0, 0, np.zeros(0), 0.0, False, *[*hyper.values(), 0.0, 0.0, 0.0, 0.0][:4])
    update = rules.update_of(record, 0.1, rule.factors.values(record, 3.0, product))
    for j in range(9):
        rule.step(theta, slots, 0, j, g[0, j], abs(l1[0, j]), j < 8, update)
    np.testing.assert_allclose(theta, expected.theta, rtol=1e-12, atol=1e-14)
    for slot, found in zip(truth.state, slots, strict=True):
        np.testing.assert_allclose(found, expected.state[slot], rtol=1e-12, atol=1e-14)


def test_momentum_of_nadam_by_hand():
    """beta1 (1 - 0.96^(250 * 0.004) / 2) and so on."""
    for t, beta1, decay, expected in ((250.0, 0.9, 0.004, 0.9 * 0.52), (2.0, 0.5, 1.0, 0.5 * (1 - 0.5 * 0.9216))):
        record = records.Rule(0, 0, np.zeros(0), 0.0, False, beta1, 0.9, 1e-8, decay)
        assert rules.nadam_momentum(record, t) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("rule", rules.RULES.values())
def test_factors_of_many_updates_are_those_of_each(rule):
    """The GPU's come from the host, all at once."""
    record, t = records.Rule(0, 0, np.zeros(0), 0.0, False, 0.9, 0.99, 1e-8, 0.01), np.arange(1.0, 30.0)
    product = np.cumprod(np.broadcast_to(rule.factors.momentum(record, t), t.shape))
    together = rule.factors.values(record, t, product)
    for i in range(t.size):
        for found, expected in zip(together, rule.factors.values(record, t[i], product[i]), strict=True):
            assert np.broadcast_to(found, t.shape)[i] == pytest.approx(expected, rel=1e-14)
