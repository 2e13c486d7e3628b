"""The problem apart from its data: loss, penalty and units, and the best constant model."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.blas import single_threaded
from fastgd.objective.coordinates import Moments, Scaling, TargetScaling, load_shift
from fastgd.threads import by_blocks

_BLOCK = 1 << 16


@dataclass(frozen=True)
class ConstantModel:
    """The best constant margins; without intercept margins 0.

    losses: its losses (K,). start: losses (K,) of margins 0, where fits start. rms: of dloss/dz at the constant model,
    sqrt(sum_i s_i |r_i|^2 / sum_i s_i) over the K-vectors r_i; 1 where it would be 0, and of the squared loss, whose
    targets have units of their own. curvatures: means of d2loss/dz2 there, each output by itself (K,); of the Huber
    loss those of its majoriser, min(1, delta / |r|), which are never 0.
    """

    losses: Array
    start: Array
    rms: float
    curvatures: Array


def constant_classes(weights: Array, fit_intercept: bool) -> ConstantModel:
    """From the weight of each class, shape (C,) with C >= 2; two classes have one output, more have C."""
    shares = (weights / weights.sum()).tolist()
    shares_at = shares if fit_intercept else [1.0 / len(shares)] * len(shares)
    loss = -math.fsum(p * math.log(q) for p, q in zip(shares, shares_at, strict=True) if p > 0.0)
    # E |p - e_y|^2 = sum p^2 - 2 sum share p + 1; with two classes and one output half of it.
    square = math.fsum(q * (q - 2.0 * p) for p, q in zip(shares, shares_at, strict=True)) + 1.0
    outputs = 1 if len(shares) == 2 else len(shares)
    curvatures = np.array([q * (1.0 - q) for q in shares_at[:outputs]])
    losses, start = np.zeros((2, outputs))
    losses[0], start[0] = loss, math.log(len(shares))
    rms = _positive(math.sqrt(max(square / 2.0 if outputs == 1 else square, 0.0)))
    return ConstantModel(losses, start, rms, curvatures)


def constant_squared(mean: Array, sd: Array, fit_intercept: bool) -> ConstantModel:
    """From weighted means and sds (K,) of working targets.

    Each target counts by itself, as if it were fitted alone: by the rms of its own residuals, its unit.
    """
    squares = sd**2 if fit_intercept else sd**2 + mean**2
    return ConstantModel(squares / 2.0, (sd**2 + mean**2) / 2.0, 1.0, np.ones(sd.shape))


def constant_huber(
    y: NDArray[Any], s: NDArray[Any] | None, delta: float, fit_intercept: bool, n_threads: int = 1
) -> ConstantModel:
    """From working targets y (K, n) and weights (n,): Newton's method on each output, safeguarded by bisection."""
    with single_threaded(y.shape[1], y.shape[0]):
        return _constant_huber(y, _HuberSums(s, delta, n_threads), fit_intercept)


def _constant_huber(y: NDArray[Any], sums_at: "_HuberSums", fit_intercept: bool) -> ConstantModel:
    losses, start, curvatures, squares = *np.zeros((3, y.shape[0])), 0.0
    for k, target in enumerate(y):
        low, high = float(target.min()), float(target.max())
        b, before = min(max(0.0, low), high) if fit_intercept else 0.0, np.inf
        for _ in range(200 if fit_intercept else 1):
            at = sums_at(target, b)
            slope = at.slope
            if not fit_intercept or abs(slope) <= 1e-12 * sums_at.delta or high - low <= 1e-15 * max(1.0, abs(b)):
                break
            low, high = (b, high) if slope < 0.0 else (low, b)
            newton = b - slope / at.curvature if at.curvature > 0.0 else np.inf
            # Where few targets are within delta Newton's steps go to and fro.
            b = newton if low < newton < high and abs(slope) <= 0.5 * before else 0.5 * (low + high)
            before = abs(slope)
        losses[k], curvatures[k], start[k] = at.loss, at.majoriser, sums_at(target, 0.0).loss
        squares += at.square
    return ConstantModel(losses, start, _positive(np.sqrt(squares)), curvatures)


