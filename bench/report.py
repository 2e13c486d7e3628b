"""What a race to the optimum hands back: a line a target and rival."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.own_fit import NAME
from bench.result import Finding, Result
from bench.sweep import PATIENCE, Swept
from bench.timing import Spread, ratios
from bench.wording import quantity

#: The key of the seconds of all racers in a result's raw numbers.
SECONDS = "seconds_to"
#: And that of the number of repetitions in which those who ran again got there.
ARRIVED = "repetitions_that_get_there"

if TYPE_CHECKING:
    from bench.contest import Contest, Race

#: Passes over X that a fit to 1e-6 may take where rows are many, and how many a column that is.
_PASSES, _ROWS_A_COLUMN = 8, 200
#: What fastgd is compared with where there is nothing to compare it with.
_NOBODY = "no rival gets there in most repetitions"


def report(contest: "Contest", race: "Race") -> Result:
    """The fastest rival at each target is README's; others, and passes over X, are in the file."""
    result = Result(_included(contest, len(race.meetings)))
    for target, finalists in race.finalists.items():
        _compare(result, contest, race, target, finalists)
        _others(result, contest, race, target, finalists)
    warm = race.warm_up[NAME]
    what = f"{contest.label}: first fit of fastgd in a process, with loading or compiling"
    result.findings.append(Finding(what, warm["first_lap_seconds"], "s", "few rows", in_readme=False))
    result.raw = [
        {SECONDS: {swept.racer.name: _best(race, swept) for swept in race.swept}, ARRIVED: _arrived(race)},
        {"repetitions": [_meeting(meeting) for meeting in race.meetings]},
        {"sweep": {swept.racer.name: [_swept_run(*run) for run in swept.runs] for swept in race.swept}},
        {"warm_up": race.warm_up},
    ]
    return result


