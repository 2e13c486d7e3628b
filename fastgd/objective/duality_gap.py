"""Fenchel's duality gap: a bound on the suboptimality of F, from one gradient."""

import numpy as np

from fastgd.arrays import Array

#: Largest informative gap as a share of F, which is itself a bound, since losses are at least 0.
_INFORMATIVE = 0.1


def informative_gap(gap: float | None, value: float) -> float | None:
    """Return the duality gap, or None if it exceeds 10 % of F."""
    return None if gap is None or gap > _INFORMATIVE * value else gap


def duality_gaps(coef: Array, gradient: Array, l1: Array, l2: Array, positive: bool = False) -> Array:
    r"""Return the gaps of the outputs, whose sum is a bound on F - F*.

    .. math::
        \sum_j a_1 |w_j| + \tfrac{a_2}{2} w_j^2 + w_j g_j + \frac{\max(|g_j| - a_1, 0)^2}{2 a_2}

    where a_1 and a_2 weigh the L1 norm and half the squared L2 norm. Each term is at least 0, and 0 if w_j is optimal;
    without L1 the sum is the squared gradient of F over 2 a_2. If the derivative by the intercept is 0 the dual point
    is feasible and the sum a bound. With coefficients constrained to w >= 0, -g_j replaces |g_j|.

    Parameters
    ----------
    coef, gradient : ndarray of shape (K, d)
        w, and the gradient g of the mean loss at it.
    l1 : ndarray of shape (K,)
        Weights of the L1 norm.
    l2 : ndarray of shape (K,)
        Weights of half the squared L2 norm, above 0.
    positive : bool, default=False
        Whether coefficients are constrained to be at least 0.

    Returns
    -------
    ndarray of shape (K,)

    References
    ----------
    Rockafellar, "Convex analysis", 1970, section 31.
    """
    if not l1.any() and not positive:
        smooth: Array = ((gradient + l2[:, None] * coef) ** 2).sum(axis=1) / (2.0 * l2)
        return smooth
    a1, a2 = l1[:, None], l2[:, None]
    excess = np.maximum(_slopes(gradient, positive) - a1, 0.0)
    terms = a1 * np.abs(coef) + 0.5 * a2 * coef**2 + coef * gradient + excess**2 / (2.0 * a2)
    # Negative terms are rounding.
    gaps: Array = np.maximum(terms, 0.0).sum(axis=1)
    return gaps


def feasible_share(gradient: Array, l1: Array, positive: bool = False) -> float:
    """Return the largest share, at most 1, of the loss derivatives that is dual feasible for a pure L1 penalty.

    Parameters
    ----------
    gradient : ndarray of shape (K, d)
        Of the mean loss.
    l1 : ndarray of shape (K,)
        Weights of the L1 norm, above 0: bounds of the gradient at the share.
    positive : bool, default=False
        Whether coefficients are constrained to be at least 0: then the gradient has no upper bound.

    References
    ----------
    Kim et al., "An interior-point method for large-scale l1-regularized least squares", 2007.
    """
    return 1.0 / max(1.0, float((_slopes(gradient, positive) / l1[:, None]).max(initial=0.0)))


def _slopes(gradient: Array, positive: bool) -> Array:
    """Return the descent rate of the loss by each coefficient, in the directions feasible from 0."""
    return -gradient if positive else np.abs(gradient)
