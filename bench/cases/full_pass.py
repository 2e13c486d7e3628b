"""Loss and gradient of logistic regression over all rows: share of the memory's read bandwidth."""

from bench import ours, problems
from bench.candidates import checked
from bench.check import Point, logistic_pass
from bench.result import Result
from bench.share import add_share, measure
from bench.timing import ROUNDS
from bench.yardstick import cores

#: Problem, and the share that all cores must reach.
_TARGETS = {
    "pass-20-f4": 0.5,
    "pass-20-f8": 0.5,
    "pass-100-f4": 0.8,
    "pass-100-f8": 0.8,
    "pass-1000-f4": 0.8,
    "pass-1000-f8": 0.8,
    "pass-100-f4-columns": 0.6,
    "pass-100-f8-columns": 0.6,
}


def run(quick: bool) -> Result:
    """Each problem on one core and on all."""
    result = Result(
        "One call for loss and gradient; X in memory, kernels compiled. Bytes are those of X, labels not counted."
    )
    for name, at_least in _TARGETS.items():
        _add(result, problems.problem(name, quick), at_least, 3 if quick else ROUNDS)
    return result


def _add(result: Result, problem: problems.Problem, at_least: float, rounds: int) -> None:
    data = problem.make()
    point = Point.of(data)
    expected = logistic_pass(data, point)
    passes = {
        f"pass, {count} thread{'s' if count > 1 else ''}": (ours.full_pass(data, point, count), count)
        for count in sorted({1, cores()})
    }
    errors = checked([candidate for candidate, _ in passes.values()], lambda _: expected, problem.dtype)
    measured = measure(data.X, passes, rounds)
    for name, (_, count) in passes.items():
        what = f"Full {name}, {problem.size}"
        add_share(result, measured, name, what, problem.nbytes, at_least if count == cores() else None)
    result.raw.append({"problem": problem.name, "bytes": problem.nbytes, "relative_errors": errors, **measured})
