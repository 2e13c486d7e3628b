"""The checks of the GPU's benchmark, as far as no GPU is needed: which there are, and that they find what is wrong."""

import json
import runpy
import sys
import time

import numpy as np
import pytest
from numba import cuda

from bench.gpu import check_arrays, check_data, checks, processes, sanitizer, worker
from bench.gpu.check_data import Absent
from bench.gpu.checks import poisoned
from bench.gpu.clock import Budget
from bench.gpu.processes import Job, wrong
from fastgd.backends.cuda import design as cuda_design
from fastgd.backends.cuda import stream as cuda_stream
from fastgd.backends.cuda.csr import CudaCsr
from fastgd.backends.cuda.stream import CudaStream
from fastgd.bench.ours import OPTIMIZERS
from fastgd.bench.result import Result
from fastgd.objective import objective
from tests.kernels.table import Case
from tests.simulated import threads_take_turns

__all__ = ["threads_take_turns"]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two minutes alone, several times as long beside other tests
def test_all_kinds_of_checks_pass_in_the_simulator(tmp_path):
    to = tmp_path / "found.json"
    assert worker.run(Job({"checks": 1500.0}, "small", True, True, 1, 1500.0, str(to))) == 0
    content = json.loads(to.read_text())
    (found,) = (raw for raw in content["result"]["raw"] if raw["section"] == "checks")
    assert found["failed"] == found["left_out"] == []
    assert found["ran"] > 40
    assert found["absent"] == {}
    assert not any(facts["ran"] for facts in found["sanitizers"].values())


def test_a_check_that_fails_is_noted_and_the_others_run():
    ran = []

    def wrong():
        raise AssertionError("off by 1")

    some = [("a", wrong), ("b", lambda: ran.append("b"))]
    found = checks.run(some, Budget(60.0), 60.0)
    assert (found.ran, ran, found.left_out) == (2, ["b"], [])
    assert found.failed[0]["check"] == "a"
    assert "AssertionError: off by 1 (test_gpu_checks.py:" in found.failed[0]["error"]
    late = checks.run(some, Budget(-1.0), 60.0)
    assert (late.ran, late.left_out) == (0, ["a", "b"])


def test_libraries_that_are_not_there_and_a_gpu_that_is_lost():
    def absent():
        raise Absent("cupy is not installed")

    def lost():
        raise RuntimeError("the GPU stopped working for this process (CUDA_ERROR_ILLEGAL_ADDRESS)")

    found = checks.run([("a", absent), ("b", lost), ("c", lost)], Budget(60.0), 60.0)
    assert (found.ran, found.absent, found.left_out) == (1, {"a": "cupy is not installed"}, ["c"])
    assert [one["check"] for one in found.failed] == ["b"]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3, 2), 5, (0, 3)])
def test_memory_is_poisoned_before_use(dtype, order, shape):
    usual = cuda.device_array, cuda.pinned_array
    with poisoned():
        there, pinned = cuda.device_array(shape, dtype, order=order), cuda.pinned_array(shape, dtype, order=order)
        on_stream = cuda.device_array(shape, dtype, stream=cuda.stream())
        numbers = cuda.device_array(shape, np.int64)
    for array in (there.copy_to_host(), pinned, on_stream.copy_to_host()):
        assert array.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert np.isnan(array).all()
    assert (numbers.copy_to_host() == -1).all()
    assert (cuda.device_array, cuda.pinned_array) == usual


def test_a_check_that_reads_what_was_never_written_fails(monkeypatch):
    """Fresh memory often holds what is right by chance."""

    def zeros(shape, dtype=np.float64, **_):
        return cuda.to_device(np.zeros(shape, dtype))

    def check():
        out = cuda.device_array(4, np.float32)
        out[:3].copy_to_device(np.zeros(3, np.float32))
        np.testing.assert_array_equal(out.copy_to_host(), np.zeros(4))

    monkeypatch.setattr(cuda, "device_array", zeros)
    check()
    assert len(checks.run([("reads", check)], Budget(60.0), 60.0).failed) == 1


STREAMS = [(Case("squared", "f8", "C"), True, True), (Case("softmax", "f4", "F"), False, False)]


@pytest.mark.parametrize(("case", "pinned", "weighted"), STREAMS, ids=lambda one: getattr(one, "name", None))
def test_streams_are_checked(case, pinned, weighted):
    usual = cuda_stream.CHUNK_BYTES
    check_data.stream_check(case, pinned, weighted, 3)[1]()
    assert usual == cuda_stream.CHUNK_BYTES


