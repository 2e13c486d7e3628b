"""Working coordinates: columns centred and scaled by arithmetic on w, g and the penalty, never by copying X.

With x~ = (x - center) / scale and theta = (u, b0), margins are z = x~ . u + b0 = x . w + b with w = u / scale and
b = b0 - w . center. Penalties keep their value: L1 weights a1 / scale_j, L2 weights a2 / scale_j^2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array

#: Above this |mean| / sd the mean is subtracted on load, since x . w - mean . w would lose digits.
SHIFT_FROM = {"f4": 30.0, "f8": 1e5}


@dataclass(frozen=True)
class Moments:
    """Weighted mean and standard deviation of each column, shapes (d,)."""

    weight: float
    mean: Array
    sd: Array

    @classmethod
    def of(cls, X: NDArray[Any], s: NDArray[Any] | None) -> "Moments":
        """Of few rows X (n, d) with weights s (n,) or None; not finite where the data are not. Compiles nothing."""
        # Differences from a row of weight: a constant column has exactly none.
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
        """Which columns hold one value only."""
        return self.sd == 0.0


@dataclass(frozen=True)
class Scaling:
    """Center and scale of each column, shapes (d,); the inverse scale of a constant column is 0."""

    center: Array
    inv_scale: Array

    @classmethod
    def standard(cls, moments: Moments, fit_intercept: bool) -> "Scaling":
        """Mean and sd; without an intercept no centring and the root mean square."""
        if fit_intercept:
            return cls(moments.mean, inverse(moments.sd))
        return cls(np.zeros_like(moments.mean), inverse(np.hypot(moments.mean, moments.sd)))

    @classmethod
    def identity(cls, moments: Moments, fit_intercept: bool) -> "Scaling":
        """Raw columns; beside an intercept a constant column has nothing to say and stays at 0."""
        silent = moments.constant & fit_intercept
        return cls(np.zeros_like(moments.mean), np.where(silent, 0.0, 1.0))

    def no_finer_than(self, scale: float) -> "Scaling":
        """No column that varies has a smaller scale than this one."""
        return self if scale == 0.0 else Scaling(self.center, np.minimum(self.inv_scale, 1.0 / scale))

    def binary(self) -> "Scaling":
        """About the same with scales that are powers of two and centers of few digits.

        (x - center) * inv_scale is then exact for columns of few digits: not the rows, only sums over them are rounded.
        """
        exponent = np.round(np.log2(np.where(self.inv_scale > 0.0, self.inv_scale, 1.0)))
        inv_scale = np.where(self.inv_scale > 0.0, np.exp2(exponent), 0.0)
        grid = np.exp2(-12.0 - exponent)
        return Scaling(np.round(self.center / grid) * grid, inv_scale)

    def theta_from(self, other: "Scaling", theta: Array) -> Array:
        """theta (K, d + 1) of the same model in these coordinates, from those of another scaling."""
        if other is self:
            return theta
        coef = theta[:, :-1] * other.inv_scale
        moved = np.empty_like(theta)
        moved[:, :-1] = coef * inverse(self.inv_scale)
        moved[:, -1] = theta[:, -1] + coef @ (self.center - other.center)
        return moved

    def gradient_from(self, other: "Scaling", gradient: Array) -> Array:
        """The gradient by theta (K, d + 1) in these coordinates, from that in those of another scaling."""
        moved = np.empty_like(gradient)
        raw = gradient[:, :-1] * inverse(other.inv_scale) + gradient[:, -1:] * (other.center - self.center)
        moved[:, :-1] = raw * self.inv_scale
        moved[:, -1] = gradient[:, -1]
        return moved

    def from_raw(self, coef: Array, intercept: Array) -> Array:
        """theta (K, d + 1) of raw coefficients (K, d) and intercepts (K,); silent columns' coefficients become 0."""
        heard = np.where(self.inv_scale > 0.0, coef, 0.0)
        theta = np.empty((coef.shape[0], coef.shape[1] + 1))
        theta[:, :-1] = heard * inverse(self.inv_scale)
        theta[:, -1] = intercept + heard @ self.center
        return theta

    def to_raw(self, theta: Array) -> tuple[Array, Array]:
        """Raw coefficients (K, d) and intercepts (K,) of theta (K, d + 1)."""
        coef = theta[:, :-1] * self.inv_scale
        return coef, theta[:, -1] - coef @ self.center

    def penalty_weights(self, l1: Array, l2: Array) -> tuple[Array, Array]:
        """L1 and L2 weights (K, d + 1) in working coordinates, the intercept's 0, from raw ones, l1 and l2 (K,)."""
        weights = np.zeros((2, l1.size, self.inv_scale.size + 1))
        weights[0, :, :-1] = l1[:, None] * self.inv_scale
        weights[1, :, :-1] = l2[:, None] * self.inv_scale**2
        return weights[0], weights[1]


