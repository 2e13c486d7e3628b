"""Objectives of a squared loss by the Gram matrix, or an orthogonal factor of the rows, from one pass."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from fastgd.arrays import Array
from fastgd.backends.cpu.quadratic import minimise_quadratic
from fastgd.objective.coordinates import inverse
from fastgd.objective.dataset import Data
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation, WorkingCoordinates
from fastgd.penalties import subgradient_distance
from fastgd.solvers.collinearity import remove_directions
from fastgd.solvers.cost_model import Shape
from fastgd.solvers.metric import require_finite, with_unit_diagonal

#: Rows per column from which the Gram matrix is considered, and the share of max_iter that a fit is expected to use.
_MANY, _USED = 200, 0.1
#: Reciprocal condition number above which columns are independent despite rounding to their dtype.
_INDEPENDENT = 1e-6
#: Coordinate descent ends at this share of the largest violation at its start, or at the share for rounding.
_DESCENT, _LEAST = 1e-6, 1e-15
_EPS = float(np.finfo(np.float64).eps)
#: Share of the largest coefficient, in columns of unit scale, from which the digits of others count.
_COUNTS = 1e-6
#: Steps to the minimum of the model: the second one corrects the rounding of the first.
_REFINEMENTS = 2
#: Singular values of a triangle with columns of norm 1, relative to the largest, below which columns count as
#: dependent: the rounding of a dependent column to its dtype.
DEPENDENT = {"f4": 4e-6, "f8": 1e-13}


#: Most steps of the active-set method per column, and the share of L1 that dependent columns may leave unmet.
_ACTIVE_SETS, _UNMET = 30, 1e-8


class Factor(NamedTuple):
    """Cholesky's factor of a curvature scaled to a unit diagonal.

    kept: the parameters of its rows, in their order; scale: theirs; lower: the factor, in the lower triangle.
    """

    kept: NDArray[np.intp]
    scale: Array
    lower: Array
    reciprocal_condition: float


class GramObjective(Objective):
    """The objective of a squared loss by the Gram matrix, whose evaluations cost d^2 after one pass.

    Parameters
    ----------
    objective : Objective
        Its coordinates are used if they are centred, else standardised ones.
    """

    def __init__(self, objective: Objective) -> None:
        if is_centred(objective):
            # The same coordinates, with everything derived from them.
            vars(self).update(vars(objective))
        else:
            coordinates = WorkingCoordinates(objective.standard, objective.shift)
            super().__init__(objective.data, objective.problem, objective.moments, coordinates)
        #: The objective of the rows.
        self.of_rows = objective

    @cached_property
    def _model(self) -> tuple[Array, Array, Array]:
        """Losses (K,) and gradient (K, d + 1) at zeros, and curvature (d + 1, d + 1)."""
        d, intercept = self.data.d, int(self.problem.fit_intercept)
        products = self.of_rows.products
        if products is None:
            gram = self.data.least_squares(self.scaling, self.problem.fit_intercept).gram()
        else:
            gram = products.gram(self.scaling, self.problem.fit_intercept)
        require_finite(gram)
        curvature, gradient, cut = np.zeros((d + 1, d + 1)), self.start(), d + intercept
        curvature[:d, :d] = gram[intercept:cut, intercept:cut]
        gradient[:, :d] = -gram[cut:, intercept:cut]
        if intercept:
            curvature[d, :d] = curvature[:d, d] = gram[0, 1:cut]
            curvature[d, d], gradient[:, d] = gram[0, 0], -gram[cut:, 0]
        return 0.5 * gram.diagonal()[cut:], gradient, curvature

    def evaluate(self, theta: Array) -> Evaluation:
        """Return loss and gradient at theta, at a cost of d^2."""
        losses, linear, curvature = self._model
        if not theta.any():
            return self.evaluation(theta, losses, linear)
        product = theta @ curvature
        found = losses + (theta * (linear + 0.5 * product)).sum(axis=1)
        return self.evaluation(theta, np.maximum(found, 0.0), linear + product)

    def slope_along(self, theta: Array, direction: Array) -> Callable[[float], float]:
        """As `Objective.slope_along`, at a cost of d^2."""

        def slope(t: float) -> float:
            return float(np.vdot(self.evaluate(theta + t * direction).slope, direction))

        return slope

    @cached_property
    def _curvature_sample(self) -> Data:
        """The sample of the original objective, which counts the rows read."""
        return self.of_rows._curvature_sample

    def rounding(self, theta: Array) -> float:
        """Return a bound on the rounding of a certificate at theta."""
        _, linear, curvature = self._model
        sizes = np.abs(theta) @ np.abs(curvature) + np.abs(linear)
        return _EPS * float((sizes / self.problem.units[:, None]).max()) / self.problem.constant.rms

    @cached_property
    def _factor(self) -> Factor:
        unit, scale = self._unit
        lower, failed = linalg.lapack.dpotrf(unit, lower=1, clean=0)
        norm = float(np.abs(unit).sum(axis=0).max())
        condition = 0.0 if failed else float(linalg.lapack.dpocon(lower, norm, uplo="L")[0])
        return Factor(np.arange(len(unit)), scale, lower, condition)

    @cached_property
    def _unit(self) -> tuple[Array, Array]:
        """The curvature with L2, scaled to a unit diagonal, and the scales."""
        return with_unit_diagonal(self._model[2] + np.diag(self.l2[0]))

    @property
    def reciprocal_condition(self) -> float:
        """Reciprocal condition number of the scaled curvature with L2; 0 if that is singular to rounding."""
        return self._factor.reciprocal_condition

    def relative_error(self, theta: Array) -> float:
        """Return a bound on the relative error of coefficients at the minimum by the Gram matrix's rounding.

        The bound of Bauer 1966 does not depend on the scales of columns.
        """
        kept, scale, factor, _ = self._factor
        lower = np.tril(linalg.lapack.dpotri(factor, lower=1)[0])
        inverse = np.abs(lower + np.tril(lower, -1).T)
        _, linear, curvature = self._model
        sizes = np.abs(theta) @ np.abs(curvature + np.diag(self.l2[0])) + np.abs(linear)
        errors, found = _EPS * (sizes[:, kept] * scale) @ inverse * scale, np.abs(theta[:, kept])
        counts = found > _COUNTS * found.max()
        return float((errors[counts] / found[counts]).max(initial=0.0))

    def minimum(self, theta: Array) -> Evaluation:
        """Return the evaluation at the minimum, from a start theta."""
        at = self.evaluate(theta if self.has_l1 else np.zeros(theta.shape))
        for _ in range(_REFINEMENTS):
            at = self.evaluate(at.theta + self.step(at))
        return at

    @property
    def independent(self) -> bool:
        """Whether the Gram matrix shows that columns are linearly independent and none is constant."""
        return bool((self.scaling.inv_scale > 0.0).all()) and self.reciprocal_condition > _INDEPENDENT

    def step(self, at: Evaluation) -> Array:
        """Return the step (K, d + 1) to the minimum of the model with the gradient of an evaluation."""
        g = at.slope
        if not self.has_l1:
            return self._smooth_step(g)
        curvature = self._model[2] + np.diag(self.l2[0])
        ends = np.empty_like(g)
        for k, theta in enumerate(at.theta):
            largest = float(np.max(np.abs(g[k]) + self.l1[k]))
            tol = max(_DESCENT * self._worst(at, g, k), _LEAST * largest)
            ends[k] = minimise_quadratic(curvature, g[k] - curvature @ theta, self.l1[k], theta, tol)
        return ends - at.theta

    def _smooth_step(self, g: Array) -> Array:
        kept, scale, lower, _ = self._factor
        step = np.zeros_like(g)
        step[:, kept] = -linalg.lapack.dpotrs(lower, (g[:, kept] * scale).T, lower=1)[0].T * scale
        return step

    def _worst(self, at: Evaluation, g: Array, k: int) -> float:
        """Return the largest violation of an output's optimality conditions."""
        return float(np.max(subgradient_distance(at.theta[k], g[k], self.l1[k])))

    def precise(self, theta: Array) -> Evaluation:
        """Return loss and gradient at theta from the rows, in more than double precision. One pass."""
        losses, gradient = self._exact_gradient(theta)
        return self.evaluation(theta, losses, gradient)

    def _exact_gradient(self, theta: Array) -> tuple[Array, Array]:
        """Return losses and gradients at theta (K, d + 1); further rows of theta have targets 0. One pass."""
        exact, intercept = self.scaling.binary(), self.problem.fit_intercept
        there = exact.theta_from(self.scaling, theta)
        losses, found = self.data.least_squares(exact, intercept).gradient(there[:, :-1], there[:, -1])
        gradient = np.zeros_like(theta)
        gradient[:, places_of(self.data.d, int(intercept))] = found
        return losses, self.scaling.gradient_from(exact, gradient)

    def convert_to(self, objective: Objective, at: Evaluation) -> Evaluation:
        """Convert an evaluation to the coordinates of another objective on the same data."""
        if objective.scaling is self.scaling:
            return at
        theta = objective.scaling.theta_from(self.scaling, at.theta)
        gradient = objective.scaling.gradient_from(self.scaling, at.gradient)
        return objective.evaluation(theta, at.losses, gradient)


