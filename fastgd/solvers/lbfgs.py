"""SciPy's L-BFGS-B on full passes, for smooth objectives of many columns.

Coordinates are scaled so that the diagonal of the curvature at the best constant model, L2 included, is 1; softmax
parameters are projected to sum to 0 over classes, which that scaling would break. This saves half of the passes or more
if classes are unequal or L2 is steeper than the loss in some columns. Without `standardize`, columns of different
scales need it to converge at all.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize

from fastgd.arrays import Array
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.solvers.newton import SampledEstimate, attach_suboptimality
from fastgd.solvers.progress import Monitor, Progress, Solution
from fastgd.solvers.row_space import solve_in_row_space

#: Least curvature of an output relative to the largest: it may be larger away from the start.
_LEAST = 1e-3
#: Passes on differences within which the certificate has to halve; else only rounding is left.
_PATIENCE = 100


class _Ended(Exception):
    """Raised to leave SciPy's loop, with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def solve_lbfgs(objective: Objective, theta: Array, tol: float, monitor: Monitor, memory: int = 10) -> Solution:
    """Minimise from theta until the certificate is at most tol or `monitor.history.max_iter` passes are done.

    Every evaluation is a pass and counts as an epoch, also in line searches. If SciPy's line search finds no lower
    loss, the solver restarts at the best point with differences of F from gradients, which rounding affects less. It
    ends with "no step" if that gains little.
    """
    space = objective.row_space
    if space is not None and not monitor.needs_parameters and not theta[:, :-1].any():
        return solve_in_row_space(objective, space, theta, tol, monitor, memory)
    progress = Progress(objective, tol, monitor)
    estimate = progress.estimate = SampledEstimate(objective, tol)
    try:
        _run(_Passes(objective, progress), theta, memory)
        before = math.inf
        while progress.best is not None and progress.certificate < 0.5 * before:
            before = progress.certificate
            _run(_Differences(objective, progress, progress.best), progress.best.theta, memory)
    except _Ended as ended:
        return attach_suboptimality(progress.make_solution(ended.reason), estimate.by_curvature)
    return attach_suboptimality(progress.make_solution("no step"), estimate.by_curvature)


class _Passes:
    """The objective as a function for SciPy, in scaled coordinates."""

    def __init__(self, objective: Objective, progress: Progress) -> None:
        self.units = 1.0 / np.sqrt(_curvatures(objective))
        self._objective, self._progress = objective, progress

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return value and gradient at a point (K (d + 1),)."""
        objective = self._objective
        at = objective.evaluate(self._balanced(x.reshape(self.units.shape) * self.units))
        reason = self._progress.record_pass(at) or self._reason()
        if reason is not None:
            raise _Ended(reason)
        return self._value(at), (self._balanced(at.slope) * self.units).ravel()

    def _balanced(self, theta: Array) -> Array:
        """Project softmax parameters, or a gradient, to sum to 0 over classes, as at its optimum."""
        return theta - theta.mean(axis=0) if self._objective.problem.loss.couples_outputs else theta

    def _value(self, at: Evaluation) -> float:
        return at.total

    def _reason(self) -> str | None:
        """Return a further reason to stop, or None."""
        return None


class _Differences(_Passes):
    """The objective with values as differences from a reference, by the trapezoid rule on gradients.

    Near a minimum, values of F differ by rounding only.
    """

    def __init__(self, objective: Objective, progress: Progress, reference: Evaluation) -> None:
        super().__init__(objective, progress)
        self._reference = reference
        self._goal, self._left = 0.5 * progress.certificate, _PATIENCE

    def _value(self, at: Evaluation) -> float:
        slopes = at.slope + self._reference.slope
        return 0.5 * float(np.vdot(slopes, at.theta - self._reference.theta))

    def _reason(self) -> str | None:
        self._left -= 1
        if self._progress.certificate <= self._goal:
            self._goal, self._left = 0.5 * self._progress.certificate, _PATIENCE
        return "no step" if self._left == 0 else None


def _run(passes: _Passes, start: Array, memory: int) -> None:
    run_lbfgs(passes, (start / passes.units).ravel(), memory)


def run_lbfgs(
    function: Callable[[Array], tuple[float, Array]],
    start: Array,
    memory: int,
    callback: Callable[[optimize.OptimizeResult], None] | None = None,
) -> None:
    """Run SciPy's L-BFGS-B until its line search finds no lower value, without its own tolerances and limits.

    Parameters
    ----------
    function : callable
        Value and gradient at a point (n,); an exception ends the run.
    start : ndarray of float64, shape (n,)
    memory : int
        Pairs of steps and gradient changes to keep.
    callback : callable, default=None
        Called with ``intermediate_result`` after each iteration; a StopIteration ends the run.
    """
    most = np.iinfo(np.int32).max
    options = {"maxcor": memory, "ftol": 0.0, "gtol": 0.0, "maxiter": most, "maxfun": most}
    optimize.minimize(function, start, jac=True, method="L-BFGS-B", callback=callback, options=options)


def _curvatures(objective: Objective) -> Array:
    """Return the diagonal of the curvature (K, d + 1) at the best constant model; 1 for coordinates without any."""
    moments, scaling = objective.moments, objective.scaling
    squares = (moments.sd**2 + (moments.mean - scaling.center) ** 2) * scaling.inv_scale**2
    outputs = objective.problem.constant.curvatures
    believed = np.maximum(outputs, _LEAST * np.max(outputs))
    found = np.outer(believed, np.append(squares, 1.0)) + objective.l2
    return np.where(found > 0.0, found, 1.0)
