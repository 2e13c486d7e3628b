"""Curvature bounds of a problem, and the learning rates that are safe with them.

Every bound holds at every theta: the loss's largest curvature in its margins stands for the curvature at one theta.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastgd.reference.objective import Problem

if TYPE_CHECKING:
    from fastgd.reference.losses import Floats


def _extended(problem: Problem) -> Floats:
    """Return x with a last column of ones for the intercept, if there is one."""
    return np.column_stack([problem.x, np.ones(problem.n_rows)]) if problem.fit_intercept else problem.x


def largest_curvature(problem: Problem, penalty: bool = True) -> float:
    """L: the largest eigenvalue of beta (1 / S) sum_i s_i x_i x_i' + diag(l2), largest over outputs.

    beta is the loss's largest curvature; x_i ends in 1 for the intercept.

    Parameters
    ----------
    problem : Problem
        In the coordinates in which the rule works.
    penalty : bool, default=True
        Whether to include l2, which the rules see in their gradient.

    Returns
    -------
    float
    """
    x = _extended(problem)
    gram = problem.loss_functions.largest_curvature * (x.T * (problem.weight / problem.weight.sum())) @ x
    ridge = np.zeros((len(problem.l2), x.shape[1]))
    if penalty:
        ridge[:, : problem.x.shape[1]] = problem.l2
    return max(float(np.linalg.eigvalsh(gram + np.diag(row))[-1]) for row in ridge)


def largest_row_curvature(problem: Problem, penalty: bool = True) -> float:
    """max_i L_i: beta max_i (s_i / s_mean) |x_i|^2, plus the largest l2; x_i ends in 1 for the intercept."""
    size = (_extended(problem) ** 2).sum(axis=1)
    top = problem.loss_functions.largest_curvature * float((problem.weight / problem.weight.mean() * size).max())
    return top + (float(problem.l2.max(initial=0.0)) if penalty else 0.0)


def batch_curvature(problem: Problem, batch_size: int, penalty: bool = True) -> float:
    """L_B = n (B - 1) / (B (n - 1)) L + (n - B) / (B (n - 1)) max_i L_i (Gower et al. 2019, proposition 3.8).

    The expected smoothness of batches of B rows drawn without replacement: L at B = n, max_i L_i at B = 1. A batch_size
    above n counts as n.
    """
    n, b = problem.n_rows, min(batch_size, problem.n_rows)
    if b < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    whole = largest_curvature(problem, penalty)
    if n == 1:
        return whole
    row = largest_row_curvature(problem, penalty)
    return n * (b - 1) / (b * (n - 1)) * whole + (n - b) / (b * (n - 1)) * row


def safe_rate(curvature: float, momentum: float = 0.0, nesterov: bool = False) -> float:
    """Return the rate below which full-batch gradient descent converges on every quadratic of largest curvature L.

    2 (1 + mu) / L with the heavy ball's momentum mu (Polyak 1964), so 2 / L without momentum. With either form of
    Nesterov's less than that: (2 + 2 mu) / ((1 + 2 mu) L), where along the steepest direction a root of
    z^2 - (1 + mu) (1 - eta L) z + mu (1 - eta L) reaches -1.
    """
    heavy_ball = 2.0 * (1.0 + momentum) / curvature
    return heavy_ball / (1.0 + 2.0 * momentum) if nesterov else heavy_ball
