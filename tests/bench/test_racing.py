"""Races: rivals' loops, how their settings are chosen, and when they are said to arrive."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from bench import rivals
from bench.check import Floats
from bench.objective import Objective
from bench.optimum import Optimum
from bench.problems import Problem
from bench.racing import LAPS, Racer, Setting, Tuning, best, fitted, lap_rows, laps_to, race, tune
from fastgd.schedules import InverseTimeDecay

PROBLEM = Problem("logistic", 400, 5)


def test_laps_to_a_target_are_whole_steps() -> None:
    distance = np.array([0.5, 0.3, np.nan, 0.1, 0.4, 0.1])
    assert [laps_to(distance, 0.3, step) for step in (1, 2, 3)] == [2, 2, 6]
    assert laps_to(distance, 0.1, 1) == 4
    assert laps_to(distance, 0.01, 1) is None


def test_the_fastest_setting_is_chosen_by_laps_and_seconds_of_its_batches() -> None:
    far = np.array([0.5, 0.04])
    slow = [Tuning(Setting(256, 1.0), 2.0, np.array([0.04, 0.02])), Tuning(Setting(256, 2.0), 2.2, far)]
    fast = [Tuning(Setting(1024, 1.0), 1.0, far), Tuning(Setting(1024, 2.0), 1.2, np.array([0.5, 0.03]))]
    # Two laps of 1.1 seconds each against one of 2.1; of two that take as long the one that got closer.
    assert best([*slow, *fast], 0.05, 1) == Setting(256, 1.0)
    assert best([*slow, *fast], 0.05, 2) == Setting(1024, 2.0)
    assert best(fast, 0.031, 1) is None, "a tenth of margin"


def test_every_setting_is_run_by_laps() -> None:
    started: list[Setting] = []

    def start(objective: Objective, setting: Setting) -> Iterator[Floats]:
        started.append(setting)
        return (np.full(6, setting.rate * lap) for lap in itertools.count(1))

    racer = Racer("counter", [Setting(1, 0.0), Setting(1, 0.5)], start)
    objective = Objective(PROBLEM.make(), 0.01)
    trace = race(racer, objective, racer.grid[1], 3)
    np.testing.assert_array_equal(trace.thetas[:, 0], [0.5, 1.0, 1.5])
    assert trace.seconds.shape == (3,)
    assert np.all(np.diff(trace.seconds) >= 0)
    tunings = tune(racer, objective, Optimum(np.zeros((1, 6)), 0.5, 0.0, 0.5), 1)
    assert started == [Setting(1, 0.5), *racer.grid]
    assert [t.distance.shape for t in tunings] == [(LAPS,), (LAPS,)]
    np.testing.assert_allclose(tunings[0].distance, np.log(2) / 0.5 - 1)


def test_rates_fall_as_the_schedule_says() -> None:
    schedule, falling = InverseTimeDecay(2.0, decay=8.0), Setting(256, 2.0, 1, 8.0)
    for lap in (0, 1, 20):
        assert falling.rate_in(lap) == pytest.approx(schedule(step=0, epoch=lap / LAPS), rel=1e-15)
    assert Setting(256, 2.0).rate_in(20) == 2.0
    assert str(falling) == "batch 256, rate 2 / (1 + 8 epochs), threads 1"
    assert str(Setting(256, 2.0, 2, 1.0)) == "batch 256, rate 2 / (1 + epochs), threads 2"


@pytest.mark.parametrize("library", ["NumPy", "PyTorch", "JAX"])
def test_a_falling_rate_is_that_of_its_lap(library: str) -> None:
    adapters, missing = rivals.load([library])
    if missing:
        pytest.skip(missing[library])
    objective = Objective(PROBLEM.make(), 0.01)
    for racer in adapters[0].solvers(objective):
        if racer.rule is None:
            continue
        falling, first = (
            racer.start(objective, Setting(10, rate, 1, decay)) for rate, decay in ((0.1, 8.0), (0.1, 0.0))
        )
        np.testing.assert_array_equal(next(falling), next(first))
        tiny = racer.start(objective, Setting(10, 0.1, 1, 1e9))
        start = next(tiny)
        np.testing.assert_allclose(next(tiny), start, atol=1e-6)
        assert np.abs(next(first) - start).max() > 1e-3


def test_laps_hold_whole_batches() -> None:
    assert lap_rows(1000, 10) == 120
    assert lap_rows(1000, 1) == 125
    assert lap_rows(1000, 300) == 0


@pytest.mark.parametrize(
    ("task", "rule", "power"), [("logistic", "descent", 2), ("linear", "rows", 2), ("linear", "adam", 1)]
)
def test_rates_follow_the_scale_of_the_data(task: str, rule: str, power: int) -> None:
    data = Problem(task, 4000, 5).make()
    racer = Racer("any", [Setting(256, 1.0)], lambda *_: iter(()), rule=rule)
    one, ten = (fitted(racer, Objective(replace(data, X=scale * data.X), 0.0)).grid[0].rate for scale in (10.0, 1000.0))
    assert one / ten == pytest.approx(100.0**power, rel=0.1)


def test_rates_of_solvers_are_left_alone() -> None:
    racer = Racer("any", ["a"], lambda *_: iter(()))
    assert fitted(racer, Objective(PROBLEM.make(), 0.0)) is racer
