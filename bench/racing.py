"""Races to a given distance from the optimum: the rivals' loops, which can stop after any eighth of an epoch."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.check import Floats
from bench.optimum import Optimum, values
from bench.problems import Data

#: An epoch is run in this many laps.
LAPS = 8
#: Of a target: what is tuned for, so that other data than those tuned on reach the target as well.
_MARGIN = 0.9


@dataclass(frozen=True)
class Setting:
    """What a rival's loop is tuned in: rows a batch, the constant learning rate, threads where they can be chosen."""

    batch_size: int
    rate: float
    threads: int = 1

    def __str__(self) -> str:
        return f"batch {self.batch_size}, rate {self.rate:g}, threads {self.threads}"


@dataclass(frozen=True)
class Racer:
    """A rival's loop: its name, the settings to choose from, and how to start.

    start: brings data into the form that the loop wants and gives an iterator without end; each step of it runs a lap
    and yields theta (d + 1,). What is compiled is compiled in the first lap of a process.
    """

    name: str
    grid: Sequence[Setting]
    start: Callable[[Data, float, Setting], Iterator[Floats]]


def settings(sizes: Sequence[tuple[int, int]], rates: Sequence[float]) -> list[Setting]:
    """Every rate with every pair of rows a batch and threads."""
    return [Setting(size, rate, threads) for size, threads in sizes for rate in rates]


def lap_rows(n: int, batch_size: int) -> int:
    """Rows a lap: whole batches, the same number in every lap."""
    return n // batch_size // LAPS * batch_size


class Trace(NamedTuple):
    """Seconds to prepare, seconds from then to the end of each lap, and theta (laps, d + 1) there."""

    preparing: float
    seconds: Floats
    thetas: Floats


def race(racer: Racer, data: Data, alpha: float, setting: Setting, laps: int) -> Trace:
    """Start and run that many laps."""
    seconds, thetas, begin = [], [], time.perf_counter()
    loop = racer.start(data, alpha, setting)
    ready = time.perf_counter()
    for _ in range(laps):
        thetas.append(next(loop))
        seconds.append(time.perf_counter() - ready)
    return Trace(ready - begin, np.array(seconds), np.array(thetas))


def distances(data: Data, alpha: float, optimum: Optimum, thetas: Floats) -> Floats:
    """(F - F*) / F* of each; not finite where a loop has diverged."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (values(data, alpha, thetas) - optimum.value) / optimum.value


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


def tune(racer: Racer, data: Data, alpha: float, optimum: Optimum, epochs: int) -> list[Tuning]:
    """Try every setting of a rival."""
    found = []
    for setting in racer.grid:
        trace = race(racer, data, alpha, setting, epochs * LAPS)
        lap_seconds = float(np.median(np.diff(trace.seconds, prepend=0.0)))
        found.append(Tuning(setting, lap_seconds, distances(data, alpha, optimum, trace.thetas)))
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
