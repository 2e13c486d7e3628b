"""The first meeting of a race: every setting of every rival from loose to tight, until it is too slow to matter."""

import gc
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.objective import Objective
from bench.optimum import Optimum, distances
from bench.racing import LAPS, Racer, lap_rows

#: A rival is dropped when it has taken this many times as long as the fastest one to each target that it still lacks.
PATIENCE = 3.0
#: Seconds that anyone may take to a target that nobody has reached.
_MOST_SECONDS = 60.0
#: Between two runs, so that spinning worker threads of one are asleep when the next starts.
_PAUSE = 0.01


class Arrival(NamedTuple):
    """How a racer came as close as a target: its setting, seconds and laps."""

    setting: Any
    seconds: float
    laps: int


class Run(NamedTuple):
    """One run: the targets it reached, its seconds when it was stopped, and whether time was the reason."""

    arrivals: dict[float, Arrival]
    elapsed: float
    late: bool


@dataclass
class Swept:
    """How a racer did over its settings: its best arrivals, and why it has no others."""

    racer: Racer
    best: dict[float, Arrival] = field(default_factory=dict)
    runs: list[tuple[str, dict[float, Arrival], float]] = field(default_factory=list)
    given_up: str = "no setting gets there in time"

    def add(self, setting: Any, run: Run) -> None:
        """Note a run."""
        self.runs.append((str(setting), run.arrivals, run.elapsed))
        for target, arrival in run.arrivals.items():
            if target not in self.best or arrival.seconds < self.best[target].seconds:
                self.best[target] = arrival


class Course(NamedTuple):
    """What is raced on, and where it ends."""

    objective: Objective
    optimum: Optimum


def run_to(racer: Racer, course: Course, setting: Any, limits: Mapping[float, float], laps: int | None = None) -> Run:
    """Run until all targets of `limits` are reached, or the seconds for each that is not are over, or the laps are."""
    loop, elapsed, late = racer.start(course.objective, setting), 0.0, False
    arrivals: dict[float, Arrival] = {}
    path: list[tuple[float, float]] = []
    gc.collect()
    time.sleep(_PAUSE)
    for lap in range(1, 1 + (laps or sys.maxsize)):
        begin = time.perf_counter()
        theta = next(loop, None)
        elapsed += time.perf_counter() - begin
        if theta is None:
            break
        distance = float(distances(*course, theta[None])[0])
        for target in limits:
            if distance <= target:
                arrivals.setdefault(target, Arrival(setting, elapsed, lap))
        left = {target: limit for target, limit in limits.items() if target not in arrivals}
        path.append((elapsed, distance))
        late = elapsed > max(left.values(), default=math.inf)
        if not left or late or (racer.rule is not None and hopeless(path, left)):
            break
    return Run(arrivals, elapsed, late)


def hopeless(path: list[tuple[float, float]], limits: Mapping[float, float]) -> bool:
    """Whether a stochastic loop, by what the second half of its laps gave, will be late for every target.

    path: seconds and distance after each lap. The distance is taken to fall as a power of time, which flatters a loop
    with a constant rate.
    """
    if len(path) < 2 * LAPS:
        return False
    (_, before), (elapsed, distance) = path[len(path) // 2 - 1], path[-1]
    if not distance < before:
        return True
    power = math.log2(before / distance)
    return all(math.log2(distance / target) / power > math.log2(limit / elapsed) for target, limit in limits.items())


def sweep(racer: Racer, course: Course, bars: Mapping[float, float]) -> Swept:
    """Every setting of a racer; `bars`: seconds of the fastest so far to each target."""
    limits = {target: min(PATIENCE * bar, _MOST_SECONDS) for target, bar in bars.items()}
    return _tightened(racer, course, limits) if racer.rule is None else _tuned(racer, course, limits)


def _tightened(racer: Racer, course: Course, limits: dict[float, float]) -> Swept:
    """From loose to tight, until all is reached or it takes too long."""
    swept = Swept(racer)
    for setting in racer.grid:
        left = {target: limit for target, limit in limits.items() if target not in swept.best}
        run = run_to(racer, course, setting, left)
        swept.add(setting, run)
        if run.late:
            swept.given_up = f"slower than {run.elapsed:.3g} s"
        if run.late or len(swept.best) == len(limits):
            break
    return swept


def _tuned(racer: Racer, course: Course, limits: dict[float, float]) -> Swept:
    """Each for as long as it can be faster than those before it."""
    swept, warm = Swept(racer), set()
    for setting in racer.grid:
        if not lap_rows(len(course.objective.data.y), setting.batch_size):
            continue
        if setting.batch_size not in warm:  # compiles what depends on the shape of batches
            next(racer.start(course.objective, setting))
            warm.add(setting.batch_size)
        own = {target: arrival.seconds for target, arrival in swept.best.items()}
        swept.add(setting, run_to(racer, course, setting, {**limits, **own}))
    return swept


def lowered(bars: Mapping[float, float], swept: Swept) -> dict[float, float]:
    """The bars with what another has shown."""
    return {t: min(bar, swept.best[t].seconds) if t in swept.best else bar for t, bar in bars.items()}
