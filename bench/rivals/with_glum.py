"""glum: generalised linear models by iteratively reweighted least squares."""

import functools
import itertools
from collections.abc import Iterator

from glum import GeneralizedLinearRegressor

from bench.fits import Fit, tolerances
from bench.objective import Objective
from bench.racing import Racer


def solvers(objective: Objective) -> Iterator[Racer]:
    """Its solver of second order for this penalty, and L-BFGS, each in both layouts of X; it has no softmax."""
    if objective.task == "softmax":
        return
    family = "normal" if objective.task == "linear" else "binomial"
    names = ("irls-cd",) if objective.l1 else ("irls-ls", "lbfgs")
    for solver, order in itertools.product(names, "CF"):
        make = functools.partial(
            GeneralizedLinearRegressor,
            family=family,
            alpha=objective.alpha,
            l1_ratio=objective.l1_ratio,
            solver=solver,
            max_iter=100_000,
            copy_X=False,
        )
        name = f"glum {solver}{', F order' if order == 'F' else ''}"
        yield Fit(name, make, tolerances("gradient_tol"), order, scratch=True).racer()
