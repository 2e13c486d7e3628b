"""Racers that cannot be looked into: estimators with scikit-learn's API, a whole fit a lap."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.check import Floats
from bench.objective import Objective
from bench.racing import Racer


class Effort(NamedTuple):
    """The parameter that says when to stop, and its value."""

    parameter: str
    value: float

    def __str__(self) -> str:
        return f"{self.parameter} {self.value:g}" if self.value else self.parameter


def tolerances(parameter: str = "tol") -> list[Effort]:
    """From 0.1 to 1e-8."""
    return [Effort(parameter, 10.0**-digits) for digits in range(1, 9)]


def iterations(parameter: str = "max_iter", most: int = 500) -> list[Effort]:
    """From 1 on, each about half as many again."""
    counts = [1, 2, 3, 5]
    while counts[-1] < most:
        counts.append(int(1.4 * counts[-1]))
    return [Effort(parameter, count) for count in counts]


#: The efforts of what is solved directly.
ONCE = [Effort("direct", 0)]


@dataclass(frozen=True)
class Fit:
    """How an estimator is fitted: `make` gives one without its stopping rule.

    order: of X in memory. scratch: whether it may write to X, which then is a copy. y: the targets from the data.
    """

    name: str
    make: Callable[[], Any]
    grid: Sequence[Effort]
    order: str = "C"
    scratch: bool = False
    y: Callable[[Objective], NDArray[Any]] | None = None

    def racer(self) -> Racer:
        """It in a race; conversion to its layout is preparation."""
        return Racer(self.name, self.grid, self._start, validates=True)

    def _start(self, objective: Objective, effort: Effort) -> Iterator[Floats]:
        data: Any = objective.data
        X = np.array(data.X, order=self.order, copy=self.scratch or None)
        y = (self.y or _targets)(objective)

        def run() -> Iterator[Floats]:
            model = self.make()
            if effort not in ONCE:
                model.set_params(**{effort.parameter: effort.value})
            yield theta(model.fit(X, y))

        return run()


def _targets(objective: Objective) -> NDArray[Any]:
    y = objective.data.y
    return y.astype(objective.data.X.dtype) if objective.task == "linear" else y


def theta(model: Any) -> Floats:
    """(K, d + 1) of what has coef_ and intercept_."""
    coef = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    return np.column_stack([coef, np.broadcast_to(np.ravel(model.intercept_), len(coef))])
