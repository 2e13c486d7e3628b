"""The squared loss through the Gram matrix, or an orthogonal factor of the rows: a pass, then a d x d problem.

Where the Gram matrix is ill-conditioned, passes follow whose gradients have more than double precision: their steps
give coefficients the digits that it has lost (Bjorck 1996, corrected seminormal equations).
"""

import math

import numpy as np

from fastgd.arrays import Array
from fastgd.history import logger
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.solvers.gram_objective import GramObjective, OrthogonalObjective
from fastgd.solvers.progress import Monitor, Progress, Solution

#: The inverse of a condition number below which the Gram matrix gives way to an orthogonal factor.
_SINGULAR = 1e-8
#: The same below which coefficients are refined: of float64 data ten digits are wanted, of float32 data what it has.
_REFINED = {"f4": 1e-10, "f8": 1e-4}
#: Who asks for less than this gets no digits beyond the certificate.
_CARELESS = 1e-4
#: Certificates are taken from the model where its rounding is this share of tol, losses where they are more than this
#: share of those of the constant model: else from a pass of more than double precision.
_TRUSTED, _SEEN = 0.1, 1e-6
#: Relative size of a step that is the last one, and the share of the step before that a step must not exceed.
_LAST, _SLOW = 1e-9, 0.5


#: Matrices of columns by columns that a fit holds at a time: the sums of two threads, their total, its factor.
_MATRICES = 4


def required_bytes(columns: int, outputs: int) -> int:
    """Memory that a fit needs beside the data, about."""
    return _MATRICES * 8 * (columns + 1 + outputs) ** 2


def solve_normal_equations(objective: Objective, theta: Array, tol: float, monitor: Monitor) -> Solution:
    """Minimise a squared loss in one pass; in a few where columns are nearly dependent or tol is near rounding."""
    if objective.problem.positive:
        return _solve_positive(objective, tol, monitor)
    return _Fit(objective, tol, monitor).run(theta)


def _solve_positive(objective: Objective, tol: float, monitor: Monitor) -> Solution:
    """Find coefficients of at least 0 by the active-set method on an orthogonal factor of the rows.

    It ends at the optimum to rounding, which a pass over the rows certifies (Lawson and Hanson 1974).
    """
    progress, model = Progress(objective, tol, monitor), OrthogonalObjective(objective)
    at = objective.evaluate(objective.scaling.theta_from(model.scaling, model.positive_minimum()))
    reason = progress.record_pass(at) or "no step"
    return progress.make_solution(reason)


class _Fit:
    """The passes of a fit, and what its progress says of them."""

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
        if condition < _SINGULAR:
            logger.debug("the Gram matrix is close to singular: an orthogonal factor takes its place, a pass later")
            self._model = OrthogonalObjective(self._objective)
        at = self._model.minimum(start)
        reason = self._seen(at)
        if reason in (None, self._monitor.certified_reason):
            digits = self._tol <= _CARELESS and condition < _REFINED[self._objective.data.dtype]
            if digits or reason is None or not self._is_trusted(at):
                at, reason = self._refined(at, digits)
        return self._solution(at, reason)

    def _seen(self, at: Evaluation) -> str | None:
        return self._progress.record_pass(self._model.convert_to(self._objective, at))

    def _is_trusted(self, at: Evaluation) -> bool:
        return self._model.rounding(at.theta) <= _TRUSTED * self._tol

    def _refined(self, at: Evaluation, digits: bool) -> tuple[Evaluation, str]:
        """Passes until the certificate holds and, for `digits`, steps are small; or until they get no smaller."""
        certified, size = self._monitor.certified_reason, math.inf
        reason: str | None = certified
        while len(self._monitor.history) < self._monitor.history.max_iter:
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
        converged, independent = reason in ("certificate", "early stopping"), self._model.independent
        if reason == "early stopping":
            theta = self._monitor.theta
            assert theta is not None
            return Solution(theta, converged, reason, 1.0, independent=independent)
        visible = bool((at.losses >= _SEEN * self._objective.problem.constant.losses).all())
        if at is not self._precise and self._is_trusted(at) and not visible:
            # Losses so small neither the model tells nor a pass in the dtype of X.
            at = self._precise = self._model.precise(at.theta)
        placed = self._model.convert_to(self._objective, at)
        evaluation = placed if at is self._precise or self._is_trusted(at) else None
        return Solution(placed.theta, converged, reason, 1.0, evaluation=evaluation, independent=independent)
