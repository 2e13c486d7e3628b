"""Random shapes of problems that optimizer="auto" has to choose a solver for."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bench.problems import Problem
from fastgd.solvers.cost_model import Shape

#: Kinds of problems: the task, and whether it has an elastic net.
_KINDS = [("logistic", False), ("linear", False), ("softmax", False), ("logistic", True), ("linear", True)]
_ROWS, _COLUMNS, _CONDITIONS, _CLASSES = (1e3, 1e6), (3.0, 1500.0), (1e1, 1e6), (3, 10)
#: Numbers of X at most, and of X times outputs.
_NUMBERS, _PRODUCTS = 6e7, 2e8
_ALPHAS, _L1_RATIO = (1e-3, 1e-1), 0.5
_C_ORDER = 0.8


class Task(NamedTuple):
    """A problem and its penalty; alpha is None for the estimator's default."""

    problem: Problem
    alpha: float | None = None
    l1_ratio: float = 0.0

    @property
    def name(self) -> str:
        """All there is to know, in words."""
        net = "" if self.alpha is None else f", alpha {self.alpha:.2g}, l1_ratio {self.l1_ratio:g}"
        return self.problem.name + net

    @property
    def penalty(self) -> dict[str, Any]:
        """Parameters of the estimator."""
        return {} if self.alpha is None else {"alpha": self.alpha, "l1_ratio": self.l1_ratio}

    @property
    def shape(self) -> Shape:
        """What fastgd's costs depend on."""
        problem = self.problem
        outputs = problem.classes if problem.task == "softmax" else 1
        loss = "squared" if problem.task == "linear" else problem.task
        itemsize = np.dtype(problem.dtype).itemsize
        return Shape(problem.n, problem.d + 1, outputs, itemsize, loss, self.l1_ratio > 0.0)


def draw(count: int, seed: int, part: int = 1) -> Iterator[Task]:
    """The first so many of an endless list; of each a part of the rows. Sizes are uniform in their logarithm."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        task, net = _KINDS[rng.integers(len(_KINDS))]
        classes = int(rng.integers(_CLASSES[0], _CLASSES[1] + 1)) if task == "softmax" else 2
        n, d = _size(rng, classes if task == "softmax" else 1)
        dtype, order = str(rng.choice(["f4", "f8"])), "C" if rng.random() < _C_ORDER else "F"
        condition = float(f"{_between(rng, *_CONDITIONS):.1e}")
        alpha = float(f"{_between(rng, *_ALPHAS):.1e}")
        problem = Problem(task, max(n // part, 50), d, dtype, order, condition, classes, seed=number)
        yield Task(problem, alpha, _L1_RATIO) if net else Task(problem)


def _size(rng: np.random.Generator, outputs: int) -> tuple[int, int]:
    while True:
        n, d = int(_between(rng, *_ROWS)), int(_between(rng, *_COLUMNS))
        if n * d <= _NUMBERS and n * d * outputs <= _PRODUCTS:
            return n, d


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
