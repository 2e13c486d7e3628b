"""A candidate is one way to do a job; of the settings of each, the fastest takes part."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.check import Floats, require_close
from bench.timing import once

_TRIALS = 3


@dataclass(frozen=True)
class Candidate:
    """name: what is compared; setting: how it is run; run: do it once and return what is checked.

    order: the rows in the order in which an epoch's first run reads them; None for their own.
    """

    name: str
    setting: str
    run: Callable[[], Any]
    order: NDArray[Any] | None = None

    @property
    def label(self) -> str:
        """Name and setting."""
        return f"{self.name} ({self.setting})"


def checked(candidates: Iterable[Candidate], expect: Callable[[Candidate], Floats], dtype: str) -> dict[str, float]:
    """The relative error of each candidate's first run, by label; AssertionError where one is wrong."""
    return {c.label: require_close(c.label, c.run(), expect(c), dtype) for c in candidates}


def best_settings(candidates: Iterable[Candidate]) -> tuple[dict[str, Candidate], dict[str, float]]:
    """Of every name the candidate whose setting is fastest, and the median seconds of all settings tried."""
    best: dict[str, Candidate] = {}
    tried: dict[str, float] = {}
    fastest: dict[str, float] = {}
    for candidate in candidates:
        seconds = float(np.median([once(candidate.run) for _ in range(_TRIALS)]))
        tried[candidate.label] = seconds
        if seconds < fastest.get(candidate.name, np.inf):
            best[candidate.name], fastest[candidate.name] = candidate, seconds
    return best, tried
