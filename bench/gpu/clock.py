"""Time on a GPU by its own events, and the remaining time of the benchmark."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from numba import cuda

from fastgd.bench.timing import Run, alternate
from fastgd.kernels.cuda._target import SIMULATED

_WARM_UPS = 2
#: How often work is queued in a row to time the GPU alone.
_IN_A_ROW = 5
#: Why something is missing that another run would measure.
NO_TIME = "no time was left"
#: The beginning of the name of something missing that makes the run wrong.
WRONG = "section "


class Sizes(NamedTuple):
    """Rows and columns of X, rows of epochs, rounds, and bytes of X that is streamed."""

    rows: int
    columns: int
    epoch_rows: int
    rounds: int
    stream_bytes: int


SIZES = {
    "full": Sizes(20_000_000, 100, 1 << 21, 15, 1 << 32),
    "quick": Sizes(200_000, 100, 1 << 17, 3, 1 << 26),
    "small": Sizes(2_000, 10, 1_000, 2, 1 << 16),
}


class Budget:
    """Seconds for everything; a section that exceeds its share is cut.

    Parameters
    ----------
    seconds : float
    at_steps : callable, optional
        Called after each step, to save the findings so far.
    """

    def __init__(self, seconds: float, at_steps: Callable[[], None] = lambda: None) -> None:
        self._begin, self._end = time.monotonic(), time.monotonic() + seconds
        self._at_steps = at_steps

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begin

    @property
    def remaining(self) -> float:
        """Seconds until the end."""
        return self._end - time.monotonic()

    def until(self, seconds: float) -> float:
        """Return the end of a section of at most so many seconds, by `time.monotonic`."""
        return min(time.monotonic() + seconds, self._end)

    def step(self) -> None:
        """Save the findings so far."""
        self._at_steps()

    def log(self, what: str) -> None:
        """Save the findings so far and print a line."""
        self.step()
        print(f"  {self.spent:5.1f} s  {what}", file=sys.stderr, flush=True)


def over(end: float) -> bool:
    """Whether the end of a section has come."""
    return time.monotonic() > end


@dataclass(frozen=True)
class Queued:
    """Work that is queued without waiting: several runs in a row, so that the GPU does not wait for the host."""

    run: Run

    def __call__(self) -> None:
        """Queue all of them."""
        for _ in range(_IN_A_ROW):
            self.run()


def event_seconds(run: Run) -> float:
    """Return the seconds of one run by events around it, on the default stream, which synchronises with all others."""
    return _between_events(run) / (_IN_A_ROW if isinstance(run, Queued) else 1)


def _between_events(run: Run) -> float:
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


def in_turn(jobs: Mapping[str, Run], rounds: int, end: float, warm_ups: int | None = None) -> dict[str, list[float]]:
    """Time jobs alternately by events; each runs at least once, and none again after the end."""
    count = _WARM_UPS if warm_ups is None else warm_ups
    return alternate(jobs, rounds, warm_ups=count, clock=event_seconds, enough=lambda _: over(end))
