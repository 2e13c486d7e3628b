"""fastgd in the races: estimators with rules, batches and schedules by name, and every learning rate automatic."""

import time
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bench import ours
from bench.check import Floats
from bench.objective import Objective
from bench.optimum import Optimum, distances
from fastgd.optimizers import SAGA, AdaGrad, Adam, GradientDescent, Nesterov, Optimizer

_BATCH_SIZES = (256, 4096, 16384)
_RULES: dict[str, Optimizer] = {
    "GradientDescent(average=True)": GradientDescent(average=True),
    "Nesterov()": Nesterov(),
    "AdaGrad()": AdaGrad(),
    "Adam()": Adam(),
    "SAGA()": SAGA(),
}
#: Epochs at most that are tried, so that the smallest of them that is enough is found.
_EPOCHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)


@dataclass(frozen=True)
class Untuned:
    """Parameters of LogisticRegression beside alpha, by the name that results have."""

    name: str
    parameters: dict[str, Any]


def candidates() -> list[Untuned]:
    """The automatic solver, and every rule with every batch size."""
    rules = [
        Untuned(f"{name}, batches of {size}", {"optimizer": rule, "batch_size": size})
        for name, rule in _RULES.items()
        for size in _BATCH_SIZES
    ]
    return [Untuned("defaults", {}), *rules]


class Fit(NamedTuple):
    """Seconds of a whole fit and of its epochs alone, and theta (d + 1,)."""

    whole: float
    epochs: float
    theta: Floats


def fit(untuned: Untuned, objective: Objective, max_iter: int) -> Fit:
    """One fit of that many epochs at most."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is stopped at a target has not converged
        model = ours.fit(objective.data, alpha=objective.alpha, max_iter=max_iter, random_state=0, **untuned.parameters)
    whole = time.perf_counter() - begin
    return Fit(whole, float(model.history_["seconds"].sum()), np.append(model.coef_[0], model.intercept_))


def epochs_to(untuned: Untuned, objective: Objective, optimum: Optimum, targets: list[float]) -> dict[float, int]:
    """The smallest max_iter with which a fit comes as close as each target; targets that none reaches are left out."""
    found: dict[float, int] = {}
    for max_iter in _EPOCHS:
        theta = fit(untuned, objective, max_iter).theta
        distance = distances(objective, optimum, theta[None])[0]
        for target in targets:
            if distance <= target:
                found.setdefault(target, max_iter)
        if len(found) == len(targets):
            break
    return found
