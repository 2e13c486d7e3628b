"""scipy: L-BFGS-B, loss and gradient by two products in NumPy."""

import functools
from collections.abc import Iterator

import numpy as np
from scipy.optimize import minimize

from fastgd.bench.objective import Floats, Objective
from fastgd.bench.rivals.racers import Effort, Racer, iterations


def solvers(objective: Objective) -> Iterator[Racer]:
    """L-BFGS-B in the dtype of X, and in float64."""
    if objective.l1:
        return
    yield Racer("scipy L-BFGS-B", iterations(), functools.partial(_start, as_float64=False))
    if objective.data.X.dtype != np.float64:
        yield Racer("scipy L-BFGS-B, X as float64", iterations(), functools.partial(_start, as_float64=True))


def _start(objective: Objective, effort: Effort, as_float64: bool) -> Iterator[Floats]:
    X = objective.X if as_float64 else objective.data.X
    kind = X.dtype.type
    y = objective.y.astype(kind)

    def value_and_gradient(flat: Floats) -> tuple[float, Floats]:
        theta = flat.reshape(objective.shape)
        z = X @ theta[:, :-1].T.astype(kind) + theta[:, -1].astype(kind)
        value = objective.loss.value(z, y).sum(dtype=np.float64) / len(y) + objective.penalties(theta)
        r = objective.loss.slope(z, y)
        gradient = np.column_stack([r.T @ X, r.sum(axis=0, dtype=np.float64)]).astype(np.float64) / len(y)
        gradient[:, :-1] += objective.l2 * theta[:, :-1]
        return float(value), gradient.ravel()

    def run() -> Iterator[Floats]:
        options = {"maxiter": int(effort.value), "ftol": 0.0, "gtol": 0.0}
        start = np.zeros(objective.shape).ravel()
        found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
        yield found.x.reshape(objective.shape)

    return run()
