"""The first fit of a new process: with compiled kernels in the cache, and with an empty cache."""

import tempfile

from bench.children import call
from bench.problems import problem
from bench.result import Finding, Result
from bench.timing import spread

_CHILD = ["-m", "bench.children.first_fit"]
_WARM, _COLD = 9, 3


def run(quick: bool) -> Result:
    """Each in new processes, with the cache of kernels in a folder of its own."""
    result = Result("LogisticRegression().fit(X, y) in a new process; the imports before it are measured apart.")
    with tempfile.TemporaryDirectory() as folder:
        call(_CHILD, {"NUMBA_CACHE_DIR": folder})
        warm = [call(_CHILD, {"NUMBA_CACHE_DIR": folder}) for _ in range(3 if quick else _WARM)]
    if any(answer["compiled"] for answer in warm):
        raise RuntimeError("a kernel was compiled on the way: its sources changed")
    cold = []
    for _ in range(1 if quick else _COLD):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(call(_CHILD, {"NUMBA_CACHE_DIR": folder}))
    made = problem("start")
    for name, runs, at_most in (("kernels in the cache", warm, 1.0), ("empty cache", cold, 10.0)):
        fits, imports = (spread([run[key] for run in runs]) for key in ("fit", "imports"))
        what = f"First fit of a process, {name}, {made.size}"
        against = f"{fits['min']:.2f} to {fits['max']:.2f} s; imports before it {imports['median']:.2f} s"
        result.findings.append(Finding(what, fits["median"], "s", against, at_most=at_most))
        result.raw.append({"what": what, "runs": runs})
    return result
