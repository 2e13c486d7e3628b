"""The first sweep of a race: every setting of every rival from loose to tight, until it is too slow to matter."""

import gc
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bench.optimum import Optimum, distances
from fastgd.bench.machine import peak_memory, reset_peak_memory
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.rivals.racers import LAPS, Racer, lap_rows
from fastgd.bench.timing import PAUSE

#: A rival is dropped when it has taken this many times as long as the fastest one to each target that it still lacks.
PATIENCE = 3.0
#: Most seconds to a target that no racer has reached yet.
MOST_SECONDS = 60.0
#: Laps of a stochastic loop before it may be given up: two epochs.
_EARLY = 2 * LAPS


class Arrival(NamedTuple):
    """The setting, seconds and laps with which a racer reached a target."""

    setting: Any
    seconds: float
    laps: int


class Run(NamedTuple):
    """One run: the targets it reached, its seconds when it was stopped, and whether time was the reason.

    distance: from the optimum, where F was evaluated last. peak: bytes of memory beyond those before the first lap.
    """

    arrivals: dict[float, Arrival]
    elapsed: float
    late: bool
    distance: float
    peak: int


@dataclass
class Swept:
    """The result of a racer over its settings: its best arrivals, and the reason for missing ones."""

    racer: Racer
    best: dict[float, Arrival] = field(default_factory=dict)
    runs: list[tuple[str, Run]] = field(default_factory=list)
    given_up: str = "no setting gets there in time"

    def add(self, setting: Any, run: Run) -> None:
        """Record a run."""
        self.runs.append((str(setting), run))
        for target, arrival in run.arrivals.items():
            if target not in self.best or arrival.seconds < self.best[target].seconds:
                self.best[target] = arrival


class Course(NamedTuple):
    """An objective, its optimum, and the clock of its runs."""

    objective: Objective
    optimum: Optimum
    clock: Callable[[], float] = time.perf_counter

    def distances(self, thetas: Floats) -> Floats:
        """Return the distances from the optimum at each of thetas (m, K, d + 1)."""
        return distances(self.objective, self.optimum, thetas)


def run_to(racer: Racer, course: Course, setting: Any, limits: Mapping[float, float], laps: int | None = None) -> Run:
    """Run until all targets of `limits` are reached, or their seconds or the laps are used up.

    F is evaluated off the clock: after every lap, in stochastic loops after laps 1, 2, 4, 8, ..., and for the laps in
    between if a target turns out to be reached.
    """
    loop, elapsed, late = racer.start(course.objective, setting), 0.0, False
    arrivals: dict[float, Arrival] = {}
    path: list[tuple[float, float]] = []
    pending: list[tuple[Arrival, Floats]] = []
    gc.collect()
    time.sleep(PAUSE)
    before, peak = reset_peak_memory(), 0
    for lap in range(1, 1 + (laps or sys.maxsize)):
        begin = course.clock()
        theta = next(loop, None)
        elapsed += course.clock() - begin
        peak = max(peak, peak_memory() - before) if lap == 1 or racer.rule is None else peak
        if theta is not None:
            pending.append((Arrival(setting, elapsed, lap), theta))
        left = {target: limit for target, limit in limits.items() if target not in arrivals}
        late = elapsed > max(left.values())
        if pending and (theta is None or late or racer.rule is None or lap == laps or not lap & (lap - 1)):
            path.append((elapsed, _check(course, pending, left, arrivals)))
            pending.clear()
            reset_peak_memory()  # F may have taken more than the lap
        left = {target: limit for target, limit in left.items() if target not in arrivals}
        if theta is None or late or not left or (racer.rule is not None and lap >= _EARLY and hopeless(path, left)):
            break
    return Run(arrivals, elapsed, late and bool(left), path[-1][1] if path else math.inf, peak)


def _check(
    course: Course, pending: list[tuple[Arrival, Floats]], targets: Iterable[float], arrivals: dict[float, Arrival]
) -> float:
    """Return the distance after the last pending lap; record the targets that it reaches with the first such lap."""
    last = float(course.distances(pending[-1][1][None])[0])
    reached = [target for target in targets if last <= target]
    if reached:
        found = course.distances(np.array([theta for _, theta in pending]))
        for target in reached:
            arrivals[target] = pending[int(np.argmax(found <= target))][0]
    return last


def hopeless(path: list[tuple[float, float]], limits: Mapping[float, float]) -> bool:
    """Whether a stochastic loop is expected to be late for every target, extrapolating the second half of its time.

    path: seconds and distances at which F was evaluated. The distance is assumed to fall as a power of time, which
    suits a falling rate and flatters a constant one.
    """
    elapsed, distance = path[-1]
    past, before = next(reversed([point for point in path[:-1] if point[0] <= 0.5 * elapsed]), path[0])
    if not distance < before:
        return True
    power = math.log(before / distance) / math.log(elapsed / past)
    return all(math.log(distance / target) / power > math.log(limit / elapsed) for target, limit in limits.items())


def sweep(racer: Racer, course: Course, bars: Mapping[float, float], most: float = MOST_SECONDS) -> Swept:
    """Run the settings of a racer; `bars`: seconds of the fastest so far to each target; most: seconds of a run."""
    limits = {target: min(PATIENCE * bar, most) for target, bar in bars.items()}
    return _tighten(racer, course, limits) if racer.ordered else _tune(racer, course, limits)


def _tighten(racer: Racer, course: Course, limits: dict[float, float]) -> Swept:
    """Run settings from loose to tight, until all targets are reached or it takes too long."""
    swept = Swept(racer)
    for setting in racer.grid:
        left = {target: limit for target, limit in limits.items() if target not in swept.best}
        run = run_to(racer, course, setting, left)
        swept.add(setting, run)
        if run.late:
            swept.given_up = f"slower than {run.elapsed:.3g} s, where the distance is {run.distance:.2g}"
        if run.late or len(swept.best) == len(limits):
            break
    return swept


def _tune(racer: Racer, course: Course, limits: dict[float, float]) -> Swept:
    """Run each setting for as long as it can be faster than those before it."""
    swept, warm = Swept(racer), set()
    for setting in racer.grid:
        if not lap_rows(len(course.objective.data.y), setting.batch_size):
            continue
        if setting.batch_size not in warm:  # compiles code that depends on the shape of batches
            next(racer.start(course.objective, setting))
            warm.add(setting.batch_size)
        own = {target: arrival.seconds for target, arrival in swept.best.items()}
        swept.add(setting, run_to(racer, course, setting, {**limits, **own}))
    return swept


def lowered(bars: Mapping[float, float], swept: Swept) -> dict[float, float]:
    """Return the bars, lowered to the best arrivals of another racer."""
    return {t: min(bar, swept.best[t].seconds) if t in swept.best else bar for t, bar in bars.items()}
