"""How many times as fast as a rival."""

import numpy as np

from bench.candidates import Candidate
from bench.result import Finding, Result
from bench.timing import ratios
from bench.wording import quantity


def add_times(
    result: Result,
    seconds: dict[str, list[float]],
    ours: Candidate,
    rival: Candidate,
    what: str,
    at_least: float | None,
    in_readme: bool = True,
) -> None:
    """Note seconds of a rival over seconds of ours, round by round; both under their names in `seconds`."""
    took, theirs = (float(np.median(seconds[candidate.name])) for candidate in (ours, rival))
    against = f"{rival.label}, {quantity(theirs, 's')}"
    ratio = ratios(seconds[rival.name], seconds[ours.name])
    result.findings.append(Finding(what, took, "s", against, ratio, "times", at_least, in_readme=in_readme))