class OrthogonalObjective(GramObjective):
    """The objective of a squared loss by an orthogonal factor of the rows, whose condition is the Gram matrix's root.

    With dependent columns it finds the solution of least norm in raw columns.
    """

    @cached_property
    def _rows(self) -> tuple[Array, Array]:
        """d + 1 + K rows (x~, 1) with the Gram matrix of all rows, and their targets."""
        d, intercept = self.data.d, int(self.problem.fit_intercept)
        upper = self.data.least_squares(self.scaling, self.problem.fit_intercept).triangle()
        rows = np.zeros((len(upper), d + 1))
        rows[:, places_of(d, intercept)] = upper[:, : d + intercept]
        return rows, upper[:, d + intercept :]

    @cached_property
    def _model(self) -> tuple[Array, Array, Array]:
        rows, targets = self._rows
        return 0.5 * np.sum(targets**2, axis=0), -targets.T @ rows, rows.T @ rows

    def evaluate(self, theta: Array) -> Evaluation:
        """Return loss and gradient at theta, at a cost of d^2."""
        rows, targets = self._rows
        r = rows @ theta.T - targets
        return self.evaluation(theta, 0.5 * np.sum(r**2, axis=0), r.T @ rows)

    @cached_property
    def _inverse(self) -> tuple[Array, Array, Array, Array]:
        """Singular value decomposition of `_rows` without the intercept's: scales, right vectors, values, solution.

        The solution (K, d) comes from rows and targets, not from their products, which would square the condition.
        """
        first, d = int(self.problem.fit_intercept), self.data.d
        ridge = np.diag(np.sqrt(self.l2[0, :-1]))
        rows = np.vstack([self._rows[0][first:, :-1], ridge])
        targets = np.vstack([self._rows[1][first:], np.zeros((d, self.outputs))])
        norms = np.linalg.norm(rows, axis=0)
        scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
        require_finite(rows)
        upper: Any = np.linalg.qr(np.hstack([rows * scale, targets]), mode="r")
        left, values, right = linalg.svd(upper[:d, :d], check_finite=False)
        kept = values > DEPENDENT[self.data.dtype] * values[0]
        coef = ((left[:, kept].T @ upper[:d, d:]) / values[kept, None]).T @ right[kept] * scale
        return scale, right[kept].T, values[kept], self._of_least_norm(coef, right[~kept] * scale)

    def _of_least_norm(self, coef: Array, null: Array) -> Array:
        """Remove null directions (m, d) from coefficients (K, d), as raw ones."""
        null = null[np.any(null, axis=1)] * self.scaling.inv_scale
        if not len(null):
            return coef
        return remove_directions(coef * self.scaling.inv_scale, null.T) * inverse(self.scaling.inv_scale)

    def positive_minimum(self) -> Array:
        """Return theta (K, d + 1) at the minimum over coefficients of at least 0.

        L1 is linear there: it moves the targets t to t' with R't' = R't - l1, for rows R with those of L2.

        Raises
        ------
        ValueError
            If columns are dependent and have L1 alone.
        """
        first, found = int(self.problem.fit_intercept), self.start()
        for k in range(self.outputs):
            ridge = np.diag(np.sqrt(self.l2[k, :-1]))
            rows = np.vstack([self._rows[0][first:, :-1], ridge])
            targets = np.concatenate([self._rows[1][first:, k], np.zeros(len(ridge))])
            norms = np.linalg.norm(rows, axis=0)
            scale = inverse(norms)
            left, upper = np.linalg.qr(rows * scale)
            goal = left.T @ targets
            if self.has_l1:
                goal = goal + _shift(upper, -self.l1[k, :-1] * scale)
            live = norms > 0.0
            if live.any():  # of no columns SciPy's nnls ends the process
                solved = optimize.nnls(upper[:, live], goal, maxiter=max(30, _ACTIVE_SETS * self.data.d))[0]
                found[k, :-1][live] = solved * scale[live]
        if first:
            (top, targets) = self._rows
            found[:, -1] = (targets[0] - found[:, :-1] @ top[0, :-1]) / top[0, -1]
        return found

    def minimum(self, theta: Array) -> Evaluation:
        """Return the evaluation at the minimum, of several that of least norm."""
        if self.has_l1:
            return super().minimum(theta)
        found = np.zeros_like(theta)
        found[:, :-1] = self._inverse[3]
        if self.problem.fit_intercept:
            (rows, targets) = self._rows
            found[:, -1] = (targets[0] - found[:, :-1] @ rows[0, :-1]) / rows[0, -1]
        return self.evaluate(found)

    def _smooth_step(self, g: Array) -> Array:
        """Return -(R'R + L2)^-1 g by the singular values of the columns, after elimination of the intercept."""
        step = np.zeros_like(g)
        if not self.problem.fit_intercept:
            step[:, :-1] = -self._apply(g[:, :-1])
            return step
        top, corner = self._rows[0][0, :-1], self._rows[0][0, -1]
        first = -g[:, -1] / corner
        step[:, :-1] = -self._apply(g[:, :-1] + first[:, None] * top)
        step[:, -1] = (first - step[:, :-1] @ top) / corner
        return step

    def _apply(self, g: Array) -> Array:
        scale, vectors, values, _ = self._inverse
        return (((g * scale) @ vectors) / values**2) @ vectors.T * scale


