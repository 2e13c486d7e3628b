"""The minimum along a step, for each output by itself: slopes of a convex function, bracketed."""

import numpy as np

from fastgd.objective import Evaluation, Objective
from fastgd.scaling import Array

#: Share of its first value to which a slope has to fall, and slopes at most.
_FLAT, _SLOPES = 0.05, 60
#: Factor by which a bracket with an open end grows, and by which one that reaches down to 0 shrinks.
_GROWTH, _SHRINKAGE = 4.0, 0.1


def to_line_minimum(objective: Objective, at: Evaluation, step: Array) -> Array:
    """The step (K, d + 1), each output's by the length with which it ends at about the minimum of F along it.

    The step itself where that would take more than a pass. Newton's method on the slope, safeguarded by a bracket: the
    Huber loss has kinks in its slope, and the L1 norm jumps.
    """
    line = objective.along(at, step)
    if line is None:
        return step
    t, low, high = np.ones(len(step)), np.zeros(len(step)), np.full(len(step), np.inf)
    slope, jump = _with_l1(objective, at, step, np.zeros(len(step)))
    first = np.abs(line(np.zeros(len(step)))[0] + slope + jump)
    for _ in range(_SLOPES):
        slope, curvature = line(t)
        extra, jump = _with_l1(objective, at, step, t)
        slope = slope + extra
        # What is no number has overflowed: too long.
        searching = ~(np.abs(slope) <= _FLAT * first + jump)
        if not searching.any():
            break
        low, high = np.where(slope < 0.0, t, low), np.where(slope < 0.0, high, t)
        t = np.where(searching, _next_length(t, low, high, slope, curvature), t)
    return np.where(first > 0.0, t, 1.0)[:, None] * step


def _with_l1(objective: Objective, at: Evaluation, step: Array, t: Array) -> tuple[Array, Array]:
    """The L1 norm's part of slopes at t (K,), halfway where it jumps, and half of the jumps."""
    if not objective.has_l1:
        return np.zeros(len(t)), np.zeros(len(t))
    point = at.theta + t[:, None] * step
    rates = objective.l1 * step
    return (rates * np.sign(point)).sum(axis=1), np.where(point == 0.0, np.abs(rates), 0.0).sum(axis=1)


def _next_length(t: Array, low: Array, high: Array, slope: Array, curvature: Array) -> Array:
    """Where the slope would be 0 by its curvature, if that is inside the bracket, else inside it."""
    closed = np.isfinite(high)
    end = np.where(closed, high, _GROWTH * t)
    with np.errstate(invalid="ignore", over="ignore"):
        newton = t - np.divide(slope, curvature, out=np.full(len(t), np.inf), where=curvature > 0.0)
    middle = np.where(low > 0.0, 0.5 * (low + end), _SHRINKAGE * end)
    inside: Array = np.where((newton > low) & (newton < np.where(closed, high, _GROWTH * end)), newton, np.nan)
    return np.where(np.isnan(inside), np.where(closed, middle, end), inside)