def lines(result: Result) -> list[str]:
    """A table for the terminal: a row a racer, a column a target; of who gets nowhere, why."""
    seconds: dict[str, dict[str, float]] = result.raw[0][SECONDS]
    targets = list(dict.fromkeys(target for reached in seconds.values() for target in reached))
    targets.sort(key=float, reverse=True)
    rows = [("seconds to", *(f"{target} " for target in targets))]
    for name, reached in seconds.items():
        arrived = result.raw[0].get(ARRIVED, {}).get(name, {})
        cells = [_cell(reached.get(target), arrived.get(target)) for target in targets]
        why = [result.missing[f"{name} to {target}"] for target in targets if f"{name} to {target}" in result.missing]
        rows.append((name, f"      {why[0]}") if why and not reached else (name, *cells))
    width = max(len(row[0]) for row in rows)
    told = [f"  {name:{width}}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in rows]
    return [*told, "  * the median of repetitions; others: once, on the data that settings are chosen on"]


def _cell(seconds: float | None, arrived: list[int] | None) -> str:
    """Seconds, or in how many repetitions one gets there where these are not most; ends in a sign or a space."""
    if arrived and 2 * arrived[0] <= arrived[1]:
        return f"{arrived[0]} of {arrived[1]} "
    return "- " if seconds is None else f"{seconds:#.3g}{'*' if arrived else ' '}"


def _arrived(race: "Race") -> dict[str, dict[str, list[int]]]:
    """By racer and target: in how many repetitions it got there, and how many there were."""
    counts: dict[str, dict[str, list[int]]] = {}
    for target, finalists in race.finalists.items():
        for one in finalists:
            times = [len(_seconds(race, one.racer.name, target)), len(race.meetings)]
            counts.setdefault(one.racer.name, {})[f"{target:g}"] = times
    return counts


def _best(race: "Race", swept: Swept) -> dict[str, float]:
    """By target the median of the repetitions, or seconds of the sweep where it was not in these."""
    found = {}
    for target, arrival in swept.best.items():
        repeated = _seconds(race, swept.racer.name, target)
        found[f"{target:g}"] = float(np.median(repeated)) if repeated else arrival.seconds
    return found


def _included(contest: "Contest", repetitions: int) -> str:
    counted = "Only rivals that check their input count. " if contest.validated else ""
    return (
        f"{contest.label}, penalty {_penalty(contest)}; (F - F*) / F* in float64 on raw columns, F* by Newton's method "
        "in NumPy (over F of the best constant model where F* is less than a thousandth of that). fastgd: a whole call "
        "of fit with defaults and the loosest tol of 0.1 to 1e-8 whose result reaches the target with its certificate. "
        "Rivals: the loosest of their tolerances or iterations that reaches it, rates (constant or falling) and "
        "batches of stochastic loops tuned on other data, stopped where F says so; from data in the layout they "
        "prefer, conversion to it left out; all cores. A fit on few rows, or a lap, before anything is timed; "
        "compiling is shown apart. In a first sweep a rival is dropped when "
        f"{PATIENCE:g} times slower than the fastest; the fastest then run in turn with fastgd, once in each of "
        f"{repetitions} repetitions with fresh data. Where a tolerance or number of iterations does not reach the "
        "target on these, the next tighter one that does takes its place, with fastgd as with rivals, and the time of "
        f"what fell short is not counted; a stochastic loop goes on for up to three times its laps. {counted}"
    ).strip()


def _penalty(contest: "Contest") -> str:
    alpha = "1 / n" if contest.alpha is None else f"{contest.alpha:g}"
    return f"alpha = {alpha}, l1_ratio = {contest.l1_ratio:g}"


def _compare(result: Result, contest: "Contest", race: "Race", target: float, finalists: list[Swept]) -> None:
    what, meetings = f"{contest.label}, fit to {target:g} of the optimum", len(race.meetings)
    own, at_least = _seconds(race, NAME, target), contest.at_least.get(target)
    there = _arriving(result, race, target, finalists)
    against = [f"{one.racer.name} ({one.best[target].setting}), {quantity(s, 's')}" for s, one in there] or [_NOBODY]
    if len(own) < meetings:
        nothing, unit = Spread(median=0.0, min=0.0, max=0.0), f"of {meetings} repetitions that get there"
        result.findings.append(Finding(what, len(own), unit, against[0], nothing, "times", at_least))
        return
    ours = float(np.median(own))
    for place, (_, one) in enumerate(there):
        both = [meeting.seconds for meeting in race.meetings if (one.racer.name, target) in meeting.seconds]
        ratio = ratios([taken[one.racer.name, target] for taken in both], [taken[NAME, target] for taken in both])
        bound = at_least if place == 0 else None
        result.findings.append(Finding(what, ours, "s", against[place], ratio, "times", bound, in_readme=place == 0))
    if not there:
        result.findings.append(Finding(what, ours, "s", _NOBODY))
    _passes(result, race, target, what)


def _arriving(result: Result, race: "Race", target: float, finalists: list[Swept]) -> list[tuple[float, Swept]]:
    """The rivals that get there in most repetitions, with their seconds, the fastest first; who fails once is noted.

    Their seconds, and later their ratios, are of the repetitions in which they do, which is to their advantage.
    """
    there, meetings = [], len(race.meetings)
    for one in finalists:
        if one.racer.name == NAME:
            continue
        taken = _seconds(race, one.racer.name, target)
        if len(taken) < meetings:
            result.missing[f"{one.racer.name} to {target:g}"] = f"reached in {len(taken)} of {meetings} repetitions"
        if 2 * len(taken) > meetings:
            there.append((float(np.median(taken)), one))
    return sorted(there, key=lambda pair: pair[0])


def _passes(result: Result, race: "Race", target: float, what: str) -> None:
    reports = [meeting.reports[target] for meeting in race.meetings]
    passes = float(np.median([told["passes"] for told in reports]))
    solvers = " or ".join(sorted({f"{told['solver']}, {told['setting']}" for told in reports}))
    n, d = race.meetings[0].problem["rows"], race.meetings[0].problem["columns"]
    at_most = _PASSES if target == 1e-6 and n >= _ROWS_A_COLUMN * d else None
    result.findings.append(
        Finding(f"{what}: passes over X", passes, "passes", solvers, at_most=at_most, in_readme=False)
    )


def _others(result: Result, contest: "Contest", race: "Race", target: float, finalists: list[Swept]) -> None:
    """Rivals that were timed in the sweep alone."""
    for swept in race.swept:
        if any(swept is one for one in finalists):
            continue
        name = swept.racer.name
        if target not in swept.best:
            result.missing[f"{name} to {target:g}"] = swept.given_up
            continue
        arrival = swept.best[target]
        counted = "" if contest.counts(swept.racer) else ", not counted"
        what = f"{contest.label} to {target:g}: {name}"
        against = f"{arrival.setting}, {arrival.laps} laps, once{counted}"
        result.findings.append(Finding(what, arrival.seconds, "s", against, in_readme=False))


def _seconds(race: "Race", name: str, target: float) -> list[float]:
    return [meeting.seconds[name, target] for meeting in race.meetings if (name, target) in meeting.seconds]


def _meeting(meeting: Any) -> dict[str, Any]:
    told = asdict(meeting)
    told["seconds"] = {f"{name} to {target:g}": taken for (name, target), taken in meeting.seconds.items()}
    told["reports"] = {f"{target:g}": report for target, report in meeting.reports.items()}
    return told


def _swept_run(setting: str, arrivals: dict[float, Any], elapsed: float) -> dict[str, Any]:
    reached = {f"{target:g}": arrival.seconds for target, arrival in arrivals.items()}
    return {"setting": setting, "stopped_at": elapsed, "seconds": reached}
