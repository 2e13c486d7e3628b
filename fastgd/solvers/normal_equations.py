"""Solve a squared loss by the Gram matrix or an orthogonal factor of the rows: one pass, then a d x d problem.

If the Gram matrix is ill-conditioned, further passes with gradients in more than double precision refine the
coefficients (Bjorck 1996, corrected seminormal equations).
"""

import math

import numpy as np

from fastgd.arrays import Array
from fastgd.history import logger
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.solvers.cost_model import Shape
from fastgd.solvers.elimination import solve_by_elimination
from fastgd.solvers.gram_objective import GramObjective, OrthogonalObjective
from fastgd.solvers.progress import Monitor, Progress, Solution
from fastgd.solvers.reduced_objective import ReducedObjective

#: Reciprocal condition number below which an orthogonal factor replaces the Gram matrix, and that for more than `_FEW`
#: float64 numbers: there refinements with the Gram matrix's factor, which gain four digits each, take less time.
_SINGULAR, _LESS_SINGULAR, _FEW = 1e-8, 1e-13, 1 << 16
#: Reciprocal condition number below which coefficients are refined: to ten digits for float64 data.
_REFINED = {"f4": 1e-10, "f8": 1e-4}
#: Numbers of data above which a pass takes long, and the relative error of coefficients that calls for one there.
_LONG, _LARGE_ERROR = 1 << 20, 1e-7
#: Largest tol with which coefficients are refined beyond the certificate.
_REFINED_TOL = 1e-4
#: The model gives the certificate if its rounding is at most this share of tol, and losses if they exceed this share of
#: the constant model's. Else a pass in more than double precision does.
_TRUSTED, _SEEN = 0.1, 1e-6
#: Relative size of the last refinement, and the largest ratio of successive refinements.
_LAST, _SLOW = 1e-9, 0.5


#: Most d x d matrices that a fit holds: the sums of two threads, their total and its factor.
_MATRICES = 4


def required_bytes(columns: int, outputs: int) -> int:
    """Return about the memory that a fit needs beside the data."""
    return _MATRICES * 8 * (columns + 1 + outputs) ** 2


def solve_normal_equations(objective: Objective, theta: Array, tol: float, monitor: Monitor) -> Solution:
    """Minimise a squared loss in one pass, or in a few if columns are nearly dependent or tol is near rounding."""
    if objective.problem.positive:
        return _solve_positive(objective, tol, monitor)
    if Shape.of(objective).eliminates:
        assert objective.exclusive_columns is not None
        return solve_by_elimination(objective, objective.exclusive_columns, theta, tol, monitor)
    return _Fit(objective, tol, monitor).run(theta)


def _solve_positive(objective: Objective, tol: float, monitor: Monitor) -> Solution:
    """Find coefficients of at least 0 by the active-set method on an orthogonal factor of the rows.

    It finds the optimum to rounding (Lawson and Hanson 1974), which a pass over the rows certifies.
    """
    progress, model = Progress(objective, tol, monitor), OrthogonalObjective(objective)
    at = objective.evaluate(objective.scaling.theta_from(model.scaling, model.positive_minimum()))
    reason = progress.record_pass(at) or "no step"
    return progress.make_solution(reason)


