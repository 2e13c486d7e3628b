"""compute-sanitizer over small checks, where it is installed and the system lets it work."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.gpu.clock import Budget
from bench.machine import ROOT

#: Tools and their own options. Whether memory is pinned is asked of the driver, which answers plain memory with an
#: error: errors of calls are the checks' to find, memcheck's are those of kernels.
_OPTIONS: dict[str, tuple[str, ...]] = {"memcheck": ("--report-api-errors", "no"), "racecheck": ()}
TOOLS = tuple(_OPTIONS)
#: What the program ends with where the sanitizer found something.
_FOUND = 77
#: What it says where it cannot look at this GPU, which is no fault of ours.
_REFUSALS = ("Device not supported", "Unable to find injection", "Failed to initialize")
_PLACES = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")

Process = subprocess.Popen[str]


def start(program: str | None = None) -> dict[str, Process]:
    """Begin to look with every tool; nothing where it is not installed."""
    program = program or shutil.which("compute-sanitizer") or _elsewhere()
    if program is None:
        return {}
    child = [sys.executable, "-m", "bench.gpu.sanitized"]
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
    """By tool: whether it ran, whether it found something, and the end of what it said."""
    if not begun:
        return {tool: {"ran": False, "why": "compute-sanitizer is not installed"} for tool in TOOLS}
    found = {}
    for tool, process in begun.items():
        found[tool] = _heard(process, end)
        told = found[tool]
        budget.say(
            f"{tool}: {'found something' if told.get('found') else 'clean' if told['ran'] else told['why'][:60]}"
        )
    return found


def _elsewhere() -> str | None:
    paths = [Path(folder) / "compute-sanitizer" for folder in _PLACES]
    return next((str(path) for path in paths if path.is_file()), None)


def _heard(process: Process, end: float) -> dict[str, Any]:
    try:
        said, _ = process.communicate(timeout=max(1.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return {"ran": False, "why": "it did not come to an end in time"}
    said = said.strip()
    if any(words in said for words in _REFUSALS):
        return {"ran": False, "why": said[-1000:]}
    return {"ran": True, "found": process.returncode != 0, "exit_status": process.returncode, "said": said[-2000:]}
