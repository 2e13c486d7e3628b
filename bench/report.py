"""The result of a race to the optimum: a finding per target and rival."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bench.contest import Contest, Race, Repetition
from bench.sweep import PATIENCE, Run, Swept
from fastgd.bench.ours import NAME
from fastgd.bench.result import Finding, Result, quantity
from fastgd.bench.timing import Spread

#: Most passes over X of a fit to 1e-6 if rows are many, and how many rows per column that is.
_PASSES, _ROWS_PER_COLUMN = 8, 200
_NO_RIVAL = "no rival gets there in most repetitions"


def report(race: Race) -> Result:
    """Return the result; the table of the page shows the fastest rival at each target."""
    contest, meetings = race.contest, len(race.repetitions)
    result = Result(_included(contest, meetings), missing=dict(race.missing))
    for target, finalists in race.finalists.items():
        _compare(result, race, target, finalists)
        _others(result, race, target, finalists)
    what = f"{contest.label}: first fit of fastgd in a process, with loading or compiling"
    first = race.warm_up[NAME]["first_lap_seconds"]
    result.findings.append(Finding(what, first, "s", "few rows", in_table=False))
    result.raw = [
        {"repetitions": [_repetition(repetition) for repetition in race.repetitions]},
        {"sweep": {swept.racer.name: [_swept_run(*one) for one in swept.runs] for swept in race.swept}},
        {"warm_up": race.warm_up},
    ]
    return result


def _included(contest: Contest, repetitions: int) -> str:
    counted = "Only rivals that check their input count. " if contest.validated else ""
    intercept = "" if contest.intercept else ", no intercept"
    kept = "fresh" if contest.fresh else "the same"
    clock = "Seconds are those of the processor. " if contest.processor_time else ""
    once = "" if contest.fresh else "Rivals of over 10 s keep the time of the sweep. "
    alpha = "1 / n" if contest.alpha is None else f"{contest.alpha:g}"
    own = "a whole call of fit with defaults and the loosest tol of 0.1 to 1e-8 whose result reaches the target with "
    own += "its certificate"
    if contest.stochastic:
        own = "a whole call of fit with the fastest of a few rules, batch sizes and numbers of epochs, rate automatic"
    return (
        f"{contest.label}, penalty alpha = {alpha}, l1_ratio = {contest.l1_ratio:g}{intercept}; (F - F*) / F* in "
        "float64 on raw columns, F* by Newton's method in NumPy (over F of the best constant model where F* is less "
        f"than a thousandth of that). fastgd: {own}. "
        "Rivals: the loosest of their tolerances or iterations that reaches it, rates (constant or falling) and "
        "batches of stochastic loops tuned on other data, stopped where F says so; from data in the layout they "
        "prefer, conversion to it left out; all cores. A fit on few rows, or a lap, before anything is timed; "
        "compiling is shown apart. In a first sweep a rival is dropped when "
        f"{PATIENCE:g} times slower than the fastest; the fastest then run in turn with fastgd, once in each of "
        f"{repetitions} repetitions with {kept} data. Where a tolerance or number of iterations does not reach the "
        "target there, the next tighter one that does takes its place, with fastgd as with rivals, and the time of "
        "what fell short is not counted; a stochastic loop goes on for up to three times its laps. Runs that are over "
        f"take at most {contest.most_seconds:g} s before another setting is not tried. Megabytes are the peak of the "
        f"process during a run beyond its memory before; data and their layout are not counted. "
        f"{clock}{once}{counted}"
    ).strip()


def _compare(result: Result, race: Race, target: float, finalists: list[Swept]) -> None:
    contest, every = race.contest, len(race.repetitions)
    what, own = f"{contest.label}, fit to {target:g} of the optimum", _seconds(race, NAME, target)
    at_least, there = contest.at_least.get(target), _arriving(result, race, target, finalists)
    against = [f"{one.racer.name} ({one.best[target].setting})" for one in there]
    if len(own) < every:
        nothing, unit = Spread(median=0.0, min=0.0, max=0.0), f"of {every} repetitions that get there"
        first = [f"{said}, {quantity(_median(race, there[0], target), 's')}" for said in against[:1]]
        finding = Finding(what, len(own), unit, (first or [_NO_RIVAL])[0], nothing, "times", at_least)
        result.findings.append(finding)
        return
    for place, (said, one) in enumerate(zip(against, there, strict=True)):
        both = [found.seconds for found in race.repetitions if (one.racer.name, target) in found.seconds]
        ours, theirs = ([taken[name, target] for taken in both] for name in (NAME, one.racer.name))
        bound = at_least if place == 0 else None
        result.add_times(what, ours, said, theirs, at_least=bound, in_table=place == 0)
        result.findings[-1] = replace(result.findings[-1], value=float(np.median(own)))
    if not there:
        result.findings.append(Finding(what, float(np.median(own)), "s", _NO_RIVAL))
    _passes(result, race, target, what)


def _arriving(result: Result, race: Race, target: float, finalists: list[Swept]) -> list[Swept]:
    """Return the rivals that arrive in most repetitions, the fastest first; record those that miss one.

    Their seconds, and later their ratios, are of the repetitions in which they arrive, which is to their advantage.
    """
    there, every = [], len(race.repetitions)
    for one in finalists:
        if one.racer.name == NAME:
            continue
        arrivals = len(_seconds(race, one.racer.name, target))
        if arrivals < every:
            result.missing[f"{one.racer.name} to {target:g}"] = f"reached in {arrivals} of {every} repetitions"
        if 2 * arrivals > every:
            there.append(one)
    return sorted(there, key=lambda one: _median(race, one, target))


def _passes(result: Result, race: Race, target: float, what: str) -> None:
    reports = [found.reports[target] for found in race.repetitions]
    passes = float(np.median([facts["passes"] for facts in reports]))
    solvers = " or ".join(sorted({f"{facts['solver']}, {facts['setting']}" for facts in reports}))
    n, d = race.repetitions[0].problem["rows"], race.repetitions[0].problem["columns"]
    at_most = _PASSES if target == 1e-6 and n >= _ROWS_PER_COLUMN * d else None
    what = f"{what}: passes over X"
    result.findings.append(Finding(what, passes, "passes", solvers, at_most=at_most, in_table=False))


def _others(result: Result, race: Race, target: float, finalists: list[Swept]) -> None:
    """Append the rivals that were timed in the sweep only."""
    for swept in race.swept:
        if any(swept is one for one in finalists):
            continue
        name = swept.racer.name
        if target not in swept.best:
            result.missing[f"{name} to {target:g}"] = swept.given_up
            continue
        arrival = swept.best[target]
        counted = "" if race.contest.counts(swept.racer) else ", not counted"
        what = f"{race.contest.label} to {target:g}: {name}"
        against = f"{arrival.setting}, {arrival.laps} laps, once{counted}"
        result.findings.append(Finding(what, arrival.seconds, "s", against, in_table=False))


def _seconds(race: Race, name: str, target: float) -> list[float]:
    return [found.seconds[name, target] for found in race.repetitions if (name, target) in found.seconds]


def _median(race: Race, one: Swept, target: float) -> float:
    return float(np.median(_seconds(race, one.racer.name, target)))


def _repetition(repetition: Repetition) -> dict[str, Any]:
    return asdict(repetition) | {
        "seconds": {f"{name} to {target:g}": taken for (name, target), taken in repetition.seconds.items()},
        "reports": {f"{target:g}": facts for target, facts in repetition.reports.items()},
    }


def _swept_run(setting: str, run: Run) -> dict[str, Any]:
    reached = {f"{target:g}": arrival.seconds for target, arrival in run.arrivals.items()}
    ended = {"stopped_at": run.elapsed, "distance": run.distance, "megabytes": run.peak / 1e6}
    return {"setting": setting, **ended, "seconds": reached}
