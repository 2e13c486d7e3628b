"""The cross-entropy of softmax probabilities, of three classes or more."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax, xlogy

from fastgd.arrays import Array
from fastgd.losses._base import CoupledLoss, Stage


class Softmax(CoupledLoss):
    """The cross-entropy log(sum_k exp(z_k)) - z_y, counted in the first output; y: class numbers."""

    name = "softmax"

    def targets(self, y: NDArray[Any]) -> NDArray[np.intp]:
        """Return class numbers (n,)."""
        return y[0].astype(np.intp)

    def stage(self, z: Array, y: NDArray[Any]) -> Stage:
        """Return losses, derivatives and diagonals of curvatures at margins z (n, K) for class numbers y (n,)."""
        rows = np.arange(len(z))
        e, top, total = _probabilities(z)
        losses = np.zeros_like(e)
        losses[:, 0] = (top - z[rows, y][:, None] + np.log(total))[:, 0]
        h = e * (1.0 - e)
        e[rows, y] -= 1.0
        return Stage(losses, e, h)

    def curvature_along(self, z: Array, change: Array, curvatures: Array, s: Array | None) -> Array:
        """Return curvatures (n, 1) along a change of margins z: its variance under the probabilities of outputs."""
        p = _probabilities(z).p
        away = change - (p * change).sum(axis=1, keepdims=True)
        along: Array = (p * away * away).sum(axis=1, keepdims=True)
        return along if s is None else s[:, None] * along

    def couplings(self, z: Array, s: Array | None) -> Array:
        """Return the curvature by margins (K, K), diag(p) - p p', summed with weights s (n,)."""
        p = _probabilities(z).p
        weighted = p if s is None else s[:, None] * p
        summed: Array = np.diag(weighted.sum(axis=0)) - weighted.T @ p
        return summed

    def joint_curvature(self, T: Array, z: Array, s: Array | None) -> Array:
        """Return the curvature by all parameters, (K, D, K, D), summed over rows T (n, D) with weights s (n,)."""
        p = _probabilities(z).p.T
        K, (n, D) = len(p), T.shape
        # One product for all pairs of outputs, since those of single pairs are small.
        scaled = ((p if s is None else np.sqrt(s) * p)[:, None, :] * T.T).reshape(K * D, n)
        summed = -(scaled @ scaled.T).reshape(K, D, K, D)
        for k in range(K):
            h = p[k] * (1.0 - p[k])
            own = np.sqrt(h if s is None else s * h) * T.T
            summed[k, :, k] = own @ own.T
        return summed

    def conjugates(self, z: Array, y: Array, share: float) -> Array:
        """Return Fenchel conjugates (m, K) at a share of the derivatives at margins z (m, K)."""
        p = share * softmax(z, axis=1)
        p[np.arange(len(p)), y[:, 0].astype(np.intp)] += 1.0 - share
        return xlogy(p, p)


class _Probabilities(NamedTuple):
    """Softmax probabilities (n, K) of rows, their largest margins (n, 1), and sums (n, 1) of exp(z - top)."""

    p: Array
    top: Array
    total: Array


def _probabilities(z: Array) -> _Probabilities:
    # By outputs: NumPy reduces many short rows slowly.
    e = np.array(z.T, order="C")
    top = e.max(axis=0)
    e -= top
    np.exp(e, out=e)
    total = e.sum(axis=0)
    e /= total
    return _Probabilities(e.T, top[:, None], total[:, None])
