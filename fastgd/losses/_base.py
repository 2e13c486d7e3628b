"""Base classes of losses: traits for solvers, the best constant model, and the stage in NumPy."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.blas import single_threaded
from fastgd.kernels import losses as kernels
from fastgd.threads import by_blocks

#: Targets to convert to float64 at a time.
_BLOCK = 1 << 16
#: Most iterations for the best constant model.
_MOST_ITERATIONS = 200
#: Least share of a class in the margins of the best constant model.
_LEAST_SHARE = 1e-12


class Stage(NamedTuple):
    """Losses, derivatives and curvatures (n, K) by margins."""

    losses: Array
    derivatives: Array
    curvatures: Array


@dataclass(frozen=True)
class ConstantModel:
    """The model of the best constant margins, or of margins 0 without an intercept.

    margins, losses: its margins and losses (K,); the margin of a class without weight is large. start: losses (K,) of
    margins 0, where fits start. rms: of dloss/dz at the constant model, sqrt(sum_i s_i |r_i|^2 / sum_i s_i) over the
    K-vectors r_i; 1 if it would be 0, and for the squared loss, whose targets have their own units. curvatures: means
    of d2loss/dz2 there, per output (K,); for the Huber loss those of its majoriser, min(1, delta / |r|), which are
    never 0.
    """

    margins: Array
    losses: Array
    start: Array
    rms: float
    curvatures: Array

    @classmethod
    def unknown(cls, start: Array) -> "ConstantModel":
        """Return the model of a stream, where only the losses (K,) of margins 0 on a chunk are known."""
        return cls(np.zeros(start.size), np.zeros(start.size), start, 1.0, np.ones(start.size))


class Loss(ABC):
    """A loss of margins z (n, K) and targets, and its traits."""

    #: The name of its scalar functions in `fastgd.kernels.losses`.
    name: ClassVar[str]
    #: Whether targets are class labels, so that without penalty there may be no optimum.
    classifies: ClassVar[bool] = False
    #: Whether the curvature is constant.
    is_quadratic: ClassVar[bool] = False
    #: Whether a row's outputs share one loss, which is invariant to equal changes of all margins.
    couples_outputs: ClassVar[bool] = False
    #: Whether all outputs share one curvature matrix.
    shares_curvature: ClassVar[bool] = False
    #: Whether the loss is linear in parts, where rows have no curvature and gradients do not shrink.
    has_flat_parts: ClassVar[bool] = False
    #: Whether the loss has a width delta > 0.
    takes_delta: ClassVar[bool] = False

    @classmethod
    def make(cls, delta: float) -> Self:
        """Return the loss, with a width delta if it takes one."""
        return cls()

    @property
    def parameter(self) -> float:
        """The parameter of its scalar functions in `fastgd.kernels.losses`; 0 if they have none."""
        return 0.0

    @property
    def largest_curvature(self) -> float:
        """An upper bound of the curvature by margins."""
        return kernels.find_loss(self.name).largest_curvature

    @abstractmethod
    def stage(self, z: Array, y: NDArray[Any]) -> Stage:
        """Return losses, derivatives and curvatures at margins z (n, K) for targets from `targets`."""

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the targets (K, n) of a data set as `stage` takes them."""
        return y.T

    def curvature_along(self, z: Array, change: Array, curvatures: Array, s: Array | None) -> Array:
        """Return curvatures (n, K) along a change of margins z; `curvatures` (n, K) include the weights s (n,)."""
        along: Array = curvatures * (change * change)
        return along

    def conjugates(self, z: Array, y: Array, share: float) -> Array | None:
        """Return Fenchel conjugates (m, K) at a share of the derivatives at margins z (m, K); None if not known.

        y (m, K): targets; of softmax (m, 1), numbers of classes. share: between 0 and 1.
        """
        return None

    def rarity(self, constant: ConstantModel) -> float:
        """Return the number of rows that are as informative as one of balanced classes."""
        return 1.0

    def curvature_share(self, constant: ConstantModel) -> float:
        """Return the mean curvature at the constant model as a share of the largest, for the length of steps.

        It is 1 unless steps that are safe for the largest curvature would be far too short.
        """
        return 1.0

    def rate_factor(self, constant: ConstantModel, losses: Array) -> float:
        """Return the factor of an automatic rate at mean losses (K,)."""
        return 1.0

    def smoothed(self, losses: Array) -> "tuple[Loss, Array] | None":
        """Return a smoother loss with the same mean curvature near losses (K,), and factors (K,) of its curvatures.

        None if few rows suffice to estimate the curvature of the loss itself.
        """
        return None


