"""Every solver of every library that is installed comes near the optimum of what it says it can solve."""

from dataclasses import replace

import numpy as np
import pytest

from bench.optimum import find_optimum
from bench.sweep import Course, sweep
from fastgd.bench import rivals
from fastgd.bench.objective import Objective
from fastgd.bench.problems import Problem
from fastgd.bench.rivals.racers import fitted

CASES = [
    ("linear", 0.05, 0.5),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (("linear", 0.0, 0.0), ("logistic", 1e-3, 0.0), ("logistic", 0.01, 0.5), ("softmax", 1e-3, 0.0))
    ),
]
#: Seconds that are forgiven for what a library does when it is first called.
PATIENT = {1e-2: 20.0}


@pytest.fixture(autouse=True)
def nothing_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before every run that is timed garbage is collected, which takes a second beside all of the tests."""
    monkeypatch.setattr("bench.sweep.gc.collect", lambda: 0)


@pytest.mark.filterwarnings("ignore")  # what is stopped at a target has not converged
@pytest.mark.parametrize(("task", "alpha", "l1_ratio"), CASES)
@pytest.mark.parametrize("library", rivals.SOLVERS)
def test_solvers_minimise_the_objective(library: str, task: str, alpha: float, l1_ratio: float) -> None:
    adapters, missing = rivals.load([library])
    if missing:
        pytest.skip(missing[library])
    objective = Objective(Problem(task, 4096, 4, "f8", condition=4.0, classes=3).make(), alpha, l1_ratio)
    course = Course(objective, find_optimum(objective))
    for racer in adapters[0].solvers(objective):
        grid = racer.grid if racer.ordered else racer.grid[::2]
        swept = sweep(fitted(replace(racer, grid=grid), objective), course, PATIENT)
        assert swept.best or (l1_ratio and "averaged" in racer.name), f"{racer.name}: {swept.given_up}"
        if racer.rule is None:
            assert len(swept.runs) <= len(racer.grid)


def test_a_library_that_cannot_be_imported_is_named_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rivals.ADAPTERS, "none", "with_none")
    found, missing = rivals.load(["none", "NumPy"])
    assert [module.__name__ for module in found] == ["fastgd.bench.rivals.with_numpy"]
    assert missing == {"none": "ModuleNotFoundError: No module named 'fastgd.bench.rivals.with_none'"}


@pytest.mark.filterwarnings("ignore:The max_iter was reached")
def test_a_rival_never_writes_to_the_data() -> None:
    adapters, _ = rivals.load(["NumPy", "scikit-learn", "scipy"])
    objective = Objective(Problem("linear", 2048, 4, "f8").make(), 0.0)
    X, y = objective.data.X.copy(), objective.data.y.copy()
    for adapter in adapters:
        for racer in adapter.solvers(objective):
            next(fitted(racer, objective).start(objective, racer.grid[0]))
    np.testing.assert_array_equal(objective.data.X, X)
    np.testing.assert_array_equal(objective.data.y, y)
