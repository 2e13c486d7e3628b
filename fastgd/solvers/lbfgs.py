"""scipy's L-BFGS-B on full passes, for smooth objectives of many columns.

It works in units in which every coordinate's own curvature at the best constant model is 1, L2 included, and for
softmax where parameters sum to 0 over classes, which such units would leave. That saves half of the passes or more
where classes are unequal or L2 is steeper than the loss on some columns, and without `standardize` it is what makes
columns of different scales feasible at all.
"""

import numpy as np
from scipy import optimize

from fastgd.objective import Evaluation, Objective
from fastgd.scaling import Array
from fastgd.solvers.course import Course
from fastgd.solvers.descent import smooth_gradient, value_of
from fastgd.stopping import Monitor, Solution

#: The least curvature of an output that is believed, as a share of the largest: it may be more away from the start.
_LEAST = 1e-3
#: A run that leaves more of the certificate than this has met the rounding of gradients.
_WORTHWHILE = 0.5


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
    course = Course(objective, tol, monitor)
    try:
        _run(objective, course, theta, memory)
        before = np.inf
        while course.best is not None and course.certificate < _WORTHWHILE * before:
            before = course.certificate
            _run(objective, course, course.best.theta, memory, course.best)
    except _Ended as ended:
        return course.solution(ended.reason)
    return course.solution("no step")


def _run(objective: Objective, course: Course, start: Array, memory: int, reference: Evaluation | None = None) -> None:
    """Until scipy's line search finds no lower value, or the course ends; values are differences from a reference."""
    units = 1.0 / np.sqrt(_curvatures(objective))

    def value_and_gradient(x: Array) -> tuple[float, Array]:
        at = objective.evaluate(_balanced(objective, x.reshape(start.shape) * units))
        reason = course.seen(at)
        if reason is not None:
            raise _Ended(reason)
        value = value_of(at) if reference is None else _difference(objective, at, reference)
        return value, (_balanced(objective, smooth_gradient(objective, at)) * units).ravel()

    # Its own limits are off: the course knows when to stop.
    most = np.iinfo(np.int32).max
    options = {"maxcor": memory, "ftol": 0.0, "gtol": 0.0, "maxiter": most, "maxfun": most}
    optimize.minimize(value_and_gradient, (start / units).ravel(), jac=True, method="L-BFGS-B", options=options)


def _difference(objective: Objective, at: Evaluation, reference: Evaluation) -> float:
    """F(at) - F(reference) by the trapezoid rule on gradients: near a minimum values differ by rounding alone."""
    slopes = smooth_gradient(objective, at) + smooth_gradient(objective, reference)
    return 0.5 * float(np.vdot(slopes, at.theta - reference.theta))


def _balanced(objective: Objective, theta: Array) -> Array:
    """Parameters, or a gradient, that sum to 0 over the classes of softmax, as they do at its optimum."""
    return theta - theta.mean(axis=0) if objective.problem.loss == "softmax" else theta


def _curvatures(objective: Objective) -> Array:
    """Of each coordinate (K, d + 1), at the best constant model; 1 for coordinates that play no part."""
    moments, scaling = objective.moments, objective.scaling
    squares = (moments.sd**2 + (moments.mean - scaling.center) ** 2) * scaling.inv_scale**2
    outputs = objective.problem.constant.curvatures
    believed = np.maximum(outputs, _LEAST * np.max(outputs))
    found = np.outer(believed, np.append(squares, 1.0)) + objective.l2
    return np.where(found > 0.0, found, 1.0)
