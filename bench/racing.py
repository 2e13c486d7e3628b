"""Races to a given distance from the optimum: the rivals' loops, and when they arrive."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from bench.check import Floats
from bench.objective import Objective
from bench.optimum import Optimum, distances

#: An epoch is run in this many laps.
LAPS = 8
#: Rows that the scale of the data is taken from; and a row's mean square where rates need no change.
_SCALE_ROWS, _USUAL_SQUARES = 5000, 22.5
#: Of a target: what is tuned for, so that other data than those tuned on reach the target as well.
_MARGIN = 0.9
#: First rates and how they fall, see `Setting`, of plain steps and of Adam's; `fitted` says what data they are for.
#: At 8 an epoch a rate is halved in the first lap.
DESCENT_RATES = ((0.5, 0.0), (2.0, 0.0), (4.0, 1.0), (2.0, 8.0), (4.0, 8.0))
ADAM_RATES = ((0.005, 0.0), (0.02, 0.0), (0.04, 1.0), (0.02, 8.0), (0.04, 8.0))


@dataclass(frozen=True)
class Setting:
    """What a rival's loop is tuned in: rows a batch, the learning rate, threads where they can be chosen.

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

    def rate_in(self, lap: int) -> float:
        """The rate of a lap, counted from 0."""
        return self.rate / (1.0 + self.decay * lap / LAPS)


@dataclass(frozen=True)
class Racer:
    """One way to an optimum: its name, the settings to choose from, and how to start.

    start: brings data into the form that is wanted and gives an iterator; each step of it runs a lap and yields theta
    (K, d + 1). A lap is part of an epoch, an iteration, or, where one cannot look inside, a whole fit, the only lap;
    the grid then goes from loose tolerances to tight ones. What is compiled is compiled in the first lap of a process.

    validates: whether users' input is checked on the way. rule: of stochastic loops, how their rates follow the scale
    of the data, see `fitted`; their grid has no order.
    """

    name: str
    grid: Sequence[Any]
    start: Callable[[Objective, Any], Iterator[Floats]]
    validates: bool = False
    rule: str | None = None


def settings(sizes: Sequence[tuple[int, int]], rates: Sequence[tuple[float, float]]) -> list[Setting]:
    """Every pair of a rate and its decay with every pair of rows a batch and threads."""
    return [Setting(size, rate, threads, decay) for size, threads in sizes for rate, decay in rates]


def fitted(racer: Racer, objective: Objective) -> Racer:
    """A stochastic loop whose rates, meant for logistic regression with X'X / n from 1 down to 0.01, suit these data.

    Rates of "descent" go with the largest curvature, those of single "rows" with a row's, those of "adam" with the
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
    grid = [replace(setting, rate=float(f"{setting.rate * factor:.2g}")) for setting in racer.grid]
    return replace(racer, grid=grid)


def lap_rows(n: int, batch_size: int) -> int:
    """Rows a lap: whole batches, the same number in every lap."""
    return n // batch_size // LAPS * batch_size


class Trace(NamedTuple):
    """Seconds to prepare, seconds from then to the end of each lap, and theta (laps, K, d + 1) there."""

    preparing: float
    seconds: Floats
    thetas: Floats


def race(racer: Racer, objective: Objective, setting: Setting, laps: int) -> Trace:
    """Start and run that many laps."""
    seconds, thetas, begin = [], [], time.perf_counter()
    loop = racer.start(objective, setting)
    ready = time.perf_counter()
    for _ in range(laps):
        thetas.append(next(loop))
        seconds.append(time.perf_counter() - ready)
    return Trace(ready - begin, np.array(seconds), np.array(thetas))


def laps_to(distance: Floats, target: float, step: int) -> int | None:
    """How many laps, a multiple of `step`, until the distance is at most the target."""
    reached = np.flatnonzero(distance[step - 1 :: step] <= target)
    return step * (int(reached[0]) + 1) if reached.size else None


@dataclass(frozen=True)
class Tuning:
    """How one setting did: seconds a lap, and the distance from the optimum after each lap (laps,)."""

    setting: Setting
    lap_seconds: float
    distance: Floats


def tune(racer: Racer, objective: Objective, optimum: Optimum, epochs: int) -> list[Tuning]:
    """Try every setting of a rival."""
    found = []
    for setting in racer.grid:
        trace = race(racer, objective, setting, epochs * LAPS)
        lap_seconds = float(np.median(np.diff(trace.seconds, prepend=0.0)))
        found.append(Tuning(setting, lap_seconds, distances(objective, optimum, trace.thetas)))
    return found


def best(tunings: list[Tuning], target: float, step: int) -> Setting | None:
    """The setting that is fastest to the target where one stops after multiples of `step` laps, or None.

    A lap takes the median of what it took with the same batches and threads, since its rate costs nothing; of settings
    that are equally fast the one that got closer is taken.
    """
    alike: dict[tuple[int, int], list[float]] = {}
    for tuning in tunings:
        alike.setdefault((tuning.setting.batch_size, tuning.setting.threads), []).append(tuning.lap_seconds)
    costs = []
    for tuning in tunings:
        laps = laps_to(tuning.distance, _MARGIN * target, step)
        if laps is not None:
            usual = float(np.median(alike[tuning.setting.batch_size, tuning.setting.threads]))
            costs.append((laps * usual, float(tuning.distance[laps - 1]), tuning.setting))
    return min(costs, key=lambda cost: cost[:2])[2] if costs else None
