"""The objective: data, loss and penalty in working coordinates, as solvers use it.

Solvers depend on `Objective` alone, not on layouts, devices or files. It provides loss and gradient at theta,
certificates, epochs of a rule and curvature bounds. Parameters are theta (K, d + 1), float64, intercept last.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import EPS, Array
from fastgd.exceptions import DivergenceError
from fastgd.losses import CoupledLoss, Squared
from fastgd.objective.coordinates import Moments, Scaling, inverse
from fastgd.objective.dataset import (
    Data,
    Design,
    EpochProblem,
    Epochs,
    ExclusiveColumns,
    Line,
    Rows,
    RowSpace,
    Sums,
)
from fastgd.objective.duality_gap import duality_gaps, feasible_share
from fastgd.objective.problem import Evaluation, Problem, WorkingCoordinates
from fastgd.objective.row_products import RowProducts
from fastgd.objective.sampling import is_small, sample_by_norm, sample_data, sample_of
from fastgd.penalties import subgradient_distance

#: Most numbers of data to keep in working coordinates, and of a sample for passes by NumPy.
_KEPT_NUMBERS, _FEW_NUMBERS = 1 << 19, 1 << 16
#: Rounding of F, in units of eps.
ROUNDING = 4.0
#: How many times an estimated suboptimality may be too small.
_SAFETY = 2.0
#: Rows of the sample for couplings of outputs.
_COUPLING_ROWS = 8192
#: Newton steps to the minimum along a line, and the range of the step's length.
_LINE_STEPS, _LENGTHS = 2, (0.25, 8.0)
#: Most rows and about the most numbers of the sample for the tails of rows, and the kurtosis of a normal distribution.
_TAIL_ROWS, _TAIL_NUMBERS, _NORMAL = 1024, 1 << 16, 3.0
#: Kurtosis of a column from which its values are rare, as of an indicator that is 1 in a hundredth of the rows, and the
#: share of its variance below which a sample has missed them.
_RARE, _SEEN = 100.0, 0.1
#: Most numbers of sparse rows to read with their zeros.
_DENSE_NUMBERS = 1 << 25
#: Columns per row from which vectors of combinations of rows replace those of columns.
_FEW_ROWS = 4
#: Rows from which the curvature of a batch hardly depends on its largest row.
_LARGE_BATCH = 64


class Objective:
    """The penalised mean loss of a data set: F of docs/guide/objective.md.

    Parameters
    ----------
    data : Data
    problem : Problem
    moments : Moments
        Means and scales of the columns of `data`.
    coordinates : WorkingCoordinates
        The working coordinates.
    is_sample : bool, default=False
        Whether the data are a sample.
    products : RowProducts or None, default=None
        The products of all rows, if the pass for means and scales has computed them.
    """

    def __init__(
        self,
        data: Data,
        problem: Problem,
        moments: Moments,
        coordinates: WorkingCoordinates,
        is_sample: bool = False,
        products: RowProducts | None = None,
    ) -> None:
        self.data = data
        self.problem = problem
        self.moments = moments
        self.scaling, self.shift = coordinates
        self.outputs = problem.l1.size
        self.l1, self.l2 = self.scaling.penalty_weights(problem.l1, problem.l2)
        #: Whether there is an L1 term.
        self.has_l1 = problem.has_l1
        #: The standardised coordinates, which certificates use.
        self.standard = Scaling.standard(moments, problem.fit_intercept)
        self._offset = self.scaling.center - self.shift
        self._is_sample = is_sample
        self.products = products
        self._copies: list[Data] = []
        #: The last evaluation with a certificate, and that: a fit reports the certificate that its solver has met.
        self._certified: tuple[Evaluation | None, float] = (None, math.nan)

    @cached_property
    def _scale(self) -> Array:
        return inverse(self.scaling.inv_scale)

    @cached_property
    def unpenalized(self) -> list[int]:
        """Indices of the parameters of an output that have no penalty, such as the intercept's."""
        free: list[int] = np.flatnonzero((self.l1[0] == 0.0) & (self.l2[0] == 0.0)).tolist()
        return free

    def start(self) -> Array:
        """Return the start of a fit: zeros."""
        return np.zeros((self.outputs, self.data.d + 1))

    def to_user(self, theta: Array) -> tuple[Array, Array]:
        """Return coefficients (K, d) and intercepts (K,) for raw columns and the user's targets."""
        coef, intercept = self.scaling.to_raw(theta)
        targets = self.problem.targets
        return coef * targets.scale[:, None], intercept * targets.scale + targets.center

    def from_user(self, coef: Array, intercept: Array) -> Array:
        """Return theta, as the inverse of `to_user`; coefficients of constant columns become 0."""
        targets = self.problem.targets
        return self.scaling.from_raw(coef / targets.scale[:, None], (intercept - targets.center) / targets.scale)

    def canonical(self, theta: Array) -> Array:
        """Return the equivalent softmax parameters with sum_k b_k = 0, without penalty also sum_k w_k = 0."""
        if not self.problem.loss.couples_outputs:
            return theta
        _, intercept = self.scaling.to_raw(theta)
        if not self.problem.has_l2 and not self.has_l1:
            theta = theta - theta.mean(axis=0)
        elif self.problem.fit_intercept:
            theta = theta.copy()
            theta[:, -1] -= intercept.mean()
        return theta

    def evaluate(self, theta: Array) -> Evaluation:
        """Return loss and gradient at theta. One pass."""
        if self._is_small_sample:
            return self.quadratic(theta)[0]
        sums = self.sums(self.data, theta)
        gradient = np.empty_like(theta)
        centred = sums.products - np.outer(sums.derivatives, self._offset)
        gradient[:, :-1] = centred * self.scaling.inv_scale / self.data.weight
        gradient[:, -1] = sums.derivatives / self.data.weight if self.problem.fit_intercept else 0.0
        return self.evaluation(theta, sums.losses / self.data.weight, gradient)

    def evaluation(self, theta: Array, losses: Array, gradient: Array) -> Evaluation:
        """Return the evaluation at theta from its losses (K,) and their gradient (K, d + 1)."""
        ridge = self.l2 * theta
        terms = 0.5 * ridge * theta
        if self.has_l1:
            terms += self.l1 * np.abs(theta)
        penalties: Array = np.add.reduce(terms, axis=1)
        total = float(np.add.reduce(losses + penalties))
        return Evaluation(theta, losses, penalties, gradient, gradient + ridge, total)

    def second_order(self, theta: Array) -> tuple[Evaluation, Array]:
        """Return the evaluation at theta and the mean loss's curvature (B, d + 1, d + 1), per output or one for all.

        For softmax it is the mean over outputs, whose Kronecker product with the couplings approximates the joint
        curvature (as Martens and Grosse 2015 do for networks). In float64, by NumPy, so that nothing is compiled.
        """
        at, curvature = self.quadratic(theta)
        return at, curvature()

    def quadratic(self, theta: Array) -> tuple[Evaluation, Callable[[], Array]]:
        """Return the evaluation and a callable for the curvature, which is lazy if rows are kept."""
        found = self._design.quadratic(self.problem.loss, theta)
        return self.evaluation(theta, found.losses, found.gradient), found.curvature

    def smoothed_quadratic(self, theta: Array) -> tuple[Evaluation, Callable[[], Array]]:
        """Return the evaluation and a callable for the curvature, smoothed over theta if few rows have any.

        See `Loss.smoothed`.
        """
        at, curvature = self.quadratic(theta)
        smoothed = self.problem.loss.smoothed(at.losses)
        if smoothed is None:
            return at, curvature
        loss, factors = smoothed
        found = self._design.quadratic(loss, theta)
        return at, lambda: found.curvature() * factors[:, None, None]

    def joint_quadratic(self, theta: Array) -> tuple[Evaluation, Callable[[], Array]]:
        """As `quadratic`, with softmax's joint curvature, (1, K (d + 1), K (d + 1))."""
        at = self.quadratic(theta)[0] if self._keeps_rows else self.evaluate(theta)
        return at, lambda: self._design.joint(self._coupled_loss, theta)[None]

    def couplings(self, theta: Array) -> Array:
        """Return softmax's mean curvature by margins (K, K), on this sample or on a sample of all rows."""
        return (self if self._is_sample else self.sampled(_COUPLING_ROWS))._design.couplings(self._coupled_loss, theta)

    @property
    def _coupled_loss(self) -> CoupledLoss:
        loss = self.problem.loss
        assert isinstance(loss, CoupledLoss)
        return loss

    def lengthen_step(self, at: Evaluation, step: Array) -> Array:
        """Scale a step to end at about the minimum along it, if that takes no pass and F is smooth.

        The curvature of a logistic loss is largest at 0, which halves the first step of Newton's method.
        """
        line = None
        if not self.has_l1 and not self.problem.loss.is_quadratic and self._keeps_rows:
            line = self.along(at, step)
        if line is None:
            return step
        length = 1.0
        for _ in range(_LINE_STEPS):
            slope, curvature = (float(part.sum()) for part in line(np.array([length])))
            if not curvature > 0.0:
                break
            length = min(max(length - slope / curvature, _LENGTHS[0]), _LENGTHS[1])
        return length * step

    def along(self, at: Evaluation, step: Array) -> Line | None:
        """Return slopes and curvatures of F per output along a step, without L1; None if each t would take a pass."""
        problem = self.problem
        line = self._design.along(problem.loss, at.theta, step)
        if line is None:
            return None
        ridge = self.l2 * step
        bends = (ridge * step).sum(axis=1)

        def total(t: Array) -> tuple[Array, Array]:
            slopes, curvatures = line(t)
            point = at.theta + t[:, None] * step
            return slopes + (ridge * point).sum(axis=1), curvatures + bends

        return total

    @cached_property
    def _design(self) -> Design:
        """Rows in working coordinates, kept for samples and small data."""
        return self.data.design(self.scaling, self.problem.fit_intercept, self._keeps_rows, self._is_sample)

    @property
    def is_small(self) -> bool:
        """Whether the data are so small that steps on all rows cost little."""
        return is_small(self.data.n, self.data.d + 1)

    @property
    def can_be_dense(self) -> bool:
        """Whether all rows may be read with their zeros: sparse ones only if these are few."""
        return not self.data.is_sparse or self.data.n * self.data.d <= _DENSE_NUMBERS

    @cached_property
    def row_space(self) -> RowSpace | None:
        """Combinations of the rows, if they span all minima and are far fewer than columns, else None."""
        spans = not self.has_l1 and bool(self.problem.l2.all()) and not self.problem.positive
        return self.data.row_space(self.standard.center) if spans and _FEW_ROWS * self.data.n <= self.data.d else None

    @cached_property
    def exclusive_columns(self) -> ExclusiveColumns | None:
        """Columns of which no row has two, if that makes steps by the curvature of all rows cheap; else None.

        For smooth squared losses of sparse rows, whose sums over raw columns keep their digits.
        """
        smooth = self.problem.loss.is_quadratic and not self.has_l1 and not self.problem.positive
        usable = smooth and not self._keeps_rows and self.scaling.is_near_zero
        return self.data.exclusive_columns() if usable else None

    @property
    def _keeps_rows(self) -> bool:
        return self.data.n * (self.data.d + 1) <= _KEPT_NUMBERS

    @cached_property
    def _is_small_sample(self) -> bool:
        """Whether NumPy on kept rows takes less time than calls of kernels per run."""
        return self._is_sample and self._design.quick

    def sampled(self, rows: int) -> "Objective":
        """Return the objective on a sample of rows, in the same coordinates; itself if the sample is all rows."""
        if self.has_rare_values:
            sample: Any = sample_by_norm(self.data, self._squared_norms, rows)
            self._copies += [] if sample is self.data else [sample]
        else:
            sample = sample_of(self.data, rows)  # lacks the methods of `Data` that samples do not need
        if sample is self.data:
            return self
        coordinates = WorkingCoordinates(self.scaling, self.shift)
        return Objective(sample, self.problem, self.moments, coordinates, is_sample=True)

    def of_columns(self, numbers: NDArray[np.intp]) -> "Objective":
        """Return the objective of the columns with these ascending numbers, copied, in the same coordinates."""
        center, inv_scale = self.scaling.center[numbers], self.scaling.inv_scale[numbers]
        coordinates = WorkingCoordinates(Scaling(center, inv_scale), self.shift[numbers])
        return Objective(self.data.columns(numbers), self.problem, self.moments.of_columns(numbers), coordinates)

    @cached_property
    def _squared_norms(self) -> Array:
        """Weighted squared norms (n,) of standardised rows with the intercept's 1. One pass."""
        norms = self.data.squared_norms(self.standard)
        norms += 1.0 if self.data.weights is None else self.data.weights
        return norms

    def sums(self, data: Rows, theta: Array) -> Sums:
        """Return sums of loss and gradient over rows with these columns. One pass over them."""
        coef = theta[:, :-1] * self.scaling.inv_scale
        intercept = theta[:, -1] - coef @ self._offset
        loss = self.problem.loss
        return data.gradient(loss.name, coef, intercept, self.shift, loss.parameter)

    def slope_along(self, theta: Array, direction: Array) -> Callable[[float], float]:
        """Return a function of t for d/dt F(theta + t direction), in working units and without the L1 term.

        Margins are linear in t: z + t dz is a model of two columns per output, [z, dz], whose gradient is the slope.
        Each t costs a pass over two columns.
        """
        points = np.vstack([theta, direction])
        coef = points[:, :-1] * self.scaling.inv_scale
        line = self.data.line(coef, points[:, -1] - coef @ self._offset, self.shift)
        eye, nothing, loss = np.eye(self.outputs), np.zeros(self.outputs), self.problem.loss

        def slope(t: float) -> float:
            coef = np.hstack([eye, t * eye])
            sums = line.gradient(loss.name, coef, nothing, np.zeros(line.d), loss.parameter)
            data = float(np.trace(sums.products[:, self.outputs :])) / self.data.weight
            return data + float(np.sum(self.l2 * (theta + t * direction) * direction))

        return slope

    def value(self, evaluation: Evaluation) -> float:
        """Return F in the units of the user's targets."""
        return self.in_target_units(evaluation.losses + evaluation.penalties)

    def in_target_units(self, values: Array) -> float:
        """Return the sum over outputs of values (K,) of F, in the units of the user's targets."""
        scale = self.problem.targets.scale
        return float(np.add.reduce(values * scale * scale))

    def certificate(self, evaluation: Evaluation) -> float:
        """Return the certificate: a relative distance to optimality, free of the units of columns, y and weights.

        It is the largest distance of 0 to a component of the subdifferential of F in standardised coordinates, with the
        intercept, divided by the rms of dloss/dz at the best constant model; each target in its own units.
        """
        if evaluation is not self._certified[0]:
            self._certified = evaluation, self._measure_certificate(evaluation)
        return self._certified[1]

    def _measure_certificate(self, evaluation: Evaluation) -> float:
        unscale, recentre, l1, weights = self._standardising
        g = evaluation.slope * unscale
        if recentre is not None:
            g -= evaluation.gradient[:, -1:] * recentre
        distance = np.abs(g)
        if self.problem.positive:
            # At the bound 0 any positive derivative is optimal; the intercept is free.
            coef, down = evaluation.theta[:, :-1], (g + l1)[:, :-1]
            distance[:, :-1] = np.where(coef > 0.0, np.abs(down), np.maximum(-down, 0.0))
        elif self.has_l1:
            distance = subgradient_distance(evaluation.theta, g, l1)
        return float((distance * weights).max())

    @cached_property
    def _standardising(self) -> tuple[Array, Array | None, Array, Array]:
        """Factors of certificates: to raw coordinates, recentring, L1 weights there, and units; intercept last."""
        problem, standard = self.problem, self.standard
        unscale, weights = np.ones((2, self.data.d + 1))
        unscale[:-1], weights[:-1], weights[-1] = self._scale, standard.inv_scale, problem.fit_intercept
        recentre = None
        if standard.center is not self.scaling.center:
            recentre = np.append(standard.center - self.scaling.center, 0.0)
        l1 = np.zeros(self.l1.shape)
        l1[:, :-1] = problem.l1[:, None]
        weights = weights / (problem.units[:, None] * problem.constant.rms)
        return unscale, recentre, l1, weights

    def is_close(self, gain: Array, evaluation: Evaluation, tol: float) -> bool:
        """Whether an estimated suboptimality (K,) in working units is surely at most tol of the fall of F.

        A suboptimality that rounding of F hides is small enough.
        """
        value = self.value(evaluation)
        rounding = ROUNDING * EPS[self.data.dtype] * abs(value)
        return _SAFETY * self.in_target_units(gain) <= max(tol * self._fall_to(value), rounding)

    def _fall_to(self, value: float) -> float:
        """Return the fall of F from the best constant model to a value, in the units of the user's targets.

        It is that from the start if no model is better than the constant one, as for weights that leave one class.
        """
        constant = self.constant_value()
        return (constant if constant > value else self.start_value()) - value

    def duality_gap(self, evaluation: Evaluation) -> float | None:
        """Return a bound on the suboptimality of F, in the units of the user's targets; None without one."""
        gaps = self.gaps(evaluation)
        return None if gaps is None else max(0.0, self.in_target_units(gaps))

    def gaps(self, evaluation: Evaluation) -> Array | None:
        """Return the duality gaps (K,), in working units, of which the sum counts; None without any.

        The bound holds if the derivatives by the intercepts are 0, else up to their size. For a pure L1 penalty it
        takes a pass.
        """
        problem = self.problem
        if problem.l2.all():
            return self.ridge_gaps(evaluation)
        if problem.has_l2 or not problem.l1.all():
            return None
        share = feasible_share(self._for_raw_columns(evaluation)[1], problem.l1, problem.positive)
        dual = self._dual(evaluation, share)
        return None if dual is None else evaluation.losses + evaluation.penalties - dual

    def ridge_gaps(self, evaluation: Evaluation) -> Array:
        """Return the duality gaps (K,) of a penalty with L2, in working units, without a pass."""
        problem = self.problem
        return duality_gaps(*self._for_raw_columns(evaluation), problem.l1, problem.l2, problem.positive)

    def _dual(self, at: Evaluation, share: float) -> Array | None:
        """Return the dual of F (K,) without L2 at a share of the loss derivatives, or None if unknown. One pass."""
        data, total = self.data, np.zeros(self.outputs)
        coef = at.theta[:, :-1] * self.scaling.inv_scale
        margins = data.line(coef, at.theta[:, -1] - coef @ self._offset, self.shift)
        rows = max(1, _FEW_NUMBERS // self.outputs)
        for start in range(0, data.n, rows):
            z, y, s = margins.rows_on_host(start, min(start + rows, data.n))
            found = self.problem.loss.conjugates(z.astype(np.float64), y.T.astype(np.float64), share)
            if found is None:
                return None
            total -= found.sum(axis=0) if s is None else s.astype(np.float64) @ found
        return total / data.weight

    def _for_raw_columns(self, evaluation: Evaluation) -> tuple[Array, Array]:
        """Return raw coefficients and the mean loss's gradient by them (K, d), about the means of columns."""
        scaling, derivative = self.scaling, evaluation.gradient[:, -1:]
        centred = evaluation.gradient[:, :-1] * self._scale - derivative * (self.standard.center - scaling.center)
        # Constant columns have no coefficient and, beside an intercept, no effect.
        return evaluation.theta[:, :-1] * scaling.inv_scale, centred * (self.standard.inv_scale > 0.0)

    @cached_property
    def squares(self) -> Array:
        """Mean squares of columns in working coordinates (d + 1,), the intercept's last; 0 for unused ones."""
        moments, scaling = self.moments, self.scaling
        columns = (moments.sd**2 + (moments.mean - scaling.center) ** 2) * scaling.inv_scale**2
        return np.append(columns, float(self.problem.fit_intercept))

    def standardised_rows(self, size: int) -> tuple[Array, Array]:
        """Return about `size` rows spread over the data, standardised (m, d), and their weights (m,)."""
        sample = sample_of(self.data, size)
        X, _, s = sample.rows_on_host(0, min(sample.n, size))
        rows = (X.astype(np.float64) - self.standard.center) * self.standard.inv_scale
        return rows, np.ones(len(rows)) if s is None else s.astype(np.float64)

    def products_of_rows(self, size: int) -> Array:
        """Return the products (m, m) of about `size` standardised rows spread over the data."""
        if not self.data.is_sparse:
            rows, _ = self.standardised_rows(size)
            dense: Array = rows @ rows.T
            return dense
        sample, standard = sample_of(self.data, size), self.standard
        X = sample.sparse_rows_on_host(0, min(sample.n, size))[0].astype(np.float64)
        X.data *= standard.inv_scale[X.indices]
        moved = standard.center * standard.inv_scale
        along = X @ moved
        products: Array = (X @ X.T).toarray()
        products += moved @ moved - along - along[:, None]
        return products

    @cached_property
    def tail_weight(self) -> float:
        """Rows that determine a curvature as well as one normally distributed row: 1, or more for heavy tails.

        The mean of |x|^4 over the squared mean of |x|^2, in standardised columns, relative to a normal variable's
        kurtosis; estimated from a sample. 1 for data so small that the curvature of all rows costs little.
        """
        if self._keeps_rows:
            return 1.0
        squares, weights = self._squares_of_some
        lengths = squares.sum(axis=1)
        total = float(weights @ lengths)
        if not (math.isfinite(total) and total > 0.0):
            return 1.0
        return max(1.0, float(weights.sum() * (weights @ lengths**2)) / total**2 / _NORMAL)

    @cached_property
    def has_rare_values(self) -> bool:
        """Whether few rows carry the curvature of a column or of all, as with rare categories and heavy tails.

        False for data so small that the curvature of all rows costs little, and for coupled outputs, whose steps depend
        more on the couplings.
        """
        if self._keeps_rows or self.problem.loss.couples_outputs:
            return False
        squares, weights = self._squares_of_some
        mean = weights @ squares / weights.sum()
        kurtosis = weights @ squares**2 / weights.sum() / np.maximum(mean, _SEEN) ** 2
        rare = (mean < _SEEN) | (kurtosis > _RARE)
        return self.tail_weight > 1.0 or bool(np.any(rare & (self.standard.inv_scale > 0.0)))

    @cached_property
    def _squares_of_some(self) -> tuple[Array, Array]:
        """Squares (m, d) of some standardised rows, and their weights (m,)."""
        rows, weights = self.standardised_rows(tail_rows(self.data.d))
        return rows**2, weights

    @cached_property
    def curvature(self) -> float:
        """Bound on the largest curvature of the mean loss in working coordinates, without L2."""
        return self._power_iteration(np.zeros(self.data.d + 1))

    @cached_property
    def smooth_curvature(self) -> float:
        """Upper bound of the curvature with L2."""
        return self._power_iteration(self.l2.max(axis=0)) if self.problem.has_l2 else self.curvature

    def _power_iteration(self, ridge: Array) -> float:
        """Return the largest eigenvalue of the mean loss's largest curvature plus diag(ridge), times 1.1.

        On a sample of rows if the data are large. The iteration approaches it from below, hence the factor; solvers
        raise it if they observe a larger curvature.
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
        """Return (1 / S) sum_i s_i (x~_i, 1) ((x~_i, 1) . v), the gradient of a squared loss with targets 0."""
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

        Exact if weights are equal; else the intercept's 1 counts with the largest weight.
        """
        return self._row_curvature_of(self.data)

    def _row_curvature_of(self, data: Data) -> float:
        # NaN in the data makes it NaN.
        largest = float(np.max(data.squared_norms(self.scaling))) * data.n / data.weight
        if self.problem.fit_intercept:
            heaviest = 1.0 if data.weights is None else float(np.max(data.weights))
            largest += heaviest * data.n / data.weight
        return self.problem.loss.largest_curvature * _finite(largest)

    def batch_curvature(self, batch_size: int, share: float = 1.0) -> float:
        """Return L_B of Gower et al. 2019, sampling without replacement, with L2.

        It lies between `row_curvature` and `curvature`. share: the share of the loss's largest curvature to use.
        """
        n, b = self.data.n, min(batch_size, self.data.n)
        stiffest = float(np.max(self.l2, initial=0.0))
        smooth = self.smooth_curvature if share == 1.0 else share * self.curvature + stiffest
        if b == n:
            return smooth
        whole = n * (b - 1) / (b * (n - 1)) * smooth
        # Large batches hardly depend on the largest row: the sample's suffices and saves a pass.
        row = self.row_curvature if b < _LARGE_BATCH else self._row_curvature_of(self._curvature_sample)
        return whole + (n - b) / (b * (n - 1)) * (share * row + stiffest)

    def constant_value(self) -> float:
        """Return F of the best constant model, in the units of the user's targets."""
        return self.in_target_units(self.problem.constant.losses)

    def start_value(self) -> float:
        """Return F at `start`, in the units of the user's targets."""
        return self.in_target_units(self.problem.constant.start)

    def epochs(self, batch_size: int, seed: int, shuffle: bool) -> Epochs:
        """Return a mini-batch loop."""
        problem = self.problem
        return self.data.epochs(
            problem.loss.name,
            EpochProblem(
                self.scaling,
                self.shift,
                self.l1,
                self.l2,
                problem.loss.parameter,
                problem.fit_intercept,
                batch_size,
                seed,
                shuffle,
            ),
        )

    @property
    def bytes_read(self) -> int:
        """Bytes of X read by all passes and epochs so far, including passes over samples."""
        row = self.data.nbytes // self.data.n
        sampled = self.data.rows_sampled + sum(copy.n + copy.rows_read for copy in self._copies)
        if "_curvature_sample" in self.__dict__:
            sampled += self._curvature_sample.rows_read
        return (self.data.rows_read + sampled) * row


def tail_rows(d: int) -> int:
    """Return the rows of the sample for the tails of rows of d columns."""
    return min(_TAIL_ROWS, max(_TAIL_NUMBERS // d, 1))


def _finite(curvature: float) -> float:
    """Return a curvature; raise a DivergenceError if it overflows, since its rate would be 0."""
    if not math.isfinite(curvature):
        raise DivergenceError("curvatures overflow: scale down columns of extreme values")
    return curvature
