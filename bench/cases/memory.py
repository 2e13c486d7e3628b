"""Peak memory of a fit beyond the data, in processes of their own.

``python -m bench.cases.memory PARAMETERS ROWS_DIVIDED_BY`` fits a part of the data and prints JSON.
"""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

from fastgd.bench.machine import ROOT
from fastgd.bench.problems import PROBLEMS, problem
from fastgd.bench.result import Finding, Result
from fastgd.bench.timing import spread

_AT_MOST = 0.05
_REPEATS = 3
_FITS = {
    "defaults": {},
    "Adam, batches of 256, 2 epochs": {"optimizer": "adam", "batch_size": 256, "max_iter": 2, "tol": 0.0},
}


def memory(quick: bool) -> Result:
    """Compare processes that fit a small part of the data and all of it.

    Both have loaded the same kernels; a fit of ten rows loads none.
    """
    result = Result(
        "VmHWM of a process that makes X and int64 labels and fits them, less X and labels, less the same of one with "
        "a hundredth of the rows: both have loaded the kernels, which come from the cache and take some 50 MB. Making "
        "the data in blocks counts, too."
    )
    made = problem("memory", quick)
    for name, parameters in _FITS.items():
        arguments = (
            (json.dumps(parameters), "1000" if quick else "100"),
            (json.dumps(parameters), "10" if quick else "1"),
        )
        for words in arguments:
            _measure(words)  # so that no kernel is compiled in the processes that count
        runs = [[_measure(words) for words in arguments] for _ in range(1 if quick else _REPEATS)]
        if any(found["compiled"] for pair in runs for found in pair):
            raise RuntimeError("a kernel was compiled on the way: its sources changed, or the cache is not writable")
        extra = [whole["beyond"] - few["beyond"] for few, whole in runs]
        share = spread([value / made.nbytes for value in extra])
        what = f"Peak memory of a fit ({name}) beyond its data, {made.size}"
        against = f"X, {made.nbytes / 1e6:.0f} MB"
        result.findings.append(Finding(what, max(extra) / 1e6, "MB", against, share, "share", None, _AT_MOST))
        result.raw.append({"problem": made.name, "fit": name, "runs": runs, "extra": extra})
    return result


def _measure(words: tuple[str, ...]) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.cases.memory", *words]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _peak() -> int:
    """Return VmHWM in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main(parameters: str, divided: str) -> None:
    """Fit and print the bytes beyond the data."""
    from numba.core import event

    from fastgd import LogisticRegression

    compiled = event.RecordingListener()  # not of kernels that are loaded
    event.register("numba:compile", compiled)
    warnings.simplefilter("ignore")
    data = PROBLEMS["memory"].smaller(int(divided)).make()
    before = _peak()
    model = LogisticRegression(**json.loads(parameters)).fit(data.X, data.y)
    beyond = _peak() - data.X.nbytes - data.y.nbytes
    facts = {"before_fit": before, "beyond": beyond, "epochs": model.n_iter_, "compiled": len(compiled.buffer)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
