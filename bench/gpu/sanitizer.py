"""compute-sanitizer over small checks, where it is installed and the system permits it.

``python -m bench.gpu.sanitizer`` is the program that it watches: a check of each kind on small data.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.gpu.clock import Budget
from fastgd.bench.machine import ROOT

#: Tools and their options. The driver answers whether plain memory is pinned with an error: errors of calls are left
#: to the checks, memcheck looks for those of kernels.
_OPTIONS: dict[str, tuple[str, ...]] = {"memcheck": ("--report-api-errors", "no"), "racecheck": ()}
TOOLS = tuple(_OPTIONS)
#: The exit status if the sanitizer found something.
_FOUND = 77
#: Its messages if it cannot watch this GPU.
_REFUSALS = ("Device not supported", "Unable to find injection", "Failed to initialize")
_PLACES = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")
_SHAPE, _SEED = (307, 13), 5

Process = subprocess.Popen[str]


def start(program: str | None = None) -> dict[str, Process]:
    """Start every tool; none if the sanitizer is not installed."""
    program = program or shutil.which("compute-sanitizer") or _elsewhere()
    if program is None:
        return {}
    child = [sys.executable, "-m", "bench.gpu.sanitizer"]
    return {
        tool: subprocess.Popen(
            [program, "--tool", tool, *options, "--error-exitcode", str(_FOUND), *child],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for tool, options in _OPTIONS.items()
    }


def finish(begun: dict[str, Process], budget: Budget, end: float) -> dict[str, dict[str, Any]]:
    """Return by tool whether it ran, whether it found something, and the end of its output."""
    if not begun:
        return {tool: {"ran": False, "why": "compute-sanitizer is not installed"} for tool in TOOLS}
    found = {tool: _outcome(process, end) for tool, process in begun.items()}
    for tool, facts in found.items():
        words = "found something" if facts.get("found") else "clean" if facts["ran"] else facts["why"][:60]
        budget.log(f"{tool}: {words}")
    return found


def _elsewhere() -> str | None:
    paths = [Path(folder) / "compute-sanitizer" for folder in _PLACES]
    return next((str(path) for path in paths if path.is_file()), None)


def _outcome(process: Process, end: float) -> dict[str, Any]:
    try:
        said, _ = process.communicate(timeout=max(1.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return {"ran": False, "why": "it did not end in time"}
    said = said.strip()
    if any(words in said for words in _REFUSALS):
        return {"ran": False, "why": said[-1000:]}
    return {"ran": True, "found": process.returncode != 0, "exit_status": process.returncode, "said": said[-2000:]}


def main() -> int:
    """Run the checks; return 1 if a result is wrong, errors of memory are reported by the sanitizer."""
    from bench.gpu.check_data import PENALTIES, auto_check, epoch_check, pass_check, stream_check, verbs_check
    from tests.kernels.table import ALL

    some = [ALL[0], ALL[11], ALL[22], ALL[31]]
    rules = ("adam", "saga", "nesterov", "averaged")
    found = [
        *(pass_check(case, _SHAPE, _SEED) for case in some),
        *(epoch_check(case, rule, _SEED) for case, rule in zip(some, rules, strict=True)),
        *(verbs_check(case, True, _SEED) for case in some[:2]),
        stream_check(some[0], False, True, _SEED),
        auto_check(some[0], PENALTIES[0], _SEED),
    ]
    wrong = 0
    for name, check in found:
        try:
            check()
        except Exception as error:  # the others are run all the same
            print(f"{name}: {error}", file=sys.stderr)
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
