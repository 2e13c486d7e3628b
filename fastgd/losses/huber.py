"""The Huber loss."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.kernels.losses import HUBER_OUTSIDE
from fastgd.losses._base import ConstantModel, Loss, RegressionLoss, Stage

#: Width within which the density of residuals counts as uniform, in units of their mean size.
_WIDTH = 0.5


class Huber(RegressionLoss):
    """The Huber loss: r^2 / 2 up to |r| = delta, delta (|r| - delta / 2) beyond, r = z - y (Huber 1964).

    delta: in the units of the targets; one for all outputs, or (K,).
    """

    name = "huber"
    has_flat_parts = True
    takes_delta = True

    def __init__(self, delta: float | Array) -> None:
        self.delta = delta

    @classmethod
    def make(cls, delta: float) -> Self:
        """Return the loss with a width delta."""
        return cls(delta)

    @property
    def parameter(self) -> float:
        """The largest delta."""
        return float(np.max(self.delta))

    def in_units(self, scale: Array) -> "Huber":
        """Return the loss for targets divided by scale (K,), whose entries are equal."""
        return Huber(self.delta / float(scale[0]))

    def stage(self, z: Array, y: NDArray[Any]) -> Stage:
        """Return losses, derivatives and curvatures of Newton's model (see `kernels.losses`) at margins z (n, K)."""
        r = z - y
        g = np.clip(r, -self.delta, self.delta)
        outside = g != r
        curvature = np.ones_like(r)
        np.divide(HUBER_OUTSIDE * g, r, out=curvature, where=outside)
        return Stage(g * (r - 0.5 * g), g, curvature)

    def conjugates(self, z: Array, y: Array, share: float) -> Array:
        """Return Fenchel conjugates (m, K) at a share of the derivatives at margins z (m, K)."""
        r = share * np.clip(z - y, -self.delta, self.delta)
        found: Array = 0.5 * r * r + r * y
        return found

    def curvature_share(self, constant: ConstantModel) -> float:
        """Return the mean curvature at the constant model as a share of the largest.

        The majoriser has curvature min(1, delta / |r|). Steps that are safe with all residuals within delta are far too
        short if the spread of targets is a thousand times as large.
        """
        return float(np.max(constant.curvatures))

    def rate_factor(self, constant: ConstantModel, losses: Array) -> float:
        """Return the factor of an automatic rate at mean losses (K,).

        The mean curvature rises as residuals shrink, about like 1 / |r|.
        """
        # Losses are delta (|r| - delta / 2) beyond delta.
        shrunk = (constant.losses + 0.5 * self.delta**2) / (losses + 0.5 * self.delta**2)
        return self.curvature_share(constant) / float(np.max(np.minimum(constant.curvatures * shrunk, 1.0)))

    def smoothed(self, losses: Array) -> tuple[Loss, Array] | None:
        """Return the loss of a larger width h (K,), and delta / h.

        The loss has curvature within delta only. About h / delta times as many rows lie within a width h of about half
        the mean |r|, if the density of residuals is uniform there: a kernel density estimate (Parzen 1962).
        """
        # Losses are delta (|r| - delta / 2) beyond delta.
        width = np.maximum(_WIDTH * (losses / self.delta + 0.5 * self.delta), self.delta)
        return (Huber(width), self.delta / width) if (width > self.delta).any() else None

    def _at_constant(self, z: Array, y: Array) -> tuple[Stage, Array]:
        """Return the stage with exact curvatures, and the curvatures min(1, delta / |r|) of a majoriser."""
        r = z - y
        g, a = np.clip(r, -self.delta, self.delta), np.abs(r)
        return Stage(g * (r - 0.5 * g), g, (a <= self.delta).astype(np.float64)), self.delta / np.maximum(a, self.delta)
