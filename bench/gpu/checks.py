"""Correctness of the GPU: every loss, rule, dtype and order against the reference and the CPU, on fresh numbers.

The tests' own tables and bounds are used, at sizes of many blocks; the GPU's memory holds NaN before it is used. All
checks run in a process per core, so that kernels compile side by side, and sanitizers beside them.
"""

import contextlib
import itertools
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from numba import cuda

from bench.gpu import processes, sanitizer
from bench.gpu.check_arrays import array_checks
from bench.gpu.check_data import (
    PENALTIES,
    SHAPES,
    Absent,
    Check,
    auto_check,
    epoch_check,
    pass_check,
    rule_check,
    sparse_check,
    stream_check,
    threads_check,
    verbs_check,
)
from bench.gpu.clock import NO_TIME, Budget, over
from bench.gpu.processes import Job, Worker
from fastgd.bench.machine import cores
from fastgd.bench.ours import OPTIMIZERS
from fastgd.bench.result import Result
from fastgd.kernels.cuda._target import SIMULATED
from tests.kernels.table import ALL, Case

#: The message of a fit after the GPU was lost for this process.
_LOST = re.compile("the GPU stopped working")
#: Every byte of poisoned memory: NaN as float32 and float64, -1 as integers.
_BYTE = 0xFF
#: Most parts that the checks are split into, each of a dtype and an order.
_MOST_PARTS = 16
#: Seconds of the parts' processes to start, of their own time; and that the last checks and sanitizers have to end.
_TO_START, _LONGER = 10.0, 12.0
#: BLAS and kernels of many processes would wait for each other's threads.
_ONE_THREAD = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass
class Checked:
    """The outcome of checks: how many ran, those that failed, and those for which there was no time.

    left_out: in their order, so that the first one is running while any is. absent: checks of libraries that are not
    installed, with the reasons.
    """

    ran: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    sanitizers: dict[str, Any] = field(default_factory=dict)

    def add(self, raw: dict[str, Any]) -> None:
        """Append the outcome of another process."""
        self.ran += raw["ran"]
        self.failed += raw["failed"]
        self.left_out += raw["left_out"]
        self.absent |= raw["absent"]


def section(result: Result, job: Job, budget: Budget, seconds: float) -> None:
    """Run few checks in this process, a part of all, or all in many processes; sanitizers beside them on a GPU."""
    raw: dict[str, Any] = {"section": "checks", "seed": job.seed, **asdict(Checked())}
    result.raw.append(raw)
    if job.part[1] > 1:

        def save(found: Checked) -> None:
            raw.update(asdict(found))
            budget.step()

        run(all_of(job.seed, *job.part), budget, seconds, save)
        return
    begun, end = {} if job.simulated else sanitizer.start(), budget.until(seconds + _LONGER)
    try:
        if job.few:
            raw |= asdict(run(few_of(job.seed, job.size == "small"), budget, seconds))
        else:
            _in_parts(result, raw, job, budget, seconds)
        budget.log(f"{raw['ran']} checks, {len(raw['failed'])} failed, {len(raw['left_out'])} left out for time")
        raw["sanitizers"] = sanitizer.finish(begun, budget, end)
    finally:
        for process in begun.values():
            process.kill()


def _in_parts(result: Result, raw: dict[str, Any], job: Job, budget: Budget, seconds: float) -> None:
    """Run all checks in a process per core and merge their outcomes."""
    parts, found, counts = min(_MOST_PARTS, cores()), Checked(), {}
    shares = {"checks": seconds - _TO_START}
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                processes.started(job._replace(shares=shares, seconds=seconds, part=(part, parts)), _ONE_THREAD)
            )
            for part in range(parts)
        ]
        end = budget.until(seconds + _LONGER)
        for part, worker in enumerate(workers):
            why = worker.wait(max(1.0, end - time.monotonic()))
            one, taken = _outcome(part, worker, why)
            if why and why.startswith(NO_TIME):
                budget.log(f"part {part} of the checks was given up: {', '.join(one['left_out'][:1])}")
            found.add(one)
            counts = {path: counts.get(path, 0) + taken.get(path, 0) for path in {**counts, **taken}}
    raw |= asdict(found)
    result.raw.append({"section": "paths", "of": ["checks in parts"], **counts})


