"""The losses as functions of the margins, one row per sample.

Shapes, with n rows and K outputs: margins ``z`` (n, K) float64; targets ``y`` (n, K) float64, or class numbers (n,)
int64; ``delta`` float, read by Huber only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: The reference computes in float64; labels and row numbers are int64.
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Loss(NamedTuple):
    """A loss: its functions of (z, y, delta) and its traits.

    Attributes
    ----------
    value : callable
        (n,), the sum over outputs.
    gradient : callable
        (n, K).
    curvature : callable
        (n, K, K), the Hessian of each row in its margins, or the curvature of a model of the loss where that would be
        singular (see `huber_curvature`).
    conjugate : callable
        (n,), of r (n, K): sup_z sum_k r_k z_k - loss(z, y), infinite outside its domain.
    largest_curvature : float
        The largest eigenvalue of `curvature`, over all margins and targets.
    targets : {"numbers", "signs", "classes"}, default="numbers"
        Any numbers; -1 or +1; or class numbers 0..K-1, which couple the outputs.
    target_scale : {"own", "common", "none"}, default="none"
        Whether targets have units: a scale of their own each, one common scale, which is that of delta, or none.
    """

    value: Callable[..., Floats]
    gradient: Callable[..., Floats]
    curvature: Callable[..., Floats]
    conjugate: Callable[..., Floats]
    largest_curvature: float
    targets: Literal["numbers", "signs", "classes"] = "numbers"
    target_scale: Literal["own", "common", "none"] = "none"


def _diagonal(entries: Floats) -> Floats:
    """Return diagonal matrices (n, K, K) with these diagonals (n, K)."""
    return entries[:, :, None] * np.eye(entries.shape[1])


def _xlogx(x: Floats) -> Floats:
    """x log x, continued by 0 at 0."""
    return x * np.log(np.where(x > 0, x, 1.0))


def squared_value(z: Floats, y: Floats, delta: float) -> Floats:
    """(z - y)^2 / 2."""
    return ((z - y) ** 2 / 2).sum(axis=1)


def squared_gradient(z: Floats, y: Floats, delta: float) -> Floats:
    """z - y."""
    return z - y


def squared_curvature(z: Floats, y: Floats, delta: float) -> Floats:
    """1."""
    return _diagonal(np.ones_like(z))


def squared_conjugate(r: Floats, y: Floats, delta: float) -> Floats:
    """r^2 / 2 + r y."""
    return (r**2 / 2 + r * y).sum(axis=1)


def huber_value(z: Floats, y: Floats, delta: float) -> Floats:
    """r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2), with r = z - y (Huber 1964).

    Written as q (|r| - q / 2) with q = min(|r|, delta), which is both branches and never squares a large number.
    """
    size = np.abs(z - y)
    inner = np.minimum(size, delta)
    return (inner * (size - inner / 2)).sum(axis=1)


def huber_gradient(z: Floats, y: Floats, delta: float) -> Floats:
    """z - y clipped to [-delta, delta]."""
    return np.clip(z - y, -delta, delta)


def huber_curvature(z: Floats, y: Floats, delta: float) -> Floats:
    """1 where |z - y| <= delta, else a twentieth of the majoriser's delta / |z - y| (Huber and Dutter 1974).

    This is the curvature of Newton's model, not the second derivative, which is 0 where |z - y| > delta: with it the
    model would be singular where few residuals are within delta.
    """
    size = np.abs(z - y)
    return _diagonal(np.where(size <= delta, 1.0, 0.05 * delta / np.maximum(size, delta)))


def huber_conjugate(r: Floats, y: Floats, delta: float) -> Floats:
    """r^2 / 2 + r y where |r| <= delta, else infinite."""
    return np.where(np.abs(r) <= delta, r**2 / 2 + r * y, np.inf).sum(axis=1)


def _sigmoid(z: Floats) -> Floats:
    """1 / (1 + exp(-z)), with no exponential of a positive number."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)


def logistic_value(z: Floats, y: Floats, delta: float) -> Floats:
    """log(1 + exp(-y z)) = max(-y z, 0) + log1p(exp(-|z|)), for y in {-1, +1}."""
    return (np.maximum(-y * z, 0.0) + np.log1p(np.exp(-np.abs(z)))).sum(axis=1)


def logistic_gradient(z: Floats, y: Floats, delta: float) -> Floats:
    """-y sigmoid(-y z)."""
    return -y * _sigmoid(-y * z)


def logistic_curvature(z: Floats, y: Floats, delta: float) -> Floats:
    """sigmoid(z) sigmoid(-z), at most 1/4."""
    return _diagonal(_sigmoid(z) * _sigmoid(-z))


def logistic_conjugate(r: Floats, y: Floats, delta: float) -> Floats:
    """q log q + (1 - q) log(1 - q) with q = -y r where 0 <= q <= 1, else infinite."""
    q = -y * r
    inside = np.clip(q, 0.0, 1.0)
    return np.where(inside == q, _xlogx(inside) + _xlogx(1.0 - inside), np.inf).sum(axis=1)


def _softmax(z: Floats) -> Floats:
    """exp(z_k) / sum_j exp(z_j), with no exponential of a positive number."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_value(z: Floats, y: Ints, delta: float) -> Floats:
    """log(sum_k exp(z_k)) - z_y.

    Written as (z_m - z_y) + log1p(sum over k other than m of exp(z_k - z_m)), m the largest margin, so that a confident
    right answer keeps all its digits.
    """
    row = np.arange(len(z))
    top = z.argmax(axis=1)
    others = np.exp(z - z[row, top][:, None])
    others[row, top] = 0.0
    return (z[row, top] - z[row, y]) + np.log1p(others.sum(axis=1))


def softmax_gradient(z: Floats, y: Ints, delta: float) -> Floats:
    """p_k - [k = y], p the softmax of z; p_y - 1 is written as minus the sum of the others."""
    row = np.arange(len(z))
    g = _softmax(z)
    g[row, y] = 0.0
    g[row, y] = -g.sum(axis=1)
    return g


def softmax_curvature(z: Floats, y: Ints, delta: float) -> Floats:
    """diag(p) - p p', whose eigenvalues are at most 1/2 (Böhning 1992)."""
    p = _softmax(z)
    off = -p[:, :, None] * p[:, None, :] * (1.0 - np.eye(z.shape[1]))
    return off - _diagonal(off.sum(axis=2))


def softmax_conjugate(r: Floats, y: Ints, delta: float) -> Floats:
    """sum_k p_k log p_k with p = r + [k = y] where p is a distribution, else infinite; its sum is not checked."""
    p = r.copy()
    p[np.arange(len(r)), y] += 1.0
    # 1 + r_y rounds: a few units in the last place outside the simplex still count as inside.
    inside = np.all((p >= -1e-15) & (p <= 1.0 + 1e-15), axis=1)
    return np.where(inside, _xlogx(np.clip(p, 0.0, 1.0)).sum(axis=1), np.inf)


#: The losses by name.
LOSSES = {
    "squared": Loss(squared_value, squared_gradient, squared_curvature, squared_conjugate, 1.0, target_scale="own"),
    "huber": Loss(huber_value, huber_gradient, huber_curvature, huber_conjugate, 1.0, target_scale="common"),
    "logistic": Loss(logistic_value, logistic_gradient, logistic_curvature, logistic_conjugate, 0.25, "signs"),
    "softmax": Loss(softmax_value, softmax_gradient, softmax_curvature, softmax_conjugate, 0.5, "classes"),
}


def loss_named(name: str) -> Loss:
    """Return a loss by its name; a ValueError for an unknown one."""
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {name!r}")
    return LOSSES[name]
