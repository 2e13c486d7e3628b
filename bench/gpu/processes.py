"""Run sections in processes that are ended after their time, and continued in a new process after a failure."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.gpu.clock import NO_TIME, SIZES, WRONG, Budget, Sizes
from fastgd.bench.machine import ROOT
from fastgd.bench.result import Finding, Result

#: Seconds that a process or a section has beyond its own, to start and to end; the least with which one is started.
_GRACE, _LEAST = 20.0, 3.0
#: Seconds between two looks at the progress of a process.
_PAUSE = 1.0
_WORKER = [sys.executable, "-m", "bench.gpu.worker"]
#: Raw numbers that sections pass to each other: our times for comparisons with rivals.
FOR_RIVALS = "for rivals"


class Job(NamedTuple):
    """The sections of a process with the seconds of each, and where it writes its findings.

    few: few checks in one process instead of all in many; part: which of how many parts of the checks. ours: our
    times, with which rivals are compared.
    """

    shares: dict[str, float]
    size: str
    few: bool
    simulated: bool
    seed: int
    seconds: float = 0.0
    to: str = ""
    ours: dict[str, Any] = {}  # noqa: RUF012 - never changed
    part: tuple[int, int] = (0, 1)

    @property
    def sizes(self) -> Sizes:
        """Sizes of the data."""
        return SIZES[self.size]


class Progress(NamedTuple):
    """The sections that a process has begun, and its findings."""

    begun: list[str]
    result: Result


def run(job: Job, result: Result, budget: Budget) -> None:
    """Add the findings of a job; a section that fails or takes too long is recorded, and the others follow."""
    shares = dict(job.shares)
    while shares:
        seconds = min(sum(shares.values()) + _GRACE, budget.remaining)
        if seconds < _LEAST:
            result.missing |= dict.fromkeys(shares, NO_TIME)
            return
        with started(job._replace(shares=shares, seconds=seconds)) as process:
            why = process.wait(seconds)
        begun, found = process.progress()
        why = why if begun or why else "its process has found nothing"
        result.add(found)
        last = begun[-1] if begun else next(iter(shares))
        if why is None:
            return
        if f"{WRONG}{last}" not in found.missing:
            name = last if why.startswith(NO_TIME) else f"{WRONG}{last}"
            result.missing[name] = why
            budget.log(f"{name}: {why}")
        names = list(shares)
        shares = {name: shares[name] for name in names[names.index(last) + 1 :]}


class Worker:
    """A process that runs a job and writes its findings to a file after every step.

    Parameters
    ----------
    job : Job
    folder : str
        For its files.
    environment : dict of str to str, optional
        Variables besides those of this process. With them the process ends with this one's group; otherwise it leads
        a group of its own, which `end` ends.
    """

    def __init__(self, job: Job, folder: str, environment: dict[str, str] | None = None) -> None:
        self._leads = environment is None
        self._shares, self._to = job.shares, Path(folder, "found.json")
        self._last: Progress | None = None
        place = Path(folder, "job.json")
        place.write_text(json.dumps(job._replace(to=str(self._to))._asdict()), encoding="utf-8")
        self._process = subprocess.Popen(
            [*_WORKER, str(place)],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            start_new_session=self._leads,
        )

    def wait(self, seconds: float) -> str | None:
        """Wait until the process ends, its time is over or that of a section; return why it did not end well."""
        began, end, count = time.monotonic(), time.monotonic() + seconds, 0
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._process.wait(_PAUSE)
                return f"its process ended with status {status}" if status else None
            now, begun = time.monotonic(), self.progress().begun
            if len(begun) != count:
                count, began = len(begun), now
            share = self._shares[begun[-1]] if begun else 0.0
            if now > end or now - began > share + _GRACE:
                return f"{NO_TIME}: it was given up after {now - began:.0f} s"

    def progress(self) -> Progress:
        """Return what the process has written so far."""
        try:
            content = json.loads(self._to.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return self._last or Progress([], Result(""))
        found = content["result"]
        findings = [Finding(**finding) for finding in found["findings"]]
        return Progress(content["begun"], Result(**found | {"findings": findings}))

    def end(self) -> None:
        """End the process and all that it has started, such as compilers."""
        self._last = self.progress()
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if self._leads else os.kill)(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def started(job: Job, environment: dict[str, str] | None = None) -> Iterator[Worker]:
    """Start a worker and end it afterwards; its progress can be read later, too."""
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(job, folder, environment)
        try:
            yield worker
        finally:
            worker.end()


def wrong(result: Result) -> list[str]:
    """Return a line for each wrong result, and for each section that an error has stopped."""
    checks = [raw for raw in result.raw if raw["section"] == "checks"]
    lines = [f"{one['check']}: {one['error']}" for raw in checks for one in raw["failed"]]
    for raw in checks:
        tools = raw["sanitizers"].items()
        lines += [f"compute-sanitizer {tool}: {facts['said']}" for tool, facts in tools if facts.get("found")]
    return lines + [f"{name}: {why}" for name, why in result.missing.items() if name.startswith(WRONG)]


def left_out(result: Result) -> list[str]:
    """Return a line for each part for which no time was left."""
    checks = sum(len(raw["left_out"]) for raw in result.raw if raw["section"] == "checks")
    lines = [f"{checks:,} checks"] if checks else []
    return lines + [name for name, why in result.missing.items() if why.startswith(NO_TIME)]