def test_sparse_rows_are_checked(monkeypatch):
    _, check = check_data.sparse_check(Case("squared", "f8", "C"), "i4", 3)
    check()
    norms = CudaCsr.squared_norms
    monkeypatch.setattr(CudaCsr, "squared_norms", lambda self, scaling: norms(self, scaling) * (1.0 + 1e-9))
    with pytest.raises(AssertionError, match="norms: off by"):
        check()
    names = [name for name, _ in checks.few_of(1) if name.startswith("sparse ")]
    assert {name.split()[2] for name in names} == {"i4", "i8"}
    every = [name for part in range(16) for name, _ in checks.all_of(1, part, 16) if name.startswith("sparse ")]
    assert len(set(every)) == len(every) == 4 * 2 * 2


def late(chunk):
    """A chunk whose last rows have not come yet."""
    rows = chunk.data.X.copy_to_host()
    rows[-1] = 9.0
    chunk.data.X.copy_to_device(rows)
    return chunk


def test_streams_whose_rows_come_late_fail(monkeypatch):
    send = CudaStream.send_parts
    monkeypatch.setattr(CudaStream, "send_parts", lambda self, parts: map(late, send(self, parts)))
    with pytest.raises(AssertionError):
        check_data.stream_check(Case("logistic", "f8", "C"), False, False, 3)[1]()


def test_fits_on_many_rows_take_their_curvatures_from_the_gpu(monkeypatch):
    taken, usual, quadratic = [], objective._KEPT_NUMBERS, cuda_design.CudaDesign.quadratic
    monkeypatch.setattr(cuda_design.CudaDesign, "quadratic", lambda *of: taken.append(of) or quadratic(*of))
    case = Case("logistic", "f8", "C")
    check_data.auto_check(case, (1e-3, 0.0), 1)[1]()
    assert not taken
    check_data.auto_check(case, (1e-3, 0.0), 1, "none kept")[1]()
    assert taken
    assert usual == objective._KEPT_NUMBERS


def test_whole_checks_have_fits_on_rows_that_no_host_keeps(monkeypatch):
    monkeypatch.setattr("fastgd.kernels.cuda._target.SIMULATED", False)
    n, d = runpy.run_path(check_data.__file__)["FIT_SHAPES"]["many rows"]
    assert n * (d + 1) > objective._KEPT_NUMBERS
    names = [name for name, _ in checks.all_of(1, 0, 16) if name.endswith("many rows")]
    assert len(names) == 2


def test_arrays_are_checked():
    found = checks.run(check_arrays.array_checks(1), Budget(600.0), 600.0)
    assert found.failed == []
    assert found.ran == 4 + 4 + 2


def test_a_fit_that_writes_to_its_rows_is_found(monkeypatch):
    from fastgd import LogisticRegression

    fit = LogisticRegression.fit

    def writes(self, X, y):
        model = fit(self, X, y)
        if not isinstance(X, np.ndarray):
            X[0, 0] = np.nextafter(X[0, 0], X.dtype.type(9.0))
        return model

    monkeypatch.setattr(LogisticRegression, "fit", writes)
    found = checks.run(check_arrays.array_checks(1)[:1], Budget(600.0), 600.0)
    assert "bytes of X have changed" in found.failed[0]["error"]


PART = """
import json, os, sys, time
job = json.load(open(sys.argv[1]))
part = job["part"][0]
def report(ran, failed, left_out):
    found = {"section": "checks", "ran": ran, "failed": failed, "left_out": left_out, "absent": {"d": "no"}}
    raw = [found, {"section": "paths", "of": ["checks"], "loaded": ran, f"by {part}": 1}]
    result = {"included": "", "findings": [], "raw": raw, "missing": {}}
    with open(job["to"] + "draft", "w") as file:
        json.dump({"begun": ["checks"], "result": result}, file)
    os.replace(job["to"] + "draft", job["to"])
wrong = {"check": "a", "error": "off"}
if part == 3:
    sys.exit(0)
report(0, [], ["a", "b", "c"])
report(1, [wrong], ["b", "c"])
if part == 0:
    os.abort()
if part == 1:
    time.sleep(60)
report(2, [], ["c"])
"""


