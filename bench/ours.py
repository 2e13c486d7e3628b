"""fastgd's own candidates: the loops that its solvers run, without the checks of an estimator around them."""

import itertools
from typing import Any

import numpy as np

from bench.candidates import Candidate
from bench.check import Floats, Plan, Point
from bench.problems import Data
from fastgd.backends.cpu.data import CpuData
from fastgd.kernels.rules import RULES
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import EpochProblem
from fastgd.optimizers import BY_NAME, Adam, GradientDescent, Momentum, Nesterov, Optimizer, Recipe
from fastgd.reference import epoch_order

NAME = "fastgd"
#: Rules of the kernels that are settings of an optimizer.
_SETTINGS: dict[str, Optimizer] = {
    "averaged": GradientDescent(average=True),
    "lookahead": Nesterov(form="lookahead"),
    "momentum_torch": Momentum(form="torch"),
    "nesterov_torch": Nesterov(form="torch"),
}
#: Every rule of the kernels, as its optimizer has it by default.
OPTIMIZERS: dict[str, Optimizer] = {rule: _SETTINGS.get(rule) or BY_NAME[rule]() for rule in RULES}


def load(data: Data, threads: int) -> CpuData:
    """The data as the backend holds them; X is not copied."""
    return CpuData(data.X, data.signs()[None, :], None, threads)


def full_pass(data: Data, point: Point, threads: int) -> Candidate:
    """Loss and gradient, one reading of X."""
    loaded, shift = load(data, threads), np.zeros(data.X.shape[1])

    def run() -> Floats:
        sums = loaded.gradient("logistic", point.coef[None, :], np.array([point.intercept]), shift, 0.0)
        return np.concatenate([sums.losses, sums.products[0], sums.derivatives]) / loaded.n

    return Candidate(NAME, _threads(threads), run)


def epoch(data: Data, plan: Plan, shuffle: bool, threads: int = 1) -> Candidate:
    """One epoch from zero in one compiled call; losses are summed on the way."""
    loaded, d = load(data, threads), data.X.shape[1]
    epochs = loaded.epochs("logistic", raw_problem(d, plan, shuffle))
    batches = plan.batches(loaded.n)
    rates = np.full(batches, plan.rate)
    recipe = _recipe(plan)
    numbered = itertools.count()

    def run() -> Floats:
        rule = loaded.rule_state(recipe, np.zeros((1, d + 1)))
        # Every run is an epoch of its own, with its own order; the first, which is checked, is number 0.
        epochs.run(next(numbered), 0, batches, rates, rule)
        return rule.reported[0]

    order = epoch_order(loaded.n, plan.seed, 0) if shuffle else None
    setting = "shuffled" if shuffle else "in order"
    return Candidate(NAME, setting if threads == 1 else f"{setting}, {_threads(threads)}", run, order)


def raw_problem(d: int, plan: Plan, shuffle: bool) -> EpochProblem:
    """A plan's batches of columns as they are, with its L2 penalty."""
    return EpochProblem(
        scaling=Scaling(np.zeros(d), np.ones(d)),
        shift=np.zeros(d),
        l1=np.zeros((1, d + 1)),
        l2=np.append(np.full(d, plan.alpha), 0.0)[None, :],
        p=0.0,
        fit_intercept=True,
        batch_size=plan.batch_size,
        seed=plan.seed,
        shuffle=shuffle,
    )


def _recipe(plan: Plan) -> Recipe:
    own = Adam(plan.rate, plan.beta1, plan.beta2, plan.eps) if plan.rule == "adam" else OPTIMIZERS[plan.rule]
    return own.recipe(plan.batch_size)


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def fit(data: Data, **parameters: Any) -> Any:
    """A fitted LogisticRegression."""
    from fastgd import LogisticRegression

    return LogisticRegression(**parameters).fit(data.X, data.y)
