"""fastgd's own candidates: the loops that its solvers run, without the checks of an estimator around them."""

import itertools
from typing import Any

import numpy as np

from bench.candidates import Candidate
from bench.check import Floats, Plan, Point
from bench.problems import Data
from fastgd.backends.cpu import CpuData, EpochProblem, RuleState
from fastgd.reference import epoch_order
from fastgd.scaling import Scaling

NAME = "fastgd"


def load(data: Data, threads: int) -> CpuData:
    """The data as the backend holds them; X is not copied."""
    return CpuData(data.X, data.signs()[None, :], None, threads)


def full_pass(data: Data, point: Point, threads: int) -> Candidate:
    """Loss and gradient, one reading of X."""
    loaded, shift = load(data, threads), np.zeros(data.X.shape[1])

    def run() -> Floats:
        sums = loaded.gradient("logistic", point.coef[None, :], np.array([point.intercept]), shift, 0.0)
        return np.concatenate([sums.losses, sums.products[0], sums.derivatives]) / loaded.n

    return Candidate(NAME, f"{threads} thread{'s' if threads > 1 else ''}", run)


def epoch(data: Data, plan: Plan, shuffle: bool) -> Candidate:
    """One epoch from zero in one compiled call, on one thread; losses are summed on the way."""
    loaded, d = load(data, 1), data.X.shape[1]
    l2 = np.append(np.full(d, plan.alpha), 0.0)[None, :]
    problem = EpochProblem(
        Scaling(np.zeros(d), np.ones(d)),
        np.zeros(d),
        np.zeros((1, d + 1)),
        l2,
        0.0,
        True,
        plan.batch_size,
        plan.seed,
        shuffle,
    )
    batches = plan.batches(loaded.n)
    rates = np.full(batches, plan.rate)
    numbers = (plan.beta1, plan.beta2, plan.eps) if plan.rule == "adam" else (0.0, 0.0, 0.0)
    epochs = loaded.epochs("logistic", problem)
    numbered = itertools.count()

    def run() -> Floats:
        rule = RuleState(plan.rule, numbers, np.zeros((1, d + 1)))
        # Every run is an epoch of its own, with its own order; the first, which is checked, is number 0.
        epochs.run(next(numbered), 0, batches, rates, rule)
        return rule.theta[0]

    order = epoch_order(loaded.n, plan.seed, 0) if shuffle else None
    return Candidate(NAME, "shuffled" if shuffle else "in order", run, order)


def fit(data: Data, **parameters: Any) -> Any:
    """A fitted LogisticRegression."""
    from fastgd import LogisticRegression

    return LogisticRegression(**parameters).fit(data.X, data.y)
