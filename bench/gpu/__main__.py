"""Check and measure a GPU in one command: python -m bench.gpu [--quick] [--simulated] [--only SECTION ...].

First results (every loss, rule, dtype and order against the reference and the CPU), then times by CUDA events, into
bench/results/gpu.json. Exit status: 0, 1 where a result is wrong, 2 where there is no GPU.
"""

import argparse
import json
import secrets
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.machine import ROOT
from bench.result import RESULTS, Finding, Result, write
from bench.run import told
from fastgd.backends.devices import why_unusable

SECTIONS = ("checks", "first", "passes", "fits", "streams", "epochs")
#: Seconds for everything, and for each section at most; in the simulator there is no haste.
SECONDS, SIMULATED_SECONDS = 470.0, 3600.0
SHARES = {"checks": 160, "first": 40, "passes": 65, "fits": 35, "streams": 25, "epochs": 110}
INCLUDED = (
    "X on the GPU unless it is said otherwise, kernels compiled and warmed up; times by CUDA events around calls that "
    "end with their results on the host. Bytes are those of X, labels not counted. Epochs draw and follow a new order "
    "each; fastgd sums losses, PyTorch does not. Whole fits include checks and conversion of y on the host."
)
#: Rows and columns of the data of figures; rounds.
_ROWS, _COLUMNS, _EPOCH_ROWS, _ROUNDS = 20_000_000, 100, 1 << 21, 15
_QUICK = 100


def main(arguments: list[str] | None = None) -> int:
    """Run the sections; a failure in one does not stop the others."""
    options = _parser().parse_args(arguments)
    missing = why_unusable()
    if missing is not None:
        print(f"bench.gpu: {missing}", file=sys.stderr)
        return 2
    from bench.gpu import machine

    simulated = machine.describe()["simulated"]
    if simulated != options.simulated:
        said = "--simulated needs NUMBA_ENABLE_CUDASIM=1" if options.simulated else "NUMBA_ENABLE_CUDASIM=1 is set"
        print(f"bench.gpu: {said}; the simulator checks results and measures nothing", file=sys.stderr)
        return 2
    few = options.quick or simulated
    result, wrong = _run(_sections(options.only, simulated), few, options.seed, simulated)
    folder = options.out or (RESULTS / "quick" if few else RESULTS)
    path = write("gpu", result, folder, few)
    print("\n".join(told(result)))
    print(f"written to {path}")
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="few checks, a hundredth of the rows: to see that all works"
    )
    parser.add_argument("--simulated", action="store_true", help="in Numba's simulator: few checks and no times")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some of the sections")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(1 << 30), help="of checks (default: another each time)"
    )
    parser.add_argument("--out", type=Path, help="folder to write to (default: bench/results, quick ones in quick/)")
    return parser


def _sections(only: list[str] | None, simulated: bool) -> list[str]:
    return [name for name in SECTIONS if (not only or name in only) and not (simulated and name != "checks")]


def _run(sections: list[str], few: bool, seed: int, simulated: bool) -> tuple[Result, list[str]]:
    from bench.gpu import machine
    from bench.gpu.clock import Budget

    budget, result, wrong = Budget(SIMULATED_SECONDS if simulated else SECONDS), Result(INCLUDED), []
    result.raw.append({"section": "gpu", **machine.describe(), "seed": seed})
    if "checks" in sections:
        wrong += _guarded("checks", result, lambda: _check(result, budget, few, seed, simulated)) or []
    timed = [name for name in sections if name != "checks"]
    if timed:
        _guarded("times", result, lambda: _measure(timed, result, budget, few))
    budget.say("done")
    result.raw.append({"section": "whole", "seconds": budget.spent})
    return result, wrong + [f"{name}: {why}" for name, why in result.missing.items() if name.startswith("section ")]


def _guarded(name: str, result: Result, run: Callable[[], Any]) -> Any:
    """Run a section; what it raises is told and noted."""
    try:
        return run()
    except Exception as error:
        traceback.print_exc()
        result.missing[f"section {name}"] = f"{type(error).__name__}: {error}"
        return None


def _check(result: Result, budget: Any, few: bool, seed: int, simulated: bool) -> list[str]:
    from bench.gpu import correctness

    found = correctness.run(seed, few, simulated, budget, SHARES["checks"])
    result.raw.append({"section": "checks", "seed": seed, **asdict(found)})
    return found.wrong


def _measure(sections: list[str], result: Result, budget: Any, few: bool) -> None:
    from bench.gpu import epochs, fits, passes, streams
    from bench.gpu.data import logistic

    rows, rounds = (_ROWS // _QUICK, 3) if few else (_ROWS, _ROUNDS)
    if "first" in sections:
        _guarded("first", result, lambda: _first(result, budget, rows))
    if sections == ["first"]:
        return
    resident = passes.Resident.of(logistic(rows, _COLUMNS, seed=0))
    budget.say(f"made {resident.data.X.nbytes / 1e9:.3g} GB and copied them to the GPU")
    part = resident.part(min(rows, _EPOCH_ROWS))
    work: dict[str, Callable[..., None]] = {
        "passes": passes.run,
        "fits": fits.run,
        "streams": streams.run,
        "epochs": epochs.run,
    }
    for name, run in work.items():
        if name in sections:
            its = part if name == "epochs" else resident
            _guarded(name, result, lambda run=run, its=its, name=name: run(result, its, rounds, budget, SHARES[name]))


#: Of a fit's report, and what it is.
_PARTS = {"seconds_compile": "compiling", "seconds_transfer": "copying", "seconds_compute": "computing"}


def _first(result: Result, budget: Any, rows: int) -> None:
    """Compiling, copying and computing of a first fit and a second."""
    words = [sys.executable, "-m", "bench.gpu.first", str(rows // 10), str(_COLUMNS)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SHARES["first"])
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words[1:])}: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    result.raw.append({"section": "first fit of a process", **found})
    for name, fit in zip(("First", "Second"), found["fits"], strict=True):
        for key, doing in _PARTS.items():
            what = f"{name} fit of a process, {rows // 10:,} x {_COLUMNS} float32, X on the host: {doing}"
            result.findings.append(Finding(what, fit[key], "s", in_readme=False))
    budget.say("first fit of a process")


if __name__ == "__main__":
    sys.exit(main())
