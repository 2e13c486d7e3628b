"""One epoch of large batches on all cores against one, and the same bits from both."""

from dataclasses import replace

import numpy as np

from bench import ours, problems
from bench.candidates import Candidate
from bench.check import Plan
from bench.problems import Data
from bench.result import Result
from bench.timing import ROUNDS, alternate
from bench.versus import add_times
from bench.yardstick import cores

#: How many times as fast two threads are to be, by rows a batch.
_TARGETS = {2048: None, 8192: 1.5, 65536: None}
PLAN = Plan(batch_size=8192, rule="adam", rate=1e-3)


def run(quick: bool) -> Result:
    """Each batch size on one thread and on all cores."""
    result = Result(
        "One shuffled epoch of Adam over whole batches from zero, L2 penalty, raw columns; losses are summed."
    )
    if cores() < 2:
        result.missing["all threads"] = "there is one core"
        return result
    problem = problems.problem("epoch", quick)
    data = problem.make()
    for batch_size, at_least in _TARGETS.items():
        _add(result, data, replace(PLAN, batch_size=batch_size), at_least, 3 if quick else ROUNDS)
    return result


def _add(result: Result, data: Data, plan: Plan, at_least: float | None, rounds: int) -> None:
    problem = data.problem
    one, all_ = (_candidate(data, plan, count) for count in (1, cores()))
    if not np.array_equal(one.run(), all_.run()):
        raise AssertionError(f"batches of {plan.batch_size}: {all_.name} change the result")
    seconds = alternate({c.name: c.run for c in (one, all_)}, rounds)
    what = f"Epoch, batches of {plan.batch_size}, Adam, shuffled, {all_.name}, {problem.size}"
    add_times(result, seconds, all_, one, what, at_least, in_readme=at_least is not None)
    result.raw.append({"problem": problem.name, "batch_size": plan.batch_size, "seconds": seconds})


def _candidate(data: Data, plan: Plan, count: int) -> Candidate:
    name = f"{count} thread{'s' if count > 1 else ''}"
    return Candidate(name, "the same epoch", ours.epoch(data, plan, True, count).run)
