"""The optimum of an objective in float64 NumPy, with a bound on what is left to gain: no code of fastgd."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from bench.check import Floats
from bench.objective import Objective

#: Rows whose curvature stands for that of all rows where it preconditions.
_SAMPLE_ROWS = 50_000
_BLOCK_ROWS = 8192
_STEPS = 100
#: Of F: what may be left to gain at the optimum.
_PRECISION = 1e-10
#: Where F* is less than this share of F of the best constant model, distances are in units of the latter.
_SMALL_SHARE = 1e-3


class Optimum(NamedTuple):
    """theta (K, d + 1), intercept last, F there, what could be gained at most, and the unit of distances.

    left: where alpha (1 - l1_ratio) > 0, the duality gap in w for this intercept plus the estimate g^2 / (2 h) of what
    the intercept could gain; else twice the Newton decrement, an estimate.
    """

    theta: Floats
    value: float
    left: float
    unit: float


def distances(objective: Objective, optimum: Optimum, thetas: Floats) -> Floats:
    """(F - F*) / unit of each of thetas (m, K, d + 1), the unit F* or F of the best constant model."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (objective.values(thetas) - optimum.value) / optimum.unit


def find_optimum(objective: Objective) -> Optimum:
    """Newton's method, with conjugate gradients or, for the elastic net, coordinate descent inside.

    Raises
    ------
    ArithmeticError
        Where 100 steps are not enough.
    """
    theta, step = objective.constant_theta(), _proximal_step if objective.l1 else _newton_step
    z = objective.margins(theta)
    value = objective.constant
    for _ in range(_STEPS):
        gradient = objective.spread(objective.loss.slope(z, objective.y))
        gradient[:, :-1] += objective.l2 * theta[:, :-1]
        direction, decrement = step(objective, theta, z, gradient)
        left = _left(objective, theta, z, gradient, decrement)
        if left <= _PRECISION * value:
            unit = value if value >= _SMALL_SHARE * objective.constant else objective.constant
            return Optimum(theta, value, left, unit)
        theta, z, value = _lower(objective, theta, direction, z, value)
    raise ArithmeticError(f"no optimum after {_STEPS} steps of Newton's method: {left:.3g} left of {value:.6g}")


def _lower(objective: Objective, theta: Floats, direction: Floats, z: Floats, value: float) -> tuple[Floats, Floats, float]:
    """A step, halved until it lowers F; margins are linear in it, so that trials do not read X."""
    dz = objective.margins(direction)
    for halvings in range(40):
        size = 0.5**halvings
        trial = theta + size * direction
        found = float(objective.loss.value(z + size * dz, objective.y).mean() + objective.penalties(trial))
        if found < value:
            return trial, z + size * dz, found
    # At the limit of float64 nothing lowers F any more; the gap decides.
    return theta + direction, z + dz, value


def _left(objective: Objective, theta: Floats, z: Floats, gradient: Floats, decrement: float) -> float:
    if not objective.l2:
        return 2.0 * decrement
    w = theta[:, :-1]
    g = gradient[:, :-1] - objective.l2 * w
    l1, l2 = objective.l1, objective.l2
    gap = l1 * np.abs(w) + 0.5 * l2 * w**2 + w * g + np.maximum(np.abs(g) - l1, 0.0) ** 2 / (2.0 * l2)
    curvature = objective.loss.curve(z, np.ones_like(z) if len(theta) == 1 else np.eye(1, len(theta))).mean()
    return float(gap.sum() + np.sum(gradient[:, -1] ** 2) / (2.0 * max(curvature, 1e-300)))
