"""Time jobs alternately and compare them round by round."""

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

ROUNDS = 9
#: Seconds between two runs, so that spinning worker threads of one are asleep when the next starts.
PAUSE = 0.01
_TRIALS = 3

Run = Callable[[], Any]


class Spread(TypedDict):
    """Median and range of the rounds of one run."""

    median: float
    min: float
    max: float


@dataclass(frozen=True)
class Job:
    """One way to do a piece of work; `run` does it once and returns the result that is checked."""

    name: str
    setting: str
    run: Run

    @property
    def label(self) -> str:
        """Name and setting."""
        return f"{self.name} ({self.setting})"


def host_seconds(run: Run) -> float:
    """Return the seconds of one run, after a pause."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def processor_seconds(run: Run) -> float:
    """Return the seconds of the processor that a run takes, to which other processes do not add."""
    start = time.process_time()
    run()
    return time.process_time() - start


def alternate(
    jobs: Mapping[str, Run],
    rounds: int = ROUNDS,
    *,
    warm_ups: int = 1,
    clock: Callable[[Run], float] = host_seconds,
    enough: Callable[[list[float]], bool] = lambda seconds: False,
) -> dict[str, list[float]]:
    """Return the seconds of each job in each round, after rounds that are not counted.

    The order is rotated by one from round to round, so that no job always follows the same one. A job for whose
    seconds so far `enough` is true is not run again; every job is run once.
    """
    names = list(jobs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds + warm_ups):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                if seconds[name] and enough(seconds[name]):
                    continue
                taken = clock(jobs[name])
                if turn >= warm_ups:
                    seconds[name].append(taken)
    finally:
        if enabled:
            gc.enable()
    return seconds


def spread(values: Any) -> Spread:
    """Return median, minimum and maximum."""
    return Spread(median=float(np.median(values)), min=float(np.min(values)), max=float(np.max(values)))


def ratios(numerator: list[float], denominator: list[float]) -> Spread:
    """Return the spread of the ratios round by round."""
    return spread(np.divide(numerator, denominator))


def fastest(seconds: Mapping[str, list[float]]) -> str:
    """Return the name with the smallest median."""
    return min(seconds, key=lambda name: float(np.median(seconds[name])))


def best_settings(jobs: Iterable[Job]) -> tuple[dict[str, Job], dict[str, float]]:
    """Return for every name the job with the fastest setting, and the median seconds of all settings tried."""
    best: dict[str, Job] = {}
    tried: dict[str, float] = {}
    for job in jobs:
        tried[job.label] = float(np.median([host_seconds(job.run) for _ in range(_TRIALS)]))
        if job.name not in best or tried[job.label] < tried[best[job.name].label]:
            best[job.name] = job
    return best, tried
