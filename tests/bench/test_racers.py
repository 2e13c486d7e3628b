"""Settings of rivals' loops: rates, laps, and their adaptation to the data."""

from dataclasses import replace

import numpy as np
import pytest

from fastgd.bench import rivals
from fastgd.bench.objective import Objective
from fastgd.bench.problems import Problem
from fastgd.bench.rivals.racers import LAPS, Effort, Racer, Setting, fitted, iterations, lap_rows, tolerances
from fastgd.schedules import InverseTimeDecay

PROBLEM = Problem("logistic", 400, 5)


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


def test_efforts_go_from_loose_to_tight() -> None:
    assert [str(effort) for effort in tolerances()][:2] == ["tol 0.1", "tol 0.01"]
    counts = [effort.value for effort in iterations(most=100)]
    assert counts == sorted(set(counts))
    assert counts[0] == 1
    assert counts[-1] >= 100


def test_effort_says_what_it_is() -> None:
    assert str(Effort("max_iter", 20)) == "max_iter 20"
    assert str(Effort("direct", 0)) == "direct"
