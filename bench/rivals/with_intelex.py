"""scikit-learn-intelex: oneDAL behind scikit-learn's API."""

import functools
from collections.abc import Iterator

from daal4py.sklearn.linear_model import ElasticNet
from sklearnex.linear_model import LinearRegression, LogisticRegression, Ridge

from bench.fits import ONCE, Fit, tolerances
from bench.objective import Objective
from bench.racing import Racer


def solvers(objective: Objective) -> Iterator[Racer]:
    """What it has for this objective, and does not hand to scikit-learn."""
    return (fit.racer() for fit in _fits(objective))


def _fits(objective: Objective) -> Iterator[Fit]:
    strength = objective.alpha * len(objective.data.y)
    if objective.task != "linear":
        if not objective.l1:
            for solver in ("newton-cg", "lbfgs"):
                make = functools.partial(LogisticRegression, solver=solver, C=1.0 / strength, max_iter=100_000)
                yield Fit(f"scikit-learn-intelex {solver}", make, tolerances())
    elif objective.l1:
        make = functools.partial(ElasticNet, alpha=objective.alpha, l1_ratio=objective.l1_ratio, max_iter=100_000)
        yield Fit("scikit-learn-intelex ElasticNet", make, tolerances(), order="F")
    elif strength:
        yield Fit("scikit-learn-intelex Ridge", functools.partial(Ridge, alpha=strength), ONCE)
    else:
        yield Fit("scikit-learn-intelex LinearRegression", LinearRegression, ONCE)
