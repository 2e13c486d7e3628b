"""All checks, before anything is timed: a process a core, so that kernels compile side by side; and sanitizers."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from bench.gpu import paths, sanitizer
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
    """What was found by checks and sanitizers; the paths that processes of parts have taken."""

    ran: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    sanitizers: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, int] = field(default_factory=dict)


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
    found = Correct()
    with contextlib.ExitStack() as files:
        # No pipes, whose buffers would let a part wait until it is its turn to be heard.
        said = [
            files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")) for _ in range(parts)
        ]
        processes = [
            subprocess.Popen(
                [*_PART, str(seed), str(part), str(parts), str(seconds - _TO_START)],
                cwd=ROOT,
                env=environment,
                stdout=file,
            )
            for part, file in enumerate(said)
        ]
        try:
            for part, (process, file) in enumerate(zip(processes, said, strict=True)):
                late = _late(process, end)
                one = _ended(part, None if late else process.returncode, file)
                if late:
                    budget.say(f"part {part} of the checks was given up: {', '.join(one['left_out'][:1])}")
                found.ran += one["ran"]
                found.failed += one["failed"]
                found.left_out += one["left_out"]
                found.absent |= one["absent"]
                found.paths = paths.added(found.paths, one["paths"])
        finally:
            for process in processes:
                process.kill()
                process.wait()
    return found


def _late(process: "subprocess.Popen[bytes]", end: float) -> bool:
    """Wait for a process; whether it was given up."""
    try:
        process.wait(timeout=max(1.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def _ended(part: int, status: int | None, file: IO[str]) -> dict[str, Any]:
    """What a part found until it ended with a status, or was given up (None), which is no failure.

    One that ended by itself before it was done is a failure, too, of the check that ran.
    """
    file.seek(0)
    heard = None
    for line in file:
        with contextlib.suppress(ValueError):  # torn, or somebody else's
            said = json.loads(line)
            heard = said if isinstance(said, dict) and "ran" in said else heard
    found = heard or asdict(Correct(left_out=["none was begun"]))
    if status or (status == 0 and heard is None):
        name = found["left_out"].pop(0) if found["left_out"] else "all were done"
        told = f"it ended with exit status {status}: whether this check is right is not known"
        found["failed"].append({"check": f"part {part}: {name}", "error": told})
    return found
