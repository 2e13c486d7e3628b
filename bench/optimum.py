"""The optimum of an objective in float64 NumPy with a bound on its suboptimality, independent of fastgd."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import issparse

from fastgd.bench.objective import Floats, Objective

#: Rows whose curvature preconditions the equations of all rows.
_SAMPLE_ROWS = 50_000
#: Most columns of dense rows whose curvature is factored; of others its diagonal preconditions.
_MOST_COLUMNS = 4000
#: Most conjugate gradient steps per step of Newton's method, and the part of g M^-1 g that ends them.
_INNER_STEPS, _INNER_PRECISION = 500, 1e-2
#: Rows whose curvature is added at once: in products of few rows threads wait for each other.
_BLOCK_ROWS = 1 << 15
_STEPS = 100
#: Most sweeps of coordinate descent per step.
_SWEEPS = 1000
#: Largest suboptimality relative to F.
PRECISION = 1e-10
#: If F* is less than this share of F of the best constant model, distances are in units of the latter.
_SMALL_SHARE = 1e-3


class Optimum(NamedTuple):
    """theta (K, d + 1), intercept last, its F, a bound on its suboptimality, and the unit of distances.

    left: if alpha (1 - l1_ratio) > 0, the duality gap in w for this intercept plus the estimate g^2 / (2 h) of the
    intercept's suboptimality; else twice the Newton decrement, an estimate.
    """

    theta: Floats
    value: float
    left: float
    unit: float


def distances(objective: Objective, optimum: Optimum, thetas: Floats) -> Floats:
    """Return (F - F*) / unit at each of thetas (m, K, d + 1); the unit is F* or F of the best constant model."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (objective.values(thetas) - optimum.value) / optimum.unit


def find_optimum(objective: Objective, precision: float = PRECISION) -> Optimum:
    """Minimise by Newton's method with conjugate gradients or, for the elastic net, coordinate descent inside.

    precision: the largest suboptimality, relative to F.

    Raises
    ------
    ArithmeticError
        If 100 steps are not enough.
    """
    if issparse(objective.data.X):
        used = np.flatnonzero(objective.data.X.getnnz(axis=0))
        if len(used) < objective.data.X.shape[1]:
            return _with_zeros(objective, used, precision)
    theta = objective.constant_theta()
    step = _proximal_step if objective.l1 else _newton_step
    z = objective.margins(theta)
    value = float(objective.values(theta[None])[0])
    for _ in range(_STEPS):
        gradient = objective.spread(objective.loss.slope(z, objective.y))
        gradient[:, :-1] += objective.l2 * theta[:, :-1]
        direction, decrement = step(objective, theta, z, gradient)
        left = max(_left(objective, theta, z, gradient, decrement), 0.0)  # rounding may make it negative
        if left <= precision * value:
            unit = value if value >= _SMALL_SHARE * objective.constant else objective.constant
            return Optimum(theta, value, left, unit)
        theta, z, value = _lower(objective, theta, direction, z, value)
    raise ArithmeticError(f"no optimum after {_STEPS} steps of Newton's method: {left:.3g} left of {value:.6g}")


def _with_zeros(objective: Objective, used: NDArray[np.intp], precision: float) -> Optimum:
    """Minimise in the columns that have numbers; the coefficients of the others are 0."""
    narrow = replace(objective, data=replace(objective.data, X=objective.data.X[:, used]))
    found = find_optimum(narrow, precision)
    theta = np.zeros(objective.shape)
    theta[:, [*used, -1]] = found.theta
    return found._replace(theta=theta)


def _lower(
    objective: Objective, theta: Floats, direction: Floats, z: Floats, value: float
) -> tuple[Floats, Floats, float]:
    """Take a step, halved until it lowers F; margins are linear in it, so that trials do not read X."""
    dz = objective.margins(direction)
    for halvings in range(40):
        size = 0.5**halvings
        trial = theta + size * direction
        found = float(objective.loss.value(z + size * dz, objective.y).mean() + objective.penalties(trial))
        if found < value:
            return trial, z + size * dz, found
    # At the limit of float64 no step lowers F; the gap decides.
    return theta + direction, z + dz, value


def _left(objective: Objective, theta: Floats, z: Floats, gradient: Floats, decrement: float) -> float:
    if not objective.l2:
        return 2.0 * decrement
    w = theta[:, :-1]
    gap = duality_gap(w, gradient[:, :-1] - objective.l2 * w, objective.l1, objective.l2)
    curvature = float(curvatures(objective, z).mean(axis=0).min())
    return gap + float(np.sum(gradient[:, -1] ** 2) / (2.0 * curvature))


