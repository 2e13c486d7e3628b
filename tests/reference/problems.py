"""Small random problems for every loss."""

import numpy as np

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
