"""scipy's L-BFGS-B on full passes, for smooth objectives of many columns.

It works in units in which every coordinate's own curvature at the best constant model is 1, L2 included, and for
softmax where parameters sum to 0 over classes, which such units would leave. That saves half of the passes or more
where classes are unequal or L2 is steeper than the loss on some columns, and without `standardize` it is what makes
columns of different scales feasible at all.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize

from fastgd.arrays import Array
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.solvers.progress import Monitor, Progress, Solution

#: The least curvature of an output that is believed, as a share of the largest: it may be more away from the start.
_LEAST = 1e-3
#: Passes on differences in which the certificate has to halve: else rounding of gradients is all that is left.
_PATIENCE = 100


class _Ended(Exception):
    """Raised out of scipy's loop; carries the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def solve_lbfgs(objective: Objective, theta: Array, tol: float, monitor: Monitor, memory: int = 10) -> Solution:
    """Minimise from theta until the certificate is at most tol or `monitor.history.max_iter` passes are done.

    Every evaluation is a pass and counts as an epoch, those of line searches too. Where scipy's line search finds no
    lower loss it begins anew at the best point, on differences that rounding spares; "no step" where that gains little.
    """
    progress = Progress(objective, tol, monitor)
    try:
        _run(_Passes(objective, progress), theta, memory)
        before = math.inf
        while progress.best is not None and progress.certificate < 0.5 * before:
            before = progress.certificate
            _run(_Differences(objective, progress, progress.best), progress.best.theta, memory)
    except _Ended as ended:
        return progress.make_solution(ended.reason)
    return progress.make_solution("no step")


class _Passes:
    """The objective as scipy sees it, in units of its own."""

    def __init__(self, objective: Objective, progress: Progress) -> None:
        self.units = 1.0 / np.sqrt(_curvatures(objective))
        self._objective, self._progress = objective, progress

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Value and gradient at a point (K (d + 1),)."""
        objective = self._objective
        at = objective.evaluate(self._balanced(x.reshape(self.units.shape) * self.units))
        reason = self._progress.record_pass(at) or self._reason()
        if reason is not None:
            raise _Ended(reason)
        return self._value(at), (self._balanced(at.slope) * self.units).ravel()

    def _balanced(self, theta: Array) -> Array:
        """Parameters, or a gradient, that sum to 0 over the classes of softmax, as they do at its optimum."""
        return theta - theta.mean(axis=0) if self._objective.problem.loss.couples_outputs else theta

    def _value(self, at: Evaluation) -> float:
        return at.total

    def _reason(self) -> str | None:
        """A reason of its own to stop."""
        return None


class _Differences(_Passes):
    """Values as differences from a reference, by the trapezoid rule on gradients.

    Near a minimum values themselves differ by rounding alone.
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
    """Run scipy's L-BFGS-B until its line search finds no lower value; its own tolerances and limits are off.

    Parameters
    ----------
    function : callable
        Value and gradient at a point (n,); an exception ends the run.
    start : ndarray of float64, shape (n,)
    memory : int
        Pairs of steps and gradient changes.
    callback : callable, default=None
        Called with ``intermediate_result`` after each iteration; a StopIteration ends the run.
    """
    most = np.iinfo(np.int32).max
    options = {"maxcor": memory, "ftol": 0.0, "gtol": 0.0, "maxiter": most, "maxfun": most}
    optimize.minimize(function, start, jac=True, method="L-BFGS-B", callback=callback, options=options)


def _curvatures(objective: Objective) -> Array:
    """Of each coordinate (K, d + 1), at the best constant model; 1 for coordinates that play no part."""
    moments, scaling = objective.moments, objective.scaling
    squares = (moments.sd**2 + (moments.mean - scaling.center) ** 2) * scaling.inv_scale**2
    outputs = objective.problem.constant.curvatures
    believed = np.maximum(outputs, _LEAST * np.max(outputs))
    found = np.outer(believed, np.append(squares, 1.0)) + objective.l2
    return np.where(found > 0.0, found, 1.0)
