"""A race to the optimum: whole fits of fastgd against whole libraries, on fresh data in every repetition."""

import gc
import math
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bench.optimum import PRECISION, Optimum, find_optimum
from bench.sweep import MOST_SECONDS, Arrival, Course, Swept, lowered, run_to, sweep
from fastgd.bench import rivals
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.ours import NAME, OPTIMIZERS, estimator
from fastgd.bench.problems import Data
from fastgd.bench.result import quantity
from fastgd.bench.rivals.estimators import theta_of
from fastgd.bench.rivals.racers import Racer, fitted, tolerances

#: Rivals that run again in every repetition, for each target; with the fastest one that is no stochastic loop, since
#: rates tuned on other data may not arrive.
_FINALISTS = 3
_SWEEP_SEED, _WARM_UP_ROWS = 1000, 2000
#: Tighter tolerances that are tried if, on other data, the chosen one does not suffice.
_TIGHTER = 3
#: Seconds above which a rival does not run again on the same data.
_LONG_SECONDS = 10.0
#: Mini-batch rules of fastgd in a race of stochastic loops, their batch sizes and numbers of epochs.
_RULES = ("averaged", "nesterov", "adagrad", "adam", "saga")
_BATCH_SIZES, _EPOCHS = (256, 4096, 16384), (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)


@dataclass(frozen=True)
class Contest:
    """The conditions of a race.

    make: data from a seed and a number of rows. rows: their number. at_least: how many times as fast as the fastest
    rival fastgd is to be, by target. alpha: 1 / n if None. validated: only rivals that check their input count.
    targets: distances to the optimum. stochastic: whether mini-batch rules of fastgd run against stochastic loops, in
    place of the automatic solver. intercept: whether models have one. fresh: whether every repetition has data of its
    own; otherwise rivals that take over 10 s run in the sweep alone. libraries, only: the rivals, by library and by a
    regular expression for their names. most_seconds: of a run. precision: of the optimum. processor_time: whether
    seconds are those of the processor, which other processes on the same core do not add to.
    """

    label: str
    make: Callable[[int, int], Data]
    rows: int
    at_least: dict[float, float]
    alpha: float | None = None
    l1_ratio: float = 0.0
    repetitions: int = 5
    validated: bool = False
    targets: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-6)
    stochastic: bool = False
    intercept: bool = True
    fresh: bool = True
    libraries: Sequence[str] = tuple(rivals.SOLVERS)
    only: str = ""
    most_seconds: float = MOST_SECONDS
    precision: float = PRECISION
    processor_time: bool = False

    def objective(self, seed: int, rows: int) -> Objective:
        """Return the objective on fresh data, of at most that many rows."""
        data = self.make(seed, min(rows, self.rows))
        alpha = 1.0 / len(data.y) if self.alpha is None else self.alpha
        return Objective(data, alpha, self.l1_ratio, self.intercept)

    def course(self, objective: Objective) -> Course:
        """Return the objective with its optimum."""
        clock = time.process_time if self.processor_time else time.perf_counter
        return Course(objective, find_optimum(objective, self.precision), clock)

    def counts(self, racer: Racer) -> bool:
        """Whether a rival is one to beat."""
        return racer.validates or not self.validated

    def suits(self, racer: Racer) -> bool:
        """Whether a rival takes part."""
        return (racer.rule is not None or not self.stochastic) and re.search(self.only, racer.name) is not None


class RuleEffort(NamedTuple):
    """A mini-batch fit with automatic rates."""

    optimizer: str
    batch_size: int
    max_iter: int

    def __str__(self) -> str:
        return f"{self.optimizer}, batches of {self.batch_size}, {self.max_iter} epochs"


