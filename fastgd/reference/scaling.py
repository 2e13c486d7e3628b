"""The working coordinates of a fit: standardised columns and targets, in which the objective stays the same.

    x~ = (x - center) / scale,    y~ = (y - y_center) / y_scale,    theta = (u, b0)
    w_kj = y_scale_k u_kj / scale_j,    b_k = y_center_k + y_scale_k b0_k - sum_j w_kj center_j

Dividing F by y_scale^2 makes the penalty weights l1 / (y_scale_k scale_j) and l2 / scale_j^2, and Huber's delta
delta / y_scale. With several scaled targets, each target's share of F has its own divisor.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from fastgd.reference.losses import Floats
    from fastgd.reference.objective import Problem


class Scaling(NamedTuple):
    """Centers and scales of the columns (d,) and of the targets (K,), float64; scales are above 0."""

    center: Floats
    scale: Floats
    y_center: Floats
    y_scale: Floats


def column_moments(x: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weighted mean and standard deviation (root of the mean squared deviation, divisor S) of each column.

    A column that has one value on all rows with weight gets exactly that value and exactly 0.
    """
    share = weight / weight.sum()
    mean = share @ x
    sd = np.sqrt(share @ (x - mean) ** 2)
    seen = x[weight > 0]
    constant = seen.min(axis=0) == seen.max(axis=0)
    return np.where(constant, seen[0], mean), np.where(constant, 0.0, sd)


def center_and_scale(x: Floats, weight: Floats, centered: bool) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column, or 0 and the root mean square where not `centered`.

    A scale of 0 is made exactly 1: a centered constant column becomes exactly 0 on the rows with weight.
    """
    if centered:
        center, scale = column_moments(x, weight)
    else:
        center, scale = np.zeros(x.shape[1]), np.sqrt(weight @ x**2 / weight.sum())
    return center, np.where(scale > 0, scale, 1.0)


def identity_scaling(problem: Problem) -> Scaling:
    """The scaling that changes nothing: the raw coordinates."""
    outputs, columns = problem.l1.shape
    return Scaling(np.zeros(columns), np.ones(columns), np.zeros(outputs), np.ones(outputs))


def fit_scaling(problem: Problem, standardize: bool = True) -> Scaling:
    """The scaling of a fit: the standard one, but no column's scale below sqrt(l2); or `identity_scaling`.

    A column of scale sd has the L2 weight l2 / sd^2, which no step of a rule could follow where sd is tiny.
    """
    if not standardize:
        return identity_scaling(problem)
    standard = standard_scaling(problem)
    return standard._replace(scale=np.maximum(standard.scale, np.sqrt(problem.l2.max(initial=0.0))))


def standard_scaling(problem: Problem) -> Scaling:
    """The scaling to standardised columns, in which certificates are taken.

    Parameters
    ----------
    problem : Problem
        On raw features.

    Returns
    -------
    Scaling
        Columns: weighted mean and standard deviation; without intercept 0 and root mean square. Targets with scales of
        their own: the same; with a common scale: the same centers and the root mean square of the targets' scales;
        with none: 0 and 1.
    """
    center, scale = center_and_scale(problem.x, problem.weight, problem.fit_intercept)
    if problem.loss_functions.target_scale == "none":
        return identity_scaling(problem)._replace(center=center, scale=scale)
    y_center, y_scale = center_and_scale(np.asarray(problem.y, dtype=np.float64), problem.weight, problem.fit_intercept)
    if problem.loss_functions.target_scale == "common":
        spread = ((problem.y - y_center) ** 2).sum(axis=1)
        common = np.sqrt(problem.weight @ spread / (problem.weight.sum() * len(y_scale)))
        y_scale = np.full(len(y_scale), common if common > 0 else 1.0)
    return Scaling(center, scale, y_center, y_scale)


def working_problem(problem: Problem, scaling: Scaling) -> Problem:
    """The problem in working coordinates: at theta its objective is F(raw_theta(theta)) / y_scale^2.

    With several targets of different y_scale it is the sum of the targets' shares of F, each over its own y_scale^2.

    Raises
    ------
    ValueError
        If targets with a common scale have several, or those without units have any.
    """
    moved = np.any(scaling.y_center != 0) or np.any(scaling.y_scale != 1)
    units = problem.loss_functions.target_scale
    if units == "none" and moved:
        raise ValueError(f"y_center and y_scale must be 0 and 1 for the {problem.loss} loss: its targets have no scale")
    if units == "common" and np.any(scaling.y_scale != scaling.y_scale[0]):
        raise ValueError(
            f"y_scale must be one number for all targets of the {problem.loss} loss: delta is common to them"
        )
    return replace(
        problem,
        x=(problem.x - scaling.center) / scaling.scale,
        y=(problem.y - scaling.y_center) / scaling.y_scale if moved else problem.y,
        delta=problem.delta / float(scaling.y_scale[0]) if units == "common" else problem.delta,
        l1=problem.l1 / (scaling.y_scale[:, None] * scaling.scale),
        l2=problem.l2 / scaling.scale**2,
    )


def raw_theta(theta: Floats, scaling: Scaling) -> Floats:
    """Coefficients and intercepts (K, d + 1) for raw features and targets, from those in working coordinates."""
    raw = theta * scaling.y_scale[:, None]
    raw[:, :-1] /= scaling.scale
    raw[:, -1] += scaling.y_center - raw[:, :-1] @ scaling.center
    return raw


def working_theta(raw: Floats, scaling: Scaling) -> Floats:
    """The inverse of `raw_theta`."""
    theta = raw.copy()
    theta[:, -1] += raw[:, :-1] @ scaling.center - scaling.y_center
    theta[:, :-1] *= scaling.scale
    return theta / scaling.y_scale[:, None]
