"""Races on sparse data: the generated problem, the objective and its optimum, and the rivals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from bench import contest, datasets, sparse
from bench.cases import SPARSE_CASES
from bench.contest import Contest
from bench.datasets import as_data, indicators, sparse_indicators
from bench.optimum import find_optimum
from bench.report import report
from bench.sparse import CASES, RACES, main
from bench.sweep import Course, run_to, sweep
from fastgd.bench import rivals
from fastgd.bench.machine import peak_memory, reset_peak_memory
from fastgd.bench.objective import Objective
from fastgd.bench.problems import Data, Problem
from fastgd.bench.result import Result
from fastgd.bench.rivals import estimators
from fastgd.bench.zipf import ZipfProblem

SMALL = ZipfProblem("logistic", 600, 80, "f8", words=12)


@pytest.fixture(autouse=True)
def nothing_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before every run that is timed garbage is collected, which takes a second beside all of the tests."""
    monkeypatch.setattr("bench.sweep.gc.collect", lambda: 0)


def dense(data: Data) -> Data:
    return replace(data, X=data.X.toarray())


def test_columns_follow_zipf_and_rows_have_length_1() -> None:
    problem = ZipfProblem("logistic", 4000, 300, words=30)
    data, again = problem.make(), problem.make()
    X = data.X
    assert X.dtype == np.float32
    assert X.has_canonical_format
    np.testing.assert_array_equal(X.toarray(), again.X.toarray())
    np.testing.assert_array_equal(data.y, again.y)
    assert (X != replace(problem, seed=1).make().X).nnz
    np.testing.assert_allclose(np.sqrt(X.multiply(X).sum(axis=1)), 1.0, rtol=1e-5)
    # A word of chance p occurs in a row with probability 1 - exp(-30 p).
    chances = 1.0 / np.arange(1, 301) / np.sum(1.0 / np.arange(1, 301))
    found = np.sort(X.getnnz(axis=0))[::-1] / 4000
    np.testing.assert_allclose(found[:100], 1.0 - np.exp(-30.0 * chances[:100]), atol=0.04)


@pytest.mark.parametrize("task", ["logistic", "softmax"])
def test_labels_are_drawn_with_the_probabilities_of_margins_of_deviation_6(task: str) -> None:
    data = ZipfProblem(task, 20_000, 300, words=30, classes=3).make()
    z = np.asarray(data.X @ data.coef.T, dtype=np.float64)
    z = 6.0 * (z - z.mean(axis=0)) / z.std(axis=0)
    if task == "logistic":
        chance = expit(z[:, 0])
        hits = data.y
    else:
        chance = np.exp(z[:, 1] - np.logaddexp.reduce(z, axis=1))
        hits = data.y == 1
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.01)):
        those = (low <= chance) & (chance < high)
        assert np.mean(hits[those]) == pytest.approx(np.mean(chance[those]), abs=0.04)


