"""Data x loss x penalty: the verbs that every solver speaks, in working coordinates.

A solver sees an `Objective`, never a layout, a device or a file: it asks for loss and gradient at theta, for a
certificate, for epochs of a rule, for a curvature bound. Parameters are theta (K, d + 1), float64, intercept last.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.backends.cpu import CpuData, Sums
from fastgd.backends.cpu_epochs import CpuEpochs, EpochProblem, RuleState
from fastgd.constant import ConstantModel
from fastgd.kernels.losses import LARGEST_CURVATURE
from fastgd.sample import sample_rows
from fastgd.scaling import Array, Moments, Scaling, TargetScaling, load_shift

__all__ = ["Epochs", "Evaluation", "Frame", "Objective", "Problem", "RuleState"]

#: Rows of a batch whose curvature hardly depends on its largest row.
_LARGE_BATCH = 64

#: A mini-batch loop over the data of an objective.
Epochs = CpuEpochs


@dataclass(frozen=True)
class Problem:
    """What is minimised, in raw columns and working targets.

    loss by name; delta in working units; l1 (K,) and l2: penalty weights of raw coefficients; constant: the best
    model without columns; units (K,): of the targets in which certificates are taken, by working ones.
    """

    loss: str
    delta: float
    l1: Array
    l2: float
    fit_intercept: bool
    constant: ConstantModel
    targets: TargetScaling
    units: Array


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
        standard = Scaling.standard(moments, intercept).no_finer_than(math.sqrt(problem.l2))
        scaling = standard if standardize else Scaling.identity(moments, intercept)
        return cls(scaling, load_shift(moments, dtype) if intercept else np.zeros(moments.mean.size))


@dataclass(frozen=True)
class Evaluation:
    """What one pass gives: theta, its losses and penalties (K,), the gradient of the mean loss (K, d + 1), the sums."""

    theta: Array
    losses: Array
    penalties: Array
    gradient: Array
    sums: Sums


class Objective:
    """The objective of section "The objective" in the README on a data set.

    Parameters
    ----------
    data : CpuData
    problem : Problem
    moments : Moments
        Of the columns of `data`.
    frame : Frame
        The working coordinates.
    """

    def __init__(self, data: CpuData, problem: Problem, moments: Moments, frame: Frame) -> None:
        self.data = data
        self.problem = problem
        self.moments = moments
        self.standard = Scaling.standard(moments, problem.fit_intercept)
        self.scaling, self.shift = frame
        self.outputs = problem.l1.size
        self.l1, self.l2 = self.scaling.penalty_weights(problem.l1, problem.l2)
        self._offset = self.scaling.center - self.shift

    def start(self) -> Array:
        """Where fits start: zeros."""
        return np.zeros((self.outputs, self.data.d + 1))

    def to_user(self, theta: Array) -> tuple[Array, Array]:
        """Coefficients (K, d) and intercepts (K,) for raw columns and the user's targets."""
        coef, intercept = self.scaling.to_raw(theta)
        targets = self.problem.targets
        return coef * targets.scale[:, None], intercept * targets.scale + targets.center

    def from_user(self, coef: Array, intercept: Array) -> Array:
        """The inverse of `to_user`; coefficients of constant columns, which say nothing, become 0."""
        targets = self.problem.targets
        return self.scaling.from_raw(coef / targets.scale[:, None], (intercept - targets.center) / targets.scale)

    def canonical(self, theta: Array) -> Array:
        """Of the equally good softmax parameters those with sum_k b_k = 0, without penalty also sum_k w_k = 0."""
        if self.problem.loss != "softmax":
            return theta
        _, intercept = self.scaling.to_raw(theta)
        if self.problem.l2 == 0.0 and not np.any(self.problem.l1):
            theta = theta - theta.mean(axis=0)
        elif self.problem.fit_intercept:
            theta = theta.copy()
            theta[:, -1] -= intercept.mean()
        return theta

    def evaluate(self, theta: Array) -> Evaluation:
        """Loss and gradient at theta. One pass."""
        sums = self.sums(self.data, theta)
        gradient = np.empty_like(theta)
        centred = sums.products - np.outer(sums.derivatives, self._offset)
        gradient[:, :-1] = centred * self.scaling.inv_scale / self.data.weight
        gradient[:, -1] = sums.derivatives / self.data.weight if self.problem.fit_intercept else 0.0
        penalties = np.sum(self.l1 * np.abs(theta) + 0.5 * self.l2 * theta**2, axis=1)
        return Evaluation(theta, sums.losses / self.data.weight, penalties, gradient, sums)

    def sums(self, data: CpuData, theta: Array) -> Sums:
        """Sums of loss and gradient over the rows of a data set with these columns. One pass over it."""
        coef = theta[:, :-1] * self.scaling.inv_scale
        intercept = theta[:, -1] - coef @ self._offset
        return data.gradient(self.problem.loss, coef, intercept, self.shift, self.problem.delta)

    def slope_along(self, theta: Array, direction: Array) -> Callable[[float], float]:
        """d/dt F(theta + t direction) in working units, without L1 term, for any t at the price of two columns.

        Margins are linear in t: z + t dz is a model of two columns an output, [z, dz], whose gradient is the slope.
        """
        margins = np.hstack([self._margins(v) for v in (theta, direction)])
        # In the order of X, which needs no other kernel.
        columns = margins if self.data.order == "C" else np.asfortranarray(margins)
        line = CpuData(columns, self.data.data.y, self.data.weights, self.data.n_threads)
        eye, nothing = np.eye(self.outputs), np.zeros(self.outputs)

        def slope(t: float) -> float:
            coef = np.hstack([eye, t * eye])
            sums = line.gradient(self.problem.loss, coef, nothing, np.zeros(line.d), self.problem.delta)
            data = float(np.trace(sums.products[:, self.outputs :])) / self.data.weight
            return data + float(np.sum(self.l2 * (theta + t * direction) * direction))

        return slope

    def _margins(self, theta: Array) -> NDArray[Any]:
        """(n, K) margins in the dtype of X. One pass."""
        coef = theta[:, :-1] * self.scaling.inv_scale
        return self.data.margins(coef, theta[:, -1] - coef @ self._offset, self.shift)

    def value(self, evaluation: Evaluation) -> float:
        """F in the units of the user's targets."""
        return self.in_target_units(evaluation.losses + evaluation.penalties)

    def in_target_units(self, values: Array) -> float:
        """The sum over outputs of values (K,) of working targets, in the units of the user's."""
        return float(np.sum(values * self.problem.targets.scale**2))

    def certificate(self, evaluation: Evaluation) -> float:
        """How far theta is from optimal, free of the units of columns, y and weights.

        The largest distance of 0 to a component of the subdifferential of F in standardised coordinates, intercept
        included, divided by the rms of dloss/dz at the best constant model; each target in its own units.
        """
        problem, sums = self.problem, evaluation.sums
        coef = evaluation.theta[:, :-1] * self.scaling.inv_scale
        centred = sums.products - np.outer(sums.derivatives, self.standard.center - self.shift)
        g = centred / self.data.weight + problem.l2 * coef
        l1 = problem.l1[:, None]
        distance = np.where(coef != 0.0, np.abs(g + l1 * np.sign(coef)), np.maximum(np.abs(g) - l1, 0.0))
        largest = np.max(distance * self.standard.inv_scale / problem.units[:, None], initial=0.0)
        if problem.fit_intercept:
            largest = max(largest, np.max(np.abs(sums.derivatives) / problem.units) / self.data.weight)
        return float(largest / problem.constant.rms)

    def constant_value(self) -> float:
        """F of the best constant model, in the units of the user's targets."""
        return self.in_target_units(self.problem.constant.losses)

    def start_value(self) -> float:
        """F at `start`, in the units of the user's targets."""
        return self.in_target_units(self.problem.constant.start)

    @cached_property
    def curvature(self) -> float:
        """Bound on the largest curvature of the mean loss in working coordinates, without L2."""
        return self._power_iteration(np.zeros(self.data.d + 1))

    @cached_property
    def smooth_curvature(self) -> float:
        """The same with L2."""
        return self._power_iteration(self.l2[0]) if np.any(self.l2) else self.curvature

    def _power_iteration(self, ridge: Array) -> float:
        """Largest eigenvalue of the mean loss's largest curvature plus diag(ridge), times 1.1.

        On a sample of rows where the data are large. It is approached from below, hence the factor; solvers check
        what they see and raise it.
        """
        sample, bound = self._sample, LARGEST_CURVATURE[self.problem.loss]
        v = np.random.default_rng(0).standard_normal(self.data.d + 1)
        if not self.problem.fit_intercept:
            v[-1] = 0.0
        largest = 0.0
        for _ in range(100):
            v /= np.linalg.norm(v)
            product = bound * self._gram_product(sample, v) + ridge * v
            before, largest = largest, float(np.linalg.norm(product))
            if largest == 0.0 or abs(largest - before) <= 1e-3 * largest:
                break
            v = product
        return 1.1 * max(largest, np.finfo(float).tiny)

    def _gram_product(self, sample: CpuData, v: Array) -> Array:
        """(1 / S) sum_i s_i (x~_i, 1) ((x~_i, 1) . v): the gradient of a squared loss with targets 0."""
        coef = v[None, :-1] * self.scaling.inv_scale
        sums = sample.gradient("squared", coef, v[-1:] - coef @ self._offset, self.shift, 0.0)
        product = np.empty_like(v)
        product[:-1] = (sums.products[0] - sums.derivatives[0] * self._offset) * self.scaling.inv_scale
        product[-1] = sums.derivatives[0] if self.problem.fit_intercept else 0.0
        return product / sample.weight

    @cached_property
    def _sample(self) -> CpuData:
        """Rows spread over the data, with targets 0."""
        X, s = sample_rows(self.data)
        return CpuData(X, np.zeros((1, X.shape[0]), X.dtype), s, self.data.n_threads)

    @cached_property
    def row_curvature(self) -> float:
        """Bound on the curvature of a row's loss in working coordinates, without L2: max_i s_i |(x~_i, 1)|^2 / s_mean.

        Exact where weights are equal; else the intercept's 1 counts with the largest weight.
        """
        return self._row_curvature_of(self.data)

    def _row_curvature_of(self, data: CpuData) -> float:
        largest = data.largest_norm(self.scaling)
        if self.problem.fit_intercept:
            largest += float(np.max(data.data.s)) * data.n / data.weight
        return LARGEST_CURVATURE[self.problem.loss] * largest

    def batch_curvature(self, batch_size: int) -> float:
        """L_B of Gower et al. 2019, sampling without replacement, with L2: between `row_curvature` and `curvature`."""
        n, b = self.data.n, min(batch_size, self.data.n)
        stiffest = float(np.max(self.l2, initial=0.0))
        if b == n:
            return self.smooth_curvature
        whole = n * (b - 1) / (b * (n - 1)) * self.smooth_curvature
        # Large batches hardly depend on the largest row: the sample's will do, and saves a pass.
        row = self.row_curvature if b < _LARGE_BATCH else self._row_curvature_of(self._sample)
        return whole + (n - b) / (b * (n - 1)) * (row + stiffest)

    def epochs(self, batch_size: int, seed: int, shuffle: bool) -> CpuEpochs:
        """A mini-batch loop."""
        problem = self.problem
        return self.data.epochs(
            problem.loss,
            EpochProblem(
                self.scaling,
                self.shift,
                self.l1,
                self.l2,
                problem.delta,
                problem.fit_intercept,
                batch_size,
                seed,
                shuffle,
            ),
        )

    @property
    def bytes_read(self) -> int:
        """Bytes of X that all passes and epochs have read so far, those over the sample included."""
        row = self.data.nbytes // self.data.n
        sampled = self._sample.rows_read if "_sample" in self.__dict__ else 0
        return (self.data.rows_read + sampled) * row
