"""Loss and gradient of logistic regression over all rows: other libraries on the same array."""

from bench import ours, problems, rivals
from bench.candidates import best_settings, checked
from bench.check import Point, logistic_pass
from bench.result import Result
from bench.timing import ROUNDS, alternate
from bench.versus import add_times
from bench.yardstick import cores

_TARGETS = {"NumPy, two products": 3.5, "PyTorch autograd": 2.5, "scikit-learn LinearModelLoss": 4.5}


def run(quick: bool) -> Result:
    """All on all cores, or on one where that is faster."""
    result = Result(
        "One call for loss and gradient; data in memory in the form each library wants, everything compiled and "
        "warmed up; every library with the number of threads that suits it best."
    )
    problem = problems.problem("rivals", quick)
    data = problem.make()
    point = Point.of(data)
    expected = logistic_pass(data, point)
    adapters, result.missing = rivals.load(["NumPy", "PyTorch", "scikit-learn"])
    candidates = [ours.full_pass(data, point, cores())]
    for adapter in adapters:
        candidates += adapter.full_passes(data, point)
    errors = checked(candidates, lambda _: expected, problem.dtype)
    best, tried = best_settings(candidates)
    seconds = alternate({name: candidate.run for name, candidate in best.items()}, 3 if quick else ROUNDS)
    for name, at_least in _TARGETS.items():
        if name in best:
            add_times(result, seconds, best[ours.NAME], best[name], f"Full pass, {problem.size}", at_least)
    result.raw.append(
        {"problem": problem.name, "relative_errors": errors, "seconds_of_settings": tried, "seconds": seconds}
    )
    return result
