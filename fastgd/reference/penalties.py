"""The elastic net of Zou and Hastie (2005), with a weight for every coordinate: l1 |w| + l2 w^2 / 2.

A weight of 0 leaves its coordinate free, as for the intercept. All arrays have one shape or broadcast to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastgd.reference._arrays import Floats


def elastic_net(w: Floats, l1: Floats | float, l2: Floats | float) -> float:
    """sum_j l1_j |w_j| + l2_j w_j^2 / 2."""
    return float(np.sum(l1 * np.abs(w) + l2 * w**2 / 2))


def prox(v: Floats, step: Floats | float, l1: Floats | float) -> Floats:
    """argmin_x (x - v)^2 / 2 + step l1 |x|, coordinate by coordinate: the soft threshold (Parikh and Boyd 2014).

    Parameters
    ----------
    v : ndarray of float64
        The point to map.
    step : ndarray or float
        The step of each coordinate, at least 0.
    l1 : ndarray or float
        The L1 weight of each coordinate, at least 0. L2 has no part here: it belongs to the gradient.

    Returns
    -------
    ndarray of float64
        sign(v) max(|v| - step l1, 0).
    """
    return np.sign(v) * np.maximum(np.abs(v) - step * l1, 0.0)


def subgradient_distance(w: Floats, g: Floats, l1: Floats | float) -> Floats:
    """Distance of 0 from g_j + l1_j d|w_j|, coordinate by coordinate; g is the gradient of everything but L1.

    |g_j + l1_j sign(w_j)| where w_j is not 0, else max(|g_j| - l1_j, 0).
    """
    return np.where(w != 0, np.abs(g + l1 * np.sign(w)), np.maximum(np.abs(g) - l1, 0.0))
