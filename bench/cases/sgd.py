"""One epoch of stochastic gradient descent, an update a row, against scikit-learn's SGDClassifier."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from bench import ours, problems, rivals
from bench.candidates import Candidate, checked
from bench.check import Floats, Plan, logistic_epoch
from bench.problems import Data
from bench.result import Result
from bench.timing import ROUNDS, alternate
from bench.versus import add_times
from fastgd.optimizers import GradientDescent

_TARGET = 1.5
_ROUNDS = 5
#: Rows of the problem on which results are checked, in order.
_CHECKED = 20_000
PLAN = Plan(batch_size=1, rule="gd", rate=1e-3)


def run(quick: bool) -> Result:
    """The loop alone, and a whole fit with one epoch, both against a whole fit of SGDClassifier with one epoch."""
    result = Result(
        "Constant rate, L2 penalty, rows shuffled, raw columns. Both fits check X and encode labels; ours also takes "
        "the columns' moments and evaluates the final objective over all rows."
    )
    (adapter, *_), result.missing = rivals.load(["scikit-learn"])
    problem = problems.problem("epoch", quick)
    small = replace(problem, n=_CHECKED).make()
    expected = logistic_epoch(small, PLAN)
    candidates = [ours.epoch(small, PLAN, False), _fit(small, False), adapter.sgd_epoch(small, PLAN, False)]
    errors = checked(candidates, lambda _: expected, problem.dtype)

    data = problem.make()
    loop, fit, rival = ours.epoch(data, PLAN, True), _fit(data, True), adapter.sgd_epoch(data, PLAN, True)
    seconds = alternate({c.name: c.run for c in (loop, fit, rival)}, 3 if quick else min(ROUNDS, _ROUNDS))
    add_times(result, seconds, loop, rival, f"Epoch, a row an update, shuffled, {problem.size}", _TARGET)
    add_times(result, seconds, fit, rival, f"Fit, one epoch, a row an update, {problem.size}", _TARGET)
    result.raw.append({"problem": problem.name, "relative_errors": errors, "seconds": seconds})
    return result


def _fit(data: Data, shuffle: bool) -> Candidate:
    parameters: dict[str, Any] = {
        "alpha": PLAN.alpha,
        "standardize": False,
        "optimizer": GradientDescent(learning_rate=PLAN.rate),
        "batch_size": 1,
        "shuffle": shuffle,
        "max_iter": 1,
        "tol": 0.0,
        "random_state": PLAN.seed,
    }

    def run() -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one epoch need not converge
            model = ours.fit(data, **parameters)
        return np.append(model.coef_[0], model.intercept_)

    return Candidate("fastgd LogisticRegression.fit", "one epoch", run)
