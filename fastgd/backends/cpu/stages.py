"""From margins to losses, their derivatives and curvatures, in NumPy: no kernel is compiled for samples and small data.

z (n, K) margins; y (n, K) targets, or (n,) class numbers for softmax. Each gives (n,) losses, (n, K) derivatives and
(n, K) curvatures, the diagonal of softmax's.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.kernels.losses import HUBER_OUTSIDE


class Stage(NamedTuple):
    """Losses (K,), summed with weights; weighted derivatives and curvatures (n, K)."""

    losses: Array
    derivatives: Array
    curvatures: Array


def squared(z: Array, y: Array, p: float) -> Stage:
    """(z - y)^2 / 2."""
    r = z - y
    return Stage(0.5 * r * r, r, np.ones_like(z))


def huber(z: Array, y: Array, p: float | Array) -> Stage:
    """Squared up to |z - y| = p, linear beyond (Huber 1964)."""
    r = z - y
    g = np.clip(r, -p, p)
    outside = g != r
    curvature = np.ones_like(r)
    np.divide(HUBER_OUTSIDE * g, r, out=curvature, where=outside)
    return Stage(g * (r - 0.5 * g), g, curvature)


def logistic(z: Array, y: Array, p: float) -> Stage:
    """log(1 + exp(-y z)), y in {-1, +1}."""
    u = y * z
    e = np.exp(-np.abs(u))
    q = 1.0 / (1.0 + e)
    right = e * q
    wrong = np.where(u < 0.0, q, right)
    return Stage(np.maximum(-u, 0.0) + np.log1p(e), -y * wrong, right * q)


def softmax(z: Array, y: NDArray[np.intp], p: float) -> Stage:
    """log(sum_k exp(z_k)) - z_y, all of it in the first output."""
    rows = np.arange(len(z))
    e, top, total = _shares(z)
    losses = np.zeros_like(z)
    losses[:, 0] = (top - z[rows, y][:, None] + np.log(total))[:, 0]
    h = e * (1.0 - e)
    e[rows, y] -= 1.0
    return Stage(losses, e, h)


def couplings(z: Array, s: Array | None) -> Array:
    """Of softmax the curvature by margins (K, K), summed with weights s (n,): diag(p) - p p'."""
    p = _shares(z)[0]
    weighted = p if s is None else s[:, None] * p
    summed: Array = np.diag(weighted.sum(axis=0)) - weighted.T @ p
    return summed


def joint_curvature(T: Array, z: Array, s: Array | None) -> Array:
    """Of softmax the curvature by all parameters, (K, D, K, D), summed over rows T (n, D) with weights s (n,)."""
    p = _shares(z)[0].T
    K, (n, D) = len(p), T.shape
    # One product for all pairs of outputs: those of two outputs are small.
    scaled = ((p if s is None else np.sqrt(s) * p)[:, None, :] * T.T).reshape(K * D, n)
    summed = -(scaled @ scaled.T).reshape(K, D, K, D)
    for k in range(K):
        h = p[k] * (1.0 - p[k])
        own = np.sqrt(h if s is None else s * h) * T.T
        summed[k, :, k] = own @ own.T
    return summed


def spread(z: Array, change: Array) -> Array:
    """Of softmax the curvature along a change (n, K) of margins z, (n, 1): its variance by the shares of outputs."""
    p = _shares(z)[0]
    away = change - (p * change).sum(axis=1, keepdims=True)
    found: Array = (p * away * away).sum(axis=1, keepdims=True)
    return found


def _shares(z: Array) -> tuple[Array, Array, Array]:
    """exp(z - top) / total for each row, its largest margin and total."""
    top = z.max(axis=1, keepdims=True)
    e = np.exp(z - top)
    total = e.sum(axis=1, keepdims=True)
    e /= total
    return e, top, total


STAGES: dict[str, Callable[..., Stage]] = {
    "squared": squared,
    "huber": huber,
    "logistic": logistic,
    "softmax": softmax,
}
