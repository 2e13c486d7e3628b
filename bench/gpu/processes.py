"""Runs sections in processes that are given up where their time is over, and begun anew where one fails."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.gpu.clock import Budget
from bench.gpu.result import NO_TIME, WRONG, add, as_result
from bench.gpu.worker import Job
from bench.machine import ROOT
from bench.result import Result

#: Seconds that a process or a section has beyond its own, to start and to end; those below which none starts.
_GRACE, _LEAST = 20.0, 3.0
#: Seconds between two looks at what it has begun.
_PAUSE = 1.0
_WORKER = [sys.executable, "-m", "bench.gpu.worker"]


def run(job: Job, result: Result, budget: Budget) -> None:
    """Add what the sections of a job have found; each that fails or takes too long is noted, and the others follow."""
    shares = dict(job.shares)
    while shares:
        seconds = min(sum(shares.values()) + _GRACE, budget.left)
        if seconds < _LEAST:
            result.missing |= dict.fromkeys(shares, NO_TIME)
            return
        begun, found, why = _tried(job._replace(shares=shares, seconds=seconds, to=""), seconds)
        add(result, found)
        last = begun[-1] if begun else next(iter(shares))
        if why is not None and f"{WRONG}{last}" not in found.missing:
            name = last if why.startswith(NO_TIME) else f"{WRONG}{last}"
            result.missing[name] = why
            budget.say(f"{name}: {why}")
        if why is None:
            return
        names = list(shares)
        shares = {name: shares[name] for name in names[names.index(last) + 1 :]}


def _tried(job: Job, seconds: float) -> tuple[list[str], Result, str | None]:
    """The sections begun, what was found, and what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        place, to = Path(folder, "job.json"), Path(folder, "found.json")
        place.write_text(json.dumps(job._replace(to=str(to))._asdict()), encoding="utf-8")
        process = subprocess.Popen([*_WORKER, str(place)], cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            why = _watched(process, job.shares, to, seconds)
        finally:
            _end(process)
        begun, found = _read(to)
        return begun, found, why if begun or why else "its process has found nothing"


def _read(to: Path) -> tuple[list[str], Result]:
    """What a process has written so far."""
    try:
        told = json.loads(to.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [], Result("")
    return told["begun"], as_result(told["result"])


def _watched(process: "subprocess.Popen[bytes]", shares: dict[str, float], to: Path, seconds: float) -> str | None:
    """Wait for a process until its time, or that of one of its sections, is over; why it has not ended well."""
    began, end, last = time.monotonic(), time.monotonic() + seconds, 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(_PAUSE)
            return f"its process ended with status {status}" if status else None
        now, begun = time.monotonic(), _read(to)[0]
        if len(begun) != last:
            last, began = len(begun), now
        share = shares[begun[-1]] if begun else 0.0
        if now > end or now - began > share + _GRACE:
            return f"{NO_TIME}: it was given up after {now - began:.0f} s"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """A process with all that it has started: what compiles goes on otherwise."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
