"""Seconds to 1 % and 0.1 % of the optimum: untuned fits against tuned loops of other libraries."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench import problems, rivals, untuned
from bench.objective import Objective
from bench.optimum import distances, find_optimum
from bench.problems import Data, Problem
from bench.racing import LAPS, Racer, Setting, best, laps_to, race, tune
from bench.result import Finding, Result
from bench.timing import alternate, ratios
from bench.wording import quantity

#: What fastgd's seconds to a relative suboptimality are held to, as a ratio with the fastest rival's.
_TARGETS = {1e-2: 1.0, 1e-3: 1.2}
#: How time is taken -> how the table says it, and the laps after which rivals may stop.
_CLOCKS = {
    "whole": ("Fit", LAPS),
    "epochs": ("Epochs of a fit", LAPS),
    "eighths": ("Epochs of a fit, rivals stopped at any eighth of an epoch,", 1),
}
_REPETITIONS, _ROUNDS = 3, 3
_TUNING_SEED, _FIRST_SEED = 1000, 1001
_TUNING_EPOCHS, _MOST_EPOCHS = 2, 4

#: Rival, target, laps after which it may stop -> its setting.
Settings = dict[tuple[str, float, int], Setting]


@dataclass
class Contender:
    """One way to a target on one set of data: `once` gives seconds with all preparation, and of the loop alone."""

    name: str
    setting: str
    target: float
    step: int
    epochs: float
    once: Callable[[], tuple[float, float]]
    runs: list[tuple[float, float]] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.name} ({self.setting}) to {self.target:g} in {self.epochs:g} epochs, steps of {self.step}"

    def run(self) -> None:
        self.runs.append(self.once())

    def seconds(self, clock: str) -> float:
        """The median, without the first run, which was a warm-up."""
        return float(np.median([run[0 if clock == "whole" else 1] for run in self.runs[1:]]))


def run(quick: bool) -> Result:
    """Fresh data in every repetition; ratios are taken within one."""
    result = Result(
        "Logistic regression with alpha = 1 / n; (F - F*) / F* in float64 on raw columns, F* by Newton's method. "
        "fastgd: whole calls of fit (checks, labels, scaling, automatic rate, certificate), max_iter the smallest that "
        "reaches the target, every rate automatic; and their epochs alone. Rivals: raw columns in order, no loss, "
        "batches and rates, constant or falling, tuned on other data for each target; all of it from X and y as NumPy "
        "arrays, and the loop alone. All run whole epochs. Everything is compiled beforehand. Each time is the median "
        f"of {_ROUNDS} runs in turn, each ratio that of one of {_REPETITIONS} repetitions with fresh data."
    )
    problem = problems.problem("race", quick)
    adapters, result.missing = rivals.load(["JAX", "NumPy", "PyTorch", "scikit-learn"])
    racers = [racer for adapter in adapters for racer in adapter.racers()]
    chosen, tried = _tune(racers, problem)
    for racer in racers:
        for target in _TARGETS:
            if (racer.name, target, LAPS) not in chosen:
                result.missing[f"{racer.name} to {target:g}"] = f"no setting gets there in {_TUNING_EPOCHS} epochs"
    repetitions: list[list[Contender]] = []
    for number in range(1 if quick else _REPETITIONS):
        data = replace(problem, seed=_FIRST_SEED + number).make()
        contenders, optimum = _meet(racers, chosen, data)
        alternate({c.label: c.run for c in contenders}, 1 if quick else _ROUNDS)
        repetitions.append(contenders)
        result.raw.append({"problem": data.problem.name, **optimum, "contenders": [_told(c) for c in contenders]})
    result.raw.append({"tuned on": replace(problem, seed=_TUNING_SEED).name, "tried": tried})
    for target in _TARGETS:
        for clock in _CLOCKS:
            _compare(result, repetitions, target, clock, problem)
    return result


def _tune(racers: list[Racer], problem: Problem) -> tuple[Settings, dict[str, Any]]:
    """For every rival, target and step the best setting; and how all did."""
    objective = Objective(replace(problem, seed=_TUNING_SEED).make(), 1.0 / problem.n)
    optimum = find_optimum(objective)
    chosen, tried = {}, {}
    for racer in racers:
        tunings = tune(racer, objective, optimum, _TUNING_EPOCHS)
        tried[racer.name] = [
            {"setting": str(t.setting), "lap_seconds": t.lap_seconds, "distance": t.distance.tolist()} for t in tunings
        ]
        for target in _TARGETS:
            for step in (1, LAPS):
                setting = best(tunings, target, step)
                if setting is not None:
                    chosen[racer.name, target, step] = setting
    return chosen, tried


def _meet(racers: list[Racer], chosen: Settings, data: Data) -> tuple[list[Contender], dict[str, float]]:
    """All who reach a target on these data, with as many epochs as they need; and the optimum."""
    objective = Objective(data, 1.0 / len(data.y))
    optimum = find_optimum(objective)
    found = []
    for candidate in untuned.candidates():
        for target, epochs in untuned.epochs_to(candidate, objective, optimum, list(_TARGETS)).items():
            found.append(_ours(candidate, objective, target, epochs))
    for racer in racers:
        for target in _TARGETS:
            for step in (1, LAPS):
                setting = chosen.get((racer.name, target, step))
                if setting is None:
                    continue
                trace = race(racer, objective, setting, _MOST_EPOCHS * LAPS)
                laps = laps_to(distances(objective, optimum, trace.thetas), target, step)
                if laps is not None:
                    found.append(_theirs(racer, objective, setting, (target, step, laps)))
    return found, {"optimum": optimum.value, "left": optimum.left}


def _ours(candidate: untuned.Untuned, objective: Objective, target: float, epochs: int) -> Contender:
    def once() -> tuple[float, float]:
        return untuned.fit(candidate, objective, epochs)[:2]

    return Contender("fastgd", candidate.name, target, LAPS, epochs, once)


def _theirs(racer: Racer, objective: Objective, setting: Setting, goal: tuple[float, int, int]) -> Contender:
    target, step, laps = goal

    def once() -> tuple[float, float]:
        trace = race(racer, objective, setting, laps)
        loop = float(trace.seconds[-1])
        return trace.preparing + loop, loop

    return Contender(racer.name, str(setting), target, step, laps / LAPS, once)


def _told(contender: Contender) -> dict[str, Any]:
    return {"who": contender.label, "whole": [run[0] for run in contender.runs], "loop": [r[1] for r in contender.runs]}


def _compare(result: Result, repetitions: list[list[Contender]], target: float, clock: str, problem: Problem) -> None:
    """Note the best of ours by the median of the repetitions against every rival; README shows the fastest."""
    how, step = _CLOCKS[clock]
    seconds: dict[tuple[str, str], list[float]] = {}
    for contenders in repetitions:
        for c in contenders:
            if c.target == target and (c.step == step or c.name == "fastgd"):
                seconds.setdefault((c.name, c.setting), []).append(c.seconds(clock))
    always = {who: taken for who, taken in seconds.items() if len(taken) == len(repetitions)}
    medians = {who: float(np.median(taken)) for who, taken in always.items()}
    own = min((who for who in always if who[0] == "fastgd"), key=medians.__getitem__)
    others = sorted((who for who in always if who[0] != "fastgd"), key=medians.__getitem__)
    for who in others:
        what = f"{how} to {100 * target:g} % of the optimum, {own[1]}, rate automatic, {problem.size}"
        against = f"{who[0]} ({who[1]}), {quantity(medians[who], 's')}"
        shown = who == others[0] and clock != "eighths"
        at_least = _TARGETS[target] if clock != "eighths" else None
        ratio = ratios(always[who], always[own])
        result.findings.append(Finding(what, medians[own], "s", against, ratio, "times", at_least, in_readme=shown))