@pytest.mark.parametrize("task", ["logistic", "softmax"])
@pytest.mark.parametrize("intercept", [True, False])
def test_objectives_of_sparse_and_dense_rows_agree(task: str, intercept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgd.bench.objective._BLOCK_NUMBERS", 1000)  # several blocks
    data = replace(SMALL, task=task, classes=3).make()
    one, other = (Objective(some, 0.01, intercept=intercept) for some in (data, dense(data)))
    rng = np.random.default_rng(0)
    theta, r = rng.standard_normal(one.shape), rng.standard_normal((600, one.shape[0]))
    np.testing.assert_allclose(one.values(theta[None]), other.values(theta[None]), rtol=1e-12)
    np.testing.assert_allclose(one.mean_loss(theta), other.mean_loss(theta), rtol=1e-10)
    np.testing.assert_allclose(one.spread(r), other.spread(r), rtol=1e-10)
    with_ones = np.column_stack([other.X, np.ones(600)])
    np.testing.assert_allclose(one.spread_squares(r**2), (r**2).T @ with_ones**2 / 600, rtol=1e-10)
    np.testing.assert_allclose(other.spread_squares(r**2), (r**2).T @ with_ones**2 / 600, rtol=1e-10)
    assert np.all((one.spread(r)[:, -1] != 0.0) == intercept)
    assert np.all((one.constant_theta()[:, -1] != 0.0) == intercept)


@pytest.mark.parametrize("intercept", [True, False])
def test_optima_of_sparse_rows_are_those_of_scipy(intercept: bool) -> None:
    data = SMALL.make()
    X = data.X.toarray()
    X[:, [3, 50]] = 0.0  # columns without numbers
    objective = Objective(replace(data, X=csr_matrix(X)), 1e-3, intercept=intercept)

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        t, w = data.signs() * (X @ flat[:-1] + intercept * flat[-1]), flat[:-1]
        r = -data.signs() * expit(-t) / len(t)
        gradient = np.append(r @ X + 1e-3 * w, intercept * r.sum())
        return float(np.logaddexp(0.0, -t).mean() + 0.5e-3 * w @ w), gradient

    options = {"maxiter": 10_000, "ftol": 0.0, "gtol": 1e-10}
    expected = minimize(value_and_gradient, np.zeros(81), jac=True, method="L-BFGS-B", options=options)
    found = find_optimum(objective)
    assert found.value == pytest.approx(expected.fun, rel=1e-9)
    np.testing.assert_allclose(found.theta[0], expected.x, atol=1e-4)
    assert found.left <= 1e-10 * found.value


def test_a_diagonal_preconditions_wide_dense_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(Problem("logistic", 200, 30, "f8").make(), 1e-3)
    expected = find_optimum(objective)
    monkeypatch.setattr("bench.optimum._MOST_COLUMNS", 10)
    assert find_optimum(objective, 1e-8).value == pytest.approx(expected.value, rel=1e-8)


@pytest.mark.filterwarnings("ignore")  # loose settings do not converge
@pytest.mark.parametrize("library", rivals.SPARSE_SOLVERS)
def test_rivals_minimise_the_objective_of_sparse_rows(library: str) -> None:
    adapters, missing = rivals.load([library])
    if missing:
        pytest.skip(missing[library])
    reached = 0
    for intercept in (True, False):
        objective = Objective(SMALL.make(), 1e-2, intercept=intercept)
        course = Course(objective, find_optimum(objective))
        for racer in adapters[0].solvers(objective):
            if racer.rule is not None or "intelex" in racer.name:
                continue
            swept = sweep(racer, course, {1e-3: 20.0})
            assert swept.best, f"{racer.name}, {intercept}: {swept.given_up}"
            reached += 1
    assert reached or library == "scikit-learn-intelex"


def test_solvers_that_convert_sparse_rows_do_not_run() -> None:
    objective = Objective(SMALL.make(), 1e-2)
    for one in estimators.ESTIMATORS["scikit-learn-intelex"]:
        with pytest.raises(ValueError, match="falls back to scikit-learn"):
            one.start(objective, one.grid[0])


def test_iterates_of_lbfgs_are_laps() -> None:
    for task in ("logistic", "softmax"):
        objective = Objective(replace(SMALL, task=task, classes=3).make(), 1e-3)
        course = Course(objective, find_optimum(objective))
        (racer,) = rivals.load(["scikit-learn by iterates"])[0][0].solvers(objective)
        run = run_to(racer, course, racer.grid[0], dict.fromkeys((1e-1, 1e-3, 1e-6), np.inf))
        laps = [run.arrivals[target].laps for target in (1e-1, 1e-3, 1e-6)]
        assert 1 <= laps[0] < laps[1] < laps[2]
        assert run.distance <= 1e-6
        assert run_to(racer, course, racer.grid[0], {1e-9: 0.0}).late, "a fit is stopped at an iterate"


def test_peak_memory_is_that_since_the_reset() -> None:
    before = reset_peak_memory()
    if not before:
        pytest.skip("the system has no such files")
    block = np.ones(1 << 23)
    peak = peak_memory() - before
    del block
    assert 0.9 * (1 << 26) < peak < 1.5 * (1 << 26)
    assert reset_peak_memory() - before < 1 << 24


def test_sparse_indicators_are_the_dense_ones() -> None:
    column = np.array(["b", "a", "b", "c", "a", "b"])
    np.testing.assert_array_equal(sparse_indicators(column).toarray(), indicators(column))
    data = as_data("linear", sparse_indicators(column), np.arange(6.0))
    assert (data.X.format, data.X.dtype, data.X.shape) == ("csr", np.float64, (6, 2))


def test_every_case_is_shown_and_races_have_the_same_data_in_every_repetition() -> None:
    assert set(CASES) == set(SPARSE_CASES)
    for race in RACES.values():
        assert set(race.at_least) <= set(race.targets)
        assert not race.fresh


def test_a_race_on_sparse_rows_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def make(seed: int, rows: int) -> Data:
        made.append(rows)
        return replace(SMALL, n=rows).make()

    race: Contest = replace(RACES["sparse_logistic"], make=make, rows=600, libraries=("scikit-learn by iterates",))
    result: Result = report(contest.run(replace(race, repetitions=2)))
    assert made == [600, 600], "the data and the rows of the warm-up"
    shown = [finding for finding in result.findings if finding.in_table]
    assert [finding.what for finding in shown] == [f"{race.label}, fit to {t:g} of the optimum" for t in race.targets]
    assert all(finding.arrived and "lbfgs" in finding.against for finding in shown)
    assert "no intercept" in result.included
    assert "the same data" in result.included
    runs = result.raw[1]["sweep"]["fastgd"]
    assert all({"megabytes", "distance", "seconds"} <= set(run) for run in runs)


def test_fits_from_a_table_are_compared_with_their_r2(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    carrier, distance = rng.choice(["AA", "B6", "UA"], 4000), rng.standard_normal(4000)
    delay = 10.0 * distance + 5.0 * (carrier == "AA") + rng.standard_normal(4000)
    table = pd.DataFrame({"carrier": carrier, "distance": distance, "arr_delay": delay})
    monkeypatch.setattr(datasets, "flights_frame", lambda: table)
    result = sparse.flights(quick=True)
    shown = [finding.what for finding in result.findings if finding.in_table]
    assert sum("fit and predict" in what for what in shown) == 4
    ends: dict[str, list[dict[str, Any]]] = result.raw[0]
    squares = delay.var() - 1.0
    for name, found in ends.items():
        assert found[0]["r2"] == pytest.approx(squares / delay.var(), abs=0.01), name
    squares_of_rows = [finding for finding in result.findings if finding.what.endswith(": R2")]
    fastest = result.findings[0].against.split(",")[0]
    assert [finding.at_least for finding in squares_of_rows] == [ends[fastest][1]["r2"], None]


def test_cases_without_their_files_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASTGD_BENCH_DATA", str(tmp_path / "none"))
    assert main(["sparse_a9a", "sparse_retail", "sparse_flights", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("skipped, there is no folder") == 3
    with pytest.raises(SystemExit, match="2"):
        main(["dense"])


@pytest.mark.slow
def test_passes_and_epochs_are_checked_before_they_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "_ZIPF", ZipfProblem("logistic", 20_000, 200, words=20))
    result = sparse.loops(quick=True)
    assert len(result.findings) == 6
    for raw in result.raw:
        assert max(raw["relative_errors"].values()) < 2e-4
