"""The optimum of penalised logistic regression in float64 NumPy, and F anywhere: no code of fastgd."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bench.check import Floats
from bench.problems import Data

#: Numbers of X that are held in float64 at a time.
_BLOCK_NUMBERS = 1 << 20
#: Rows whose curvature stands for that of all rows; the gradient is that of all.
_CURVATURE_ROWS = 50_000
_STEPS = 50
#: Of F: what is left to gain at the optimum, by the Newton decrement.
_PRECISION = 1e-10


class Optimum(NamedTuple):
    """theta (d + 1,), intercept last, F there, and the Newton decrement's estimate of what could be gained."""

    theta: Floats
    value: float
    left: float


def values(data: Data, alpha: float, thetas: Floats) -> Floats:
    """F (m,) at each of thetas (m, d + 1): mean logistic loss and alpha |w|^2 / 2, on raw columns."""
    total = np.zeros(len(thetas))
    for X, y in _blocks(data, len(data.y)):
        margins = y * (thetas @ X.T)
        total += np.sum(np.maximum(-margins, 0.0) + np.log1p(np.exp(-np.abs(margins))), axis=1)
    penalties: Floats = np.sum(thetas[:, :-1] ** 2, axis=1)
    return total / len(data.y) + 0.5 * alpha * penalties


def find_optimum(data: Data, alpha: float) -> Optimum:
    """Newton's method from zero with the curvature of some rows, a step halved until it lowers F.

    Raises
    ------
    ArithmeticError
        Where 50 steps are not enough.
    """
    theta, left = np.zeros(data.X.shape[1] + 1), np.inf
    value = float(values(data, alpha, theta[None])[0])
    for _ in range(_STEPS):
        gradient = _gradient(data, alpha, theta)
        step = np.linalg.solve(_curvature(data, alpha, theta), gradient)
        left = 0.5 * float(gradient @ step)
        if left <= _PRECISION * value:
            return Optimum(theta, value, left)
        for _ in range(10):
            lower = float(values(data, alpha, (theta - step)[None])[0])
            if lower < value:
                theta, value = theta - step, lower
                break
            step = step / 2
    raise ArithmeticError(f"no optimum after {_STEPS} steps of Newton's method: {left:.3g} left of {value:.6g}")


def _blocks(data: Data, n: int) -> Iterator[tuple[Floats, Floats]]:
    """The first n rows, with a last column of ones, and their labels -1 and +1."""
    step = max(1, _BLOCK_NUMBERS // data.X.shape[1])
    for start in range(0, n, step):
        X = data.X[start : min(start + step, n)]
        yield np.column_stack([X.astype(np.float64), np.ones(len(X))]), 2.0 * data.y[start : start + len(X)] - 1.0


def _ridge(alpha: float, size: int) -> Floats:
    return np.append(np.full(size - 1, alpha), 0.0)


def _gradient(data: Data, alpha: float, theta: Floats) -> Floats:
    total = np.zeros(len(theta))
    for X, y in _blocks(data, len(data.y)):
        total -= (y / (1.0 + np.exp(y * (X @ theta)))) @ X
    return total / len(data.y) + _ridge(alpha, len(theta)) * theta


def _curvature(data: Data, alpha: float, theta: Floats) -> Floats:
    rows, total = min(_CURVATURE_ROWS, len(data.y)), np.diag(_ridge(alpha, len(theta)))
    for X, _ in _blocks(data, rows):
        right = 1.0 / (1.0 + np.exp(-(X @ theta)))
        total += (X.T * (right * (1.0 - right) / rows)) @ X
    return total
