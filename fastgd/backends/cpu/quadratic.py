"""Minimise quadratic models with an L1 penalty: coordinate descent, with Newton steps where that is slow.

Coordinate descent finds the signs of the minimum in few sweeps but takes as many sweeps as H is ill-conditioned to find
its values. Those of a known set of signs solve linear equations (feature-sign search: Lee, Battle, Raina and Ng 2006).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fastgd.arrays import Array, read_only
from fastgd.kernels.cpu.quadratic import minimise_quadratic as _kernel
from fastgd.penalties import subgradient_distance

#: Sweeps between Newton steps.
_SWEEPS = 50
#: Most Newton steps at a time, times coordinates: about the time of the sweeps.
_STEPS = 10_000
#: Addition to the unit diagonal of a curvature, for one that is singular.
_RIDGE = 1e-13


def minimise_quadratic(
    curvature: Array, linear: Array, l1: Array, theta: Array, tol: float, max_sweeps: int = 1000
) -> Array:
    """Minimise 1/2 t'Ht + c't + sum_j l1_j |t_j| from theta.

    Parameters
    ----------
    curvature : ndarray of shape (D, D), float64
        H, symmetric and positive semidefinite. Coordinates with H_jj = 0 stay where they are.
    linear : ndarray of shape (D,), float64
        c.
    l1 : ndarray of shape (D,), float64
        Weights of 0 or more.
    theta : ndarray of shape (D,), float64
        The start; not written to.
    tol : float
        The largest distance of 0 to a coordinate's subdifferential to accept.
    max_sweeps : int, default=1000
        Most rounds over the active coordinates.

    Returns
    -------
    ndarray of shape (D,), float64
        The minimum, with exact zeros; to rounding if tol cannot be reached.
    """
    found = np.array(theta, dtype=np.float64)
    H, c, weights = (read_only(np.ascontiguousarray(part, np.float64)) for part in (curvature, linear, l1))
    gradient, active = np.empty(found.size), np.empty(found.size, np.int64)
    done, signs, worst = 0, np.full(found.size, np.nan), np.inf
    while done < max_sweeps:
        few = min(_SWEEPS, max_sweeps - done)
        taken = _kernel(H, c, weights, found, float(tol), few, gradient, active)
        done += few
        if taken < few:
            break
        if done < max_sweeps:
            found = _to_minimum_of_signs(H, c, weights, found)
            before, worst = worst, float(subgradient_distance(found, H @ found + c, weights).max(initial=0.0))
            if np.array_equal(signs, np.sign(found)) and worst > 0.5 * before:
                # The minimum for the same signs again: only rounding is left.
                break
            signs = np.sign(found)
    return found


def _to_minimum_of_signs(H: Array, c: Array, l1: Array, theta: Array) -> Array:
    """Return the minimum for the signs of theta, over its coordinates that are not 0 and do not reach 0 on the way."""
    for _ in range(max(1, _STEPS // len(theta))):
        before = np.count_nonzero(theta)
        theta = _newton_step(H, c, l1, theta)
        if np.count_nonzero(theta) == before:
            break
    return theta


def _newton_step(H: Array, c: Array, l1: Array, theta: Array) -> Array:
    """Return the minimum on the line from theta to the solution for its signs, in the coordinates that are not 0."""
    support = np.flatnonzero((theta != 0.0) & (H.diagonal() > 0.0))
    A, t, weights = H[np.ix_(support, support)], theta[support], l1[support]
    slopes = A @ t + c[support] + weights * np.sign(t)
    scale = 1.0 / np.sqrt(A.diagonal())
    unit = A * scale * scale[:, None]
    unit.flat[:: len(unit) + 1] += _RIDGE
    try:
        step = -scale * linalg.cho_solve(linalg.cho_factor(unit, lower=True), scale * slopes)
    except linalg.LinAlgError:
        return theta
    end = _line_minimum(t, step, weights, float(slopes @ step), float(step @ A @ step))
    found = theta.copy()
    found[support] = t + end.length * step
    found[support[end.zeros]] = 0.0
    return found


class _End(NamedTuple):
    """The length of a step, and the indices of its coordinates that end at 0."""

    length: float
    zeros: NDArray[np.intp]


def _line_minimum(t: Array, step: Array, l1: Array, slope: float, curvature: float) -> _End:
    """Return the end of a step at the minimum of a quadratic plus sum_j l1_j |t_j| along it.

    slope, curvature: at the start; the slope rises by 2 l1_j |step_j| where coordinate j passes 0.
    """
    none = np.empty(0, np.intp)
    if not slope < 0.0:
        return _End(0.0, none)
    crossing = np.flatnonzero(t * step < 0.0)
    lengths = -t[crossing] / step[crossing]
    order = np.argsort(lengths)
    crossing, lengths = crossing[order], lengths[order]
    rises = np.cumsum(2.0 * l1[crossing] * np.abs(step[crossing]))
    after = slope + lengths * curvature + rises
    k = int(np.argmax(after >= 0.0)) if (after >= 0.0).any() else len(after)
    before = slope + (rises[k - 1] if k else 0.0)
    free = -before / curvature if curvature > 0.0 else np.inf
    if k < len(after) and free >= lengths[k]:
        return _End(float(lengths[k]), crossing[k : k + 1])
    return _End(float(free) if np.isfinite(free) else 0.0, none)
