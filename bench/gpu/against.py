"""Other libraries on the same GPU: CuPy and PyTorch in full passes, PyTorch in epochs, beside our own times.

They run in other processes than our own times, since a library may change a process or a GPU, and one that compiles
for minutes can be ended. Within a section the comparisons with a target come first.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.gpu.clock import NO_TIME, Budget, in_turn, over
from bench.gpu.processes import Job as ProcessJob
from bench.gpu.times import EPOCH_RIGHT, RIGHT, TARGETS, distance, plan_of, point
from fastgd.bench import rivals
from fastgd.bench.objective import Objective
from fastgd.bench.problems import Data
from fastgd.bench.result import Result
from fastgd.bench.timing import Job
from fastgd.kernels.cpu.order import make_order
from fastgd.kernels.records import Batches
from fastgd.kernels.shuffle import RUN, WINDOW

#: By section: the comparison and the rival.
_ORDER: dict[str, tuple[tuple[str, str], ...]] = {
    "rivals": (("pass", "CuPy"), ("pass", "PyTorch autograd"), *((f"epochs {b}", "PyTorch eager") for b in TARGETS)),
    "compiled": (
        ("epochs 4096", "PyTorch compiled"),
        ("pass", "PyTorch compiled"),
        ("epochs 256", "PyTorch compiled"),
    ),
}


def section(result: Result, data: Data, job: ProcessJob, name: str, budget: Budget, seconds: float) -> None:
    """Compare with the rivals of a section, each with the fastest of its ways."""
    end = budget.until(seconds)
    for of, rival in _ORDER[name]:
        if of not in job.ours:
            result.missing[f"{rival}, {of}"] = f"ours was not measured ({of})"
            continue
        part = data if of == "pass" else data.first(job.sizes.epoch_rows)
        found = _measure(result, (of, rival), part, job, end)
        if found:
            _compare(result, of, rival, job.ours[of], found)
        budget.log(f"{of} by {rival}")


def _measure(
    result: Result, comparison: tuple[str, str], data: Data, job: ProcessJob, end: float
) -> dict[str, list[float]]:
    """Return the seconds of each way of a rival whose result is right."""
    (of, rival), measured = comparison, {}
    expected, limit = job.ours[of]["expected"], RIGHT if of == "pass" else EPOCH_RIGHT
    rounds = job.sizes.rounds if of == "pass" else max(2, job.sizes.rounds // 5)
    try:
        for one in ways(of, rival, data):
            if over(end):
                result.missing[f"{one.label}, {of}"] = NO_TIME
                continue
            off = distance(one.run(), np.array(expected))
            if not off <= limit:
                raise AssertionError(f"{one.label} is off by {off:.3g}: not timed")
            warm_ups = 1 if of == "pass" else 0
            measured[one.label] = in_turn({one.label: one.run}, rounds, end, warm_ups)[one.label]
    except Exception as error:  # whatever a rival raises: it is named and left out
        result.missing[f"{rival}, {of}"] = f"{type(error).__name__}: {error}"[:300]
    return measured


def ways(of: str, rival: str, data: Data) -> Iterator[Job]:
    """Iterate over the jobs of a rival; each is made when it is asked for."""
    library, _, kind = rival.partition(" ")
    adapters, missing = rivals.load([library])
    if missing:
        raise ImportError(missing[library])
    if of == "pass":
        more = {"ways": [kind]} if kind else {}
        yield from adapters[0].full_passes(Objective(data, 0.0), point(1, data.problem.d), "cuda", **more)
        return
    plan = plan_of(int(of.split()[1]), len(data.y))
    order = visited_rows(len(data.y), plan.seed, 0)
    yield from adapters[0].epochs(Objective(data, plan.alpha), plan, "cuda", order, adapters[0].ON_GPU[rival])


def visited_rows(n: int, seed: int, epoch: int) -> Any:
    """Return the rows of an epoch in fastgd's order, which the reference needs minutes for."""
    kernel, windows = make_order(), -(-n // WINDOW)
    found, runs = np.empty(windows * WINDOW, np.int64), np.empty(WINDOW // RUN, np.int64)
    for window in range(windows):
        kernel(window, n, Batches(1, seed, epoch, True), found[window * WINDOW : (window + 1) * WINDOW], runs)
    return found[:n]


def _compare(result: Result, of: str, rival: str, own: dict[str, Any], measured: dict[str, list[float]]) -> None:
    best = min(measured, key=lambda name: float(np.median(measured[name])))
    asked = None if of == "pass" else TARGETS[int(of.split()[1])][rival]
    said = f"{best}, on the same GPU"
    result.add_times(own["what"], own["seconds"], said, measured[best], paired=False, at_least=asked)
    result.raw.append({"section": "against others", "of": of, "seconds": {"fastgd": own["seconds"], **measured}})