class RegressionLoss(Loss):
    """A loss of numeric targets, a separate one for each output."""

    #: The scale of working targets: each output's own, one for all, or none.
    target_scale: ClassVar[Literal["own", "common", "none"]] = "common"

    def in_units(self, scale: Array) -> "RegressionLoss":
        """Return the loss for targets divided by scale (K,)."""
        return self

    def start_losses(self, y: NDArray[np.floating]) -> Array:
        """Return mean losses (K,) of margins 0 on working targets y (K, n) of equal weight."""
        with np.errstate(over="ignore", invalid="ignore"):
            losses = self.stage(np.zeros_like(y.T), y.T).losses
            means: Array = np.mean(losses.T, axis=1, dtype=np.float64)
        return np.atleast_1d(means)

    def mean_losses(self, y: NDArray[np.floating], s: NDArray[np.floating] | None, z: Array, n_threads: int) -> Array:
        """Return mean losses (K,) of constant margins z (K,) on working targets y (K, n) with weights s (n,)."""
        return np.array([self._means(one, s, float(at), n_threads).loss for one, at in zip(y, z, strict=True)])

    def constant_model(
        self,
        y: NDArray[np.floating],
        s: NDArray[np.floating] | None,
        mean: Array,
        sd: Array,
        fit_intercept: bool,
        n_threads: int = 1,
    ) -> ConstantModel:
        """Return the best constant model, by Newton's method per output, safeguarded by bisection.

        y (K, n): working targets, with weights s (n,), these means and standard deviations (K,).
        """
        outputs = len(y)
        margins, losses, start, curvatures, squares = *np.zeros((4, outputs)), 0.0
        with single_threaded(y.shape[1], outputs):
            for k, target in enumerate(y):
                margins[k], at = self._best_constant(target, s, fit_intercept, n_threads)
                losses[k], curvatures[k], squares = at.loss, at.majoriser, squares + at.square
                start[k] = self._means(target, s, 0.0, n_threads).loss
        return ConstantModel(margins, losses, start, positive(math.sqrt(squares)), curvatures)

    def _best_constant(
        self, y: NDArray[np.floating], s: NDArray[np.floating] | None, fit_intercept: bool, n_threads: int
    ) -> "tuple[float, _Means]":
        low, high = float(y.min()), float(y.max())
        b, before = min(max(0.0, low), high) if fit_intercept else 0.0, np.inf
        flat = 1e-12 * (self.parameter or 1.0)
        for _ in range(_MOST_ITERATIONS if fit_intercept else 1):
            at = self._means(y, s, b, n_threads)
            if not fit_intercept or abs(at.slope) <= flat or high - low <= 1e-15 * max(1.0, abs(b)):
                break
            low, high = (b, high) if at.slope < 0.0 else (low, b)
            newton = b - at.slope / at.curvature if at.curvature > 0.0 else np.inf
            # If few targets have curvature Newton's steps oscillate.
            b = newton if low < newton < high and abs(at.slope) <= 0.5 * before else 0.5 * (low + high)
            before = abs(at.slope)
        return b, at

    def _means(self, y: NDArray[np.floating], s: NDArray[np.floating] | None, b: float, n_threads: int) -> "_Means":
        """Return means over targets y (n,) with weights s (n,) at the margin b, by blocks, without a copy of y."""
        parts = np.zeros((-(-y.size // _BLOCK), 6))

        def work(slot: int, rows: slice) -> None:
            target = y[rows].astype(np.float64)
            weight = np.ones_like(target) if s is None else s[rows].astype(np.float64)
            stage, majoriser = self._at_constant(np.full_like(target, b), target)
            g = stage.derivatives
            of_each = stage.losses, g, stage.curvatures, majoriser, g * g
            parts[rows.start // _BLOCK] = weight.sum(), *(weight @ part for part in of_each)

        by_blocks(y.size, _BLOCK, n_threads, work)
        total = parts.sum(axis=0)
        return _Means(*(total[1:] / total[0]).tolist())

    def _at_constant(self, z: Array, y: Array) -> tuple[Stage, Array]:
        """Return the stage with exact curvatures, and the positive curvatures of a majoriser."""
        stage = self.stage(z, y)
        return stage, stage.curvatures


class _Means(NamedTuple):
    """Means over targets of loss, derivative, curvature, its majoriser's, and squared derivative."""

    loss: float
    slope: float
    curvature: float
    majoriser: float
    square: float


class ClassificationLoss(Loss):
    """A loss of class labels: one output with labels -1 and +1 for two classes, else an output per class."""

    classifies = True

    def start_losses(self, outputs: int) -> Array:
        """Return losses (K,) of margins 0, all in the first output."""
        start = np.zeros(outputs)
        start[0] = math.log(max(outputs, 2))
        return start

    def constant_model(self, weights: Array, fit_intercept: bool) -> ConstantModel:
        """Return the best constant model, from the weight of each class (C,), C >= 2."""
        shares = (weights / weights.sum()).tolist()
        shares_at = shares if fit_intercept else [1.0 / len(shares)] * len(shares)
        loss = -math.fsum(p * math.log(q) for p, q in zip(shares, shares_at, strict=True) if p > 0.0)
        # E |p - e_y|^2 = sum p^2 - 2 sum share p + 1; with two classes and one output half of it.
        square = math.fsum(q * (q - 2.0 * p) for p, q in zip(shares, shares_at, strict=True)) + 1.0
        outputs = 1 if len(shares) == 2 else len(shares)
        curvatures = np.array([q * (1.0 - q) for q in shares_at[:outputs]])
        losses = np.zeros(outputs)
        losses[0] = loss
        logs = np.log(np.maximum(shares_at, _LEAST_SHARE))
        margins = logs[1:] - logs[:1] if outputs == 1 else logs - logs.mean()
        rms = positive(math.sqrt(max(square / 2.0 if outputs == 1 else square, 0.0)))
        return ConstantModel(margins, losses, self.start_losses(outputs), rms, curvatures)


class CoupledLoss(ClassificationLoss):
    """A loss shared by the outputs of a row."""

    couples_outputs = shares_curvature = True

    @abstractmethod
    def couplings(self, z: Array, s: Array | None) -> Array:
        """Return the curvature by margins (K, K), summed over rows with weights s (n,)."""

    @abstractmethod
    def joint_curvature(self, T: Array, z: Array, s: Array | None) -> Array:
        """Return the curvature by all parameters, (K, D, K, D), summed over rows T (n, D) with weights s (n,)."""


def positive(rms: float) -> float:
    """Return a root mean square to divide by: 1 where it is 0."""
    return float(rms) if rms > 0.0 else 1.0