@dataclass(frozen=True)
class TargetMoments:
    """Rows so far, and mean and variance of their targets: what the scale of a stream of targets follows.

    Weights count as they are, so that the number of rows is their sum; shapes (), (K,), (K,).
    """

    weight: float
    mean: Array
    variance: Array

    def and_of(self, more: Moments) -> "TargetMoments":
        """Those of all rows, with the moments of some more (Chan, Golub and LeVeque 1983)."""
        total = self.weight + more.weight
        share = more.weight / total
        with np.errstate(over="ignore", invalid="ignore"):
            move = more.mean - self.mean
            variance = (1.0 - share) * self.variance + share * more.sd**2 + share * (1.0 - share) * move**2
        return TargetMoments(total, self.mean + share * move, variance)

    @classmethod
    def none(cls, outputs: int) -> "TargetMoments":
        """Of no rows."""
        return cls(0.0, np.zeros(outputs), np.zeros(outputs))

    @property
    def moments(self) -> Moments:
        """Mean and standard deviation."""
        return Moments(self.weight, self.mean, np.sqrt(self.variance))


def inverse(scale: Array) -> Array:
    """1 / scale, and 0 where that is 0."""
    return np.divide(1.0, scale, out=np.zeros(scale.shape), where=scale > 0.0)


def load_shift(moments: Moments, dtype: str) -> Array:
    """What is subtracted from each element on load: means rounded to the dtype where one is very large, else 0."""
    far = np.abs(moments.mean) > SHIFT_FROM[dtype] * moments.sd
    if not (far & ~moments.constant).any():
        return np.zeros(far.shape)
    return moments.mean.astype(dtype).astype(np.float64)


@dataclass(frozen=True)
class TargetScaling:
    """Targets of a linear fit are worked on as (y_k - center_k) / scale_k; shapes (K,).

    Losses in these units are scale_k^2 times smaller, a1 becomes a1 / scale_k and Huber's delta delta / scale_k.
    Each target of a squared loss has its own scale, so that fitting several is fitting each alone; Huber's delta
    is one number a kernel call, so its targets share the root of their mean variance.
    """

    center: Array
    scale: Array

    @classmethod
    def identity(cls, outputs: int) -> "TargetScaling":
        """Targets as they are."""
        return cls(np.zeros(outputs), np.ones(outputs))

    @classmethod
    def raw(cls, moments: Moments, fit_intercept: bool, dtype: str) -> "TargetScaling":
        """Targets as they are, but for means so large that a dtype would lose digits of the deviations."""
        far = fit_intercept & (np.abs(moments.mean) > SHIFT_FROM[dtype] * moments.sd)
        return cls(np.where(far, moments.mean, 0.0), np.ones(moments.mean.shape))

    @classmethod
    def standard(cls, moments: Moments, fit_intercept: bool, shared: bool) -> "TargetScaling":
        """Mean and sd of the targets (without intercept 0 and the root mean square); `shared`: one scale for all."""
        center = moments.mean if fit_intercept else np.zeros_like(moments.mean)
        scale = moments.sd if fit_intercept else np.hypot(moments.mean, moments.sd)
        if shared:
            scale = np.full_like(scale, np.sqrt(np.mean(scale**2)))
        return cls(center, np.where(scale > 0.0, scale, 1.0))

    def followed(self, found: "TargetScaling") -> "TargetScaling":
        """The scaling nearer to one found since, or itself where that is near.

        Scales off by more than a factor of two are multiplied by powers of two, which round nothing; centers off by
        more than such a scale are replaced.
        """
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            power = np.rint(np.log2(found.scale / self.scale))
        power = np.where(np.isfinite(power) & (np.abs(power) > 1.0), power, 0.0)
        scale = np.ldexp(self.scale, power.astype(int))
        far = np.abs(found.center - self.center) > scale
        return TargetScaling(np.where(far, found.center, self.center), scale) if far.any() or power.any() else self
