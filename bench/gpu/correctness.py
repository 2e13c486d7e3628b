"""All checks, before anything is timed: a process a core, so that kernels compile side by side; and sanitizers."""

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.gpu import sanitizer
from bench.gpu.clock import Budget
from bench.gpu.worker import Job
from bench.machine import ROOT
from bench.yardstick import cores

#: Parts that the checks are cut into at most, each of a dtype and an order.
_MOST_PARTS = 16
#: Seconds that a process of theirs has to start, of its own, and that the last checks and sanitizers have to end.
_TO_START, _LONGER = 10.0, 12.0
_PART = [sys.executable, "-m", "bench.gpu.checks"]


@dataclass
class Correct:
    """What was found by checks and sanitizers."""

    ran: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    sanitizers: dict[str, Any] = field(default_factory=dict)


def run(raw: dict[str, Any], job: Job, budget: Budget, seconds: float) -> None:
    """Note what few checks in this process find, or all in many; sanitizers meanwhile where there is a GPU."""
    from bench.gpu import checks

    begun, end = {} if job.simulated else sanitizer.start(), budget.until(seconds + _LONGER)
    raw |= {"seed": job.seed, **asdict(Correct())}
    try:
        if job.few:
            raw |= asdict(checks.run(checks.few_of(job.seed, job.size == "small"), budget, seconds))
        else:
            raw |= asdict(_in_parts(job.seed, budget, seconds))
        budget.say(f"{raw['ran']} checks, {len(raw['failed'])} failed, {len(raw['left_out'])} left out for time")
        raw["sanitizers"] = sanitizer.finish(begun, budget, end)
    finally:
        for process in begun.values():
            process.kill()


def _in_parts(seed: int, budget: Budget, seconds: float) -> Correct:
    parts, end = min(_MOST_PARTS, cores()), budget.until(seconds + _LONGER)
    # BLAS and kernels of so many processes would wait for each other's threads.
    environment = {**os.environ, "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [*_PART, str(seed), str(part), str(parts), str(seconds - _TO_START)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in range(parts)
    ]
    found = Correct()
    try:
        for part, process in enumerate(processes):
            one = _ended(process, part, end)
            found.ran += one["ran"]
            found.failed += one["failed"]
            found.left_out += one["left_out"]
            found.absent |= one["absent"]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return found


def _ended(process: "subprocess.Popen[str]", part: int, end: float) -> dict[str, Any]:
    """What a part found; that it was not heard of is a failure, too, of the check that it had begun last."""
    try:
        said, why = process.communicate(timeout=max(1.0, end - time.monotonic()))[0], "it ended with"
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        why = "it took too long,"
    last: dict[str, Any] = {}
    for line in said.splitlines():
        with contextlib.suppress(ValueError):  # torn, or somebody else's
            last = json.loads(line)
    if "ran" in last:
        return last
    name = last.get("begun", "none was begun")
    told = f"{why} exit status {process.poll()}: of this part of the checks nothing else is known"
    return {"ran": 0, "failed": [{"check": f"part {part}: {name}", "error": told}], "left_out": [], "absent": {}}
