"""Sections of the GPU's benchmark in a process of their own: python -m bench.gpu.worker JOB, a file.

What was found is written to a file after every step, so that it is there whatever becomes of the process. After an
error no other section is run: nothing on a GPU survives some of them, and the next process begins anew.
"""

import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from bench.gpu import paths
from bench.gpu.clock import Budget
from bench.gpu.result import WRONG
from bench.gpu.sizes import SIZES, Sizes
from bench.result import Result

#: Lines of an error's traceback that are kept.
_LINES = 12


class Job(NamedTuple):
    """What to run and where to write it; `shares`: seconds of each section; `ours`: what rivals are compared with."""

    shares: dict[str, float]
    size: str
    few: bool
    simulated: bool
    seed: int
    seconds: float
    to: str
    ours: dict[str, Any]

    @property
    def sizes(self) -> Sizes:
        """Of the data of figures."""
        return SIZES[self.size]


class Log:
    """What has been found, and the file that says it.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path, self.result = path, Result("")
        self.begun: list[str] = []

    def write(self) -> None:
        """Whole or not at all."""
        draft = self._path.with_suffix(".draft")
        result, told = asdict(self.result), paths.taken()
        if any(told.values()):
            result["raw"].append({"section": "paths", "of": self.begun, **told})
        draft.write_text(json.dumps({"begun": self.begun, "result": result}), encoding="utf-8")
        draft.replace(self._path)

    def failed(self, name: str, error: BaseException) -> None:
        """Note what a section has raised."""
        lines = "".join(traceback.format_exception(error)).splitlines()[-_LINES:]
        self.result.missing[f"{WRONG}{name}"] = f"{type(error).__name__}: {error}"[:500]
        self.result.raw.append({"section": "error", "of": name, "traceback": lines})


def run(job: Job) -> int:
    """1 after an error."""
    if job.simulated:
        # Its threads wait for each other in loops: of turns of 5 ms, Python's, most would be spent so.
        sys.setswitchinterval(1e-5)
    log = Log(Path(job.to))
    budget = Budget(job.seconds, log.write)
    sections = _Sections(job, log.result, budget)
    for name, share in job.shares.items():
        log.begun.append(name)
        log.write()
        try:
            sections.run(name, share)
        except Exception as error:  # whatever it is, it is told
            traceback.print_exc()
            log.failed(name, error)
            log.write()
            return 1
    log.write()
    return 0


class _Sections:
    """How each is run; data on the GPU are shared."""

    def __init__(self, job: Job, result: Result, budget: Budget) -> None:
        self._job, self._result, self._budget = job, result, budget
        self._resident: Any = None

    def run(self, name: str, share: float) -> None:
        """One of them."""
        own: dict[str, Callable[[float], None]] = {"checks": self._checks, "first": self._first}
        if name in own:
            own[name](share)
        elif name in ("rivals", "compiled"):
            self._rivals(name, share)
        else:
            self._timed(name, share)

    def _checks(self, share: float) -> None:
        from bench.gpu import correctness

        raw: dict[str, Any] = {"section": "checks"}
        self._result.raw.append(raw)
        correctness.run(raw, self._job, self._budget, share)

    def _first(self, share: float) -> None:
        from bench.gpu import first

        first.run(self._result, self._job.sizes, self._budget, share)

    def _timed(self, name: str, share: float) -> None:
        from bench.gpu import epochs, fits, passes, streams

        sizes = self._job.sizes
        resident = self._data()
        if name == "epochs":
            resident = resident.part(sizes.epoch_rows)
        run = {"passes": passes.run, "fits": fits.run, "streams": streams.run, "epochs": epochs.run}[name]
        run(self._result, resident, sizes, self._budget, share)

    def _rivals(self, name: str, share: float) -> None:
        from bench.gpu import against

        resident, sizes = self._data(), self._job.sizes
        part = resident.part(sizes.epoch_rows)
        against.run(self._result, (resident, part), self._job.ours, (name, sizes.rounds), self._budget, share)

    def _data(self) -> Any:
        from bench.gpu import passes
        from bench.gpu.data import logistic

        if self._resident is None:
            sizes = self._job.sizes
            self._resident = passes.Resident.of(logistic(sizes.rows, sizes.columns, seed=0))
            size = self._resident.data.X.nbytes / 1e9
            self._budget.say(f"made {size:.3g} GB and copied them to the GPU")
        return self._resident


if __name__ == "__main__":
    sys.exit(run(Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
