"""Sweeps: the loosest setting that suffices, rivals that are dropped, and what counts."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench import contest as contest_module
from bench.contest import Contest, OwnFit
from bench.optimum import find_optimum
from bench.report import report
from bench.sweep import Arrival, Course, Swept, hopeless, lowered, run_to, sweep
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.ours import NAME
from fastgd.bench.problems import Data, Problem
from fastgd.bench.result import Result
from fastgd.bench.rivals import with_numpy, with_sklearn
from fastgd.bench.rivals.racers import Racer, Setting

TARGETS = (1e-2, 1e-4)


@pytest.fixture(autouse=True)
def nothing_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before every run that is timed garbage is collected, which takes a second beside all of the tests."""
    monkeypatch.setattr("bench.sweep.gc.collect", lambda: 0)


@pytest.fixture(scope="module")
def course() -> Course:
    objective = Objective(Problem("logistic", 2000, 4, "f8").make(), 0.01)
    return Course(objective, find_optimum(objective))


def at(course: Course, distance: float) -> Floats:
    """A theta about as far from the optimum as asked for, never farther."""
    step = np.ones(course.objective.shape)
    for size in np.geomspace(1.0, 1e-9, 200):
        theta = course.optimum.theta + size * step
        if (course.objective.values(theta[None])[0] - course.optimum.value) / course.optimum.unit <= distance:
            return theta
    raise AssertionError("unreachable")


def racer_of(course: Course, distances: dict[Any, list[float]], pause: float = 0.0, **options: Any) -> Racer:
    """Each setting's laps end at the distances given."""

    def start(objective: Objective, setting: Any) -> Iterator[Floats]:
        for distance in distances[setting]:
            time.sleep(pause)
            yield at(course, distance)

    return Racer("made up", list(distances), start, **options)


def test_the_loosest_setting_that_reaches_a_target_is_its(course: Course) -> None:
    racer = racer_of(course, {"loose": [0.5], "middle": [5e-3], "tight": [1e-5], "tighter": [1e-6]})
    swept = sweep(racer, course, dict.fromkeys(TARGETS, np.inf))
    assert {target: arrival.setting for target, arrival in swept.best.items()} == {1e-2: "middle", 1e-4: "tight"}
    assert [name for name, *_ in swept.runs] == ["loose", "middle", "tight"], "all is reached: no tighter one is run"


def test_laps_are_counted_to_the_first_that_is_close_enough(course: Course) -> None:
    run = run_to(racer_of(course, {"a": [0.5, 5e-3, 2e-3, 1e-5, 1e-6]}), course, "a", dict.fromkeys(TARGETS, np.inf))
    assert [run.arrivals[target].laps for target in TARGETS] == [2, 4]
    assert run.arrivals[1e-4].seconds == run.elapsed > run.arrivals[1e-2].seconds
    assert not run.late


def test_who_is_too_slow_for_every_target_left_is_dropped(course: Course) -> None:
    racer = racer_of(course, {"loose": [5e-3], "slow": [1e-3], "never": [1e-5]}, pause=0.02)
    swept = sweep(racer, course, {1e-2: 1e-9, 1e-4: 0.004})
    assert [name for name, *_ in swept.runs] == ["loose"]
    assert list(swept.best) == [1e-2], "what it reached on the way counts"
    assert swept.given_up.startswith("slower than 0.0")


def test_a_diverging_run_reaches_nothing(course: Course) -> None:
    def start(objective: Objective, setting: Any) -> Iterator[Floats]:
        yield np.full(objective.shape, np.nan)
        yield np.full(objective.shape, 1e300)

    swept = sweep(Racer("made up", ["a"], start), course, dict.fromkeys(TARGETS, np.inf))
    assert not swept.best
    assert swept.given_up == "no setting gets there in time"


def test_of_tuned_settings_the_fastest_is_chosen_for_each_target(course: Course) -> None:
    fast, close = Setting(16, 1.0), Setting(64, 1.0)
    distances = {fast: [5e-3] + 20 * [4e-3], close: [0.5, 0.4, 0.3, 0.2, 0.1, 5e-5]}
    swept = sweep(
        racer_of(course, distances, 0.02, rule="descent", ordered=False), course, dict.fromkeys(TARGETS, 100.0)
    )
    assert {target: arrival.setting for target, arrival in swept.best.items()} == {1e-2: fast, 1e-4: close}