def duality_gap(w: Floats, slope: Floats, l1: Floats | float, l2: Floats | float) -> float:
    """Return the duality gap in w from the gradient of the mean loss; l2 is positive."""
    parts = l1 * np.abs(w) + 0.5 * l2 * w**2 + w * slope + np.maximum(np.abs(slope) - l1, 0.0) ** 2 / (2.0 * l2)
    return float(parts.sum())


def curvatures(objective: Objective, z: Floats) -> Floats:
    """Return the second derivative of each row's loss in each of its margins (n, K)."""
    units = np.eye(z.shape[1])
    return np.column_stack(
        [objective.loss.curve(z, units[k : k + 1])[:, k] * np.ones(len(z)) for k in range(len(units))]
    )


def _curvature(objective: Objective, weights: Floats) -> Floats:
    """Return the mean of weighted outer products of the first rows, with a column of ones, plus L2 (d + 1, d + 1)."""
    total = np.zeros((objective.shape[1], objective.shape[1]))
    for start in range(0, len(weights), _BLOCK_ROWS):
        h = weights[start : start + _BLOCK_ROWS]
        X = np.column_stack([objective.X[start : start + len(h)], np.ones(len(h))])
        total += (X.T * h) @ X
    total /= len(weights)
    total[np.arange(len(total) - 1), np.arange(len(total) - 1)] += objective.l2
    return total


def _solver(matrix: Floats) -> Callable[[Floats], Floats]:
    """Return a function that solves with a positive matrix, scaled to a diagonal of ones."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    factor = cho_factor(matrix * scale * scale[:, None] + 1e-13 * np.eye(len(matrix)))
    # The inverse, since scipy and NumPy have separate BLAS libraries, whose threads wait for each other.
    inverse = cho_solve(factor, np.eye(len(matrix))) * scale * scale[:, None]
    inverse = 0.5 * (inverse + inverse.T)
    return lambda rows: rows @ inverse


def _preconditioner(objective: Objective, z: Floats) -> Callable[[Floats], Floats]:
    """Return a function that solves with the curvature of the first rows or, if that is wide, the diagonal of all."""
    if issparse(objective.data.X) or objective.shape[1] > _MOST_COLUMNS:
        diagonal = objective.spread_squares(curvatures(objective, z))
        diagonal[:, :-1] += objective.l2
        return lambda rows: rows / np.maximum(diagonal, 1e-300)
    return _solver(_curvature(objective, curvatures(objective, z[:_SAMPLE_ROWS]).mean(axis=1)))


def _newton_step(objective: Objective, theta: Floats, z: Floats, gradient: Floats) -> tuple[Floats, float]:
    """Return the direction by preconditioned conjugate gradients on all rows, and half of g M^-1 g."""
    solve = _preconditioner(objective, z)
    direction, residual = np.zeros_like(theta), -gradient
    preconditioned = solve(residual)
    search, size = preconditioned, float(np.sum(residual * preconditioned))
    first = max(size, 1e-300)
    for _ in range(_INNER_STEPS):
        if size <= _INNER_PRECISION * first:
            break
        curved = objective.spread(objective.loss.curve(z, objective.margins(search)))
        curved[:, :-1] += objective.l2 * search[:, :-1]
        length = size / float(np.sum(search * curved))
        direction, residual = direction + length * search, residual - length * curved
        preconditioned = solve(residual)
        size, before = float(np.sum(residual * preconditioned)), size
        search = preconditioned + size / before * search
    return direction, 0.5 * first


def _proximal_step(objective: Objective, theta: Floats, z: Floats, gradient: Floats) -> tuple[Floats, float]:
    """Return the direction to the minimum of the quadratic model plus L1 by coordinate descent; one output."""
    if len(theta) > 1 or not objective.l2:
        raise ValueError("the optimum of an elastic net is found for one output and an l1_ratio below 1")
    H = _curvature(objective, curvatures(objective, z)[:, 0])
    point = theta[0].copy()
    weights = np.append(np.full(len(point) - 1, objective.l1), 0.0)
    coordinate_descent(H, gradient[0].copy(), point, weights, _SWEEPS)
    return (point - theta[0])[None], 0.0


@njit(cache=True)
def coordinate_descent(matrix, slope, point, l1, sweeps):  # type: ignore[no-untyped-def]
    """Minimise slope . (u - point) + (u - point)' matrix (u - point) / 2 + l1 |u| over u, in place.

    Returns whether it has converged.
    """
    for _ in range(sweeps):
        largest, total = 0.0, 0.0
        for j in range(len(point)):
            h = matrix[j, j]
            if h <= 0.0:
                continue
            middle = point[j] - slope[j] / h
            new = np.sign(middle) * max(abs(middle) - l1[j] / h, 0.0)
            moved = new - point[j]
            if moved != 0.0:
                point[j] = new
                slope += moved * matrix[j]
                largest = max(largest, moved * moved * h)
            total += new * new * h
        if largest <= 1e-22 * total:
            return True
    return False
