"""Races: the optimum that they run to, and who is said to have reached what, when."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from bench.check import Floats
from bench.optimum import Optimum, find_optimum, values
from bench.problems import Data, Problem
from bench.racing import LAPS, Racer, Setting, Tuning, best, distances, lap_rows, laps_to, race, tune

PROBLEM = Problem("logistic", 400, 5)


def test_values_and_optimum_are_those_of_the_reference() -> None:
    from fastgd import reference

    data, alpha = PROBLEM.make(), 0.01
    problem = reference.make_problem(data.X, data.signs(), "logistic", alpha=alpha)
    thetas = np.random.default_rng(0).standard_normal((3, 6))
    expected = [reference.objective(problem, theta[None]) for theta in thetas]
    np.testing.assert_allclose(values(data, alpha, thetas), expected, rtol=1e-13)
    optimum = find_optimum(data, alpha)
    assert optimum.value == pytest.approx(reference.objective(problem, optimum.theta[None]), rel=1e-14)
    assert 0.0 <= optimum.left <= 1e-10 * optimum.value
    assert reference.certificate(problem, optimum.theta[None]) < 1e-5
    assert reference.duality_gap(problem, optimum.theta[None]).bound < 1e-8


def test_distances_are_relative_to_the_optimum() -> None:
    data = PROBLEM.make()
    optimum = find_optimum(data, 0.01)
    thetas = np.array([optimum.theta, np.zeros(6), np.full(6, np.nan)])
    found = distances(data, 0.01, optimum, thetas)
    assert found[0] == pytest.approx(0.0, abs=1e-12)
    assert found[1] == pytest.approx(np.log(2) / optimum.value - 1)
    assert np.isnan(found[2])


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

    def start(data: Data, alpha: float, setting: Setting) -> Iterator[Floats]:
        started.append(setting)
        return (np.full(6, setting.rate * lap) for lap in itertools.count(1))

    racer = Racer("counter", [Setting(1, 0.0), Setting(1, 0.5)], start)
    data = PROBLEM.make()
    trace = race(racer, data, 0.01, racer.grid[1], 3)
    np.testing.assert_array_equal(trace.thetas[:, 0], [0.5, 1.0, 1.5])
    assert trace.seconds.shape == (3,)
    assert np.all(np.diff(trace.seconds) >= 0)
    tunings = tune(racer, data, 0.01, Optimum(np.zeros(6), 0.5, 0.0), 1)
    assert started == [Setting(1, 0.5), *racer.grid]
    assert [t.distance.shape for t in tunings] == [(LAPS,), (LAPS,)]
    np.testing.assert_allclose(tunings[0].distance, np.log(2) / 0.5 - 1)


def test_laps_hold_whole_batches() -> None:
    assert lap_rows(1000, 10) == 120
    assert lap_rows(1000, 1) == 125
    assert lap_rows(1000, 300) == 0
