"""Learning rates: automatic ones, and rates known to be safe."""

import math
from typing import Any

import numpy as np

from fastgd.objective import Objective
from fastgd.scaling import Array
from fastgd.schedules import Constant, CosineDecay, InverseTimeDecay, Schedule, as_schedule, is_auto
from fastgd.solvers.plan import Plan

#: Automatic rates of rules whose steps hardly depend on the size of gradients, in working coordinates: with Adam and
#: its kin a step moves a coefficient by about this much.
ADAPTIVE = {
    "adagrad": 0.3,
    "rmsprop": 0.02,
    "adam": 0.02,
    "amsgrad": 0.02,
    "nadam": 0.02,
    "adadelta": 20.0,
    "adamw": 0.02,
}
#: Batches for which these hold; on smaller ones, whose gradients are noisier, they are sqrt(rows / 256) times as large.
_USUAL_BATCH = 256
#: Fits of fewer updates than this take longer steps: all of them together must lead from 0 to the optimum.
_USUAL_UPDATES = 500
#: How much longer at most; ADADELTA's steps grow by themselves, and overshoot if they are more than twice as long.
_LONGEST, _LONGEST_ADADELTA = 10.0, 2.0
#: Shares of its curvature below which a Huber loss counts as linear: gradients get no smaller near the optimum.
_LINEAR = 0.3


def is_automatic(plan: Plan) -> bool:
    """Whether the first rate is left to the fit."""
    return schedule_of(plan).automatic


def schedule_of(plan: Plan) -> Schedule:
    """What the user gave for a learning rate."""
    return as_schedule(plan.optimizer.get_params(deep=False)["learning_rate"])


def bound_schedule(objective: Objective, plan: Plan, rate: float) -> Schedule:
    """The schedule of a fit, in which "auto" stands for `rate`."""
    given = plan.optimizer.get_params(deep=False)["learning_rate"]
    schedule = _automatic_decay(objective, plan) if is_auto(given) else as_schedule(given)
    return schedule.bind(rate, plan.max_iter)


def rate_of_auto(objective: Objective, plan: Plan) -> float:
    """What "auto" stands for in the schedule of a fit; NaN where the user gave rates."""
    return automatic_rate(objective, plan) if is_automatic(plan) else math.nan


def automatic_rate(objective: Objective, plan: Plan) -> float:
    """1 / L of the batch, on batches a momentum's times 1 - mu and SAGA's a third; adaptive rules have a constant."""
    rule = plan.optimizer.rule
    if rule in ADAPTIVE:
        return ADAPTIVE[rule] * _length(plan, objective.data.n) if rule != "adagrad" else ADAPTIVE[rule]
    rate = 1.0 / _curvature(objective, plan, share_at_start(objective))
    if rule == "saga":
        return rate / 3.0
    # Gradients of the Huber loss do not grow with the distance: what a heavy ball gathers overshoots.
    heavy = rule == "momentum" and objective.problem.loss == "huber"
    return rate if plan.is_full(objective.data.n) and not heavy else rate * (1.0 - _momentum(plan))


def _length(plan: Plan, n: int) -> float:
    """How much longer than usual the steps of an adaptive rule are."""
    noise = math.sqrt(min(plan.batch_size or n, _USUAL_BATCH) / _USUAL_BATCH)
    updates = plan.max_iter * plan.batches(n)
    longest = _LONGEST_ADADELTA if plan.optimizer.rule == "adadelta" else _LONGEST
    return max(noise if plan.batch_size else 1.0, min(_USUAL_UPDATES / updates, longest))


def falls_to_zero(objective: Objective, plan: Plan) -> bool:
    """Whether an automatic rate is 0 at the end of the fit: before it a flat loss only says that it is still large."""
    automatic = is_auto(plan.optimizer.get_params(deep=False)["learning_rate"])
    return automatic and isinstance(_automatic_decay(objective, plan), CosineDecay)


def _automatic_decay(objective: Objective, plan: Plan) -> Schedule:
    """How an automatic rate falls: not where gradients have no noise; to 0 where steps are as long near the optimum."""
    if plan.optimizer.rule in ADAPTIVE:
        return CosineDecay()
    if not plan.is_full(objective.data.n) and share_at_start(objective) < _LINEAR:
        return CosineDecay()
    if plan.is_full(objective.data.n) or plan.optimizer.rule == "saga":
        return Constant()
    return InverseTimeDecay()


def safe_rate(objective: Objective, plan: Plan) -> float | None:
    """2 / L for gradient descent, 2 (1 + mu) / L for momentum, (2 + 2 mu) / ((1 + 2 mu) L) for Nesterov's.

    Times (1 - mu)^2 / 2 on batches, whose noise adds up; 1 / (3 L) for SAGA. None for rules without such a bound.
    """
    rule, mu = plan.optimizer.rule, _momentum(plan)
    if rule in ADAPTIVE:
        return None
    # Strictly inside the bound.
    unit = 0.99 / _curvature(objective, plan)
    if rule == "saga":
        return unit / 3.0
    bound = 2.0 * (1.0 + mu) / (1.0 + 2.0 * mu if rule == "nesterov" else 1.0)
    return unit * bound * (1.0 if plan.is_full(objective.data.n) else 0.5 * (1.0 - mu) ** 2)


def _momentum(plan: Plan) -> float:
    params: dict[str, Any] = plan.optimizer.get_params(deep=False)
    return float(params.get("momentum", 0.0))


def follows_losses(plan: Plan) -> bool:
    """Whether `rate_factor` applies: to automatic rates of rules whose steps are proportional to gradients."""
    return is_automatic(plan) and plan.optimizer.rule not in ADAPTIVE


def share_at_start(objective: Objective) -> float:
    """Share of its largest curvature that the loss has, on average, at the constant model.

    1 but for the Huber loss, whose majoriser bends by min(1, delta / |r|): steps that are safe where all residuals are
    within delta would not get to the optimum from targets whose spread is a thousand times as large.
    """
    return float(np.max(objective.problem.constant.curvatures)) if objective.problem.loss == "huber" else 1.0


def rate_factor(objective: Objective, losses: Array) -> float:
    """What an automatic rate is multiplied with where the mean losses are these (K,).

    1 but for the Huber loss, whose mean curvature rises as residuals shrink, about like 1 / |r|.
    """
    problem = objective.problem
    if problem.loss != "huber":
        return 1.0
    constant, delta = problem.constant, problem.delta
    # Losses are delta (|r| - delta / 2) beyond delta.
    shrunk = (constant.losses + 0.5 * delta**2) / (losses + 0.5 * delta**2)
    return share_at_start(objective) / float(np.max(np.minimum(constant.curvatures * shrunk, 1.0)))


def _curvature(objective: Objective, plan: Plan, share: float = 1.0) -> float:
    return objective.batch_curvature(plan.batch_size or objective.data.n, share)
