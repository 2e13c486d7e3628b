"""First fits of a process: with kernels compiled, with kernels loaded from disk, and warm, once they have run.

`python -m bench.gpu.first ROWS COLUMNS` fits twice and prints reports. Kernels lie on disk once they are compiled, so
two such processes follow each other in a cache of their own, which is empty before the first.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench.gpu import paths
from bench.gpu.clock import Budget
from bench.gpu.result import NO_TIME
from bench.gpu.sizes import Sizes
from bench.machine import ROOT
from bench.result import Finding, Result

#: Of a fit's report, and what it is.
_PARTS = {"seconds_compile": "compiling or loading", "seconds_transfer": "copying", "seconds_compute": "computing"}
_COMPILED, _LOADED, _WARM = (
    "First fit of a process, kernels compiled",
    "First fit of a process, kernels loaded from disk",
    "Second fit of a process",
)


def run(result: Result, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """What takes the time of a fit whose kernels are compiled, of one that loads them, and of a warm one."""
    rows, end = sizes.rows // 10, budget.until(seconds)
    size = f"{rows:,} x {sizes.columns} float32, X on the host"
    with tempfile.TemporaryDirectory() as folder:
        for name in (_COMPILED, _LOADED):
            try:
                found = _fitted(rows, sizes.columns, folder, end - time.monotonic())
            except subprocess.TimeoutExpired:
                result.missing[name] = NO_TIME
                continue
            _tell(result, name, size, found)
            budget.say(name)


def _tell(result: Result, name: str, size: str, found: dict[str, Any]) -> None:
    """Note what a process has found: its second fit is warm, whether its first compiled or loaded."""
    result.raw.append({"section": "first fit of a process", "of": name, **found})
    fits = {name: found["fits"][0]}
    if name == _LOADED:
        fits[_WARM] = found["fits"][1]
        if found["paths"].get("compiled"):
            del fits[name]
            result.missing[name] = f"{found['paths']['compiled']} kernels were compiled: they did not lie on disk"
    for of, fit in fits.items():
        for key, doing in _PARTS.items():
            result.findings.append(Finding(f"{of}, {size}: {doing}", fit[key], "s", in_readme=False))


def _fitted(rows: int, columns: int, folder: str, seconds: float) -> dict[str, Any]:
    """What a process says that keeps kernels in a folder."""
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
    from bench.gpu.data import logistic
    from fastgd import LogisticRegression

    imported = time.perf_counter() - began
    data = logistic(rows, columns, seed=3)
    reports = []
    for _ in range(2):
        began = time.perf_counter()
        model = LogisticRegression(alpha=1e-4, tol=1e-6, device="cuda").fit(data.X, data.y)
        seconds = time.perf_counter() - began
        told = {key: value for key, value in model.fit_report_.items() if key.startswith("seconds")}
        reports.append({"seconds": seconds, **told, "passes": model.fit_report_["passes"]})
    print(json.dumps({"imports": imported, "bytes": data.X.nbytes, "paths": paths.taken(), "fits": reports}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
