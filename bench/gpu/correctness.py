"""All checks, before anything is timed: a process a core, so that kernels compile side by side; and sanitizers."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.gpu import sanitizer
from bench.gpu.clock import Budget
from bench.machine import ROOT
from bench.yardstick import cores

#: Parts that the checks are cut into at most, each of a dtype and an order.
_MOST_PARTS = 16
#: Seconds that a process has beyond its own limit, to start and to end.
_GRACE = 15.0


@dataclass
class Correct:
    """What was found by checks and sanitizers."""

    ran: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    sanitizers: dict[str, Any] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        """A line for each thing that is wrong."""
        found = [f"{one['check']}: {one['error']}" for one in self.failed]
        return found + [
            f"compute-sanitizer {tool}: {told['said']}" for tool, told in self.sanitizers.items() if told.get("found")
        ]


def run(seed: int, few: bool, simulated: bool, budget: Budget, seconds: float) -> Correct:
    """Few checks in this process, or all in many; sanitizers meanwhile where there is a GPU."""
    from bench.gpu import checks

    begun = {} if simulated else sanitizer.start()
    try:
        if few:
            one = checks.run(checks.few_of(seed), budget, 3600.0 if simulated else seconds)
            found = Correct(one.ran, one.failed, one.left_out)
        else:
            found = _in_parts(seed, budget, seconds)
        budget.say(f"{found.ran} checks, {len(found.failed)} failed, {len(found.left_out)} left out for time")
        found.sanitizers = sanitizer.finish(begun, budget, budget.until(seconds / 4))
    finally:
        for process in begun.values():
            process.kill()
    return found


def _in_parts(seed: int, budget: Budget, seconds: float) -> Correct:
    parts = min(_MOST_PARTS, cores())
    # BLAS and kernels of so many processes would wait for each other's threads.
    environment = {**os.environ, "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "bench.gpu.checks", str(seed)]
    processes = [
        subprocess.Popen(
            [*words, str(part), str(parts), str(seconds)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        for part in range(parts)
    ]
    found, end = Correct(), time.monotonic() + seconds + _GRACE
    try:
        for part, process in enumerate(processes):
            for one in _ended(process, part, end):
                found.ran += one["ran"]
                found.failed += one["failed"]
                found.left_out += one["left_out"]
    finally:
        for process in processes:
            process.kill()
    return found


def _ended(process: "subprocess.Popen[str]", part: int, end: float) -> Iterator[dict[str, Any]]:
    """What a part found; that it was not heard of is a failure, too."""
    try:
        said, _ = process.communicate(timeout=max(1.0, end - time.monotonic()))
        yield json.loads(said.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        told = f"no result, exit status {process.poll()}: {type(error).__name__}"
        yield {"ran": 0, "failed": [{"check": f"part {part} of the checks", "error": told}], "left_out": []}