class OwnFit:
    """Whole fits of fastgd; `reports` keeps the last `fit_report_` of each setting."""

    def __init__(self, stochastic: bool = False) -> None:
        self.reports: dict[Any, dict[str, Any]] = {}
        self._stochastic = stochastic

    def racer(self) -> Racer:
        """Return the automatic solver at tolerances from 0.1 to 1e-8, or rules with batch sizes and epochs."""
        if not self._stochastic:
            return Racer(NAME, tolerances(), self._start, validates=True)
        grid = [
            RuleEffort(*one) for one in ((rule, size, n) for rule in _RULES for size in _BATCH_SIZES for n in _EPOCHS)
        ]
        return Racer(NAME, grid, self._start, validates=True, ordered=False)

    def _start(self, objective: Objective, effort: Any) -> Iterator[Floats]:
        kind, (X, y) = estimator(objective.task), (objective.data.X, objective.data.y)
        if self._stochastic:
            how = {**effort._asdict(), "optimizer": OPTIMIZERS[effort.optimizer]}
        else:
            how = {"tol": effort.value}

        def run() -> Iterator[Floats]:
            penalty = {"alpha": objective.alpha, "l1_ratio": objective.l1_ratio}
            model = kind(**penalty, fit_intercept=objective.intercept, random_state=0, **how).fit(X, y)
            self.reports[effort] = dict(model.fit_report_)
            # A fit at a tolerance counts only if it has certified that tolerance.
            counts = self._stochastic or model.fit_report_["converged"]
            yield theta_of(model) if counts else np.full(objective.shape, np.nan)

        return run()

    def facts(self, effort: Any) -> dict[str, Any]:
        """Return a part of the report of the last fit with this setting."""
        keys = ("solver", "reason", "passes", "certificate", "seconds_compile", "seconds_total")
        return {key: self.reports[effort].get(key) for key in keys}


@dataclass
class Repetition:
    """One repetition: seconds by racer and target, and fastgd's reports by target."""

    seconds: dict[tuple[str, float], float] = field(default_factory=dict)
    reports: dict[float, dict[str, Any]] = field(default_factory=dict)
    problem: dict[str, Any] = field(default_factory=dict)


@dataclass
class Race:
    """The first sweep, the racers of the repetitions by target, the repetitions, and seconds of first laps.

    missing: libraries that cannot be imported, with their errors.
    """

    contest: Contest
    missing: dict[str, str]
    swept: list[Swept]
    finalists: dict[float, list[Swept]]
    repetitions: list[Repetition]
    warm_up: dict[str, dict[str, float]]


def run(contest: Contest) -> Race:
    """Sweep, then repeat."""
    adapters, missing = rivals.load(contest.libraries)
    gc_was_on = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that is stopped at a target has not converged
            race = _race(contest, OwnFit(contest.stochastic), adapters, missing)
    finally:
        if gc_was_on:
            gc.enable()
    return race


def _race(contest: Contest, own: OwnFit, adapters: Iterable[Any], missing: dict[str, str]) -> Race:
    objective = contest.objective(_SWEEP_SEED, contest.rows)
    small = contest.objective(_SWEEP_SEED, _WARM_UP_ROWS)
    course = contest.course(objective)
    print(f"{contest.label}: optimum found, F = {course.optimum.value:.6g}", file=sys.stderr, flush=True)
    others = (racer for adapter in adapters for racer in adapter.solvers(objective) if contest.suits(racer))
    racers = [own.racer(), *(fitted(racer, objective) for racer in others)]
    warm_up: dict[str, dict[str, float]] = {}
    swept: list[Swept] = []
    bars = dict.fromkeys(contest.targets, math.inf)
    for racer in racers:
        begin = time.perf_counter()
        try:
            warm_up[racer.name] = _warm_up(racer, small, own)
            swept.append(sweep(racer, course, bars, contest.most_seconds))
        except Exception as error:  # whatever a rival raises; fastgd is to raise nothing
            if racer.name == NAME:
                raise
            swept.append(Swept(racer, given_up=f"{type(error).__name__}: {error}"))
        if racer.name == NAME:
            warm_up[NAME]["seconds_compile_all_rows"] = own.facts(racer.grid[0])["seconds_compile"]
        _log(time.perf_counter() - begin, _summary(swept[-1]))
        if racer.name != NAME and contest.counts(racer):
            bars = lowered(bars, swept[-1])
    finalists = {target: [swept[0], *_fastest(contest, swept[1:], target)] for target in contest.targets}
    repetitions = []
    for number in range(1, contest.repetitions + 1):
        begin = time.perf_counter()
        if contest.fresh:
            del objective, course
            objective = contest.objective(_SWEEP_SEED + number, contest.rows)
            course = contest.course(objective)
        runs_again = math.inf if contest.fresh else _LONG_SECONDS
        repetitions.append(_repeat(course, finalists, own, number, runs_again))
        _log(time.perf_counter() - begin, f"repetition {number} of {contest.repetitions}")
    return Race(contest, missing, swept, finalists, repetitions, warm_up)