class _HuberMeans(NamedTuple):
    """Means over targets of loss, gradient, curvature, its majoriser's, and squared gradient."""

    loss: float
    slope: float
    curvature: float
    majoriser: float
    square: float


class _HuberSums(NamedTuple):
    """Of weights (n,) and the width delta."""

    s: NDArray[Any] | None
    delta: float
    n_threads: int

    def __call__(self, y: NDArray[Any], b: float) -> _HuberMeans:
        """Means at the margin b; by blocks, without a copy of y."""
        parts = np.zeros((-(-y.size // _BLOCK), 6))

        def work(slot: int, rows: slice) -> None:
            r = b - y[rows].astype(np.float64)
            weight = np.ones_like(r) if self.s is None else self.s[rows].astype(np.float64)
            g = np.clip(r, -self.delta, self.delta)
            a = np.abs(r)
            bends = weight @ (a <= self.delta), weight @ (self.delta / np.maximum(a, self.delta))
            parts[rows.start // _BLOCK] = (
                weight.sum(),
                weight @ (g * (r - 0.5 * g)),
                weight @ g,
                *bends,
                weight @ (g * g),
            )

        by_blocks(y.size, _BLOCK, self.n_threads, work)
        total = parts.sum(axis=0)
        return _HuberMeans(*(total[1:] / total[0]).tolist())


def huber_losses(y: NDArray[Any], s: NDArray[Any] | None, delta: float, margins: Array, n_threads: int = 1) -> Array:
    """Mean losses (K,) of constant margins (K,) on working targets y (K, n) with weights (n,)."""
    sums_at = _HuberSums(s, delta, n_threads)
    return np.array([sums_at(target, float(margin))[0] for target, margin in zip(y, margins, strict=True)])


def _positive(rms: float) -> float:
    return float(rms) if rms > 0.0 else 1.0


@dataclass(frozen=True)
class Problem:
    """What is minimised, in raw columns and working targets.

    loss by name; delta in working units; l1 and l2 (K,): penalty weights of raw coefficients; constant: the best
    model without columns; units (K,): of the targets in which certificates are taken, by working ones.
    """

    loss: str
    delta: float
    l1: Array
    l2: Array
    fit_intercept: bool
    constant: ConstantModel
    targets: TargetScaling
    units: Array
    #: Whether coefficients must be at least 0.
    positive: bool = False


class Frame(NamedTuple):
    """Working coordinates, and what kernels subtract on load."""

    scaling: Scaling
    shift: Array

    @classmethod
    def of(cls, moments: Moments, problem: Problem, standardize: bool, dtype: str) -> "Frame":
        """Standardised columns or raw ones.

        A standardised column of scale sd has an L2 weight of l2 / sd^2, which no step of a rule could follow where sd
        is tiny: there sqrt(l2) is the scale, and the weight 1.
        """
        intercept = problem.fit_intercept
        standard = Scaling.standard(moments, intercept).no_finer_than(math.sqrt(problem.l2.max()))
        scaling = standard if standardize else Scaling.identity(moments, intercept)
        return cls(scaling, load_shift(moments, dtype) if intercept else np.zeros(moments.mean.size))


class Evaluation(NamedTuple):
    """What one pass gives: theta, its losses and penalties (K,), the gradient of the mean loss (K, d + 1).

    slope (K, d + 1): that gradient with L2's, F's without L1. total: F in working units.
    """

    theta: Array
    losses: Array
    penalties: Array
    gradient: Array
    slope: Array
    total: float

    @property
    def is_finite(self) -> bool:
        """Whether neither F nor its gradient overflows."""
        return math.isfinite(self.total) and bool(np.isfinite(self.slope).all())