def _outcome(part: int, worker: Worker, why: str | None) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the outcome of a part and its launches; one that ended by itself too early counts as failed.

    The failed check is the one that was running; a part that ran out of time has not failed.
    """
    raws = worker.progress().result.raw
    found = next((raw for raw in raws if raw["section"] == "checks"), None)
    launches = next((raw for raw in raws if raw["section"] == "paths"), {})
    raw = found or asdict(Checked(left_out=["none was begun"]))
    if (why and not why.startswith(NO_TIME)) or (why is None and found is None):
        name = raw["left_out"].pop(0) if raw["left_out"] else "all were done"
        error = f"{why or 'its process has found nothing'}: whether this check is right is not known"
        raw["failed"].append({"check": f"part {part}: {name}", "error": error})
    return raw, {path: count for path, count in launches.items() if isinstance(count, int)}


def run(
    chosen: Iterable[Check], budget: Budget, seconds: float, save: Callable[[Checked], None] = lambda found: None
) -> Checked:
    """Run checks; `save` receives the outcome so far before the first and after each."""
    checks, end = list(chosen), budget.until(seconds)
    found = Checked(left_out=[name for name, _ in checks])
    save(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few epochs on noise need not converge
        for name, check in checks:
            if over(end):
                break
            lost = _run_one(name, check, found, budget)
            found.left_out.pop(0)
            save(found)
            if lost:
                break
    return found


def _run_one(name: str, check: Callable[[], None], found: Checked, budget: Budget) -> bool:
    """Run a check; return whether the GPU is lost with it."""
    try:
        with poisoned():
            check()
    except Absent as error:
        found.absent[name] = str(error)
        return False
    except Exception as error:  # whatever it is, the others are checked as well
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
        found.failed.append({"check": name, "error": words})
        found.ran += 1
        budget.log(f"FAILED {name}: {words.splitlines()[0]}")
        return bool(_LOST.search(str(error)))
    found.ran += 1
    return False


def few_of(seed: int, small: bool = True) -> Iterator[Check]:
    """Iterate over checks of every rule, loss, dtype and order, not all combined; `small`: for an imitated GPU."""
    mixed = [(ALL[(5 * i) % len(ALL)], rule) for i, rule in enumerate(OPTIMIZERS)]
    yield from _of(ALL[::3], mixed, ALL[::6], ("none kept" if small else "many rows", seed))
    yield from array_checks(seed)
    yield threads_check(seed)


def all_of(seed: int, part: int, parts: int) -> Iterator[Check]:
    """Iterate over one of several parts of all combinations; each compiles kernels that no other does."""
    cases = ALL[part::parts]
    if part == 0:
        yield threads_check(seed)
    yield from array_checks(seed)[part::parts]
    yield from _of(cases, list(itertools.product(cases, OPTIMIZERS)), cases, ("many rows", seed))


def _of(cases: list[Case], pairs: list[tuple[Case, str]], fitted: list[Case], how: tuple[str, int]) -> Iterator[Check]:
    """Iterate over checks of cases and of pairs with a rule, the most important first, since the last may be cut.

    how: rows of the fits of which the host keeps none, and the seed.
    """
    rows, seed = how
    yield from (pass_check(case, shape, seed) for case in cases for shape in SHAPES)
    sparse = [case for case in cases if case.order == "C" and not case.shift]
    yield from (sparse_check(case, index, seed) for case in sparse for index in ("i4", "i8"))
    yield from (verbs_check(case, weighted, seed) for case in cases for weighted in (True, False))
    yield from (stream_check(case, *kind, seed) for case in fitted for kind in ((True, False), (False, True)))
    yield from (auto_check(case, penalty, seed) for case in fitted for penalty in PENALTIES)
    yield from (auto_check(case, PENALTIES[0], seed, rows) for case in fitted)
    yield from (epoch_check(case, rule, seed) for case, rule in pairs)
    yield from (rule_check(case, rule, seed) for case, rule in pairs)


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """Fill arrays that are allocated on the GPU, and pinned ones on the host, with NaN, to expose unwritten reads."""
    allocate, pin = cuda.device_array, cuda.pinned_array

    def device_array(*args: Any, **options: Any) -> Any:
        array = allocate(*args, **options)
        if array.size:
            _fill(array, options.get("stream", 0))
        return array

    def pinned_array(*args: Any, **options: Any) -> Any:
        array = pin(*args, **options)
        if array.size:
            _bytes_of(array)[...] = _BYTE
        return array

    with mock.patch.multiple(cuda, device_array=device_array, pinned_array=pinned_array):
        yield


def _fill(array: Any, stream: Any) -> None:
    if SIMULATED:
        _bytes_of(array._ary)[...] = _BYTE
        return
    from numba.cuda.cudadrv.driver import device_memset

    device_memset(array, _BYTE, array.nbytes, stream)


def _bytes_of(array: Any) -> Any:
    """Return the bytes of an array on the host, in either order."""
    return (array if array.flags.c_contiguous else array.T).view(np.uint8)
