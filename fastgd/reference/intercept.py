"""The best intercept for given coefficients, the best constant model, and the scale of the loss's gradient there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastgd.reference.losses import LOSSES
from fastgd.reference.objective import Problem, margins

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgd.reference._arrays import Floats


def solve_intercept(problem: Problem, theta: Floats) -> Floats:
    """theta with the intercepts that minimise F while the coefficients stay; unchanged without intercept.

    The gradient in an intercept increases with it, so each is found by bisection; softmax, whose intercepts are
    coupled, by Newton's method, with sum_k b_k = 0.

    Raises
    ------
    ValueError
        Where the targets of the rows with weight hold one class only, or lack a class: no best intercept exists.
    """
    if not problem.fit_intercept:
        return theta.copy()
    _check_classes(problem)
    base = theta.copy()
    base[:, -1] = 0.0
    z = margins(problem.x, base)
    if problem.loss == "softmax":
        base[:, -1] = _softmax_intercepts(problem, z)
        return base
    base[:, -1] = [_increasing_root(_slope(problem, z, k)) for k in range(len(base))]
    return base


def best_constant(problem: Problem) -> Floats:
    """theta of the best model that ignores x: zero coefficients and the best intercepts (0 without intercept)."""
    return solve_intercept(problem, np.zeros(problem.shape))


def constant_gradient_rms(problem: Problem) -> Floats:
    """sqrt(sum_i s_i |dloss/dz_i|^2 / S) at the best constant model for each output (K,).

    dloss/dz_i is a vector over the outputs, which share one number; targets of the squared loss, which is fitted to
    each of them alone, have their own.
    """
    z = margins(problem.x, best_constant(problem))
    r = LOSSES[problem.loss].gradient(z, problem.y, problem.delta)
    squares = problem.weight @ r**2 / problem.weight.sum()
    return np.sqrt(squares if problem.loss == "squared" else np.full_like(squares, squares.sum()))


def _check_classes(problem: Problem) -> None:
    seen = np.unique(problem.y[problem.weight > 0])
    wanted = {"logistic": 2, "softmax": len(problem.l1)}.get(problem.loss, 0)
    if len(seen) < wanted:
        raise ValueError(f"y has rows with weight in {len(seen)} of {wanted} classes; drop the empty classes")


def _slope(problem: Problem, z: Floats, k: int) -> Callable[[float], float]:
    """dF / db_k as a function of b_k, at the margins z + b."""
    share, gradient = problem.weight / problem.weight.sum(), LOSSES[problem.loss].gradient
    column, target = z[:, [k]], problem.y[:, [k]]
    return lambda b: float(share @ gradient(column + b, target, problem.delta)[:, 0])


def _increasing_root(slope: Callable[[float], float]) -> float:
    """Where an increasing function crosses 0, to the last bit."""
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


def _softmax_intercepts(problem: Problem, z: Floats) -> Floats:
    """Newton's method on the intercepts; where it fails to halve the gradient, a step of iterative scaling.

    Iterative scaling, b_k += log(share of class k / mean probability of class k), never raises the loss (Darroch and
    Ratcliff 1972) and is exact in one step where the margins do not depend on the row.
    """
    loss, share = LOSSES["softmax"], problem.weight / problem.weight.sum()
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
