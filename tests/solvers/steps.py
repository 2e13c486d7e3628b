"""Run rules through the public API and by the reference."""

from functools import partial
from typing import NamedTuple

import numpy as np

from fastgd import optimizers, reference
from tests.estimators.fits import fit, theta_of
from tests.objective_of import working

#: The library's rules by the reference's names.
RULES = {
    "gd": optimizers.GradientDescent,
    "averaged": partial(optimizers.GradientDescent, average=True),
    "momentum": optimizers.Momentum,
    "lookahead": partial(optimizers.Nesterov, form="lookahead"),
    "nesterov": optimizers.Nesterov,
    "adagrad": optimizers.AdaGrad,
    "rmsprop": optimizers.RMSProp,
    "adam": optimizers.Adam,
    "amsgrad": optimizers.AMSGrad,
    "nadam": optimizers.Nadam,
    "adadelta": optimizers.AdaDelta,
    "adamw": optimizers.AdamW,
    "saga": optimizers.SAGA,
    "momentum_torch": partial(optimizers.Momentum, form="torch"),
    "nesterov_torch": partial(optimizers.Nesterov, form="torch"),
}
_ADAM = {"beta1": 0.8, "beta2": 0.95, "eps": 0.05}
_ROLLING = {"momentum": 0.7}
#: Hyper-parameters other than the defaults. With an eps below the rate the rounding of an intercept whose gradient is
#: 0 grows from step to step.
HYPER = {
    "gd": {},
    "averaged": {},
    "momentum": _ROLLING,
    "lookahead": _ROLLING,
    "nesterov": _ROLLING,
    "adagrad": {"eps": 0.05},
    "rmsprop": {"decay": 0.8, "eps": 0.05},
    "adam": _ADAM,
    "amsgrad": _ADAM,
    "nadam": {**_ADAM, "momentum_decay": 0.1},
    "adadelta": {"decay": 0.8, "eps": 0.05},
    "adamw": {**_ADAM, "weight_decay": 0.1},
    "saga": {},
    "momentum_torch": _ROLLING,
    "nesterov_torch": _ROLLING,
}
#: Rules that have no use for the full batch.
NOISY = {"averaged", "saga"}


class Steps(NamedTuple):
    """Raw parameters after the last epoch, losses per epoch, and the number of updates."""

    theta: np.ndarray
    losses: np.ndarray
    updates: int


def steady_rate(problem: reference.Problem, rule: str, batch_size: int | str, standardize: bool) -> float:
    """Return a stable rate with large steps."""
    if "eps" in reference.RULES[rule].defaults:
        return 0.3 if rule == "adadelta" else 0.05
    its, _ = working(problem, standardize)
    size = problem.n_rows if batch_size == "full" else batch_size
    rate = 0.7 / reference.batch_curvature(its, size)
    if "momentum" in reference.RULES[rule].defaults and batch_size != "full":
        return 0.1 * rate
    return rate / 3.0 if rule == "saga" else rate


def both(
    problem: reference.Problem, rule: str, rate: float, epochs: int, *, dtype: str = "f8", order: str = "C", **options
) -> tuple[Steps, Steps]:
    """Return the library's run and the reference's, on the same batches."""
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
    return ours, Steps(reference.raw_theta(run.reported, scaling), run.losses, updates)