def _warm_up(racer: Racer, small: Objective, own: OwnFit) -> dict[str, float]:
    """Return the seconds of a first lap on few rows; for fastgd also those of compiling or loading kernels."""
    setting = racer.grid[0]
    if racer.rule is not None:  # its compilation depends on the shape: the sweep warms it up
        return {}
    nowhere = Optimum(small.constant_theta(), 0.0, 0.0, 1.0)
    seconds = run_to(racer, Course(small, nowhere), setting, {-1.0: 0.0}).elapsed
    compiling = {"seconds_compile": own.facts(setting)["seconds_compile"]} if racer.name == NAME else {}
    return {"first_lap_seconds": seconds, **compiling}


def _fastest(contest: Contest, swept: list[Swept], target: float) -> list[Swept]:
    """Return the rivals that run again."""
    there = [one for one in swept if target in one.best and contest.counts(one.racer)]
    there.sort(key=lambda one: one.best[target].seconds)
    fastest = there[:_FINALISTS]
    if all(one.racer.rule is not None for one in fastest):
        fastest += [one for one in there if one.racer.rule is None][:1]
    return fastest


def _repeat(
    course: Course, finalists: dict[float, list[Swept]], own: OwnFit, number: int, runs_again: float
) -> Repetition:
    """Run every finalist in its setting, each run serving all targets that were won with it; the order rotates.

    runs_again: most seconds of a rival that is run; one that takes longer keeps those of the sweep.
    """
    repetition = Repetition(problem=_describe(course))
    jobs: dict[tuple[str, str], tuple[Racer, dict[float, Arrival]]] = {}
    for target, those in finalists.items():
        for swept in those:
            if target in swept.best:
                arrival = swept.best[target]
                if swept.racer.name != NAME and arrival.seconds > runs_again:
                    repetition.seconds[swept.racer.name, target] = arrival.seconds
                    continue
                _, arrivals = jobs.setdefault((swept.racer.name, str(arrival.setting)), (swept.racer, {}))
                arrivals[target] = arrival
    order = list(jobs.values())
    shift = number % max(len(order), 1)
    for racer, arrivals in order[shift:] + order[:shift]:
        for target, arrival in _run_again(racer, arrivals, course).items():
            repetition.seconds[racer.name, target] = arrival.seconds
            if racer.name == NAME:
                repetition.reports[target] = {"setting": str(arrival.setting), **own.facts(arrival.setting)}
    return repetition


def _describe(course: Course) -> dict[str, Any]:
    objective, optimum = course.objective, course.optimum
    return {
        "name": objective.data.problem.name,
        "rows": len(objective.data.y),
        "columns": objective.data.X.shape[1],
        "alpha": objective.alpha,
        "optimum": optimum.value,
        "left": optimum.left,
        "zeros": float(np.mean(optimum.theta[:, :-1] == 0.0)),
    }


def _run_again(racer: Racer, before: dict[float, Arrival], course: Course) -> dict[float, Arrival]:
    """Run the same setting on other data for at most three times the laps, then tighter ones for missed targets.

    before: by target, the setting's arrival in the sweep.
    """
    setting, laps = next(iter(before.values())).setting, 3 * max(arrival.laps for arrival in before.values())
    found = run_to(racer, course, setting, dict.fromkeys(before, math.inf), laps).arrivals
    if racer.ordered:
        after = list(racer.grid).index(setting) + 1
        for tighter in racer.grid[after : after + _TIGHTER]:
            missed = dict.fromkeys(before.keys() - found.keys(), math.inf)
            if not missed:
                break
            found.update(run_to(racer, course, tighter, missed).arrivals)
    return found


def _summary(swept: Swept) -> str:
    """Return seconds and setting by target."""
    ways = [
        f"to {target:g} in {quantity(arrival.seconds, 's')} ({arrival.setting})"
        for target, arrival in sorted(swept.best.items(), reverse=True)
    ]
    return f"{swept.racer.name}: {'; '.join(ways) or swept.given_up}"


def _log(seconds: float, what: str) -> None:
    print(f"  {seconds:5.1f} s  {what}", file=sys.stderr, flush=True)
