"""The squared loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.losses._base import ConstantModel, RegressionLoss, Stage


class Squared(RegressionLoss):
    """The squared loss (z - y)^2 / 2."""

    name = "squared"
    is_quadratic = shares_curvature = True
    target_scale = "own"

    def stage(self, z: Array, y: NDArray[Any]) -> Stage:
        """Return losses, derivatives and curvatures at margins z (n, K) for targets y (n, K)."""
        r = z - y
        return Stage(0.5 * r * r, r, np.ones_like(z))

    def conjugates(self, z: Array, y: Array, share: float) -> Array:
        """Return Fenchel conjugates (m, K) at a share of the derivatives at margins z (m, K)."""
        r = share * (z - y)
        found: Array = 0.5 * r * r + r * y
        return found

    def constant_model(
        self,
        y: NDArray[np.floating],
        s: NDArray[np.floating] | None,
        mean: Array,
        sd: Array,
        fit_intercept: bool,
        n_threads: int = 1,
    ) -> ConstantModel:
        """Return the best constant model, from means and standard deviations (K,) of working targets.

        Each target has its own unit, the rms of its residuals, as if it were fitted alone.
        """
        variance = sd**2
        start = (variance + mean**2) / 2.0
        if not fit_intercept:
            return ConstantModel(np.zeros_like(mean), start, start, 1.0, np.ones(sd.shape))
        return ConstantModel(mean, variance / 2.0, start, 1.0, np.ones(sd.shape))
