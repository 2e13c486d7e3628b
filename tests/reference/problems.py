"""Small random problems for every loss, finite differences, and optima."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from fastgd import reference
from fastgd.reference import Problem, make_problem

LOSSES = ["squared", "huber", "logistic", "softmax"]
# A loss and its number of outputs.
KINDS = [("squared", 1), ("squared", 3), ("huber", 1), ("huber", 2), ("logistic", 1), ("softmax", 3)]


def targets(loss: str, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Targets that depend on the margins z (n, K) and on chance."""
    noisy = z + rng.standard_normal(z.shape)
    if loss == "logistic":
        return np.where(noisy[:, 0] > 0, 1.0, -1.0)
    if loss == "softmax":
        labels = noisy.argmax(axis=1)
        labels[: z.shape[1]] = np.arange(z.shape[1])
        return labels
    return noisy


def random_problem(loss: str, outputs: int = 1, *, n: int = 60, d: int = 4, seed: int = 0, **options) -> Problem:
    """Columns of unlike scale and mean, unlike weights, one of them 0."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((n, d))
    y = targets(loss, base @ rng.standard_normal((d, outputs)) + 0.3, rng)
    x = base * 10.0 ** np.linspace(-1, 1, d) + np.linspace(-2, 3, d)
    weight = rng.uniform(0.2, 2.0, n)
    weight[n // 2] = 0.0
    return make_problem(x, y, loss, **{"sample_weight": weight, "delta": 0.8, **options})


def random_theta(problem: Problem, seed: int = 1, size: float = 0.3) -> np.ndarray:
    """A point; its intercepts are 0 where the problem has none."""
    theta = size * np.random.default_rng(seed).standard_normal(problem.shape)
    if not problem.fit_intercept:
        theta[:, -1] = 0.0
    return theta


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


def scipy_optimum(problem: Problem, start: np.ndarray | None = None) -> np.ndarray:
    """The optimum by L-BFGS-B on the split theta = p - q, p, q >= 0, where L1 is linear."""
    size, shape = np.prod(problem.shape), problem.shape
    l1 = reference.l1_thresholds(problem).ravel()

    def both(pq):
        theta = (pq[:size] - pq[size:]).reshape(shape)
        g = reference.smooth_gradient(problem, theta).ravel()
        w = theta[:, :-1]
        value = reference.objective(problem, theta) - (problem.l1 * abs(w)).sum() + l1 @ (pq[:size] + pq[size:])
        return value, np.concatenate([g + l1, l1 - g])

    begin = np.zeros(size) if start is None else start.ravel()
    begin = np.concatenate([np.maximum(begin, 0.0), np.maximum(-begin, 0.0)])
    bounds = [(0, None)] * (2 * size)
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-15, "gtol": 1e-10, "maxcor": 50}
    found = minimize(both, begin, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return (found.x[:size] - found.x[size:]).reshape(shape)
