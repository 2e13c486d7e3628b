"""Others on the same GPU: CuPy and PyTorch over a full pass, PyTorch over mini-batch epochs, beside our own times.

In processes apart from those of our own times: what their libraries do to a process or a GPU is theirs, and one that
compiles for minutes can be given up. Within a section those that something is asked of come first.
"""

import functools
from typing import Any

import numpy as np

from bench.gpu.clock import Budget, in_turn, over
from bench.gpu.data import order_of
from bench.gpu.epochs import ASKED, plan_of
from bench.gpu.epochs import RIGHT as EPOCH_RIGHT
from bench.gpu.passes import RIGHT, Resident, add_times, distance, point
from bench.gpu.result import NO_TIME
from bench.gpu.rivals import EPOCHS, PASSES
from bench.result import Result

#: Of each section: what is compared, and the rivals' names begin with.
_ORDER: dict[str, tuple[tuple[str, str], ...]] = {
    "rivals": (("pass", "CuPy"), ("pass", "PyTorch, autograd"), *((f"epochs {b}", "PyTorch eager") for b in ASKED)),
    "compiled": (
        ("epochs 4096", "PyTorch compiled"),
        ("pass", "PyTorch, compiled"),
        ("epochs 256", "PyTorch compiled"),
    ),
}


def run(
    result: Result,
    residents: tuple[Resident, Resident],
    ours: dict[str, Any],
    how: tuple[str, int],
    budget: Budget,
    seconds: float,
) -> None:
    """A section: rivals of passes over the first rows, of epochs over the second; `how` its name and the rounds."""
    end, (section, rounds) = budget.until(seconds), how
    for of, kind in _ORDER[section]:
        if of not in ours:
            result.missing[f"{kind}, {of}"] = f"ours was not measured ({of})"
            continue
        rivals = PASSES if of == "pass" else EPOCHS
        resident = residents[0 if of == "pass" else 1]
        measured: dict[str, list[float]] = {}
        for name in (name for name in rivals if name.startswith(kind)):
            if over(end):
                result.missing[f"{name}, {of}"] = NO_TIME
                continue
            try:
                measured[name] = _measured(of, name, resident, ours[of]["expected"], (rounds, end))
            except Exception as error:  # whatever a rival raises: it is named and left out
                result.missing[f"{name}, {of}"] = f"{type(error).__name__}: {error}"[:300]
                continue
            _tell(result, of, kind, ours[of], measured)
            budget.say(f"{of} by {name}")


def _measured(of: str, name: str, resident: Resident, expected: Any, how: tuple[int, float]) -> list[float]:
    """Seconds of a rival whose result is right."""
    (rounds, end), host, job = how, resident.data, None
    if of == "pass":
        job = PASSES[name](resident.X, host.y, point(1, host.X.shape[1])[0])
        off, limit = distance(job(), np.array(expected)), RIGHT
    else:
        plan = plan_of(int(of.split()[1]), len(host.X))
        epoch = EPOCHS[name](resident.X, host.y, plan)
        off, limit = distance(epoch(order_of(len(host.X), plan.seed, 0)), np.array(expected)), EPOCH_RIGHT
        job, rounds = functools.partial(epoch, None), max(2, rounds // 5)
    if not off <= limit:
        raise AssertionError(f"off by {off:.3g}: not timed")
    # It has run once.
    return in_turn({name: job}, rounds, end, warm_ups=1 if of == "pass" else 0)[name]


def _tell(result: Result, of: str, kind: str, ours: dict[str, Any], measured: dict[str, list[float]]) -> None:
    """Compare with the fastest way of a kind so far."""
    best = min(measured, key=lambda name: float(np.median(measured[name])))
    asked = None if of == "pass" else ASKED[int(of.split()[1])][kind]
    if len(measured) > 1:
        result.findings.pop()
        result.raw.pop()
    add_times(result, ours["what"], ours["seconds"], f"{best}, on the same GPU", measured[best], asked)
    result.raw.append({"section": "against others", "of": of, "seconds": {"fastgd": ours["seconds"], **measured}})
