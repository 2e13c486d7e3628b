"""Learning rates: automatic ones, and rates known to be safe."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastgd.objective import Objective
from fastgd.scaling import Array

if TYPE_CHECKING:
    from fastgd.solvers.classic import Plan

#: Adam's automatic rate: in working coordinates a step moves a coefficient by about this much.
ADAM_RATE = 0.02


@dataclass(frozen=True)
class Rates:
    """The learning rate as a function of the progress in epochs t: first x decay(t).

    decay: "constant"; "inverse", 1 / (1 + t); "cosine", (1 + cos(pi t / epochs)) / 2.
    """

    first: float
    decay: str = "constant"
    epochs: int = 1

    def at(self, epoch: int, first: int, last: int, batches: int) -> Array:
        """Rates of batches [first, last) of an epoch."""
        t = epoch + np.arange(first, last) / batches
        if self.decay == "inverse":
            return self.first / (1.0 + t)
        if self.decay == "cosine":
            cosine: Array = self.first * 0.5 * (1.0 + np.cos(np.pi * np.minimum(t / self.epochs, 1.0)))
            return cosine
        return np.full(last - first, self.first)


def automatic_rates(objective: Objective, plan: "Plan") -> Rates:
    """1 / L of the batch, momentum's times 1 - mu and both decaying where batches are noisy; Adam's constant."""
    optimizer = plan.optimizer
    if optimizer.rule == "adam":
        return Rates(ADAM_RATE, "cosine", plan.max_iter)
    n = objective.data.n
    rate = 1.0 / objective.batch_curvature(plan.batch_size or n)
    if plan.batch_size is None or plan.batch_size >= n:
        return Rates(rate)
    return Rates(rate * (1.0 - optimizer.get_params().get("momentum", 0.0)), "inverse")


def safe_rate(objective: Objective, plan: "Plan") -> float | None:
    """2 / L for gradient descent, 2 (1 + mu) / L for momentum (times (1 - mu)^2 on batches, whose noise adds up).

    None for rules without such a bound.
    """
    optimizer = plan.optimizer
    n = objective.data.n
    curvature = objective.batch_curvature(plan.batch_size or n)
    if optimizer.rule == "gd":
        # Strictly inside the bound.
        return 0.99 * 2.0 / curvature
    if optimizer.rule == "momentum":
        mu = optimizer.get_params()["momentum"]
        noise = 1.0 if plan.batch_size is None or plan.batch_size >= n else (1.0 - mu) ** 2
        return float(0.99 * 2.0 * (1.0 + mu) / curvature * noise)
    return None
