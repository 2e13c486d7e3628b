"""What share of the memory's read bandwidth a candidate reaches."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.candidates import Candidate
from bench.result import Finding, Result
from bench.timing import Spread, alternate, fastest, ratios
from bench.yardstick import reads


def measure(X: NDArray[Any], candidates: Mapping[str, tuple[Candidate, int]], rounds: int) -> dict[str, Any]:
    """Time candidates in turn with every way to read X; a candidate comes with the threads that it uses.

    Its yardstick is the fastest way (by median) on at most as many threads.
    """
    threads = sorted({count for _, count in candidates.values()})
    ways = {count: reads(X, list(range(1, count + 1))) for count in threads}
    everything = {name: way for count in threads for name, way in ways[count].items()}
    everything |= {name: candidate.run for name, (candidate, _) in candidates.items()}
    seconds = alternate(everything, rounds)
    yardsticks = {name: fastest({way: seconds[way] for way in ways[count]}) for name, (_, count) in candidates.items()}
    return {"seconds": seconds, "yardsticks": yardsticks}


def share_of(measured: dict[str, Any], name: str) -> Spread:
    """Seconds of the yardstick over seconds of the candidate, round by round."""
    return ratios(measured["seconds"][measured["yardsticks"][name]], measured["seconds"][name])


def add_share(
    result: Result, measured: dict[str, Any], name: str, what: str, nbytes: int, at_least: float | None
) -> None:
    """Note a candidate's bandwidth and share of its yardstick; README shows those with a bound."""
    speed = nbytes / float(np.median(measured["seconds"][name])) / 1e9
    yardstick = measured["yardsticks"][name]
    limit = nbytes / float(np.median(measured["seconds"][yardstick])) / 1e9
    against = f"reading the same memory, {limit:.1f} GB/s ({yardstick})"
    ratio = share_of(measured, name)
    shown = at_least is not None
    result.findings.append(Finding(what, speed, "GB/s", against, ratio, "share", at_least, in_readme=shown))
