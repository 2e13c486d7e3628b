"""The best intercept for given coefficients, the best constant model, and the scale of the loss's gradient there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastgd.reference.objective import Problem, margins

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgd.reference.losses import Floats


def solve_intercept(problem: Problem, theta: Floats) -> Floats:
    """Return theta with the intercepts that minimise F for its coefficients; unchanged without intercept.

    The gradient in an intercept increases with it, so each is found by bisection; those of classes, which are coupled,
    by Newton's method, with sum_k b_k = 0.

    Raises
    ------
    ValueError
        If the targets of the rows with weight hold one class only, or lack a class: no best intercept exists.
    """
    if not problem.fit_intercept:
        return theta.copy()
    _check_classes(problem)
    base = theta.copy()
    base[:, -1] = 0.0
    z = margins(problem.x, base)
    if problem.loss_functions.targets == "classes":
        base[:, -1] = _class_intercepts(problem, z)
        return base
    base[:, -1] = [_increasing_root(_slope(problem, z, k)) for k in range(len(base))]
    return base


def best_constant(problem: Problem) -> Floats:
    """Return theta of the best model that ignores x: coefficients 0 and the best intercepts, 0 without intercept."""
    return solve_intercept(problem, np.zeros(problem.shape))


def constant_gradient_rms(problem: Problem) -> Floats:
    """Return sqrt(sum_i s_i |dloss/dz_i|^2 / S) at the best constant model for each output (K,).

    dloss/dz_i is a vector over the outputs, which share one number unless each target has a scale of its own.
    """
    z = margins(problem.x, best_constant(problem))
    r = problem.loss_functions.gradient(z, problem.y, problem.delta)
    squares = problem.weight @ r**2 / problem.weight.sum()
    return np.sqrt(squares if problem.loss_functions.target_scale == "own" else np.full_like(squares, squares.sum()))


def _check_classes(problem: Problem) -> None:
    seen = np.unique(problem.y[problem.weight > 0])
    wanted = {"signs": 2, "classes": len(problem.l1)}.get(problem.loss_functions.targets, 0)
    if len(seen) < wanted:
        raise ValueError(f"y has rows with weight in {len(seen)} of {wanted} classes; drop the empty classes")


def _slope(problem: Problem, z: Floats, k: int) -> Callable[[float], float]:
    """Return dF / db_k as a function of b_k, at the margins z + b."""
    share, gradient = problem.weight / problem.weight.sum(), problem.loss_functions.gradient
    column, target = z[:, [k]], problem.y[:, [k]]
    return lambda b: float(share @ gradient(column + b, target, problem.delta)[:, 0])


def _increasing_root(slope: Callable[[float], float]) -> float:
    """Return the point where an increasing function crosses 0, to the last bit."""
    low, high = -1.0, 1.0
    while slope(low) > 0:
        low *= 2
    while slope(high) < 0:
        high *= 2
    middle = (low + high) / 2
    while low < middle < high:
        s = slope(middle)
        if s == 0:
            return middle
        low, high = (low, middle) if s > 0 else (middle, high)
        middle = (low + high) / 2
    return min(low, high, key=lambda b: abs(slope(b)))


def _class_intercepts(problem: Problem, z: Floats) -> Floats:
    """Find coupled intercepts by Newton's method; where it fails to halve the gradient, by a step of iterative scaling.

    Iterative scaling, b_k += log(share of class k / mean probability of class k), never raises the loss (Darroch and
    Ratcliff 1972) and is exact in one step where the margins do not depend on the row.
    """
    loss, share = problem.loss_functions, problem.weight / problem.weight.sum()
    wanted = np.bincount(problem.y, weights=share, minlength=z.shape[1])

    def slope(b: Floats) -> Floats:
        return share @ loss.gradient(z + b, problem.y, problem.delta)

    def value(b: Floats) -> float:
        return float(share @ loss.value(z + b, problem.y, problem.delta))

    b = np.zeros(z.shape[1])
    best = b
    for _ in range(1000):
        g = slope(b)
        if np.abs(g).max() < np.abs(slope(best)).max():
            best = b
        h = np.einsum("i,ikl->kl", share, loss.curvature(z + b, problem.y, problem.delta))
        newton = b - np.linalg.pinv(h, hermitian=True) @ g
        scaled = b + np.log(wanted / np.maximum(g + wanted, 1e-300))
        if np.abs(slope(newton)).max() < np.abs(g).max() / 2:
            b = newton
        elif value(scaled) < value(b):
            b = scaled
        else:
            break
    return best - best.mean()