class _Fit:
    """The passes of a fit, with their progress."""

    def __init__(self, objective: Objective, tol: float, monitor: Monitor) -> None:
        self._objective, self._tol, self._monitor = objective, tol, monitor
        self._progress = Progress(objective, tol, monitor)
        self._model = GramObjective(objective)
        self._smooth = not objective.has_l1
        self._precise: Evaluation | None = None

    def run(self, start: Array) -> Solution:
        """As `solve_normal_equations`."""
        start = self._model.scaling.theta_from(self._objective.scaling, start)
        condition = self._model.reciprocal_condition if self._smooth else 1.0
        if condition >= self._singular_condition:
            at = self._model.minimum(start)
        elif self._drop_dependent_columns(start):
            assert self._precise is not None
            at, condition = self._precise, self._model.reciprocal_condition
        else:
            logger.debug("the Gram matrix is close to singular: another pass makes an orthogonal factor")
            self._model = OrthogonalObjective(self._objective)
            at = self._model.minimum(start)
        reason = self._seen(at)
        if reason in (None, self._monitor.certified_reason):
            digits = self._lacks_digits(condition, at)
            if digits or reason is None or not self._is_trusted(at):
                at, reason = self._refined(at, reason, digits)
        return self._solution(at, reason)

    def _drop_dependent_columns(self, start: Array) -> bool:
        """Use the Gram matrix of independent columns, if a pass confirms that others are combinations of these."""
        if self._objective.problem.has_l2:
            return False
        reduced = ReducedObjective(self._model)
        if not reduced.is_applicable(self._singular_condition):
            return False
        at = reduced.precise(reduced.minimum(start).theta)
        if reduced.is_confirmed:
            self._model, self._precise = reduced, at
        return reduced.is_confirmed

    @property
    def _singular_condition(self) -> float:
        """The reciprocal condition number below which an orthogonal factor replaces the Gram matrix."""
        data = self._objective.data
        return _LESS_SINGULAR if data.dtype == "f8" and data.n * data.d > _FEW else _SINGULAR

    def _lacks_digits(self, condition: float, at: Evaluation) -> bool:
        """Whether coefficients are to be refined beyond the certificate."""
        data = self._objective.data
        if self._tol > _REFINED_TOL or condition >= _REFINED[data.dtype]:
            return False
        small = data.n * data.d <= _LONG or condition < self._singular_condition
        return small or self._model.relative_error(at.theta) > _LARGE_ERROR

    def _seen(self, at: Evaluation) -> str | None:
        return self._progress.record_pass(self._model.convert_to(self._objective, at))

    def _is_trusted(self, at: Evaluation) -> bool:
        return self._model.rounding(at.theta) <= _TRUSTED * self._tol

    def _refined(self, at: Evaluation, reason: str | None, digits: bool) -> tuple[Evaluation, str]:
        """Refine until the certificate is met and, for `digits`, steps are small; or until they shrink no more."""
        certified, size = self._monitor.certified_reason, math.inf
        while len(self._monitor.history) < self._monitor.history.max_iter:
            if at is not self._precise:
                at = self._precise = self._model.precise(at.theta)
                reason = self._seen(at)
            if reason is not None and (reason != certified or not digits):
                return at, reason
            step = self._model.step(at)
            before, size = size, float(np.linalg.norm(step))
            if size >= _SLOW * before or size == 0.0:
                return at, reason or "no step"
            at = self._model.evaluate(at.theta + step)
            if reason is not None and size <= _LAST * float(np.linalg.norm(at.theta)):
                return at, reason
        return at, certified

    def _solution(self, at: Evaluation, reason: str) -> Solution:
        self._progress.end_epoch()
        converged = reason in ("certificate", "early stopping")
        independent, collinearity = self._model.independent, None
        if isinstance(self._model, ReducedObjective):
            independent, collinearity = False, self._model.collinearity
        if reason == "early stopping":
            theta = self._monitor.theta
            assert theta is not None
            return Solution(theta, converged, reason, 1.0, independent=independent, collinearity=collinearity)
        trusted = at is self._precise or self._is_trusted(at)
        visible = bool((at.losses >= _SEEN * self._objective.problem.constant.losses).all())
        if trusted and at is not self._precise and not visible:
            # Neither the model nor a pass in the dtype of X resolves losses so small.
            at = self._precise = self._model.precise(at.theta)
        placed = self._model.convert_to(self._objective, at)
        evaluation = placed if trusted else None
        return Solution(
            placed.theta,
            converged,
            reason,
            1.0,
            evaluation=evaluation,
            independent=independent,
            collinearity=collinearity,
        )
