"""skglm: working sets of coordinates, in Numba; made for penalties that leave zeros."""

import functools
from collections.abc import Iterator

from skglm import ElasticNet, SparseLogisticRegression

from bench.fits import Fit, tolerances
from bench.objective import Objective
from bench.racing import Racer


def solvers(objective: Objective) -> Iterator[Racer]:
    """Its estimators of elastic nets. Its smooth solver, L-BFGS, has no intercept."""
    if not objective.l1 or objective.task == "softmax":
        return
    name, estimator = {
        "linear": ("ElasticNet", ElasticNet),
        "logistic": ("SparseLogisticRegression", SparseLogisticRegression),
    }[objective.task]
    make = functools.partial(estimator, alpha=objective.alpha, l1_ratio=objective.l1_ratio, max_iter=1000)
    yield Fit(f"skglm {name}", make, tolerances(), order="F").racer()
