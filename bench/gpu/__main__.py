"""Check and measure a GPU in one command: python -m bench.gpu [--quick | --small] [--simulated] [--only SECTION ...].

First results (every loss, rule, dtype and order against the reference and the CPU, streams, arrays of other libraries),
then times by CUDA events. A whole run writes bench/results/gpu.json; one that is not whole, or of --only some sections,
bench/results/part/gpu.json. Exit status: 0; 1 where a result is wrong or a section has failed; 2 where there is no GPU;
3 where all is right and there was no time for some of it.
"""

import argparse
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

from bench.gpu import processes
from bench.gpu.clock import Budget
from bench.gpu.result import FOR_RIVALS, left_out, wrong
from bench.gpu.worker import Job
from bench.result import RESULTS, Result, write
from bench.run import told
from fastgd.backends.cuda.driver import why_unusable

#: Sections in the order of their importance, those of a process together, and seconds of each.
GROUPS: tuple[dict[str, float], ...] = (
    {"checks": 140.0},
    {"passes": 50.0, "epochs": 35.0, "fits": 35.0, "streams": 25.0},
    {"rivals": 55.0},
    {"compiled": 70.0},
    {"first": 35.0},
)
SECTIONS = tuple(name for group in GROUPS for name in group)
#: Seconds for everything; where there is no GPU there is no haste.
SECONDS, UNHURRIED = 465.0, 7200.0
INCLUDED = (
    "X on the GPU unless it is said otherwise, kernels compiled and warmed up; times by CUDA events around calls that "
    "end with their results on the host. Bytes are those of X, labels not counted. Epochs draw and follow a new order "
    "each; fastgd sums losses, PyTorch does not. Whole fits include checks and conversion of y on the host."
)


def main(arguments: list[str] | None = None) -> int:
    """Run the sections; a failure in one does not stop the others."""
    options = _parser().parse_args(arguments)
    missing = why_unusable()
    if missing is not None:
        print(f"bench.gpu: {missing}", file=sys.stderr)
        return 2
    from bench.gpu import machine

    described = machine.describe()
    if described["simulated"] != options.simulated:
        said = "--simulated needs NUMBA_ENABLE_CUDASIM=1" if options.simulated else "NUMBA_ENABLE_CUDASIM=1 is set"
        print(f"bench.gpu: {said}; the simulator checks results and measures nothing", file=sys.stderr)
        return 2
    size = "small" if options.small or options.simulated else "quick" if options.quick else "full"
    budget = Budget(options.seconds or (UNHURRIED if options.small or options.simulated else SECONDS))
    result = Result(INCLUDED)
    result.raw.append({"section": "gpu", **described, "size": size, "seed": options.seed})
    # A simulator's times say nothing.
    chosen = options.only or (["checks"] if options.simulated else list(SECTIONS))
    job = Job({}, size, size != "full", options.simulated, options.seed, 0.0, "", {})
    _run(chosen, job, result, budget, _folder(options.out, size, "part"))
    whole = set(chosen) == set(SECTIONS) and not wrong(result)
    return _end(result, budget, _folder(options.out, size, "" if whole else "part"), size)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="few checks, a hundredth of the rows: to see that all works"
    )
    parser.add_argument(
        "--small", action="store_true", help="a few thousand rows and no haste: where a GPU is only imitated"
    )
    parser.add_argument("--simulated", action="store_true", help="in Numba's simulator: few checks and no times")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some of the sections")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(1 << 30), help="of checks (default: another each time)"
    )
    parser.add_argument("--seconds", type=_seconds, help=f"for everything (default: {SECONDS:g}, or {UNHURRIED:g})")
    parser.add_argument("--out", type=Path, help="folder to write to (default: bench/results, quick ones in quick/)")
    return parser


def _seconds(text: str) -> float:
    """A number of seconds, more than none."""
    found = float(text)
    if not 0.0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no time to measure in: give more than 0 seconds")
    return found


def _folder(out: Path | None, size: str, part: str) -> Path:
    """Where a result goes: parts and quick ones beside the tracked ones."""
    return out or RESULTS / ("quick" if size != "full" else part)


def _run(chosen: list[str], job: Job, result: Result, budget: Budget, folder: Path) -> None:
    """Group after group, what is found so far written after each."""
    unhurried = job.size == "small"
    for group in GROUPS:
        shares = {name: UNHURRIED if unhurried else share for name, share in group.items() if name in chosen}
        ours = {raw["of"]: raw for raw in result.raw if raw["section"] == FOR_RIVALS}
        processes.run(job._replace(shares=shares, ours=ours), result, budget)
        write("gpu", _without_notes(result), folder, job.few)


def _without_notes(result: Result) -> Result:
    """A result without what its own sections tell each other."""
    raw = [found for found in result.raw if found["section"] != FOR_RIVALS]
    return Result(result.included, result.findings, raw, result.missing)


def _end(result: Result, budget: Budget, folder: Path, size: str) -> int:
    """Write and tell all."""
    late, errors = left_out(result), wrong(result)
    result = _without_notes(result)
    ending: dict[str, Any] = {"seconds": budget.spent, "complete": not (late or errors), "left_out": late}
    result.raw.append({"section": "whole", **ending})
    path = write("gpu", result, folder, size != "full")
    print("\n".join(told(result)))
    print(f"written to {path} after {budget.spent:.0f} s")
    for line in late:
        print(f"NOT COMPLETE: {line}: no time was left", file=sys.stderr)
    for line in errors:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if errors else 3 if late else 0


if __name__ == "__main__":
    # So that who ends this ends its processes, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
