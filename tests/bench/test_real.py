"""The problem set "real": its data, its independent optima, the check of reports and the race."""

import argparse
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression

from bench import kinds
from bench.datasets import as_data, indicators, is_categorical, load, one_hot
from bench.real import StageProfile, line, measure, summary, untrue_claims
from bench.real_cases import Case, cases
from bench.real_optima import Optimum, find, read
from bench.real_rivals import race, time_limit
from fastgd.bench.objective import Objective
from fastgd.bench.problems import Problem


def objective_of(task: str, alpha: float, l1_ratio: float = 0.0) -> Objective:
    return Objective(Problem(task, 300, 5, "f8", classes=3).make(), alpha, l1_ratio)


def drawn(kind: Callable[[np.random.Generator], np.ndarray]) -> np.ndarray:
    return kind(np.random.default_rng(0))


def test_integers_with_few_values_become_indicators_without_the_most_frequent_level() -> None:
    codes, numbers = np.array([1.0, 5.0, 5.0, 7.0]), np.array([0.5, 1.0, 2.0, 3.0])
    assert is_categorical(codes)
    assert not is_categorical(numbers)
    assert not is_categorical(np.array([0.0, 1.0, 1.0, 0.0]))
    assert not is_categorical(np.arange(51.0))
    np.testing.assert_array_equal(indicators(codes), [[1, 0], [0, 0], [0, 0], [0, 1]])
    np.testing.assert_array_equal(indicators(codes, every=True).sum(axis=1), 1)
    assert one_hot(np.column_stack([codes, numbers])).shape == (4, 3)


def test_float32_holds_the_values_of_float64() -> None:
    data = as_data("softmax", np.array([[0.1], [1 / 3], [2.0]]), np.array(["b", "a", "c"]))
    assert data.X.dtype == np.float64
    np.testing.assert_array_equal(data.X, data.X.astype(np.float32))
    np.testing.assert_array_equal(data.y, [1, 0, 2])
    assert data.problem.outputs == 3


def test_mnist_is_in_units_of_its_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "mnist").mkdir()
    for name, header, shape in (("images-idx3", 16, (30, 784)), ("labels-idx1", 8, (30,))):
        values = rng.integers(0, 256 if header == 16 else 10, shape, np.uint8)
        (tmp_path / f"mnist/train-{name}-ubyte.gz").write_bytes(gzip.compress(bytes(header) + values.tobytes()))
    monkeypatch.setenv("FASTGD_BENCH_DATA", str(tmp_path))
    data = load("MNIST")
    assert data.X.shape == (30, 784)
    assert (data.X.min(), data.X.max(), data.problem.outputs) == (0.0, 1.0, 10)


def test_kinds_have_the_shape_of_their_name_and_the_same_numbers_on_every_run() -> None:
    X = kinds.make("generated separated but 1").X
    np.testing.assert_array_equal(X, kinds.make("generated separated but 1").X)
    np.testing.assert_array_equal(X, X.astype(np.float32))
    squares = np.square(drawn(kinds.heavy_rows)).sum(axis=1)
    assert squares.max() > 100 * squares.mean()
    X = drawn(kinds.heavy_columns)
    assert np.all(X.max(axis=0) > 10 * X.std(axis=0))
    assert 0.89 < np.mean(drawn(kinds.counts) == 0) < 0.97
    X = drawn(kinds.categories)
    assert np.all((X == 0.0) | (X == 1.0))
    assert X.sum(axis=0).min() < 1e-2 * len(X) < X.sum(axis=0).max()
    X = drawn(kinds.duplicates)
    assert len(np.unique(X @ np.arange(1.0, 31.0))) <= 2_000 < len(X)
    assert X.max() > 1e8
    X = drawn(kinds.sensors)
    values = np.linalg.svd(X / X.std(axis=0), compute_uv=False)
    assert values[8] < 0.05 * values[7]


@pytest.mark.parametrize("but", [0, 1, 10])
def test_few_rows_keep_classes_from_being_separated(but: int) -> None:
    data = kinds.make(f"generated separated but {but}")
    model = LinearRegression().fit(data.X, 2.0 * data.y - 1.0)
    assert read()[f"generated separated but {but}, alpha 0"].attained == (but > 0)
    assert np.mean((model.predict(data.X) > 0) == data.y) > 0.9


