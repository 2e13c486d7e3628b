"""Functions to minimise, with their gradients by hand."""

from typing import NamedTuple

import numpy as np

#: A start from which Rosenbrock's function leads through its valley.
ROSENBROCK_START = np.array([-1.2, 1.0])


class Quadratic(NamedTuple):
    """x . H x / 2 with H's eigenvalues and eigenvectors (columns)."""

    curvatures: np.ndarray
    vectors: np.ndarray

    def __call__(self, x):
        x = self.vectors.T @ x
        return 0.5 * x @ (self.curvatures * x), self.vectors @ (self.curvatures * x)


def quadratic(curvatures, seed=0):
    """Return a quadratic with these curvatures along random orthogonal axes."""
    curvatures = np.asarray(curvatures, dtype=float)
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.standard_normal((curvatures.size, curvatures.size)))
    return Quadratic(curvatures, axes)


def logcosh(d=6, seed=1):
    """Return (value, gradient) of sum_i log cosh(a_i . x - c_i) + sum_j x_j^4 / 8 and a start; no quadratic."""
    rng = np.random.default_rng(seed)
    a, c = rng.standard_normal((2 * d, d)), rng.standard_normal(2 * d)

    def value_and_gradient(x):
        z = a @ x - c
        return np.sum(np.log(np.cosh(z))) + np.sum(x**4) / 8, a.T @ np.tanh(z) + x**3 / 2

    return value_and_gradient, rng.standard_normal(d)


def rastrigin(x):
    """10 d + sum_j x_j^2 - 10 cos(2 pi x_j), and its gradient: a local minimum near every point of whole numbers."""
    value = 10 * x.size + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))
    return value, 2 * x + 20 * np.pi * np.sin(2 * np.pi * x)


def plateau(x):
    """A plain at 1 with a basin of depth 1 and width 1 at the origin, as flat as float64 can be from |x| = 7 on."""
    depth = np.exp(-(x @ x))
    return 1.0 - depth, 2.0 * depth * x


def counted(function):
    """Return the function, and a list that grows by an entry a call."""
    calls = []

    def with_count(*args):
        calls.append(args)
        return function(*args)

    return with_count, calls
