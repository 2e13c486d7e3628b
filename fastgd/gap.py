"""A bound on how far F lies above its minimum, from one gradient: Fenchel's duality gap."""

import numpy as np

from fastgd.scaling import Array

#: Gaps of a larger share of F say nothing: losses are at least 0, so that F bounds what it lies above its minimum.
_TELLING = 0.1


def telling(gap: float | None, value: float) -> float | None:
    """A gap that says something of a value of F, else None."""
    return None if gap is None or gap > _TELLING * value else gap


def duality_gaps(coef: Array, gradient: Array, l1: Array, l2: float) -> Array:
    r"""Gaps of the outputs, which add up to a bound on F - F*.

    .. math::
        \sum_j a_1 |w_j| + \tfrac{a_2}{2} w_j^2 + w_j g_j + \frac{\max(|g_j| - a_1, 0)^2}{2 a_2}

    where a_1 and a_2 weigh the L1 norm and half the squared L2 norm. Each term is at least 0, and 0 where w_j is
    optimal; without L1 the sum is the squared gradient of F over 2 a_2. Where the derivative by the intercept is 0 the
    dual point is feasible, and the sum a bound.

    Parameters
    ----------
    coef, gradient : ndarray of shape (K, d)
        w, and the gradient g of the mean loss at it.
    l1 : ndarray of shape (K,)
        Weights of the L1 norm.
    l2 : float
        Weight of half the squared L2 norm, above 0.

    Returns
    -------
    ndarray of shape (K,)

    References
    ----------
    Rockafellar, "Convex analysis", 1970, section 31.
    """
    if not l1.any():
        smooth: Array = ((gradient + l2 * coef) ** 2).sum(axis=1) / (2.0 * l2)
        return smooth
    a1 = l1[:, None]
    excess = np.maximum(np.abs(gradient) - a1, 0.0)
    terms = a1 * np.abs(coef) + 0.5 * l2 * coef**2 + coef * gradient + excess**2 / (2.0 * l2)
    # What is below 0 is rounding.
    gaps: Array = np.maximum(terms, 0.0).sum(axis=1)
    return gaps
