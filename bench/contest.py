"""A race to the optimum: whole fits of fastgd against whole libraries, on fresh data in every repetition."""

import gc
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench import rivals
from bench.check import Floats
from bench.objective import Objective
from bench.optimum import Optimum, find_optimum
from bench.own_fit import NAME, OwnFit
from bench.problems import Data
from bench.racing import Racer, fitted
from bench.report import report
from bench.result import Result
from bench.sweep import Arrival, Course, Swept, lowered, run_to, sweep
from bench.wording import quantity

TARGETS = (1e-2, 1e-3, 1e-4, 1e-6)
#: Rivals that run again in every repetition, for each target; with the fastest one that is no stochastic loop, since
#: rates tuned on other data may not arrive.
_FINALISTS = 3
_SWEEP_SEED, _WARM_UP_ROWS = 1000, 2000
#: Tighter tolerances that are tried where, on other data, the chosen one does not suffice.
_TIGHTER = 3


@dataclass(frozen=True)
class Contest:
    """What is raced for.

    make: data from a seed and a number of rows. rows: how many it has. at_least: how many times as fast as the fastest
    rival fastgd is to be, by target. alpha: 1 / n where None. validated: only rivals that check their input count.
    shuffled: whether seeds only shuffle the rows, so that every optimum is the same.
    """

    label: str
    make: Callable[[int, int], Data]
    rows: int
    at_least: dict[float, float]
    alpha: float | None = None
    l1_ratio: float = 0.0
    repetitions: int = 5
    validated: bool = False
    shuffled: bool = False

    def objective(self, seed: int, rows: int) -> Objective:
        """On fresh data, of all rows if it has fewer."""
        data = self.make(seed, min(rows, self.rows))
        return Objective(data, 1.0 / len(data.y) if self.alpha is None else self.alpha, self.l1_ratio)

    def counts(self, racer: Racer) -> bool:
        """Whether a rival is one to beat."""
        return racer.validates or not self.validated


@dataclass
class Meeting:
    """One repetition: seconds by racer and target, and what fastgd reported by target."""

    seconds: dict[tuple[str, float], float] = field(default_factory=dict)
    reports: dict[float, dict[str, Any]] = field(default_factory=dict)
    problem: dict[str, Any] = field(default_factory=dict)


@dataclass
class Race:
    """All of it: the sweep, who came into the repetitions with what, and these."""

    swept: list[Swept]
    finalists: dict[float, list[Swept]]
    meetings: list[Meeting]
    warm_up: dict[str, dict[str, float]]


def run(contest: Contest) -> Result:
    """Sweep, then repeat."""
    adapters, missing = rivals.load(rivals.SOLVERS)
    own = OwnFit()
    gc_was_on = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is stopped at a target has not converged
            race = _race(contest, own, adapters)
    finally:
        if gc_was_on:
            gc.enable()
    result = report(contest, race)
    result.missing = {**missing, **result.missing}
    return result


def _race(contest: Contest, own: OwnFit, adapters: Iterable[Any]) -> Race:
    objective = contest.objective(_SWEEP_SEED, contest.rows)
    small = contest.objective(_SWEEP_SEED, _WARM_UP_ROWS)
    course = Course(objective, find_optimum(objective))
    print(f"{contest.label}: optimum found, F = {course.optimum.value:.6g}", file=sys.stderr, flush=True)
    racers = [own.racer(), *(fitted(r, objective) for adapter in adapters for r in adapter.solvers(objective))]
    warm_up = {}
    swept: list[Swept] = []
    bars = dict.fromkeys(TARGETS, math.inf)
    for racer in racers:
        begin = time.perf_counter()
        try:
            warm_up[racer.name] = _warm_up(racer, small, own)
            swept.append(sweep(racer, course, bars))
        except Exception as error:  # whatever a rival raises; fastgd is to raise nothing
            if racer.name == NAME:
                raise
            swept.append(Swept(racer, given_up=f"{type(error).__name__}: {error}"))
        if racer.name == NAME:
            warm_up[NAME]["seconds_compile_all_rows"] = own.told(racer.grid[0])["seconds_compile"]
        _tell(time.perf_counter() - begin, _how(swept[-1]))
        if racer.name != NAME and contest.counts(racer):
            bars = lowered(bars, swept[-1])
    finalists = {target: [swept[0], *_fastest(contest, swept[1:], target)] for target in TARGETS}
    start = course.optimum.theta if contest.shuffled else None
    del objective, course
    meetings = []
    for number in range(1, contest.repetitions + 1):
        begin = time.perf_counter()
        meetings.append(_meet(contest.objective(_SWEEP_SEED + number, contest.rows), start, finalists, own, number))
        _tell(time.perf_counter() - begin, f"repetition {number} of {contest.repetitions}")
    return Race(swept, finalists, meetings, warm_up)


