"""Working coordinates: columns centred and scaled by arithmetic on w, g and the penalty, never by copying X.

With x~ = (x - center) / scale and theta = (u, b0), margins are z = x~ . u + b0 = x . w + b with w = u / scale and
b = b0 - w . center. Penalties keep their value: L1 weights a1 / scale_j, L2 weights a2 / scale_j^2.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array

#: Above this |mean| / sd the mean is subtracted on load, since x . w - mean . w would lose digits.
SHIFT_FROM = {"f4": 30.0, "f8": 1e5}
#: Mean of a column in units of its scale above which products of raw columns lose too many digits.
_FAR = 1e3


@dataclass(frozen=True)
class Moments:
    """Sum of weights, and weighted mean and standard deviation of each column, shapes (d,)."""

    weight: float
    mean: Array
    sd: Array

    @classmethod
    def of(cls, X: NDArray[Any], s: NDArray[Any] | None) -> "Moments":
        """Return the moments of few rows X (n, d) with weights s (n,) or None, by NumPy, so that nothing is compiled.

        Moments are not finite if the data are not.
        """
        # Differences from a row of positive weight are exactly 0 in a constant column.
        base = X[0] if s is None else X[np.argmax(s)]
        weight = float(len(X)) if s is None else float(s.sum(dtype=np.float64))
        shares = np.full(len(X), 1.0 / weight) if s is None else s.astype(np.float64) / weight
        with np.errstate(over="ignore", invalid="ignore"):
            rows = np.subtract(X.T, base[:, None], dtype=np.float64, order="C")
            # By einsum: threads of BLAS would change bits.
            mean = np.einsum("ji,i->j", rows, shares)
            rows *= rows
            # The base is sd sqrt(n) from the mean at most: n eps of the variance is lost.
            variance = np.maximum(np.einsum("ji,i->j", rows, shares) - mean * mean, 0.0)
        return cls(weight, base + mean, np.sqrt(variance))

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Mask of the constant columns."""
        return self.sd == 0.0

    def of_columns(self, numbers: NDArray[Any]) -> "Moments":
        """Return the moments of some columns."""
        return Moments(self.weight, self.mean[numbers], self.sd[numbers])

    @cached_property
    def standard(self) -> "Scaling":
        """The scaling by mean and sd."""
        return Scaling(self.mean, inverse(self.sd))

    @cached_property
    def uncentred(self) -> "Scaling":
        """The scaling by the root mean square."""
        return Scaling(np.zeros_like(self.mean), inverse(np.hypot(self.mean, self.sd)))


@dataclass(frozen=True)
class Scaling:
    """Center and scale of each column, shapes (d,); the inverse scale of a constant column is 0."""

    center: Array
    inv_scale: Array

    @classmethod
    def standard(cls, moments: Moments, fit_intercept: bool) -> "Scaling":
        """Return the scaling by mean and sd; without an intercept by the root mean square alone."""
        return moments.standard if fit_intercept else moments.uncentred

    @classmethod
    def of_sparse(cls, moments: Moments, fit_intercept: bool) -> "Scaling":
        """Return the scaling of columns of which most rows have none: by root mean square, and not centred.

        The intercept takes the part of the means, which is small: an indicator of frequency p has the mean sqrt(p) in
        these units. Columns whose mean is above their sd are scaled as by `standard`.
        """
        standard, near = cls.standard(moments, fit_intercept), np.abs(moments.mean) < moments.sd
        center = np.where(near, 0.0, standard.center)
        return cls(center, np.where(near, moments.uncentred.inv_scale, standard.inv_scale))

    @classmethod
    def identity(cls, moments: Moments, fit_intercept: bool) -> "Scaling":
        """Return the scaling of raw columns; with an intercept constant columns get an inverse scale of 0."""
        constant = moments.constant & fit_intercept
        return cls(np.zeros_like(moments.mean), np.where(constant, 0.0, 1.0))

    def no_finer_than(self, scale: float) -> "Scaling":
        """Return the scaling with scales of at least `scale` for columns that vary."""
        return self if scale == 0.0 else Scaling(self.center, np.minimum(self.inv_scale, 1.0 / scale))

    @property
    def is_near_zero(self) -> bool:
        """Whether columns can be centred after sums over products of raw ones, without a loss of too many digits."""
        return float(np.max(np.abs(self.center) * self.inv_scale, initial=0.0)) <= _FAR

    def binary(self) -> "Scaling":
        """Return a similar scaling with powers of two as scales and centers of few digits.

        (x - center) * inv_scale is then exact for columns of few digits: only sums over rows are rounded.
        """
        exponent = np.round(np.log2(np.where(self.inv_scale > 0.0, self.inv_scale, 1.0)))
        inv_scale = np.where(self.inv_scale > 0.0, np.exp2(exponent), 0.0)
        grid = np.exp2(-12.0 - exponent)
        return Scaling(np.round(self.center / grid) * grid, inv_scale)

    def theta_from(self, other: "Scaling", theta: Array) -> Array:
        """Convert theta (K, d + 1) to these coordinates from those of another scaling."""
        if other is self:
            return theta
        coef = theta[:, :-1] * other.inv_scale
        moved = np.empty_like(theta)
        moved[:, :-1] = coef * inverse(self.inv_scale)
        moved[:, -1] = theta[:, -1] + coef @ (self.center - other.center)
        return moved

    def gradient_from(self, other: "Scaling", gradient: Array) -> Array:
        """Convert a gradient by theta (K, d + 1) to these coordinates from those of another scaling."""
        moved = np.empty_like(gradient)
        raw = gradient[:, :-1] * inverse(other.inv_scale) + gradient[:, -1:] * (other.center - self.center)
        moved[:, :-1] = raw * self.inv_scale
        moved[:, -1] = gradient[:, -1]
        return moved

    def from_raw(self, coef: Array, intercept: Array) -> Array:
        """Return theta (K, d + 1) of raw coefficients (K, d), 0 for constant columns, and intercepts (K,)."""
        varying = np.where(self.inv_scale > 0.0, coef, 0.0)
        theta = np.empty((coef.shape[0], coef.shape[1] + 1))
        theta[:, :-1] = varying * inverse(self.inv_scale)
        theta[:, -1] = intercept + varying @ self.center
        return theta

    def to_raw(self, theta: Array) -> tuple[Array, Array]:
        """Return raw coefficients (K, d) and intercepts (K,) of theta (K, d + 1)."""
        coef = theta[:, :-1] * self.inv_scale
        return coef, theta[:, -1] - coef @ self.center

    def penalty_weights(self, l1: Array, l2: Array) -> tuple[Array, Array]:
        """Return L1 and L2 weights (K, d + 1) in working coordinates, the intercept's 0, from raw ones (K,)."""
        weights = np.zeros((2, l1.size, self.inv_scale.size + 1))
        weights[0, :, :-1] = l1[:, None] * self.inv_scale
        weights[1, :, :-1] = l2[:, None] * self.inv_scale**2
        return weights[0], weights[1]


