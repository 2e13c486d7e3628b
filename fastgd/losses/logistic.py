"""The logistic loss of two classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, xlogy

from fastgd.arrays import Array
from fastgd.losses._base import ClassificationLoss, ConstantModel, Stage


class Logistic(ClassificationLoss):
    """The logistic loss log(1 + exp(-y z)), y in {-1, +1}."""

    name = "logistic"

    def stage(self, z: Array, y: NDArray[Any]) -> Stage:
        """Return losses, derivatives and curvatures at margins z (n, 1) for labels y (n, 1)."""
        u = y * z
        e = np.exp(-np.abs(u))
        q = 1.0 / (1.0 + e)
        right = e * q
        wrong = np.where(u < 0.0, q, right)
        return Stage(np.maximum(-u, 0.0) + np.log1p(e), -y * wrong, right * q)

    def conjugates(self, z: Array, y: Array, share: float) -> Array:
        """Return Fenchel conjugates (m, 1) at a share of the derivatives at margins z (m, 1)."""
        wrong = share * expit(-y * z)
        return xlogy(wrong, wrong) + xlogy(1.0 - wrong, 1.0 - wrong)

    def rarity(self, constant: ConstantModel) -> float:
        """Return the number of rows that are as informative as one of balanced classes."""
        return max(1.0, 0.25 / constant.rms**2)