def _warm_up(racer: Racer, small: Objective, own: OwnFit) -> dict[str, float]:
    """Seconds of a first lap on few rows; of fastgd's, those it says it compiled or loaded kernels for."""
    setting = racer.grid[0]
    if racer.rule is not None:  # its compiling depends on the shape: the sweep warms it up
        return {}
    nowhere = Optimum(small.constant_theta(), 0.0, 0.0, 1.0)
    seconds = run_to(racer, Course(small, nowhere), setting, {-1.0: 0.0}).elapsed
    compiling = {"seconds_compile": own.told(setting)["seconds_compile"]} if racer.name == NAME else {}
    return {"first_lap_seconds": seconds, **compiling}


def _fastest(contest: Contest, swept: list[Swept], target: float) -> list[Swept]:
    """Those rivals that run again."""
    there = [one for one in swept if target in one.best and contest.counts(one.racer)]
    there.sort(key=lambda one: one.best[target].seconds)
    fastest = there[:_FINALISTS]
    if all(one.racer.rule is not None for one in fastest):
        fastest += [one for one in there if one.racer.rule is None][:1]
    return fastest


def _meet(
    objective: Objective, start: Floats | None, finalists: dict[float, list[Swept]], own: OwnFit, number: int
) -> Meeting:
    """Every finalist in its setting, each run serving all targets that were won with it; the order turns."""
    course = Course(objective, find_optimum(objective, start))
    jobs: dict[tuple[str, str], tuple[Racer, dict[float, Arrival]]] = {}
    for target, those in finalists.items():
        for swept in those:
            if target in swept.best:
                arrival = swept.best[target]
                _, arrivals = jobs.setdefault((swept.racer.name, str(arrival.setting)), (swept.racer, {}))
                arrivals[target] = arrival
    meeting = Meeting(problem=_described(course))
    order = list(jobs.values())
    shift = number % max(len(order), 1)
    for racer, arrivals in order[shift:] + order[:shift]:
        for target, arrival in _again(racer, arrivals, course).items():
            meeting.seconds[racer.name, target] = arrival.seconds
            if racer.name == NAME:
                meeting.reports[target] = {"setting": str(arrival.setting), **own.told(arrival.setting)}
    return meeting


def _described(course: Course) -> dict[str, Any]:
    objective, optimum = course
    return {
        "name": objective.data.problem.name,
        "rows": len(objective.data.y),
        "columns": objective.data.X.shape[1],
        "alpha": objective.alpha,
        "optimum": optimum.value,
        "left": optimum.left,
        "zeros": float(np.mean(optimum.theta[:, :-1] == 0.0)),
    }


def _again(racer: Racer, before: dict[float, Arrival], course: Course) -> dict[float, Arrival]:
    """The same setting on other data, three times the laps at most; then tighter ones for what it does not reach.

    before: by target how the setting came there in the sweep.
    """
    setting, laps = next(iter(before.values())).setting, 3 * max(arrival.laps for arrival in before.values())
    found = run_to(racer, course, setting, dict.fromkeys(before, math.inf), laps).arrivals
    if racer.rule is None:
        after = list(racer.grid).index(setting) + 1
        for tighter in racer.grid[after : after + _TIGHTER]:
            left = dict.fromkeys(before.keys() - found.keys(), math.inf)
            if not left:
                break
            found.update(run_to(racer, course, tighter, left).arrivals)
    return found


def _how(swept: Swept) -> str:
    """By target, as far as reached, the seconds and the setting."""
    ways = [
        f"to {target:g} in {quantity(arrival.seconds, 's')} ({arrival.setting})"
        for target, arrival in sorted(swept.best.items(), reverse=True)
    ]
    return f"{swept.racer.name}: {'; '.join(ways) or swept.given_up}"


def _tell(seconds: float, what: str) -> None:
    """A line for who waits, with what the wait was for."""
    print(f"  {seconds:5.1f} s  {what}", file=sys.stderr, flush=True)
