"""The objective of a race in float64 NumPy on raw columns, independent of the code of fastgd."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastgd.bench.problems import Data

Floats = NDArray[np.float64]
#: Numbers of rows and margins that are held at a time.
_BLOCK_NUMBERS = 1 << 21


@dataclass(frozen=True)
class Objective:
    """F = mean loss + alpha (l1_ratio |w|_1 + (1 - l1_ratio) |w|_2^2 / 2), the loss that of the data's task.

    theta (K, d + 1) holds a row of coefficients per output, the intercept last, which is 0 unless there is an
    `intercept`; K is 1 except for softmax. X is dense, or CSR of scipy.
    """

    data: Data
    alpha: float
    l1_ratio: float = 0.0
    intercept: bool = True

    @property
    def task(self) -> str:
        """The task of the data: "linear", "logistic" or "softmax"."""
        return self.data.problem.task

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of theta."""
        return self.data.problem.outputs, self.data.X.shape[1] + 1

    @property
    def l1(self) -> float:
        """Weight of |w|_1."""
        return self.alpha * self.l1_ratio

    @property
    def l2(self) -> float:
        """Weight of |w|_2^2 / 2."""
        return self.alpha * (1.0 - self.l1_ratio)

    @property
    def loss(self) -> "Loss":
        """The loss of rows with its derivatives."""
        return LOSSES[self.task]

    @cached_property
    def X(self) -> Floats:
        """The rows in float64, cached: a solve reads them often."""
        return self.data.X.astype(np.float64, copy=False)

    @cached_property
    def y(self) -> Floats:
        """Targets (n, K): numbers, -1 and +1, or a 1 in the column of the class."""
        if self.task == "softmax":
            return (self.data.y[:, None] == np.arange(self.shape[0])).astype(np.float64)
        y = self.data.y.astype(np.float64)[:, None]
        return y if self.task == "linear" else 2.0 * y - 1.0

    def values(self, thetas: Floats) -> Floats:
        """Return F (m,) at each of thetas (m, K, d + 1), or (m, d + 1) if K is 1."""
        thetas = thetas.reshape(len(thetas), *self.shape)
        total = np.zeros(len(thetas))
        for rows, X in self._blocks(len(thetas)):
            z = X @ thetas[:, :, :-1].reshape(-1, self.shape[1] - 1).T
            z = z.reshape(len(z), *thetas.shape[:2]) + thetas[:, :, -1]
            for which in range(len(thetas)):
                total[which] += self.loss.value(z[:, which], self.y[rows]).sum()
        return total / len(self.y) + self.penalties(thetas)

    def mean_loss(self, theta: Floats) -> Floats:
        """Return the mean loss, then its gradient in theta (K, d + 1) row by row: the result of a full pass."""
        total = np.zeros(1 + theta.size)
        for rows, X in self._blocks(1):
            z = X @ theta[:, :-1].T + theta[:, -1]
            r = self.loss.slope(z, self.y[rows])
            total[0] += self.loss.value(z, self.y[rows]).sum()
            total[1:] += np.column_stack([r.T @ X, r.sum(axis=0)]).ravel()
        return total / len(self.y)

    def penalties(self, thetas: Floats) -> Floats:
        """Return the penalty (...) of each of thetas (..., K, d + 1)."""
        w = thetas[..., :-1]
        return self.l1 * np.abs(w).sum(axis=(-2, -1)) + 0.5 * self.l2 * np.square(w).sum(axis=(-2, -1))

    @cached_property
    def constant(self) -> float:
        """F of the best model without coefficients."""
        return float(self.values(self.constant_theta()[None])[0])

    def constant_theta(self) -> Floats:
        """Return the best model without coefficients."""
        theta, mean = np.zeros(self.shape), self.y.mean(axis=0)
        if not self.intercept:
            return theta
        if self.task == "logistic":
            mean = np.log((1.0 + mean) / (1.0 - mean))
        theta[:, -1] = np.log(mean) - np.log(mean).mean() if self.task == "softmax" else mean
        return theta

    def margins(self, theta: Floats) -> Floats:
        """Return the margins (n, K)."""
        return self.X @ theta[:, :-1].T + theta[:, -1]

    def spread(self, r: Floats) -> Floats:
        """Return the derivative of the mean loss in theta (K, d + 1) from derivatives r (n, K) in the margins."""
        return np.column_stack([r.T @ self.X, r.sum(axis=0) * self.intercept]) / len(r)

    def spread_squares(self, h: Floats) -> Floats:
        """Return the means of the squares of columns and of the intercept's ones, weighted by h (n, K) (K, d + 1)."""
        total = np.zeros((h.shape[1], self.shape[1] - 1))
        for rows, X in self._blocks(1):
            total += h[rows].T @ (X.multiply(X) if issparse(X) else X * X)
        return np.column_stack([total, h.sum(axis=0)]) / len(h)

    def _blocks(self, models: int) -> Iterator[tuple[slice, Any]]:
        """Iterate over blocks of rows and their numbers in float64."""
        n, d = self.data.X.shape
        width = -(-self.data.X.nnz // n) if issparse(self.data.X) else d
        step = max(1, _BLOCK_NUMBERS // max(models * self.shape[0], width))
        for start in range(0, n, step):
            rows = slice(start, start + step)
            yield rows, self.data.X[rows].astype(np.float64, copy=False)


class Loss(NamedTuple):
    """The loss of rows with margins z (n, K) and targets y (n, K).

    value: (z, y) to losses (n,). slope: (z, y) to their derivatives in z. curve: (z, v) to second derivatives times v.
    """

    value: Callable[[Floats, Floats], Floats]
    slope: Callable[[Floats, Floats], Floats]
    curve: Callable[[Floats, Floats], Floats]


def _sigmoid(z: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def _logistic_value(z: Floats, y: Floats) -> Floats:
    t = y[:, 0] * z[:, 0]
    return np.maximum(-t, 0.0) + np.log1p(np.exp(-np.abs(t)))


def _logistic_curve(z: Floats, v: Floats) -> Floats:
    right = _sigmoid(z)
    return right * (1.0 - right) * v


def _softmax(z: Floats) -> Floats:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _softmax_value(z: Floats, y: Floats) -> Floats:
    largest = z.max(axis=1)
    return largest + np.log(np.exp(z - largest[:, None]).sum(axis=1)) - (z * y).sum(axis=1)


def _softmax_curve(z: Floats, v: Floats) -> Floats:
    p = _softmax(z)
    return p * (v - (p * v).sum(axis=1, keepdims=True))


LOSSES = {
    "linear": Loss(lambda z, y: 0.5 * (z - y)[:, 0] ** 2, lambda z, y: z - y, lambda z, v: v),
    "logistic": Loss(_logistic_value, lambda z, y: -y * _sigmoid(-y * z), _logistic_curve),
    "softmax": Loss(_softmax_value, lambda z, y: _softmax(z) - y, _softmax_curve),
}
