"""Data x loss x penalty: the verbs that every solver speaks, in working coordinates.

A solver sees an `Objective`, never a layout, a device or a file: it asks for loss and gradient at theta, for a
certificate, for epochs of a rule, for a curvature bound. Parameters are theta (K, d + 1), float64, intercept last.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastgd.backends.cpu import CpuData, CpuEpochs, EpochProblem, Sums
from fastgd.constant import ConstantModel
from fastgd.kernels.losses import LARGEST_CURVATURE
from fastgd.sample import sample_rows
from fastgd.scaling import Array, Moments, Scaling, TargetScaling, load_shift


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
    standardize : bool
        Whether working coordinates are standardised columns or raw ones.
    """

    def __init__(self, data: CpuData, problem: Problem, moments: Moments, standardize: bool) -> None:
        self.data = data
        self.problem = problem
        self.moments = moments
        self.standard = Scaling.standard(moments, problem.fit_intercept)
        self.scaling = self.standard if standardize else Scaling.identity(moments, problem.fit_intercept)
        self.shift = load_shift(moments, data.dtype) if problem.fit_intercept else np.zeros(data.d)
        self.outputs = problem.l1.size
        self.l1, self.l2 = self.scaling.penalty_weights(problem.l1, problem.l2)
        self._offset = self.scaling.center - self.shift

    def start(self) -> Array:
        """Where fits start: zeros."""
        return np.zeros((self.outputs, self.data.d + 1))

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
        coef = theta[:, :-1] * self.scaling.inv_scale
        intercept = theta[:, -1] - coef @ self._offset
        sums = self.data.gradient(self.problem.loss, coef, intercept, self.shift, self.problem.delta)
        gradient = np.empty_like(theta)
        centred = sums.products - np.outer(sums.derivatives, self._offset)
        gradient[:, :-1] = centred * self.scaling.inv_scale / self.data.weight
        gradient[:, -1] = sums.derivatives / self.data.weight if self.problem.fit_intercept else 0.0
        penalties = np.sum(self.l1 * np.abs(theta) + 0.5 * self.l2 * theta**2, axis=1)
        return Evaluation(theta, sums.losses / self.data.weight, penalties, gradient, sums)

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
        """Bound on the largest curvature of the mean loss in working coordinates, without L2.

        Power iteration, on a sample of rows where the data are large. It approaches from below, hence times 1.1;
        solvers check what they see and raise it.
        """
        sample = self._sample
        v = np.random.default_rng(0).standard_normal(self.data.d + 1)
        if not self.problem.fit_intercept:
            v[-1] = 0.0
        largest = 0.0
        for _ in range(100):
            v /= np.linalg.norm(v)
            product = self._gram_product(sample, v)
            before, largest = largest, float(np.linalg.norm(product))
            if largest == 0.0 or abs(largest - before) <= 1e-3 * largest:
                break
            v = product
        return 1.1 * LARGEST_CURVATURE[self.problem.loss] * max(largest, np.finfo(float).tiny)

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
        largest = self.data.largest_norm(self.scaling)
        if self.problem.fit_intercept:
            largest += float(np.max(self.data.data.s)) * self.data.n / self.data.weight
        return LARGEST_CURVATURE[self.problem.loss] * largest

    def batch_curvature(self, batch_size: int) -> float:
        """L_B of Gower et al. 2019, sampling without replacement, with L2: between `row_curvature` and `curvature`."""
        n, b = self.data.n, min(batch_size, self.data.n)
        stiffest = float(np.max(self.l2, initial=0.0))
        if b == n:
            return self.curvature + stiffest
        whole = n * (b - 1) / (b * (n - 1)) * self.curvature
        return whole + (n - b) / (b * (n - 1)) * self.row_curvature + stiffest

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