def test_missing_optima_are_recognised() -> None:
    X = np.random.default_rng(0).standard_normal((200, 3))
    separable = find(Objective(as_data("logistic", X, X[:, 0] > 0), 0.0))
    assert separable == (0.0, separable.constant, 0.0, False, "all rows separated")
    partly = find(Objective(as_data("softmax", *load_iris(return_X_y=True)), 0.0))  # one class of three is separable
    assert not partly.attained
    assert partly.value > 0.03
    y = X[:, 0] + np.random.default_rng(1).logistic(size=200) > 0
    one_row = np.column_stack([X, np.arange(200) == 0])  # an indicator of a single row
    assert not find(Objective(as_data("logistic", one_row, y), 0.0)).attained
    assert find(Objective(as_data("logistic", X, y), 0.0)).attained


def test_every_case_has_an_accurate_tracked_optimum() -> None:
    optima = read()
    assert set(optima) == {case.key for case in cases()}
    for key, optimum in optima.items():
        assert 0.0 <= optimum.left <= 1e-7 * (optimum.constant - optimum.value), key


CLAIMS: list[tuple[dict[str, Any], float, bool, list[str]]] = [
    ({}, 1.0 + 5e-5, True, []),
    ({}, 1.0 + 2e-4, True, ["converged"]),
    ({}, 0.99, True, ["below the tracked optimum"]),
    ({"converged": False, "stopped_by": "max_iter"}, 1.5, True, []),
    ({"converged": False, "stopped_by": "no step"}, 1.5, True, ["no step"]),
    ({"converged": False, "stopped_by": "no optimum"}, 1.0, True, ["no optimum"]),
    ({"converged": False, "stopped_by": "no optimum"}, 1.0, False, []),
    ({}, 1.0, False, ["no optimum not recognised"]),
    ({"suboptimality": 4e-5}, 1.0 + 5e-5, True, []),
    ({"suboptimality": 1e-5}, 1.0 + 5e-5, True, ["suboptimality"]),
    ({"suboptimality": 3e-4}, 1.0 + 5e-5, True, ["suboptimality"]),
    ({"suboptimality": 0.0}, 1.0 + 1e-12, True, []),
    ({"duality_gap": 1e-5}, 1.0 + 5e-5, True, ["duality_gap"]),
    ({"duality_gap": 1e-3}, 1.0 + 5e-5, True, []),
]


@pytest.mark.parametrize(("report", "value", "attained", "untrue"), CLAIMS)
def test_claims_are_compared_with_the_optimum(report: dict, value: float, attained: bool, untrue: list[str]) -> None:
    usual = {"converged": True, "stopped_by": "certificate", "suboptimality": None, "duality_gap": None}
    optimum = Optimum(1.0, 2.0, 1e-14, attained, "Newton")
    assert untrue_claims(usual | report, value, optimum, 1e-11) == untrue


def test_stages_add_up_to_all_seconds() -> None:
    began = time.perf_counter()
    with StageProfile() as profile:
        kinds.normal(np.random.default_rng(0))
    assert 0.0 < sum(profile.seconds.values()) <= time.perf_counter() - began
    assert profile.seconds["passes"] == 0.0


def test_a_fit_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(TimeoutError, match="more than 0"), time_limit(0.01):
        time.sleep(5.0)


@pytest.mark.filterwarnings("ignore")
def test_a_case_is_measured_with_its_rival() -> None:
    case = Case("iris", 1, 0.0, "f8")
    options = argparse.Namespace(no_stages=False, no_rivals=False, limit_seconds=20.0, threads=1)
    entry = measure(case, read()[case.key], options)
    assert entry["untrue"] == []
    assert entry["true_suboptimality"] < 1e-4
    assert entry["rival"] is not None
    assert entry["ratio"] > 0.0
    assert line(entry).startswith("iris, alpha 1/n, f8 ")
    assert summary([entry, {"name": "none", "error": "no file"}])[0].startswith("1 fits, 1 not measured; passes: ")
    far = read()[case.key]._replace(constant=2.0)
    with pytest.raises(ValueError, match="F of the constant model is 1"):
        measure(case, far, options)


@pytest.mark.filterwarnings("ignore")
def test_a_rival_that_does_not_reach_the_objective_does_not_count() -> None:
    objective = objective_of("linear", 0.01)
    found = race(objective, 0.0, 1.0, 0.01, lambda: None)
    assert found["rival"] is None
    assert found["failed"]["scikit-learn Ridge cholesky"] == "not there at any setting"