def test_findings_of_parts_are_kept_when_their_processes_die(monkeypatch, tmp_path, capsys):
    script = tmp_path / "part.py"
    script.write_text(PART)
    monkeypatch.setattr(processes, "_WORKER", [sys.executable, str(script)])
    monkeypatch.setattr(processes, "_PAUSE", 0.02)
    monkeypatch.setattr(checks, "_LONGER", 1.0)
    monkeypatch.setattr(checks, "cores", lambda: 4)
    result, raw = Result(""), {}
    checks._in_parts(result, raw, Job({}, "full", False, False, 1), Budget(60.0), 1.0)
    # The running check is wrong if its process ended by itself, and left out if there was no more time.
    assert [one["check"] for one in raw["failed"]] == ["a", "part 0: b", "a", "part 3: none was begun"]
    assert [one["error"].split(":")[0] for one in raw["failed"][1::2]] == [
        "its process ended with status -6",
        "its process has found nothing",
    ]
    assert raw["left_out"] == ["c", "b", "c", "c"]
    assert (raw["ran"], raw["absent"]) == (4, {"d": "no"})
    counts = {"loaded": 4, "by 0": 1, "by 1": 1, "by 2": 1}
    assert result.raw == [{"section": "paths", "of": ["checks in parts"], **counts}]
    assert "part 1 of the checks was given up: b\n" in capsys.readouterr().err


def test_parts_write_the_outcome_after_each_check(monkeypatch):
    def wrong():
        raise AssertionError("off")

    monkeypatch.setattr(checks, "all_of", lambda *_: [("a", wrong), ("b", lambda: None)])
    result, seen = Result(""), []
    job = Job({}, "full", False, False, 1, part=(0, 2))

    def step():
        raw = result.raw[0]
        seen.append((raw["ran"], len(raw["failed"]), list(raw["left_out"])))

    budget = Budget(60.0, step)
    monkeypatch.setattr(budget, "log", lambda what: None)
    checks.section(result, job, budget, 60.0)
    assert seen == [(0, 0, ["a", "b"]), (1, 1, ["b"]), (2, 1, [])]


def names_by_kind(chosen, kind):
    """Rules and cases of the checks of a kind."""
    return [name.split()[1:] for name, _ in chosen if name.startswith(f"{kind} ") and "auto" not in name]


@pytest.mark.parametrize("kind", ["epochs", "fit"])
def test_checks_are_of_every_loss_rule_dtype_and_order(kind):
    few = names_by_kind(checks.few_of(1), kind)
    rules, cases = zip(*few, strict=True)
    assert set(rules) == set(OPTIMIZERS)
    parts = [set(part) for part in zip(*(case.split(",")[:3] for case in cases), strict=True)]
    assert parts == [{"squared", "huber", "logistic", "softmax"}, {"f4", "f8"}, {"C", "F"}]
    every = [pair for part in range(16) for pair in names_by_kind(checks.all_of(1, part, 16), kind)]
    assert len(set(map(tuple, every))) == len(every) == 32 * len(OPTIMIZERS)


@pytest.mark.parametrize(
    ("said", "status", "expected"),
    [("", 0, (True, False)), ("Invalid read", 77, (True, True)), ("Error: Device not supported", 1, (False, None))],
)
def test_what_the_sanitizer_says(tmp_path, said, status, expected):
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
    program.chmod(0o755)
    facts = sanitizer.finish(sanitizer.start(str(program)), Budget(60.0), time.monotonic() + 60.0)
    assert [(one["ran"], one.get("found")) for one in facts.values()] == [expected, expected]
    result = Result("", raw=[{"section": "checks", "failed": [], "sanitizers": facts}])
    assert len(wrong(result)) == (2 if expected[1] else 0)


#: Like the sanitizer, it reports errors of the driver's calls by default, and takes options per tool.
REFUSED = """#!/bin/sh
case "$*" in
  *"--tool memcheck --report-api-errors no "*|*"--tool racecheck --error-exitcode "*) exit 0;;
esac
echo "Program hit CUDA_ERROR_INVALID_VALUE on CUDA API call to cuPointerGetAttribute"
exit 77
"""


def test_plain_memory_that_the_driver_is_asked_about_is_no_error(tmp_path):
    program = tmp_path / "compute-sanitizer"
    program.write_text(REFUSED)
    program.chmod(0o755)
    facts = sanitizer.finish(sanitizer.start(str(program)), Budget(60.0), time.monotonic() + 60.0)
    assert {tool: one["found"] for tool, one in facts.items()} == {"memcheck": False, "racecheck": False}
