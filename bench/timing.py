"""Time things in turn, and compare them round by round."""

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import numpy as np

ROUNDS = 9
#: Between two candidates, so that spinning worker threads of one are asleep when the next starts.
_PAUSE = 0.01


class Spread(TypedDict):
    """Of the rounds of one run."""

    median: float
    min: float
    max: float


def alternate(candidates: Mapping[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each candidate in each round; each has a first round that is not counted.

    The order is turned by one from round to round, so that none always follows the same one.
    """
    names = list(candidates)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds + 1):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                taken = once(candidates[name])
                if turn > 0:
                    seconds[name].append(taken)
    finally:
        if enabled:
            gc.enable()
    return seconds


def once(candidate: Callable[[], Any]) -> float:
    """Seconds of one run, after a pause."""
    time.sleep(_PAUSE)
    start = time.perf_counter()
    candidate()
    return time.perf_counter() - start


def spread(values: Any) -> Spread:
    """Median, least and largest."""
    return Spread(median=float(np.median(values)), min=float(np.min(values)), max=float(np.max(values)))


def ratios(numerator: list[float], denominator: list[float]) -> Spread:
    """Spread of the ratios round by round."""
    return spread(np.divide(numerator, denominator))


def fastest(seconds: Mapping[str, list[float]]) -> str:
    """The name of the candidate with the least median."""
    return min(seconds, key=lambda name: float(np.median(seconds[name])))
