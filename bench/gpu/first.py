"""The first fit of a process and the second, apart: python -m bench.gpu.first ROWS COLUMNS prints their reports.

In a process of its own, since what has been compiled once is there until a process ends.
"""

import json
import subprocess
import sys
import time
from typing import Any

from bench.gpu.sizes import Sizes
from bench.machine import ROOT
from bench.result import Finding, Result

#: Of a fit's report, and what it is.
_PARTS = {"seconds_compile": "compiling", "seconds_transfer": "copying", "seconds_compute": "computing"}


def run(result: Result, sizes: Sizes, budget: Any, seconds: float) -> None:
    """Compiling, copying and computing of a first fit and a second."""
    rows = sizes.rows // 10
    words = [sys.executable, "-m", "bench.gpu.first", str(rows), str(sizes.columns)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=max(seconds, 1.0))
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words[1:])}: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    result.raw.append({"section": "first fit of a process", **found})
    for name, fit in zip(("First", "Second"), found["fits"], strict=True):
        for key, doing in _PARTS.items():
            what = f"{name} fit of a process, {rows:,} x {sizes.columns} float32, X on the host: {doing}"
            result.findings.append(Finding(what, fit[key], "s", in_readme=False))
    budget.say("first fit of a process")


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
    print(json.dumps({"imports": imported, "bytes": data.X.nbytes, "fits": reports}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
