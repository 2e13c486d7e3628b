"""Time on a GPU, by its own events; and the time that is left for the whole benchmark."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numba import cuda

from fastgd.kernels.cuda._target import SIMULATED

_WARM_UPS = 2
#: So often in a row work is queued where the GPU alone is timed.
_IN_A_ROW = 5


class Budget:
    """Seconds for everything; sections are cut where theirs are over.

    Parameters
    ----------
    seconds : float
    at_steps : callable, optional
        Called whenever a step is done: what keeps what was found.
    """

    def __init__(self, seconds: float, at_steps: Callable[[], None] = lambda: None) -> None:
        self._begin, self._end = time.monotonic(), time.monotonic() + seconds
        self._at_steps = at_steps

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begin

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self._end - time.monotonic()

    def until(self, seconds: float) -> float:
        """When a section of so many seconds at most ends, by `time.monotonic`."""
        return min(time.monotonic() + seconds, self._end)

    def say(self, what: str) -> None:
        """A line for who waits, after a step."""
        self._at_steps()
        print(f"  {self.spent:5.1f} s  {what}", file=sys.stderr, flush=True)


def over(end: float) -> bool:
    """Whether the end of a section has come."""
    return time.monotonic() > end


@dataclass(frozen=True)
class Queued:
    """What queues work and does not wait: run several times in a row, so that the GPU does not wait for the host."""

    run: Callable[[], Any]

    def __call__(self) -> None:
        """All of these."""
        for _ in range(_IN_A_ROW):
            self.run()


def once(run: Callable[[], Any]) -> float:
    """Seconds of one run by events around it; on the default stream, which waits for all others and they for it."""
    return _between_events(run) / (_IN_A_ROW if isinstance(run, Queued) else 1)


def _between_events(run: Callable[[], Any]) -> float:
    if SIMULATED:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began
    first, last = cuda.event(), cuda.event()
    first.record()
    run()
    last.record()
    last.synchronize()
    return float(cuda.event_elapsed_time(first, last)) / 1e3


def in_turn(
    jobs: Mapping[str, Callable[[], Any]], rounds: int, end: float, warm_ups: int | None = None
) -> dict[str, list[float]]:
    """Seconds of each job in each round, the order turned from round to round; warmed up before.

    At least one round is run, and no other is begun once the time is over.
    """
    for run in jobs.values():
        for _ in range(_WARM_UPS if warm_ups is None else warm_ups):
            run()
    names = list(jobs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        if turn > 0 and over(end):
            break
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(once(jobs[name]))
    return seconds
