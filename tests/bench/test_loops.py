"""Wrong results are not timed; expected results are those of the reference."""

import numpy as np
import pytest

from bench.cases import loops
from bench.cases.loops import check, expected_epoch, probe_point
from fastgd.bench import ours, rivals
from fastgd.bench.objective import Objective
from fastgd.bench.ours import EpochPlan
from fastgd.bench.problems import Problem
from fastgd.bench.timing import Job
from fastgd.bench.yardstick import read_sum, reads

PROBLEM = Problem("logistic", 300, 6, "f8")


def test_a_wrong_result_is_an_error() -> None:
    expected = np.array([1.0, 2.0])
    right, wrong = Job("right", "", lambda: [1.0, 2.0]), Job("wrong", "", lambda: [1.0, 2.001])
    assert check([right], expected, "f8") == {"right ()": 0.0}
    for job in (wrong, Job("lost", "", lambda: [np.nan, 2.0]), Job("short", "", lambda: [1.0])):
        with pytest.raises(AssertionError, match=job.name):
            check([job], expected, "f8")


@pytest.mark.parametrize("task", ["linear", "logistic", "softmax"])
def test_the_expected_gradient_is_that_of_the_expected_loss_and_ours(task: str) -> None:
    data = Problem(task, 300, 6, "f8", classes=3).make()
    objective, theta, step = Objective(data, 0.0), probe_point(data), 1e-6
    gradient = objective.mean_loss(theta)[1:]
    for j in range(theta.size):
        unit = np.eye(theta.size)[j].reshape(theta.shape) * step
        above, below = (objective.mean_loss(theta + sign * unit)[0] for sign in (1, -1))
        assert (above - below) / (2 * step) == pytest.approx(gradient[j], abs=1e-8)
    check(
        [Job("ours", "", ours.full_pass(ours.load(data), data.problem.loss, theta))], objective.mean_loss(theta), "f8"
    )


@pytest.mark.parametrize("rule", ["gd", "adam", "saga"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_epochs_are_those_of_the_reference(rule: str, shuffle: bool) -> None:
    data, plan = PROBLEM.make(), EpochPlan(rule, 32, 0.05, shuffle, alpha=0.1)
    expected = expected_epoch(data, plan)
    check([ours.epoch_job(data, plan)], expected, "f8")
    other = expected_epoch(data, plan._replace(shuffle=not shuffle))
    assert np.abs(other - expected).max() > 1e-3


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_yardstick_finds_the_largest_number_wherever_it_is(dtype: str, order: str) -> None:
    X = np.asarray(np.random.default_rng(0).random((7919, 150), dtype), order=order)
    for row, column in ((0, 0), (7918, 149), (4000, 77)):
        X[row, column] = 2.0
        assert reads(X, [2])["max, 2 threads"]() == np.array(2.0, dtype).view(f"i{X.itemsize}")
        X[row, column] = 0.0


def test_every_way_of_the_yardstick_reads_all_of_an_array() -> None:
    X = PROBLEM.make().X
    for array in (X, np.asfortranarray(X), X[:7]):
        assert len(reads(array, [1, 2])) == 6  # checks the numbers that they read
    with pytest.raises(ValueError, match="contiguous"):
        reads(X[:, ::2])
    assert read_sum(X) == pytest.approx(X.sum(), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["full_pass", "full_pass_rivals", "epoch", "rules", "threads", "sgd"])
def test_cases_run_on_few_rows(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(name: str, quick: bool = False) -> Problem:
        full = loops.problems.PROBLEMS[name]
        return full.smaller(full.n // 25_600 + 1)

    monkeypatch.setattr(loops.problems, "problem", few)
    result = getattr(loops, case)(True)
    assert result.findings
    assert result.raw
    assert all(np.isfinite(finding.value) for finding in result.findings)
    assert set(result.missing) <= {"JAX", "PyTorch"}


@pytest.mark.parametrize("library", ["NumPy", "PyTorch", "JAX", "scikit-learn"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_rivals_compute_the_same(library: str, shuffle: bool) -> None:
    data = Problem("logistic", 2560, 5, "f8").make()
    adapters, missing = rivals.load([library])
    if missing:
        pytest.skip(missing[library])
    theta, plan = probe_point(data), EpochPlan("adam", 64, shuffle=shuffle)
    passes = rivals.make_jobs("full_passes", adapters, Objective(data, 0.0), theta)
    if library != "JAX":
        assert passes
    check(passes, Objective(data, 0.0).mean_loss(theta), "f8")
    order = loops.epoch_order(len(data.y), plan.seed, 0)
    epochs = rivals.make_jobs("epochs", adapters, Objective(data, plan.alpha), plan, order=order)
    check(epochs, expected_epoch(data, plan), "f8")
