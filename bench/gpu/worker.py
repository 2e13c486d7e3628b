"""Sections of the GPU's benchmark in a process of their own: python -m bench.gpu.worker JOB, a file.

Findings are written to a file after every step, so that they survive the process. After an error no other section is
run: a GPU's context does not survive some errors, and the next process starts afresh.
"""

import json
import sys
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.gpu.clock import WRONG, Budget
from bench.gpu.processes import Job
from fastgd.backends.cuda import launch as cuda_launch
from fastgd.backends.select import gpu_kernels
from fastgd.bench.result import Result

#: Lines of an error's traceback that are kept.
_LINES = 12


def launch_counts() -> dict[str, int]:
    """Return how many kernels were compiled and loaded, and how many launches were fast or by Numba."""
    found = {how: len(names) for how, names in gpu_kernels().items()}
    found["launched fast"] = cuda_launch.fast_launches["all"]
    by_numba = cuda_launch.numba_launches.items()
    return found | {f"launched by Numba: {name}": count for name, count in by_numba}


class Log:
    """The findings, and the file they are written to.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path, self.result = path, Result("")
        self.begun: list[str] = []

    def write(self) -> None:
        """Write the file, completely or not at all."""
        draft = self._path.with_suffix(".draft")
        result, counts = asdict(self.result), launch_counts()
        if any(counts.values()):
            result["raw"].append({"section": "paths", "of": self.begun, **counts})
        draft.write_text(json.dumps({"begun": self.begun, "result": result}), encoding="utf-8")
        draft.replace(self._path)

    def failed(self, name: str, error: BaseException) -> None:
        """Record the error of a section."""
        lines = "".join(traceback.format_exception(error)).splitlines()[-_LINES:]
        self.result.missing[f"{WRONG}{name}"] = f"{type(error).__name__}: {error}"[:500]
        self.result.raw.append({"section": "error", "of": name, "traceback": lines})


def run(job: Job) -> int:
    """Run the sections; return 1 after an error."""
    if job.simulated:
        # The simulator's threads poll each other: with Python's turns of 5 ms most turns would be wasted.
        sys.setswitchinterval(1e-5)
    log = Log(Path(job.to))
    budget = Budget(job.seconds, log.write)
    sections = Sections(job, log.result, budget)
    for name, share in job.shares.items():
        log.begun.append(name)
        log.write()
        try:
            sections.run(name, share)
        except Exception as error:  # every error is recorded
            traceback.print_exc()
            log.failed(name, error)
            log.write()
            return 1
    log.write()
    return 0


class Sections:
    """Run sections; data on the GPU are shared.

    Parameters
    ----------
    job : Job
    result : Result
        For their findings.
    budget : Budget
    """

    def __init__(self, job: Job, result: Result, budget: Budget) -> None:
        self._job, self.result, self.budget = job, result, budget
        self._data: Any = None

    def run(self, name: str, share: float) -> None:
        """Run one section."""
        job, result, budget = self._job, self.result, self.budget
        if name == "checks":
            from bench.gpu import checks

            checks.section(result, job, budget, share)
        elif name == "first":
            from bench.gpu import first

            first.section(result, job.sizes, budget, share)
        elif name == "sparse":
            from bench.gpu import sparse

            sparse.section(result, job.sizes, budget, share)
        elif name in ("rivals", "compiled"):
            from bench.gpu import against

            against.section(result, self._on_gpu(), job, name, budget, share)
        else:
            from bench.gpu import times

            times.SECTIONS[name](result, self._on_gpu(), job.sizes, budget, share)

    def _on_gpu(self) -> Any:
        """Return the data with X on the GPU, made once."""
        from numba import cuda

        from fastgd.bench.problems import Problem

        if self._data is None:
            data = Problem("logistic", self._job.sizes.rows, self._job.sizes.columns).make()
            self._data = replace(data, on_gpu=cuda.to_device(data.X))
            self.budget.log(f"made {data.X.nbytes / 1e9:.3g} GB and copied them to the GPU")
        return self._data


if __name__ == "__main__":
    sys.exit(run(Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
