"""The races to the optimum, by name: python -m bench.run --rivals --case NAME."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bench import contest, datasets
from bench.contest import Contest
from bench.problems import Data, Problem
from bench.result import Result

#: Where about half of the coefficients of the generated problems are 0.
_HALF_ZERO = {"logistic": 0.008, "linear": 0.05}
_PIXELS, _DIGITS, _IMAGES = 784, 10, 60_000
#: In a quick run of what has many rows: a part of them, once.
_QUICK_PART, _MANY_ROWS = 10, 50_000


class NoData(Exception):
    """What a race needs is not there."""


def run(name: str, quick: bool) -> Result:
    """One race.

    Raises
    ------
    NoData
        Where a file is missing.
    """
    race = RACES[name]
    if quick:
        rows = race.rows // _QUICK_PART if race.rows > _MANY_ROWS else race.rows
        race = replace(race, rows=rows, repetitions=min(race.repetitions, 2))
    try:
        race.make(0, 1)
    except FileNotFoundError as error:
        raise NoData(f"{error}; name its folder with --data or $FASTGD_BENCH_DATA") from error
    return contest.run(race)


def _generated(problem: Problem, kind: str, at_least: tuple[float, float, float], **more: Any) -> Contest:
    """A race on a generated problem; at_least: for targets of 1e-3, 1e-4 and 1e-6."""

    def make(seed: int, rows: int) -> Data:
        return replace(problem, seed=seed, n=rows).make()

    return Contest(f"{kind}, {problem.size}", make, problem.n, _bounds(*at_least), **more)


def _bounds(*ratios: float) -> dict[float, float]:
    return dict(zip((1e-3, 1e-4, 1e-6), ratios, strict=True))


def _tall(task: str, dtype: str = "f4", **more: Any) -> Problem:
    return Problem(task, 1_000_000, 100, dtype, **more)


def _wide(task: str) -> Problem:
    return Problem(task, 200_000, 1_000)


def _net(task: str) -> Contest:
    kind = f"{_KINDS[task]}, elastic net, half of the coefficients 0"
    return _generated(_tall(task), kind, (2, 3, 5), alpha=_HALF_ZERO[task], l1_ratio=0.5)


def _small(task: str, n: int, d: int) -> Contest:
    more: dict[str, Any] = {"alpha": 0.0} if task == "linear" else {}
    return _generated(Problem(task, n, d, "f8"), _KINDS[task], (2, 2, 2), repetitions=31, validated=True, **more)


def _mnist(seed: int, rows: int) -> Data:
    """Pixels from 0 to 1 in an order of its own."""
    X, y = datasets.mnist("train")
    chosen = np.random.default_rng(seed).permutation(len(y))[:rows]
    problem = Problem("softmax", rows, _PIXELS, classes=_DIGITS, seed=seed)
    return Data(problem, X[chosen].astype(np.float32) / np.float32(255.0), y[chosen], np.zeros((_DIGITS, _PIXELS)))


def _logistic() -> Iterator[tuple[str, Contest]]:
    """Float32 and float64; well and ill conditioned; columns in units of any size."""
    kind = _KINDS["logistic"]
    for dtype in ("f4", "f8"):
        yield f"logistic_{dtype}", _generated(_tall("logistic", dtype), f"{kind}, condition 1e2", (1.2, 2, 10))
        ill, units = _tall("logistic", dtype, condition=1e6), _tall("logistic", dtype, units=1e3)
        yield f"logistic_ill_{dtype}", _generated(ill, f"{kind}, condition 1e6", (3, 5, 10))
        yield f"logistic_units_{dtype}", _generated(units, f"{kind}, columns of scale 1e-3 to 1e3", (3, 5, 10))


_KINDS = {"logistic": "Logistic regression", "linear": "Linear regression", "softmax": "Softmax regression, 10 classes"}
_SOFTMAX = Problem("softmax", 200_000, 100, classes=10)

#: In the order in which they run and are shown.
RACES: dict[str, Contest] = {
    f"optimum_{name}": race
    for name, race in {
        **dict(_logistic()),
        "linear": _generated(_tall("linear"), _KINDS["linear"], (1.3, 1.3, 1.3), alpha=0.0),
        "ridge": _generated(_tall("linear"), "Ridge regression", (1.3, 1.3, 1.3)),
        "logistic_wide": _generated(_wide("logistic"), _KINDS["logistic"], (2, 4, 6), repetitions=3),
        "linear_wide": _generated(_wide("linear"), _KINDS["linear"], (2, 4, 6), alpha=0.0, repetitions=3),
        "ridge_wide": _generated(_wide("linear"), "Ridge regression", (2, 4, 6), repetitions=3),
        "net_logistic": _net("logistic"),
        "net_linear": _net("linear"),
        "softmax": _generated(_SOFTMAX, _KINDS["softmax"], (1.5, 2, 3), repetitions=3),
        "mnist": Contest(
            "MNIST, 60,000 x 784 float32, 10 classes",
            _mnist,
            _IMAGES,
            _bounds(1.5, 2, 3),
            repetitions=3,
            shuffled=True,
        ),
        "small_logistic": _small("logistic", 20_000, 20),
        "small_linear": _small("linear", 20_000, 20),
        "tiny_logistic": _small("logistic", 1_000, 10),
        "tiny_linear": _small("linear", 1_000, 10),
    }.items()
}
