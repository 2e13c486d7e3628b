"""Bounds on the curvature of a data set's loss, from which steps of known safety follow."""

import math
from functools import cached_property

import numpy as np

from fastgd.arrays import Array
from fastgd.exceptions import DivergenceError
from fastgd.losses import Squared
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import Data
from fastgd.objective.problem import Problem
from fastgd.objective.sampling import sample_data

#: Rows of a batch whose curvature hardly depends on its largest row.
_LARGE_BATCH = 64


def _finite(curvature: float) -> float:
    """The same; a DivergenceError where it overflows, since a rate of 0 would move nothing."""
    if not math.isfinite(curvature):
        raise DivergenceError("curvatures overflow: scale down columns of extreme values")
    return curvature


class Bounded:
    """Bounds on the curvature of an objective: a part of `Objective`, whose attributes it reads."""

    data: Data
    problem: Problem
    moments: Moments
    scaling: Scaling
    shift: Array
    l2: Array
    _offset: Array

    @cached_property
    def squares(self) -> Array:
        """Mean squares of columns in working coordinates (d + 1,), the intercept's last; 0 of what plays no part."""
        moments, scaling = self.moments, self.scaling
        columns = (moments.sd**2 + (moments.mean - scaling.center) ** 2) * scaling.inv_scale**2
        return np.append(columns, float(self.problem.fit_intercept))

    @cached_property
    def curvature(self) -> float:
        """Bound on the largest curvature of the mean loss in working coordinates, without L2."""
        return self._power_iteration(np.zeros(self.data.d + 1))

    @cached_property
    def smooth_curvature(self) -> float:
        """The same with L2."""
        return self._power_iteration(self.l2.max(axis=0)) if np.any(self.l2) else self.curvature

    def _power_iteration(self, ridge: Array) -> float:
        """Largest eigenvalue of the mean loss's largest curvature plus diag(ridge), times 1.1.

        On a sample of rows where the data are large. It is approached from below, hence the factor; solvers check
        what they see and raise it.
        """
        sample, bound = self._curvature_sample, self.problem.loss.largest_curvature
        v = np.random.default_rng(0).standard_normal(self.data.d + 1)
        if not self.problem.fit_intercept:
            v[-1] = 0.0
        largest = 0.0
        for _ in range(100):
            v /= np.linalg.norm(v)
            product = bound * self._gram_product(sample, v) + ridge * v
            before, largest = largest, _finite(float(np.linalg.norm(product)))
            if largest == 0.0 or abs(largest - before) <= 1e-3 * largest:
                break
            v = product
        return 1.1 * max(largest, np.finfo(float).tiny)

    def _gram_product(self, sample: Data, v: Array) -> Array:
        """(1 / S) sum_i s_i (x~_i, 1) ((x~_i, 1) . v): the gradient of a squared loss with targets 0."""
        coef = v[None, :-1] * self.scaling.inv_scale
        sums = sample.gradient(Squared.name, coef, v[-1:] - coef @ self._offset, self.shift, 0.0)
        product = np.empty_like(v)
        product[:-1] = (sums.products[0] - sums.derivatives[0] * self._offset) * self.scaling.inv_scale
        product[-1] = sums.derivatives[0] if self.problem.fit_intercept else 0.0
        return product / sample.weight

    @cached_property
    def _curvature_sample(self) -> Data:
        """Rows spread over the data, with targets 0."""
        return sample_data(self.data).without_targets()

    @cached_property
    def row_curvature(self) -> float:
        """Bound on the curvature of a row's loss in working coordinates, without L2: max_i s_i |(x~_i, 1)|^2 / s_mean.

        Exact where weights are equal; else the intercept's 1 counts with the largest weight.
        """
        return self._row_curvature_of(self.data)

    def _row_curvature_of(self, data: Data) -> float:
        largest = data.largest_norm(self.scaling)
        if self.problem.fit_intercept:
            heaviest = 1.0 if data.weights is None else float(np.max(data.weights))
            largest += heaviest * data.n / data.weight
        return self.problem.loss.largest_curvature * _finite(largest)

    def batch_curvature(self, batch_size: int, share: float = 1.0) -> float:
        """L_B of Gower et al. 2019, sampling without replacement, with L2: between `row_curvature` and `curvature`.

        share: of the loss's largest curvature that is counted.
        """
        n, b = self.data.n, min(batch_size, self.data.n)
        stiffest = float(np.max(self.l2, initial=0.0))
        smooth = self.smooth_curvature if share == 1.0 else share * self.curvature + stiffest
        if b == n:
            return smooth
        whole = n * (b - 1) / (b * (n - 1)) * smooth
        # Large batches hardly depend on the largest row: the sample's will do, and saves a pass.
        row = self.row_curvature if b < _LARGE_BATCH else self._row_curvature_of(self._curvature_sample)
        return whole + (n - b) / (b * (n - 1)) * (share * row + stiffest)
