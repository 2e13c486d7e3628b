"""A racer: one way to the optimum of an objective, with the settings to choose from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fastgd.bench.machine import cores
from fastgd.bench.objective import Floats, Objective

#: An epoch is run in this many laps.
LAPS = 8
#: Rows from which the scale of the data is estimated; and the mean square of a row for which rates need no change.
_SCALE_ROWS, _USUAL_SQUARES = 5000, 22.5
#: First rates and their decay, see `Setting`, of gradient descent and of Adam; `fitted` adapts them to the data.
#: With decay 8 a rate is halved in the first epoch's first lap.
DESCENT_RATES = ((0.5, 0.0), (2.0, 0.0), (4.0, 1.0), (2.0, 8.0), (4.0, 8.0))
ADAM_RATES = ((0.005, 0.0), (0.02, 0.0), (0.04, 1.0), (0.02, 8.0), (0.04, 8.0))


class Setting(NamedTuple):
    """The tuned parameters of a stochastic loop: rows per batch, the learning rate, threads.

    decay: the rate falls as rate / (1 + decay * epochs), `fastgd.schedules.InverseTimeDecay`, from lap to lap, which
    costs a loop nothing; 0 is a constant rate.
    """

    batch_size: int
    rate: float
    threads: int = 1
    decay: float = 0.0

    def __str__(self) -> str:
        slope = "" if self.decay == 1.0 else f"{self.decay:g} "
        falling = f" / (1 + {slope}epochs)" if self.decay else ""
        return f"batch {self.batch_size}, rate {self.rate:g}{falling}, threads {self.threads}"

    def rate_in(self, lap: int, laps: int = LAPS) -> float:
        """Return the rate of a lap, counted from 0."""
        return self.rate / (1.0 + self.decay * lap / laps)


class Effort(NamedTuple):
    """The parameter that decides when a solver stops, and its value."""

    parameter: str
    value: float

    def __str__(self) -> str:
        return f"{self.parameter} {self.value:g}" if self.value else self.parameter


#: The only effort of direct solvers.
ONCE = [Effort("direct", 0)]


@dataclass(frozen=True)
class Racer:
    """One way to an optimum.

    start: brings data into the form that is wanted and returns an iterator; each step runs a lap and yields theta
    (K, d + 1). A lap is part of an epoch, an iteration or, for a solver that cannot be interrupted, a whole fit, the
    only lap; the grid then goes from loose tolerances to tight ones. Code is compiled in a process's first lap.

    validates: whether the user's input is checked. rule: for stochastic loops, how rates follow the scale of the data,
    see `fitted`. ordered: whether the grid goes from loose to tight; that of stochastic loops does not.
    """

    name: str
    grid: Sequence[Any]
    start: Callable[[Objective, Any], Iterator[Floats]]
    validates: bool = False
    rule: str | None = None
    ordered: bool = True


def tolerances(parameter: str = "tol") -> list[Effort]:
    """Return tolerances from 0.1 to 1e-8."""
    return [Effort(parameter, 10.0**-digits) for digits in range(1, 9)]


def iterations(parameter: str = "max_iter", most: int = 500) -> list[Effort]:
    """Return numbers of iterations from 1, each about half as many again."""
    counts = [1, 2, 3, 5]
    while counts[-1] < most:
        counts.append(int(1.4 * counts[-1]))
    return [Effort(parameter, count) for count in counts]


def settings(rates: Sequence[tuple[float, float]]) -> list[Setting]:
    """Return every pair of a rate and its decay with usual batch sizes, the largest also on all cores."""
    sizes = [(256, 1), (1024, 1), *((4096, threads) for threads in sorted({1, cores()}))]
    return [Setting(size, rate, threads, decay) for size, threads in sizes for rate, decay in rates]


def stochastic(name: str, grid: Sequence[Setting], start: Any, rule: str, **more: Any) -> Racer:
    """Return a racer of a stochastic loop."""
    return Racer(name, grid, start, rule=rule, ordered=False, **more)


def fitted(racer: Racer, objective: Objective) -> Racer:
    """Adapt the rates of a stochastic loop, meant for logistic regression with eigenvalues of X'X / n in [0.01, 1].

    Rates of "descent" follow the largest curvature, those of single "rows" the curvature of a row, those of "adam" the
    size of coefficients; all from the first rows.
    """
    if racer.rule is None:
        return racer
    X = objective.data.X[:_SCALE_ROWS].astype(np.float64)
    squares = np.append(np.linalg.eigvalsh(X.T @ X / len(X)), 1.0)
    bound = {"linear": 1.0, "logistic": 0.25, "softmax": 0.5}[objective.task]
    sum_of_squares = squares.sum() / _USUAL_SQUARES
    factor = {
        "descent": 0.25 / (bound * squares.max()),
        "rows": 0.25 / (bound * sum_of_squares),
        "adam": sum_of_squares**-0.5,
    }[racer.rule]
    grid = [setting._replace(rate=float(f"{setting.rate * factor:.2g}")) for setting in racer.grid]
    return replace(racer, grid=grid)


def lap_rows(n: int, batch_size: int, laps: int = LAPS) -> int:
    """Return the rows per lap: whole batches, the same number in every lap."""
    return n // batch_size // laps * batch_size
