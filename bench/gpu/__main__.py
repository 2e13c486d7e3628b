"""Check and measure a GPU in one command: python -m bench.gpu [--quick | --small] [--simulated] [--only SECTION ...].

First results (every loss, rule, dtype and order against the reference and the CPU, streams, arrays of other libraries),
then times by CUDA events. A complete run writes bench/results/gpu.json; one that is incomplete or --only some sections,
bench/results/part/gpu.json. Exit status: 0; 1 if a result is wrong or a section has failed; 2 without a GPU; 3 if all
is right and there was no time for some of it.
"""

import argparse
import secrets
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.gpu import processes
from bench.gpu.clock import Budget
from bench.gpu.processes import FOR_RIVALS, Job, left_out, wrong
from fastgd.backends.cuda.driver import why_unusable
from fastgd.backends.select import gpu_name
from fastgd.bench.machine import versions
from fastgd.bench.result import RESULTS, Result, write

#: Sections in the order of their importance, those of a process together, and the seconds of each.
GROUPS: tuple[dict[str, float], ...] = (
    {"checks": 140.0},
    {"passes": 50.0, "epochs": 35.0, "fits": 35.0, "streams": 25.0},
    {"sparse": 25.0},
    {"rivals": 50.0},
    {"compiled": 50.0},
    {"first": 35.0},
)
SECTIONS = tuple(name for group in GROUPS for name in group)
#: Seconds for everything; without a GPU there is no limit to keep.
SECONDS, UNLIMITED = 465.0, 7200.0
INCLUDED = (
    "X on the GPU unless it is said otherwise, kernels compiled and warmed up; times by CUDA events around calls that "
    "end with their results on the host. Bytes are those of X, labels not counted. Epochs draw and follow a new order "
    "each; fastgd sums losses, PyTorch does not. Whole fits include checks and conversion of y on the host."
)
_PACKAGES = (
    *("numba-cuda", "cuda-bindings", "cuda-toolkit", "nvidia-cuda-runtime", "triton"),
    *("cupy-cuda13x", "cupy-cuda12x", "cupy"),
)
_QUERY = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit,ecc.mode.current"


def main(arguments: list[str] | None = None) -> int:
    """Run the sections; a failure in one does not stop the others."""
    options = _parser().parse_args(arguments)
    missing = why_unusable()
    if missing is not None:
        print(f"bench.gpu: {missing}", file=sys.stderr)
        return 2
    described = describe()
    if described["simulated"] != options.simulated:
        said = "--simulated needs NUMBA_ENABLE_CUDASIM=1" if options.simulated else "NUMBA_ENABLE_CUDASIM=1 is set"
        print(f"bench.gpu: {said}; the simulator checks results and measures nothing", file=sys.stderr)
        return 2
    size = "small" if options.small or options.simulated else "quick" if options.quick else "full"
    budget = Budget(options.seconds or (UNLIMITED if size == "small" else SECONDS))
    result = Result(INCLUDED)
    result.raw.append({"section": "gpu", **described, "size": size, "seed": options.seed})
    # Times in the simulator are meaningless.
    chosen = options.only or (["checks"] if options.simulated else list(SECTIONS))
    job = Job({}, size, size != "full", options.simulated, options.seed)
    for group in GROUPS:
        shares = {name: UNLIMITED if size == "small" else share for name, share in group.items() if name in chosen}
        ours = {raw["of"]: raw for raw in result.raw if raw["section"] == FOR_RIVALS}
        processes.run(job._replace(shares=shares, ours=ours), result, budget)
        write("gpu", _public(result), _folder(options.out, size, "part"), size != "full")
    complete = set(chosen) == set(SECTIONS) and not wrong(result)
    return _end(result, budget, _folder(options.out, size, "" if complete else "part"), size)


def describe() -> dict[str, Any]:
    """Return model, driver, memory, caches and versions."""
    from numba import cuda

    from fastgd.kernels.cuda._target import SIMULATED

    installed = {name: number for name, number in versions(_PACKAGES).items() if number}
    found: dict[str, Any] = {"simulated": SIMULATED, "versions": installed, "name": gpu_name()}
    if SIMULATED:
        return found
    device = cuda.get_current_device()
    try:
        runtime = ".".join(map(str, cuda.runtime.get_version()))
    except Exception as error:  # an optional detail
        runtime = f"unknown ({error})"
    return found | {
        "compute_capability": ".".join(map(str, device.compute_capability)),
        "multiprocessors": int(device.MULTIPROCESSOR_COUNT),
        "l2_mb": device.L2_CACHE_SIZE / 1e6,
        "memory_gb": float(cuda.current_context().get_memory_info().total) / 1e9,
        "cuda_runtime": runtime,
        "nvidia_smi": _smi(),
    }


def _smi() -> dict[str, str]:
    """Return the answer of the driver's own tool, clocks included; empty if it is missing."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    words = [tool, f"--query-gpu={_QUERY}", "--format=csv,noheader", "--id=0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(_QUERY.split(","), values, strict=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    flag = {"action": "store_true"}
    parser.add_argument("--quick", **flag, help="few checks, a hundredth of the rows: to see that all works")
    parser.add_argument("--small", **flag, help="a few thousand rows and no time limit: for an imitated GPU")
    parser.add_argument("--simulated", **flag, help="in Numba's simulator: few checks and no times")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some of the sections")
    seed = secrets.randbelow(1 << 30)
    parser.add_argument("--seed", type=int, default=seed, help="of checks (default: another each time)")
    parser.add_argument("--seconds", type=_seconds, help=f"for everything (default: {SECONDS:g}, or {UNLIMITED:g})")
    parser.add_argument("--out", type=Path, help="folder to write to (default: bench/results, quick ones in quick/)")
    return parser


def _seconds(text: str) -> float:
    """Return a positive number of seconds."""
    found = float(text)
    if not 0.0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no time to measure in: give more than 0 seconds")
    return found


def _folder(out: Path | None, size: str, part: str) -> Path:
    """Return the folder of a result: parts and quick ones lie beside the tracked ones."""
    return out or RESULTS / ("quick" if size != "full" else part)


def _public(result: Result) -> Result:
    """Return the result without the numbers that sections pass to each other."""
    return replace(result, raw=[found for found in result.raw if found["section"] != FOR_RIVALS])


def _end(result: Result, budget: Budget, folder: Path, size: str) -> int:
    """Write and print everything."""
    late, errors = left_out(result), wrong(result)
    result = _public(result)
    ending: dict[str, Any] = {"seconds": budget.spent, "complete": not (late or errors), "left_out": late}
    result.raw.append({"section": "whole", **ending})
    path = write("gpu", result, folder, size != "full")
    print("\n".join(result.lines))
    print(f"written to {path} after {budget.spent:.0f} s")
    for line in late:
        print(f"NOT COMPLETE: {line}: no time was left", file=sys.stderr)
    for line in errors:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if errors else 3 if late else 0


if __name__ == "__main__":
    # So that a signal to this process also ends its workers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
