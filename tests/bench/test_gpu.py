"""The GPU's benchmark as far as no GPU is needed: its checks in the simulator, its rivals on the CPU, its ends."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import bench.gpu.__main__ as command
from bench.check import Plan, Point, logistic_epoch, logistic_pass
from bench.gpu import checks, clock, correctness, epochs, fits, passes, sanitizer, streams
from bench.gpu.clock import Budget
from bench.gpu.correctness import Correct
from bench.gpu.data import logistic, order_of
from bench.gpu.passes import add_times
from bench.result import Result
from fastgd import reference
from fastgd.kernels.cuda._target import SIMULATED

ROWS, COLUMNS = 3000, 5


@pytest.fixture(scope="module")
def data():
    return logistic(ROWS, COLUMNS, seed=1)


@pytest.mark.slow
def test_all_kinds_of_checks_pass_in_the_simulator(root, tmp_path):
    words = [sys.executable, "-m", "bench.gpu", "--quick", "--simulated", "--seed", "1", "--out", str(tmp_path)]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    (found,) = (raw for raw in content["raw"] if raw["section"] == "checks")
    assert found["failed"] == found["left_out"] == []
    assert found["ran"] > 40
    assert content["findings"] == []
    assert content["quick"]


def test_without_a_gpu_there_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(command, "why_unusable", lambda: "no driver: install one")
    assert command.main([]) == 2
    assert capsys.readouterr().err == "bench.gpu: no driver: install one\n"


def test_the_simulator_measures_nothing_by_mistake(monkeypatch, capsys):
    monkeypatch.setattr(command, "why_unusable", lambda: None)
    monkeypatch.setattr("bench.gpu.machine.describe", lambda: {"simulated": True})
    assert command.main([]) == 2
    assert "NUMBA_ENABLE_CUDASIM=1 is set" in capsys.readouterr().err


def test_a_check_that_fails_is_noted_and_the_others_run():
    ran = []

    def wrong():
        raise AssertionError("off by 1")

    some = [("a", wrong), ("b", lambda: ran.append("b"))]
    found = checks.run(some, Budget(60.0), 60.0)
    assert (found.ran, ran, found.left_out) == (2, ["b"], [])
    assert found.failed[0]["check"] == "a"
    assert "AssertionError: off by 1 (test_gpu.py:" in found.failed[0]["error"]
    late = checks.run(some, Budget(-1.0), 60.0)
    assert (late.ran, late.left_out) == (0, ["a", "b"])


def test_wrong_results_end_in_status_1_and_times_are_taken_all_the_same(monkeypatch, tmp_path):
    measured = []
    monkeypatch.setattr(command, "why_unusable", lambda: None)
    monkeypatch.setattr("bench.gpu.machine.describe", lambda: {"simulated": False, "versions": {}})
    monkeypatch.setattr(correctness, "run", lambda *_: Correct(5, [{"check": "pass", "error": "off"}]))
    monkeypatch.setattr(command, "_measure", lambda sections, *_: measured.extend(sections))
    assert command.main(["--quick", "--out", str(tmp_path)]) == 1
    assert measured == ["first", "passes", "fits", "streams", "epochs"]

    def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(correctness, "run", broken)
    assert command.main(["--quick", "--out", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "gpu.json").read_text())["missing"] == {"section checks": "RuntimeError: broken"}


def test_a_part_that_is_not_heard_of_is_a_failure(monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    monkeypatch.setattr(correctness, "cores", lambda: 2)
    found = correctness._in_parts(1, Budget(60.0), 1.0)
    assert [one["check"] for one in found.failed] == ["part 0 of the checks", "part 1 of the checks"]


def names_by_kind(chosen, kind):
    """Rules and cases of the checks of a kind."""
    return [name.split()[1:] for name, _ in chosen if name.startswith(f"{kind} ") and "auto" not in name]


@pytest.mark.parametrize("kind", ["epochs", "fit"])
def test_checks_are_of_every_loss_rule_dtype_and_order(kind):
    few = names_by_kind(checks.few_of(1), kind)
    rules, cases = zip(*few, strict=True)
    assert set(rules) == set(checks.OPTIMIZERS)
    parts = [set(part) for part in zip(*(case.split(",")[:3] for case in cases), strict=True)]
    assert parts == [{"squared", "huber", "logistic", "softmax"}, {"f4", "f8"}, {"C", "F"}]
    every = [pair for part in range(16) for pair in names_by_kind(checks.all_of(1, part, 16), kind)]
    assert len(set(map(tuple, every))) == len(every) == 32 * len(checks.OPTIMIZERS)


def test_data_are_those_of_a_model(data):
    values = np.linalg.eigvalsh(data.X.T @ data.X)
    assert values[-1] / values[0] == pytest.approx(100.0, rel=0.3)
    margins = data.X @ data.coef[0]
    assert np.std(margins) == pytest.approx(2.0, rel=0.1)
    # Labels agree with the model as often as its probabilities say.
    right = np.mean(1.0 / (1.0 + np.exp(-np.abs(margins))))
    assert np.mean((margins > 0) == data.y) == pytest.approx(right, abs=0.03)
    again = logistic(ROWS, COLUMNS, seed=1)
    assert np.array_equal(data.X, again.X)
    assert np.array_equal(data.y, again.y)


def test_the_order_is_the_references():
    assert np.array_equal(order_of(20_001, 7, 2), reference.epoch_order(20_001, 7, 2))


@pytest.fixture
def rivals(monkeypatch):
    """Return the rivals, on the CPU and with nothing compiled."""
    torch = pytest.importorskip("torch")
    from bench.gpu import rivals

    compile_ = torch.compile
    monkeypatch.setattr(rivals, "PLACE", "cpu")
    monkeypatch.setattr(torch, "compile", lambda f, mode=None, **options: compile_(f, backend="eager", **options))
    return rivals


@pytest.mark.parametrize("name", ["PyTorch, autograd", "PyTorch, compiled"])
def test_passes_of_rivals_are_right(rivals, data, name):
    coef = np.linspace(-1.0, 1.0, COLUMNS)
    got = rivals.PASSES[name](data.X, data.y, coef)()
    np.testing.assert_allclose(got, logistic_pass(data, Point(coef, 0.0)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_epochs_of_rivals_are_right(rivals, data, kind):
    plan = Plan(100, "adam", 0.01)
    make = list(rivals.EPOCHS.values())[kind]
    order = order_of(ROWS, 1, 0)
    run = make(data.X, data.y, plan)
    for _ in range(2):  # each from zero
        np.testing.assert_allclose(run(order), logistic_epoch(data, plan, order), rtol=2e-3, atol=2e-4)
    assert not np.array_equal(run(None), run(None))  # each in an order of its own


def test_times_are_compared_by_medians():
    result = Result("")
    add_times(result, "what", [1.0, 2.0, 4.0], "rival", [8.0, 10.0, 40.0], 3.0)
    (finding,) = result.findings
    assert (finding.value, finding.against, finding.missed) == (2.0, "rival, 10 s", False)
    assert finding.ratio == {"median": 5.0, "min": 2.0, "max": 40.0}
    assert replace(finding, at_least=6.0).missed


@pytest.mark.parametrize(
    ("said", "status", "expected"),
    [("", 0, (True, False)), ("Invalid read", 77, (True, True)), ("Error: Device not supported", 1, (False, None))],
)
def test_what_the_sanitizer_says(tmp_path, said, status, expected):
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
    program.chmod(0o755)
    told = sanitizer.finish(sanitizer.start(str(program)), Budget(60.0), time.monotonic() + 60.0)
    assert [(one["ran"], one.get("found")) for one in told.values()] == [expected, expected]
    assert len(Correct(sanitizers=told).wrong) == (2 if expected[1] else 0)


@pytest.mark.slow
def test_every_time_is_taken_in_the_simulator(monkeypatch):
    """Times of the simulator say nothing; that all is measured, right and told of does."""
    if not SIMULATED:
        pytest.skip("a GPU is there: python -m bench.gpu --quick")
    columns = {100: 4, 20: 2, 1000: 8}
    monkeypatch.setattr(clock, "_WARM_UPS", 1)
    monkeypatch.setattr(passes, "SHAPES", tuple(shape._replace(d=columns[shape.d]) for shape in passes.SHAPES))
    monkeypatch.setattr(epochs, "ASKED", {16: epochs.ASKED[4096]})
    result, budget = Result(""), Budget(600.0)
    resident = passes.Resident.of(logistic(300, 4, seed=0))
    for part, run in ((64, passes.run), (64, epochs.run), (64, streams.run), (300, fits.run)):
        run(result, resident.part(part), 1, budget, 600.0)
    found = {finding.what.split(",")[0] for finding in result.findings}
    assert found == {
        *("Full pass", "Epoch", "Copy to the GPU from pinned memory", "Copy to the GPU from a plain NumPy array"),
        *("Full pass streamed from pinned memory", "Full pass streamed from a plain NumPy array"),
        "Whole fit to 1e-06 of the optimum",
    }
    asked = [finding.at_least for finding in result.findings if finding.at_least is not None]
    assert sorted(asked) == sorted([0.8, 0.8, 0.6, 0.8, 0.5, 20.0, 0.85, 0.85, 5.0])
    assert {name.split(",")[0] for name in result.missing} <= {
        *("PyTorch", "CuPy", "PyTorch eager", "PyTorch compiled")
    }