def test_hope_is_what_the_last_half_promises() -> None:
    path = [(float(lap), 1.0 / lap) for lap in range(1, 17)]
    assert hopeless(path, {1e-2: 90.0})
    assert not hopeless(path, {1e-2: 110.0})
    assert not hopeless(path, {1e-2: 110.0, 1e-4: 90.0}), "one target is enough"
    assert hopeless([(float(lap), 0.1) for lap in range(1, 17)], {1e-2: 1e9})
    assert hopeless([(float(lap), np.nan) for lap in range(1, 17)], {1e-2: 1e9})


def test_bars_go_down_only(course: Course) -> None:
    swept = sweep(racer_of(course, {"a": [5e-3]}), course, dict.fromkeys(TARGETS, np.inf))
    seconds = swept.best[1e-2].seconds
    assert lowered({1e-2: 1e9, 1e-4: 7.0}, swept) == {1e-2: seconds, 1e-4: 7.0}
    assert lowered({1e-2: 0.0, 1e-4: 7.0}, swept) == {1e-2: 0.0, 1e-4: 7.0}


@pytest.mark.parametrize(("task", "l1_ratio"), [("linear", 0.0), ("logistic", 0.5)])
def test_fastgd_counts_only_with_its_certificate(task: str, l1_ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(Problem(task, 500, 3, "f8").make(), 0.01, l1_ratio)
    course, own = Course(objective, find_optimum(objective)), OwnFit()
    swept = sweep(own.racer(), course, {1e-4: np.inf})
    setting = swept.best[1e-4].setting
    assert own.facts(setting)["passes"] > 0
    assert own.facts(setting)["certificate"] <= setting.value
    monkeypatch.setattr("bench.contest.estimator", lambda task: Uncertain)
    assert not sweep(OwnFit().racer(), course, {0.9: np.inf}).best


class Uncertain:
    def __init__(self, **parameters: Any) -> None:
        self.coef_, self.intercept_ = np.zeros((1, 3)), np.zeros(1)
        self.fit_report_ = {"converged": False}

    def fit(self, X: Any, y: Any) -> "Uncertain":
        return self


def run(contest: Contest) -> Result:
    return report(contest_module.run(contest))


def contest_of(validated: bool) -> Contest:
    def make(seed: int, rows: int) -> Data:
        return Problem("logistic", rows, 5, seed=seed).make()

    return Contest("A race", make, 3000, {1e-3: 0.0, 1e-4: 1e9}, repetitions=2, validated=validated)


def two_rivals(objective: Objective) -> Iterator[Racer]:
    yield next(with_numpy.solvers(objective))
    yield next(with_sklearn.solvers(objective))
    yield Racer("broken", ["a"], broken)


def broken(objective: Objective, setting: Any) -> Iterator[Floats]:
    raise RuntimeError("no such instruction")


@pytest.mark.parametrize("validated", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_race_is_reported_line_by_line(validated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fastgd.bench.rivals.load", lambda _: ([SimpleNamespace(solvers=two_rivals)], {"other": "no wheel"})
    )
    result = run(contest_of(validated))
    shown = {finding.what: finding for finding in result.findings if finding.in_table}
    assert list(shown) == [f"A race, fit to {target:g} of the optimum" for target in (1e-2, 1e-3, 1e-4, 1e-6)]
    assert not shown["A race, fit to 0.001 of the optimum"].missed
    assert shown["A race, fit to 0.0001 of the optimum"].missed
    newton = [f for f in result.findings if "NumPy Newton" in f.what + f.against]
    assert newton
    assert any("not counted" in f.against for f in newton) == validated
    if validated:
        assert not any("NumPy" in f.against for f in shown.values())
    passes = [f for f in result.findings if f.unit == "passes"]
    assert [f.at_most for f in passes] == [None, None, None, 8]
    assert result.missing["broken to 0.01"] == "RuntimeError: no such instruction"
    repetitions = result.raw[0]["repetitions"]
    assert len({one["problem"]["name"] for one in repetitions}) == 2, "fresh data"
    assert all(f"{NAME} to 1e-06" in one["seconds"] for one in repetitions)
    assert result.missing["other"] == "no wheel"
    assert "F*" in result.included
    assert ("check their input" in result.included) == validated


def test_mini_batch_rules_race_against_stochastic_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest_module, "_BATCH_SIZES", (64, 256))
    monkeypatch.setattr(contest_module, "_RULES", ("adam", "averaged"))
    monkeypatch.setattr(contest_module, "_EPOCHS", (1, 3))
    monkeypatch.setattr("fastgd.bench.rivals.load", lambda _: ([with_numpy], {}))
    contest = replace(contest_of(False), stochastic=True, targets=(0.5, 0.1), at_least={0.5: 1.0}, repetitions=1)
    result = run(contest)
    shown = [finding for finding in result.findings if finding.in_table]
    assert [finding.what for finding in shown] == [f"A race, fit to {target:g} of the optimum" for target in (0.5, 0.1)]
    sweeps = result.raw[1]["sweep"]
    assert set(sweeps) == {NAME, "NumPy mini-batch"}
    assert [one["setting"] for one in sweeps[NAME]][:2] == [
        "adam, batches of 64, 1 epochs",
        "adam, batches of 64, 3 epochs",
    ]
    assert len(sweeps[NAME]) == 8
    assert "rate automatic" in result.included


def test_the_fastest_that_is_not_stochastic_always_runs_again(course: Course) -> None:
    def swept(seconds: float, rule: str | None) -> Swept:
        racer = Racer(f"{rule} {seconds:g}", ["a"], broken, rule=rule, ordered=rule is None)
        return Swept(racer, {1e-2: Arrival("a", seconds, 1)})

    loops, fits = [swept(s, "adam") for s in (1.0, 2.0, 3.0, 4.0)], [swept(s, None) for s in (6.0, 5.0)]
    chosen = contest_module._fastest(contest_of(False), [*fits, *loops], 1e-2)
    assert [one.racer.name for one in chosen] == ["adam 1", "adam 2", "adam 3", "None 5"]
    chosen = contest_module._fastest(contest_of(False), [*fits, *loops[:2]], 1e-2)
    assert [one.racer.name for one in chosen] == ["adam 1", "adam 2", "None 5"]


@pytest.mark.slow
def test_ratios_are_of_repetitions_in_which_a_rival_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgd.bench.rivals.load", lambda _: ([SimpleNamespace(solvers=two_rivals)], {}))
    monkeypatch.setattr("bench.sweep.PATIENCE", 1e6)
    meet, number = contest_module._repeat, itertools.count()

    def one_misses(*arguments: Any) -> Any:
        meeting = meet(*arguments)
        if next(number) == 0:
            del meeting.seconds["NumPy Newton by blocks", 1e-4]
            del meeting.seconds["scikit-learn newton-cholesky", 1e-6]
            del meeting.seconds[NAME, 1e-3]
        for rival in ("NumPy Newton by blocks", "scikit-learn newton-cholesky"):
            del meeting.seconds[rival, 1e-2]
        return meeting

    monkeypatch.setattr(contest_module, "_repeat", one_misses)
    result = run(replace(contest_of(False), repetitions=3))
    assert result.missing["NumPy Newton by blocks to 0.0001"] == "reached in 2 of 3 repetitions"
    shown = [finding for finding in result.findings if finding.in_table]
    assert [f.what for f in shown] == [f"A race, fit to {t:g} of the optimum" for t in (1e-2, 1e-3, 1e-4, 1e-6)]
    no_rival, missed = shown[:2]
    assert (no_rival.against, no_rival.ratio) == ("no rival gets there in most repetitions", None)
    assert (missed.value, missed.unit) == (2, "of 3 repetitions that get there")
    assert missed.ratio == {"median": 0.0, "min": 0.0, "max": 0.0}
    assert missed.missed
    assert result.missing["NumPy Newton by blocks to 0.01"] == "reached in 0 of 3 repetitions"
    assert len([f for f in result.findings if f.what == "A race, fit to 0.0001 of the optimum"]) == 2
