"""First fits of a process: with kernels compiled, with kernels loaded from disk, and warm, after they have run.

`python -m bench.gpu.first ROWS COLUMNS` fits twice and prints reports. Compiled kernels are saved to disk, so two such
processes run one after the other with a cache of their own, which is empty before the first.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench.gpu.clock import NO_TIME, Budget, Sizes
from fastgd.bench.machine import ROOT
from fastgd.bench.result import Finding, Result

#: Keys of a fit's report, and what takes the time.
_PARTS = {"seconds_compile": "compiling or loading", "seconds_transfer": "copying", "seconds_compute": "computing"}
_COMPILED, _LOADED, _WARM = (
    "First fit of a process, kernels compiled",
    "First fit of a process, kernels loaded from disk",
    "Second fit of a process",
)


def section(result: Result, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """Measure the parts of a fit that compiles its kernels, of one that loads them, and of a warm one."""
    rows, end = sizes.rows // 10, budget.until(seconds)
    size = f"{rows:,} x {sizes.columns} float32, X on the host"
    with tempfile.TemporaryDirectory() as folder:
        for name in (_COMPILED, _LOADED):
            try:
                found = _fit(rows, sizes.columns, folder, end - time.monotonic())
            except subprocess.TimeoutExpired:
                result.missing[name] = NO_TIME
                continue
            _report(result, name, size, found)
            budget.log(name)


def _report(result: Result, name: str, size: str, found: dict[str, Any]) -> None:
    """Record the findings of a process; its second fit is warm, whether its first compiled or loaded."""
    result.raw.append({"section": "first fit of a process", "of": name, **found})
    fits = {name: found["fits"][0]}
    if name == _LOADED:
        fits[_WARM] = found["fits"][1]
        if found["paths"].get("compiled"):
            del fits[name]
            result.missing[name] = f"{found['paths']['compiled']} kernels were compiled: they were not on disk"
    for of, fit in fits.items():
        for key, doing in _PARTS.items():
            result.findings.append(Finding(f"{of}, {size}: {doing}", fit[key], "s", in_table=False))


def _fit(rows: int, columns: int, folder: str, seconds: float) -> dict[str, Any]:
    """Run a process with its kernels in a folder."""
    words = [sys.executable, "-m", "bench.gpu.first", str(rows), str(columns)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words[1:])}: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(rows: int, columns: int) -> None:
    """Fit twice from plain NumPy arrays."""
    began = time.perf_counter()
    from bench.gpu.worker import launch_counts
    from fastgd import LogisticRegression
    from fastgd.bench.problems import Problem

    imported = time.perf_counter() - began
    data = Problem("logistic", rows, columns, seed=3).make()
    reports = []
    for _ in range(2):
        began = time.perf_counter()
        model = LogisticRegression(alpha=1e-4, tol=1e-6, device="cuda").fit(data.X, data.y)
        seconds = time.perf_counter() - began
        facts = {key: value for key, value in model.fit_report_.items() if key.startswith("seconds")}
        reports.append({"seconds": seconds, **facts, "passes": model.fit_report_["passes"]})
    print(json.dumps({"imports": imported, "bytes": data.X.nbytes, "paths": launch_counts(), "fits": reports}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
