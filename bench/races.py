"""The races to the optimum, by name: python -m bench.run --rivals --case NAME."""

from collections.abc import Callable
from dataclasses import replace

from bench import contest
from bench.contest import Contest
from bench.problems import Data, Problem
from bench.result import Result


def _generated(problem: Problem) -> Callable[[int, int | None], Data]:
    def make(seed: int, rows: int | None) -> Data:
        return replace(problem, seed=seed, n=min(problem.n, rows or problem.n)).make()

    return make


def _ratios(*ratios: float) -> dict[float, float]:
    return dict(zip((1e-3, 1e-4, 1e-6), ratios, strict=True))


_TALL = Problem("logistic", 1_000_000, 100)

RACES: dict[str, Contest] = {
    "optimum_logistic": Contest("Logistic regression, 1,000,000 x 100 float32", _generated(_TALL), _ratios(1.2, 2, 10)),
}
#: Of the rows of a race in a quick run.
_QUICK = 10


def run(name: str, quick: bool) -> Result:
    """One race."""
    race = RACES[name]
    if not quick:
        return contest.run(race)
    rows = len(race.make(0, None).y)
    return contest.run(race, rows // _QUICK if rows > 100_000 else None, 1)
