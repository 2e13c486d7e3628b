"""The races to the optimum, by name: python -m bench.run --rivals --case NAME."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bench import contest
from bench.contest import Contest
from bench.report import report
from fastgd.bench.problems import Data, Problem
from fastgd.bench.result import Result

#: Values of alpha with which about half of the coefficients of the generated problems are 0.
_HALF_ZERO = {"logistic": 0.008, "linear": 0.05}
#: A quick run of a race with many rows has a part of them.
_QUICK_PART, _MANY_ROWS = 10, 50_000


def run_race(name: str, quick: bool) -> Result:
    """Run one race."""
    race = RACES[name]
    if quick:
        rows = race.rows // _QUICK_PART if race.rows > _MANY_ROWS else race.rows
        race = replace(race, rows=rows, repetitions=min(race.repetitions, 2))
    return report(contest.run(race))


def _generated(problem: Problem, kind: str, *targets: float, **more: Any) -> Contest:
    """Return a race on a generated problem; targets: for distances of 1e-3, 1e-4 and 1e-6."""

    def make(seed: int, rows: int) -> Data:
        return replace(problem, seed=seed, n=rows).make()

    return Contest(f"{kind}, {problem.size}", make, problem.n, _bounds(*targets), **more)


def _bounds(*ratios: float) -> dict[float, float]:
    return dict(zip((1e-3, 1e-4, 1e-6), ratios, strict=True))


def _tall(task: str, dtype: str = "f4", **more: Any) -> Problem:
    return Problem(task, 1_000_000, 100, dtype, **more)


_KINDS = {"logistic": "Logistic regression", "linear": "Linear regression", "softmax": "Softmax regression, 10 classes"}
_SOFTMAX = Problem("softmax", 200_000, 100, classes=10)


def _optima() -> Iterator[tuple[str, Contest]]:
    """Iterate over the races of default fits, in the order in which they run and are shown."""
    kind = _KINDS["logistic"]
    for dtype in ("f4", "f8"):
        yield f"logistic_{dtype}", _generated(_tall("logistic", dtype), f"{kind}, condition 1e2", 1.2, 2, 10)
        ill, units = _tall("logistic", dtype, condition=1e6), _tall("logistic", dtype, units=1e3)
        yield f"logistic_ill_{dtype}", _generated(ill, f"{kind}, condition 1e6", 3, 5, 10)
        yield f"logistic_units_{dtype}", _generated(units, f"{kind}, columns of scale 1e-3 to 1e3", 3, 5, 10)
    linear, ridge = (_KINDS["linear"], {"alpha": 0.0}), ("Ridge regression", {})
    for name, (kind, more) in {"linear": linear, "ridge": ridge}.items():
        yield name, _generated(_tall("linear"), kind, 1.3, 1.3, 1.3, **more)
    for name, (kind, more) in {"logistic": (_KINDS["logistic"], {}), "linear": linear, "ridge": ridge}.items():
        problem = Problem("logistic" if name == "logistic" else "linear", 200_000, 1_000)
        yield f"{name}_wide", _generated(problem, kind, 2, 4, 6, repetitions=3, **more)
    for task, alpha in _HALF_ZERO.items():
        kind = f"{_KINDS[task]}, elastic net, half of the coefficients 0"
        yield f"net_{task}", _generated(_tall(task), kind, 2, 3, 5, alpha=alpha, l1_ratio=0.5)
    yield "softmax", _generated(_SOFTMAX, _KINDS["softmax"], 1.5, 2, 3, repetitions=3)
    for size, n, d in (("small", 20_000, 20), ("tiny", 1_000, 10)):
        for task, more in (("logistic", {}), ("linear", {"alpha": 0.0})):
            problem = Problem(task, n, d, "f8")
            yield (
                f"{size}_{task}",
                _generated(problem, _KINDS[task], 2, 2, 2, repetitions=31, validated=True, **more),
            )


_RULES = "Logistic regression by mini-batches, rate automatic"

#: Every race; "race" is that of mini-batch rules with automatic rates against stochastic loops with tuned rates.
RACES: dict[str, Contest] = {
    "race": replace(
        _generated(_tall("logistic"), _RULES, 1.2, 1.2, 1.2, repetitions=3, stochastic=True),
        at_least={1e-2: 1.0, 1e-3: 1.2},
        targets=(1e-2, 1e-3),
    ),
    **{f"optimum_{name}": race for name, race in _optima()},
}