def _shift(upper: Array, l1: Array) -> Array:
    """Return the t of least norm with upper't = l1."""
    shift: Any = np.linalg.lstsq(upper.T, l1, rcond=None)[0]
    if np.abs(upper.T @ shift - l1).max(initial=0.0) > _UNMET * np.abs(l1).max(initial=0.0):
        raise ValueError("positive=True with l1_ratio=1 needs independent columns: drop some, or set l1_ratio below 1")
    found: Array = shift
    return found


def is_centred(objective: Objective) -> bool:
    """Whether columns are centred; without that their Gram matrix loses digits."""
    center, means = objective.scaling.center, objective.standard.center
    return center is means or bool((center == means).all())


def gram_is_faster(objective: Objective, epochs: int) -> bool:
    """Whether a fit by the Gram matrix is expected to take less time than by passes of so many epochs."""
    shape = Shape.of(objective)
    if not shape.loss.is_quadratic or shape.rows < _MANY * shape.columns or not is_centred(objective):
        return False
    return shape.seconds_normal_equations < _USED * epochs * shape.seconds_full_pass


def places_of(d: int, intercept: int) -> list[int]:
    """Return the indices in theta, whose intercept is last, of the columns (1, x~) of a row."""
    return [*([d] if intercept else []), *range(d)]