@dataclass(frozen=True)
class TargetMoments:
    """Sum of weights, and mean and variance of targets so far in a stream; shapes (), (K,), (K,)."""

    weight: float
    mean: Array
    variance: Array

    def and_of(self, more: Moments) -> "TargetMoments":
        """Return the moments of all rows, with those of additional rows (Chan, Golub and LeVeque 1983)."""
        total = self.weight + more.weight
        share = more.weight / total
        with np.errstate(over="ignore", invalid="ignore"):
            move = more.mean - self.mean
            variance = (1.0 - share) * self.variance + share * more.sd**2 + share * (1.0 - share) * move**2
        return TargetMoments(total, self.mean + share * move, variance)

    @classmethod
    def none(cls, outputs: int) -> "TargetMoments":
        """Return the moments of no rows."""
        return cls(0.0, np.zeros(outputs), np.zeros(outputs))

    @property
    def moments(self) -> Moments:
        """Mean and standard deviation."""
        return Moments(self.weight, self.mean, np.sqrt(self.variance))


def inverse(scale: Array) -> Array:
    """Return 1 / scale, and 0 where scale is 0."""
    return np.divide(1.0, scale, out=np.zeros(scale.shape), where=scale > 0.0)


def load_shift(moments: Moments, dtype: str) -> Array:
    """Return the shift (d,) to subtract on load: means rounded to the dtype if any is very large, else 0."""
    far = np.abs(moments.mean) > SHIFT_FROM[dtype] * moments.sd
    if not far.any() or not (far & ~moments.constant).any():
        return np.zeros(far.shape)
    return moments.mean.astype(dtype).astype(np.float64)


@dataclass(frozen=True)
class TargetScaling:
    """Center and scale of the targets of a linear fit, which become (y_k - center_k) / scale_k; shapes (K,).

    Losses in these units are scale_k^2 times smaller; a1 becomes a1 / scale_k and Huber's delta becomes
    delta / scale_k. Each target of a squared loss has its own scale, so that fits of several targets equal separate
    fits. Kernels take a single delta for the Huber loss, so that its targets share the root of their mean variance.
    """

    center: Array
    scale: Array

    @classmethod
    def identity(cls, outputs: int) -> "TargetScaling":
        """Return the scaling of raw targets."""
        return cls(np.zeros(outputs), np.ones(outputs))

    @classmethod
    def raw(cls, moments: Moments, fit_intercept: bool, dtype: str) -> "TargetScaling":
        """Return the scaling of raw targets, centred if the mean is so large that a dtype would lose digits."""
        far = fit_intercept & (np.abs(moments.mean) > SHIFT_FROM[dtype] * moments.sd)
        return cls(np.where(far, moments.mean, 0.0), np.ones(moments.mean.shape))

    @classmethod
    def standard(cls, moments: Moments, fit_intercept: bool, shared: bool) -> "TargetScaling":
        """Return the scaling by mean and sd (without intercept 0 and the root mean square); `shared`: one scale."""
        center = moments.mean if fit_intercept else np.zeros_like(moments.mean)
        scale = moments.sd if fit_intercept else np.hypot(moments.mean, moments.sd)
        if shared:
            scale = np.full_like(scale, np.sqrt(np.mean(scale**2)))
        return cls(center, np.where(scale > 0.0, scale, 1.0))

    def followed(self, found: "TargetScaling") -> "TargetScaling":
        """Return a scaling closer to one found since, or itself if that is close.

        Scales that differ by more than a factor of two are multiplied by powers of two, which is exact; centers that
        differ by more than such a scale are replaced.
        """
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            power = np.rint(np.log2(found.scale / self.scale))
        power = np.where(np.isfinite(power) & (np.abs(power) > 1.0), power, 0.0)
        scale = np.ldexp(self.scale, power.astype(int))
        far = np.abs(found.center - self.center) > scale
        return TargetScaling(np.where(far, found.center, self.center), scale) if far.any() or power.any() else self
