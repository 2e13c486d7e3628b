"""Fit the problem set "real", check the reports and race the best rivals: ``python -m bench.real``.

For each case: passes, iterations, median seconds, their parts by stage, the true suboptimality (F - F*) / (F of the
constant model - F*) by the tracked optimum, the claims of the report that are untrue, and the ratio to the fastest
solver of scikit-learn, scikit-learn-intelex and glum that reaches 1e-4 of that distance. With --write the numbers
replace those of the same cases in ``bench/results/real.json``, or for more threads ``real_2_threads.json``.
"""

import argparse
import functools
import json
import re
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bench.real_cases import Case, cases
from bench.real_optima import Optimum, read
from bench.real_rivals import race, set_threads
from fastgd.bench.machine import describe
from fastgd.bench.objective import Objective
from fastgd.bench.ours import estimator
from fastgd.bench.result import RESULTS
from fastgd.bench.rivals.estimators import theta_of

#: A fit that has converged, and a rival that counts, is at most this share of the constant model's distance off.
GOAL = 1e-4
#: An estimate of the suboptimality is true within these factors.
_LOW, _HIGH = 0.25, 4.0
#: Differences of F below this share of F of the constant model are rounding, by dtype.
_ROUNDING = {"f8": 1e-11, "f4": 1e-6}
#: Repetitions end after some seconds; the first fit, which may compile, counts only if it takes very long.
_REPEATS, _ENOUGH_SECONDS, _VERY_LONG_SECONDS = 3, 5.0, 20.0
#: A rival may be the faster one in shorter fits.
_SHORT_SECONDS = 1e-3
#: Functions by file and qualified name, and the stage that their time belongs to; the first match counts.
_STAGES = [
    ("sampling", r"objective/sampling\.py|\.(sampled|sample|part|moments)$"),
    ("passes", r"backends/cpu/data\.py.*\.(gradient|line|_margins)$|design\.py.*\.(values|along|quadratic)$"),
    ("curvature", r"backends/(cpu/)?(design|least_squares)\.py|joint_curvature$"),
    ("factor", r"solvers/(metric|collinearity|gram_objective)\.py|backends/cpu/quadratic\.py"),
]


@dataclass
class Fit:
    """The median seconds of repeated fits, their report, the number of iterations and F of the model in float64."""

    seconds: float
    report: dict[str, Any]
    n_iter: int
    value: float
    stages: dict[str, float]


class StageProfile:
    """Seconds of the calling thread by stage while active; functions without a stage belong to their caller's."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(["Python", *(stage for stage, _ in _STAGES)], 0.0)
        self._stack, self._known = ["Python"], {}
        self._since = 0.0

    def __enter__(self) -> "StageProfile":
        self._since = time.perf_counter()
        sys.setprofile(self._on_event)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        self._charge()

    def _charge(self) -> None:
        now = time.perf_counter()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    def _on_event(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self._charge()
            code = frame.f_code
            if code not in self._known:
                self._known[code] = _stage_of(f"{code.co_filename}:{code.co_qualname}")
            self._stack.append(self._known[code] or self._stack[-1])
        elif event == "return" and len(self._stack) > 1:
            self._charge()
            self._stack.pop()


def _stage_of(function: str) -> str | None:
    if "fastgd" not in function:
        return None
    return next((stage for stage, pattern in _STAGES if re.search(pattern, function)), None)


def untrue_claims(report: dict[str, Any], value: float, optimum: Optimum, rounding: float) -> list[str]:
    """Return the claims of a report that the optimum refutes; `rounding` is a share of F of the constant model."""
    floor = max(rounding * optimum.constant, 2.0 * optimum.left)
    distance = value - optimum.value
    far = distance > GOAL * (optimum.constant - optimum.value) + floor
    stopped, estimate, gap = (report[key] for key in ("stopped_by", "suboptimality", "duality_gap"))
    found = ["below the tracked optimum"] if distance < -floor else []
    if report["converged"] and far:
        found.append("converged")
    if stopped == "no step" and far:
        found.append("no step")
    if stopped == "no optimum" and optimum.attained:
        found.append("no optimum")
    if not optimum.attained and stopped != "no optimum":
        found.append("no optimum not recognised")
    if estimate is not None:
        low, high = (factor * max(distance, floor) for factor in (_LOW, _HIGH))
        if estimate > high or (distance > floor and estimate < low):
            found.append("suboptimality")
    if gap is not None and gap < distance - floor:
        found.append("duality_gap")
    return found


def fit(objective: Objective, parameters: dict[str, Any], stages: bool) -> Fit:
    """Fit once to compile, then repeatedly."""
    X, y = objective.data.X, objective.data.y
    seconds: list[float] = []
    for number in range(_REPEATS + 1):
        model = estimator(objective.task)(**parameters)
        began = time.perf_counter()
        model.fit(X, y)
        taken = time.perf_counter() - began
        if number or taken - model.fit_report_["seconds_compile"] > _VERY_LONG_SECONDS:
            seconds.append(taken)
        if sum(seconds) > _ENOUGH_SECONDS:
            break
    profile = StageProfile()
    if stages and seconds[-1] <= _ENOUGH_SECONDS:
        with profile:
            _fit_once(objective, parameters)
    value = float(objective.values(theta_of(model)[None])[0])
    parts = {stage: round(part, 5) for stage, part in profile.seconds.items() if part}
    return Fit(statistics.median(seconds), model.fit_report_, int(np.max(model.n_iter_)), value, parts)


def measure(case: Case, optimum: Optimum, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a case.

    Raises
    ------
    ValueError
        If the tracked optimum is one of other data.
    """
    objective = case.objective()
    if abs(objective.constant - optimum.constant) > 1e-6 * optimum.constant:
        raise ValueError(f"F of the constant model is {objective.constant:.9g}, tracked is {optimum.constant:.9g}")
    parameters = {"alpha": objective.alpha, "l1_ratio": objective.l1_ratio}
    parameters |= {"max_seconds": options.limit_seconds, "n_threads": options.threads}
    found = fit(objective, parameters, not options.no_stages)
    distance = optimum.constant - optimum.value
    raced = {}
    if not options.no_rivals:
        own = functools.partial(_fit_once, objective, parameters)
        raced = race(objective, optimum.value + GOAL * distance, options.limit_seconds, found.seconds, own)
    estimate = found.report["suboptimality"]
    return {
        "name": case.name,
        "data": case.data,
        "in_table": case.is_typical,
        "loss": objective.data.problem.loss,
        "rows": objective.data.problem.n,
        "columns": objective.data.problem.d,
        "solver": found.report["solver"],
        "passes": round(found.report["passes"], 1),
        "n_iter": found.n_iter,
        "seconds": found.seconds,
        "stages": found.stages,
        "true_suboptimality": (found.value - optimum.value) / distance,
        "reported_suboptimality": None if estimate is None else estimate / distance,
        **{key: found.report[key] for key in ("certificate", "converged", "stopped_by", "warnings")},
        "attained": optimum.attained,
        "untrue": untrue_claims(found.report, found.value, optimum, _ROUNDING[case.dtype]),
        **raced,
    }


