"""Minimise a squared loss of sparse rows by eliminating a range of columns of which no row has two.

The curvature of such columns, as of the indicators of a category, is diagonal. Their elimination leaves a dense system
in the other columns (the Schur complement), of which there are often few. Newton's step with it arrives at once;
gradients of all rows confirm that, and refine the step where the system is ill-conditioned.
"""

from dataclasses import replace

import numpy as np

from fastgd.arrays import Array
from fastgd.objective.coordinates import Scaling, inverse
from fastgd.objective.dataset import BlockGram, ExclusiveColumns
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.solvers.accelerated import accelerate
from fastgd.solvers.metric import Factor, SmoothMetric, require_finite
from fastgd.solvers.newton import Descent, attach_suboptimality
from fastgd.solvers.progress import Monitor, Progress, Solution

#: Share of a column's curvature that is left without the eliminated columns, below which it is rounding.
_ROUNDING = 1e-12
#: Rows of the largest matrix to copy at a time.
_STRIP = 512
#: Pairs of steps and gradient changes that correct the metric's rounding.
_MEMORY = 10
#: Largest tol with which coefficients are refined beyond the certificate, and the relative size of the step left.
_REFINED_TOL, _LAST = 1e-4, 1e-7


class EliminationFactor:
    """The inverse of a curvature with a diagonal block, L2 included, in working coordinates.

    Parameters
    ----------
    gram : BlockGram
        In coordinates without the centers of the block's columns.
    l2 : ndarray of shape (d + 1,)
        L2 weights of parameters.
    scaling : Scaling
        The working coordinates.
    """

    def __init__(self, gram: BlockGram, l2: Array, scaling: Scaling) -> None:
        block, diagonal, sides, corner, _ = gram
        require_finite(sides)
        self._block, self._others = block, np.r_[0 : block.start, block.stop : len(l2)]
        #: The inverse of the block, and its products with the others.
        self._inverse, self._sides = inverse(diagonal + l2[block]), sides
        whole = corner + np.diag(l2[self._others])
        rest, root = whole.copy(), np.sqrt(self._inverse)[:, None]
        for start in range(0, len(sides), _STRIP):
            rows = slice(start, start + _STRIP)
            part = sides[rows] * root[rows]
            rest -= part.T @ part
        flat = rest.diagonal() <= _ROUNDING * whole.diagonal()
        rest[flat] = rest[:, flat] = 0.0
        self._rest = Factor(rest, sampled=False)
        #: The change of the intercept by the centers of the block's columns.
        self._centers = (scaling.center * scaling.inv_scale)[block]

    def solve(self, g: Array) -> Array:
        """Return B^{-1} g for rows g (K, d + 1)."""
        own = (g[:, self._block] + g[:, -1:] * self._centers) * self._inverse
        others = self._rest.solve(g[:, self._others] - own @ self._sides)
        found = np.empty_like(g)
        found[:, self._others] = others
        found[:, self._block] = own - (others @ self._sides.T) * self._inverse
        found[:, -1] += found[:, self._block] @ self._centers
        return found


def solve_by_elimination(
    objective: Objective, columns: ExclusiveColumns, theta: Array, tol: float, monitor: Monitor
) -> Solution:
    """Minimise from theta until the certificate is at most tol and coefficients have their digits.

    All outputs have the same L2 weight. Falls back on the accelerated gradient if rounding of the curvature stops steps
    early.
    """
    progress = Progress(objective, tol, monitor)
    gram = columns.gram(objective.scaling, objective.problem.fit_intercept)
    metric = SmoothMetric([EliminationFactor(gram, objective.l2[0], objective.scaling)], objective.l2.shape[1], _MEMORY)
    at = objective.evaluate(theta) if theta.any() else _at_zeros(objective, gram)
    descent = Descent(objective, objective.evaluate, at, metric)
    progress.estimate = descent.suboptimality
    reason = progress.record_pass(descent.at)
    while reason is None:
        reason = progress.record_trial(descent.advance())
        if reason is None and tol > 0.0 and descent.is_stalled and not progress.has_improved:
            reason = "no step"
    assert progress.best is not None
    if reason == "no step":
        solution = accelerate(objective, progress.best.theta, tol, progress)
        return replace(solution, solver="NormalEquations, then Accelerated")
    if reason == "certificate" and tol <= _REFINED_TOL and objective.data.dtype == "f8":
        _refine(descent, progress)
    return attach_suboptimality(progress.make_solution(reason), descent.suboptimality)


def _at_zeros(objective: Objective, gram: BlockGram) -> Evaluation:
    """Return the evaluation at zeros, where residuals are the targets."""
    centers = (objective.scaling.center * objective.scaling.inv_scale)[gram.block]
    gradient = -gram.targets
    gradient[:, gram.block] -= gradient[:, -1:] * centers
    constant = objective.problem.constant
    return objective.evaluation(objective.start(), constant.losses + 0.5 * constant.margins**2, gradient)


def _refine(descent: Descent, progress: Progress) -> None:
    """Take more steps while they shrink, until the next one would be a small share of the coefficients."""
    size = np.inf
    while progress.may_continue:
        at, before = descent.at, size
        size = float(np.linalg.norm(descent.metric.step(at)))
        if size <= _LAST * float(np.linalg.norm(at.theta)) or size > 0.5 * before:
            break
        progress.record_trial(descent.advance())
