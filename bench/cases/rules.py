"""One epoch of every update rule against one of gradient descent: what a rule costs beside its gradients."""

from dataclasses import replace

import numpy as np

from bench import ours, problems
from bench.candidates import Candidate, checked
from bench.check import Floats, Plan
from bench.problems import Data
from bench.result import Finding, Result
from bench.timing import Spread, alternate, ratios
from fastgd import reference

#: What a rule's epoch may take of gradient descent's; SAGA has a table of all rows to keep.
_AT_MOST, _AT_MOST_SAGA = 1.15, 2.5
#: More than elsewhere, since a few per cent decide.
_ROUNDS = 21
#: Rows of the problem on which results are checked.
_CHECKED = 20_000
PLAN = Plan(batch_size=256, rule="gd", rate=1e-3)


def run(quick: bool) -> Result:
    """All rules in turn, the slowest but SAGA and SAGA itself in README."""
    result = Result(
        "One shuffled epoch over whole batches from zero on one thread, L2 penalty, raw columns, the optimizers' own "
        "hyper-parameters; losses are summed on the way. SAGA's table of loss derivatives is made in the epoch."
    )
    problem = problems.problem("epoch", quick)
    small = replace(problem, n=_CHECKED).make()
    errors = checked(_candidates(small), lambda candidate: _expected(small, candidate.name), problem.dtype)

    data = problem.make()
    seconds = alternate({c.name: c.run for c in _candidates(data)}, 3 if quick else _ROUNDS)
    cost = {rule: ratios(taken, seconds[PLAN.rule]) for rule, taken in seconds.items() if rule != PLAN.rule}
    slowest = max(cost.keys() - {"saga"}, key=lambda rule: cost[rule]["median"])
    for rule, ratio in cost.items():
        name = f"{rule}, the slowest rule but SAGA" if rule == slowest else rule
        what = f"Epoch, batches of {PLAN.batch_size}, {name}, shuffled, {problem.size}"
        result.findings.append(_finding(what, rule, seconds, ratio, rule in (slowest, "saga")))
    result.raw.append({"problem": problem.name, "relative_errors": errors, "seconds": seconds})
    return result


def _candidates(data: Data) -> list[Candidate]:
    return [replace(ours.epoch(data, replace(PLAN, rule=rule), shuffle=True), name=rule) for rule in ours.OPTIMIZERS]


def _expected(data: Data, rule: str) -> Floats:
    """The reference's parameters after the epoch of number 0."""
    problem = reference.make_problem(data.X, data.signs(), "logistic", alpha=PLAN.alpha)
    plan = reference.Plan(rule, PLAN.rate, 1, PLAN.batch_size, drop_last=True, seed=PLAN.seed)
    reported: Floats = reference.run(problem, np.zeros(problem.shape), plan).reported[0]
    return reported


def _finding(what: str, rule: str, seconds: dict[str, list[float]], ratio: Spread, in_readme: bool) -> Finding:
    took, base = (float(np.median(seconds[name])) for name in (rule, PLAN.rule))
    against = f"gradient descent's epoch, {base * 1e3:.3g} ms"
    at_most = _AT_MOST_SAGA if rule == "saga" else _AT_MOST
    return Finding(what, took, "s", against, ratio, "cost", at_most=at_most, in_readme=in_readme)
