"""Minimise quadratic models with an L1 penalty by coordinate descent."""

import numpy as np

from fastgd.arrays import Array, read_only
from fastgd.kernels.cpu.quadratic import minimise_quadratic as _kernel


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
    _kernel(H, c, weights, found, float(tol), int(max_sweeps), gradient, active)
    return found