def _fit_once(objective: Objective, parameters: dict[str, Any]) -> None:
    estimator(objective.task)(**parameters).fit(objective.data.X, objective.data.y)


def line(entry: dict[str, Any]) -> str:
    """Return a line for the terminal."""
    if "error" in entry:
        return f"{entry['name']:60} {entry['error']}"
    estimate = entry["reported_suboptimality"]
    end = entry["stopped_by"] if entry["converged"] else f"({entry['stopped_by']})"
    stages = " ".join(f"{stage[:5]} {1e3 * part:.0f}" for stage, part in entry["stages"].items())
    against = (
        f"{entry['ratio']:.2f} x {entry['rival']} " if "ratio" in entry else "no rival " if "rival" in entry else ""
    )
    return (
        f"{entry['name']:60} {entry['passes']:6g} {entry['n_iter']:5} {1e3 * entry['seconds']:9.1f} ms "
        f"{entry['true_suboptimality']:9.1e} {'-' if estimate is None else f'{estimate:.1e}':>8} {end:14} "
        f"{entry['solver']} [{stages}] {against}{'UNTRUE: ' if entry['untrue'] else ''}{', '.join(entry['untrue'])}"
    )


def summary(entries: list[dict[str, Any]]) -> list[str]:
    """Return the counts and ratios of all cases, for the terminal."""
    fits = [entry for entry in entries if "error" not in entry]
    if not fits:
        return ["nothing measured"]
    passes = np.percentile([entry["passes"] for entry in fits], [50, 95, 100])
    far = sum(entry["true_suboptimality"] > GOAL for entry in fits)
    claims = Counter(claim for entry in fits for claim in entry["untrue"])
    lines = [
        f"{len(fits)} fits, {len(entries) - len(fits)} not measured; passes: median {passes[0]:g}, 95 % {passes[1]:g}, "
        f"largest {passes[2]:g}; {far} farther than {GOAL:g} from the optimum",
        f"untrue: {sum(bool(entry['untrue']) for entry in fits)} reports {dict(claims) or ''}",
    ]
    raced = [entry for entry in fits if "ratio" in entry]
    if raced:
        ratio = [entry["ratio"] for entry in raced]
        slower = sum(
            entry["true_suboptimality"] > GOAL or (entry["ratio"] < 1.0 and entry["seconds"] > _SHORT_SECONDS)
            for entry in raced
        )
        lines.append(
            f"{len(raced)} races: slower or not there in {slower}; median ratio {np.median(ratio):.3g}, "
            f"lowest {min(ratio):.3g}"
        )
    return lines


def _entries(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    optima = read()
    for case in cases():
        if not re.search(options.case, case.name):
            continue
        try:
            if case.key not in optima:
                raise ValueError("no tracked optimum; run python -m bench.real_optima")
            entry = measure(case, optima[case.key], options)
        except Exception as error:  # whatever a missing folder, a reader or a solver raises
            entry = {"name": case.name, "error": f"{type(error).__name__}: {error}"}
        print(line(entry), flush=True)
        if options.write:
            _write(entry, options.threads)
        yield entry


def _write(entry: dict[str, Any], threads: int) -> None:
    """Replace the case's entry of the results file; entries of cases that no longer exist are dropped."""
    path = RESULTS / ("real.json" if threads == 1 else f"real_{threads}_threads.json")
    before = json.loads(path.read_text(encoding="utf-8"))["fits"] if path.exists() else []
    entries = {one["name"]: one for one in [*before, entry]}
    kept = [entries[case.name] for case in cases() if case.name in entries]
    text = json.dumps({"machine": describe(), "threads": threads, "fits": kept}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> int:
    """Measure the chosen cases; return 1 if one could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.real", description=__doc__)
    parser.add_argument("--case", default="", metavar="PATTERN", help="regular expression for the names of cases")
    parser.add_argument("--no-rivals", action="store_true", help="only fastgd")
    parser.add_argument("--no-stages", action="store_true", help="without a profiled fit for the seconds by stage")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit-seconds", type=float, default=60.0, help="most seconds per fit")
    parser.add_argument("--write", action="store_true", help="write to bench/results")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    set_threads(options.threads)
    with threadpool_limits(options.threads):
        entries = list(_entries(options))
    print("\n".join(summary(entries)))
    return int(any("error" in entry for entry in entries))


if __name__ == "__main__":
    sys.exit(main())
