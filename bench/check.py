"""What every candidate must compute, in float64 NumPy block by block; checked before anything is timed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.problems import Data
from fastgd.reference import LOSSES

Floats = NDArray[np.float64]

#: Largest relative error of a loss or, in norm, a gradient or a vector of parameters.
TOLERANCE = {"f4": 2e-4, "f8": 1e-9}
_BLOCK_NUMBERS = 1 << 20


@dataclass(frozen=True)
class Point:
    """Where a full pass is evaluated: coef (d,) and intercept."""

    coef: Floats
    intercept: float

    @classmethod
    def of(cls, data: Data) -> "Point":
        """Half way to the model that labels were drawn from: neither at a start nor at an optimum."""
        return cls(0.5 * data.coef[0], 0.1)


@dataclass(frozen=True)
class Plan:
    """One epoch of logistic regression from zero: whole batches only, L2 penalty, on raw columns."""

    batch_size: int
    rule: str
    rate: float
    alpha: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    seed: int = 1

    def batches(self, n: int) -> int:
        """Whole batches in n rows."""
        return n // self.batch_size


def logistic_pass(data: Data, point: Point) -> Floats:
    """Mean logistic loss, then its gradient in coef, then in the intercept: (d + 2,)."""
    loss, total = LOSSES["logistic"], np.zeros(data.X.shape[1] + 2)
    signs = data.signs().astype(np.float64)[:, None]
    step = max(1, _BLOCK_NUMBERS // data.X.shape[1])
    for start in range(0, len(signs), step):
        X, y = data.X[start : start + step].astype(np.float64), signs[start : start + step]
        z = X @ point.coef[:, None] + point.intercept
        r = loss.gradient(z, y, 1.0)[:, 0]
        total[0] += np.sum(loss.value(z, y, 1.0))
        total[1:-1] += r @ X
        total[-1] += r.sum()
    return total / len(signs)


def logistic_epoch(data: Data, plan: Plan, order: NDArray[Any] | None = None) -> Floats:
    """Parameters (d + 1,), intercept last, after one epoch over the rows in `order` (None: as they are)."""
    n, d = data.X.shape
    theta, m, v = np.zeros((3, d + 1))
    signs = data.signs().astype(np.float64)
    for t in range(plan.batches(n)):
        at = slice(t * plan.batch_size, (t + 1) * plan.batch_size)
        rows = at if order is None else order[at]
        X, y = data.X[rows].astype(np.float64), signs[rows]
        r = -y / (1.0 + np.exp(y * (X @ theta[:-1] + theta[-1]))) / plan.batch_size
        g = np.append(r @ X + plan.alpha * theta[:-1], r.sum())
        if plan.rule == "gd":
            theta -= plan.rate * g
            continue
        m = plan.beta1 * m + (1.0 - plan.beta1) * g
        v = plan.beta2 * v + (1.0 - plan.beta2) * g**2
        unbiased = m / (1.0 - plan.beta1 ** (t + 1)), v / (1.0 - plan.beta2 ** (t + 1))
        theta -= plan.rate * unbiased[0] / (np.sqrt(unbiased[1]) + plan.eps)
    return theta


def require_close(name: str, got: Any, expected: Floats, dtype: str) -> float:
    """The relative error in norm of a result, or AssertionError where it is too large."""
    got = np.asarray(got, dtype=np.float64).ravel()
    if got.shape != expected.shape:
        raise AssertionError(f"{name}: shape {got.shape}, expected {expected.shape}")
    error = float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
    if not error <= TOLERANCE[dtype]:
        raise AssertionError(f"{name}: relative error {error:.3g} is above {TOLERANCE[dtype]:g}; it is not timed")
    return error
