"""A classic rule through the public API, and the same run by the reference."""

from typing import NamedTuple

import numpy as np

from fastgd import optimizers, reference
from tests.estimators.fits import fit, theta_of
from tests.objective_of import working

#: Hyper-parameters other than the defaults. Adam's eps hides the rounding of an intercept whose gradient is 0.
HYPER = {"gd": {}, "momentum": {"momentum": 0.7}, "adam": {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}}
RULES = {"gd": optimizers.GradientDescent, "momentum": optimizers.Momentum, "adam": optimizers.Adam}


class Steps(NamedTuple):
    """Raw parameters after the last epoch, the epochs' losses, and how many updates there were."""

    theta: np.ndarray
    losses: np.ndarray
    updates: int


def steady_rate(problem: reference.Problem, rule: str, batch_size: int | str, standardize: bool) -> float:
    """A rate with which the rule moves a good part of the way, and stays stable."""
    if rule == "adam":
        return 0.05
    its, _ = working(problem, standardize)
    size = problem.n_rows if batch_size == "full" else batch_size
    rate = 0.7 / reference.batch_curvature(its, size)
    return rate * 0.1 if rule == "momentum" and batch_size != "full" else rate


def both(
    problem: reference.Problem, rule: str, rate: float, epochs: int, *, dtype: str = "f8", order: str = "C", **options
) -> tuple[Steps, Steps]:
    """The library's run and the reference's, on the same batches."""
    hyper = options.pop("hyper", HYPER[rule])
    model = fit(
        problem,
        dtype=dtype,
        order=order,
        optimizer=RULES[rule](learning_rate=rate, **hyper),
        max_iter=epochs,
        tol=0.0,
        random_state=7,
        **options,
    )
    ours = Steps(theta_of(model), model.history_["loss"], -1)
    seed = np.random.RandomState(7).randint(2**31 - 1)
    options.setdefault("batch_size", 256)
    standardize = options.pop("standardize", True)
    its, scaling = working(problem, standardize)
    plan = reference.Plan(rule, rate, epochs, seed=seed, hyper=hyper, **options)

    def raw_loss(theta, rows):
        return reference.objective(problem, reference.raw_theta(theta, scaling), rows)

    run = reference.run(its, np.zeros(its.shape), plan, batch_loss=raw_loss)
    updates = sum(len(reference.batches(problem.n_rows, plan, epoch)) for epoch in range(epochs))
    return ours, Steps(reference.raw_theta(run.theta, scaling), run.losses, updates)
