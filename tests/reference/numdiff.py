"""Finite differences, the independent word on derivatives."""

from collections.abc import Callable

import numpy as np


def derivative(f: Callable[[float], np.ndarray | float], step: float) -> np.ndarray:
    """f'(0) by the five-point rule, error O(step^4)."""
    return (np.asarray(f(-2 * step)) - 8 * f(-step) + 8 * f(step) - f(2 * step)) / (12 * step)


def gradient(f: Callable[[np.ndarray], np.ndarray | float], x: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Derivatives of f in every entry of x: shape x.shape + shape of f(x)."""
    parts = []
    for k in range(x.size):
        unit = np.zeros(x.size)
        unit[k] = 1.0
        parts.append(derivative(lambda t, u=unit: f(x + t * u.reshape(x.shape)), step))
    return np.array(parts).reshape(x.shape + np.shape(parts[0]))
