"""Proximal maps and optimality of the penalties, coordinate by coordinate."""

import numpy as np

from fastgd.arrays import Array


def soft_threshold(v: Array, threshold: Array) -> Array:
    """Return argmin_u (u - v)^2 / 2 + threshold |u|."""
    shrunk: Array = np.sign(v) * np.maximum(np.abs(v) - threshold, 0.0)
    return shrunk


def elastic_net_prox(v: Array, step: float, l1: Array, l2: Array) -> Array:
    """Return argmin_u (u - v)^2 / (2 step) + l1 |u| + l2 u^2 / 2."""
    return soft_threshold(v, step * l1) / (1.0 + step * l2)


def subgradient_distance(theta: Array, slope: Array, l1: Array) -> Array:
    """Return the distance of 0 to slope + the subdifferential of l1 |theta|."""
    distance: Array = np.where(theta != 0.0, np.abs(slope + l1 * np.sign(theta)), np.maximum(np.abs(slope) - l1, 0.0))
    return distance
