"""The distance of a point from the optimum: the certificate that stops fits, and bounds from duality."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastgd.reference.intercept import constant_gradient_rms, solve_intercept
from fastgd.reference.objective import (
    Problem,
    l1_thresholds,
    margins,
    mean_loss,
    mean_loss_gradient,
    smooth_gradient,
    subgradient_distance,
)

if TYPE_CHECKING:
    from fastgd.reference.losses import Floats


class Gap(NamedTuple):
    """A bound on F(theta) - F*, and theta with its best intercept."""

    bound: float
    theta: Floats


def certificate(problem: Problem, theta: Floats) -> float:
    """c = max_j dist(0, d_j F) / rms of dloss/dz at the best constant model, `constant_gradient_rms`.

    Parameters
    ----------
    problem : Problem
        In standardised coordinates (`scaling.working_problem`), where c has no units: it does not change with the units
        of columns, of y or of the weights.
    theta : ndarray of float64, shape (K, d + 1)

    Returns
    -------
    float
        0 at an optimum. Components: |dF/db_k| for the intercepts; for coefficients, with g the gradient of all but L1,
        |g_j + l1_j sign u_j| where u_j is not 0, else max(|g_j| - l1_j, 0). Where the constant model fits exactly
        (rms 0) the numerator alone.
    """
    distance = subgradient_distance(theta, smooth_gradient(problem, theta), l1_thresholds(problem))
    rms = constant_gradient_rms(problem)[:, None]
    return float((distance / np.where(rms > 0, rms, 1.0)).max())


def duality_gap(problem: Problem, theta: Floats) -> Gap:
    """Return an upper bound on F(theta) - F*, after solving for the intercept of theta.

    With g the gradient of the mean loss and l2 > 0 it is

        sum_j l1 |w_j| + l2 w_j^2 / 2 + w_j g_j + max(|g_j| - l1, 0)^2 / (2 l2),

    Fenchel's gap at the dual point loss'(z) (Rockafellar 1970, section 31); at l1 = 0 it is |grad F|^2 / (2 alpha).
    With l2 = 0 and l1 > 0 the dual point is first scaled by min(1, min_j l1 / |g_j|) to be feasible (Kim et al. 2007).
    Both are the same number in raw coordinates of the columns and in working ones.

    Raises
    ------
    ValueError
        If a coefficient has no penalty: then there is no bound.
    """
    at = solve_intercept(problem, theta)
    if np.all(problem.l2 > 0):
        return Gap(_gap_with_l2(problem, at), at)
    if np.all(problem.l2 == 0) and np.all(problem.l1 > 0):
        return Gap(_gap_of_lasso(problem, at), at)
    raise ValueError("alpha must be above 0 for a duality gap; without a penalty there is no bound")


def _gap_with_l2(problem: Problem, theta: Floats) -> float:
    w, g = theta[:, :-1], mean_loss_gradient(problem, theta)[:, :-1]
    excess = np.maximum(np.abs(g) - problem.l1, 0.0)
    terms = problem.l1 * np.abs(w) + problem.l2 * w**2 / 2 + w * g + excess**2 / (2 * problem.l2)
    return float(terms.sum())


def _gap_of_lasso(problem: Problem, theta: Floats) -> float:
    """F minus -(1 / S) sum_i s_i loss*(r_i), the dual at r = kappa loss'(z)."""
    loss, z = problem.loss_functions, margins(problem.x, theta)
    g = mean_loss_gradient(problem, theta)[:, :-1]
    kappa = 1.0 / max(1.0, float((np.abs(g) / problem.l1).max(initial=0.0)))
    r = kappa * loss.gradient(z, problem.y, problem.delta)
    dual = -(problem.weight @ loss.conjugate(r, problem.y, problem.delta)) / problem.weight.sum()
    return mean_loss(problem, theta) + float((problem.l1 * np.abs(theta[:, :-1])).sum()) - float(dual)


def relative_suboptimality(value: float, optimum: float, constant: float) -> float:
    """(F - F*) / F*, or (F - F*) / F(best constant) where F* < 1e-3 F(best constant)."""
    return (value - optimum) / (constant if optimum < 1e-3 * constant else optimum)
