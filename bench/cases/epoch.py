"""One epoch of Adam over batches of 256 rows: share of one core's bandwidth, and other libraries."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import ours, problems, rivals
from bench.candidates import Candidate, best_settings, checked
from bench.check import Floats, Plan, logistic_epoch
from bench.problems import Data
from bench.result import Result
from bench.share import add_share, measure
from bench.timing import ROUNDS, alternate
from bench.versus import add_times

_SHARE = 0.5
_TARGETS = {
    "JAX scan, in order": 1.3,
    "NumPy loop, in order": 1.8,
    "NumPy loop, shuffled": 5.0,
    "PyTorch loop, gradient by hand, in order": 8.0,
    "PyTorch loop, gradient by hand, shuffled": 8.0,
}
PLAN = Plan(batch_size=256, rule="adam", rate=1e-3)


def run(quick: bool) -> Result:
    """Ours is shuffled in every comparison."""
    result = Result(
        "One epoch over whole batches from zero, L2 penalty, data in memory in the form each library wants, everything "
        "compiled and warmed up. fastgd draws a new order each epoch and sums the losses; the rivals compute no loss. "
        "Permuting and gathering rows count. fastgd runs on one thread, the rivals on as many as suit them best."
    )
    problem, rounds = problems.problem("epoch", quick), 3 if quick else ROUNDS
    data = problem.make()
    what = f"Epoch, batches of {PLAN.batch_size}, Adam, shuffled, {problem.size}"
    shuffled, in_order = (ours.epoch(data, PLAN, shuffle) for shuffle in (True, False))
    expect = _Expected(data)
    errors = checked([shuffled, in_order], expect, problem.dtype)
    measured = measure(data.X, {"shuffled": (shuffled, 1), "in order": (in_order, 1)}, rounds)
    add_share(result, measured, "shuffled", what, problem.nbytes, _SHARE)
    add_share(result, measured, "in order", what.replace("shuffled", "in order"), problem.nbytes, None)
    result.raw.append({"problem": problem.name, "bytes": problem.nbytes, "relative_errors": errors, **measured})

    adapters, result.missing = rivals.load(["JAX", "NumPy", "PyTorch"])
    others = [candidate for adapter in adapters for candidate in adapter.epochs(data, PLAN)]
    errors = checked(others, expect, problem.dtype)
    best, tried = best_settings([shuffled, *others])
    seconds = alternate({name: candidate.run for name, candidate in best.items()}, rounds)
    for name, at_least in _TARGETS.items():
        if name in best:
            add_times(result, seconds, shuffled, best[name], what, at_least)
    result.raw.append(
        {"problem": problem.name, "relative_errors": errors, "seconds_of_settings": tried, "seconds": seconds}
    )
    return result


class _Expected:
    """The reference's parameters for the order of rows that a candidate uses; each computed once."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._known: list[tuple[NDArray[Any] | None, Floats]] = []

    def __call__(self, candidate: Candidate) -> Floats:
        for order, theta in self._known:
            if order is candidate.order or (order is not None and np.array_equal(order, np.asarray(candidate.order))):
                return theta
        self._known.append((candidate.order, logistic_epoch(self._data, PLAN, candidate.order)))
        return self._known[-1][1]
