"""How the GPU's benchmark is run: in processes that may fail or take too long, and what it says in the end."""

import json
import sys
import time
from pathlib import Path

import pytest

import bench.gpu.__main__ as command
from bench.gpu import processes, worker
from bench.gpu.clock import NO_TIME, Budget
from bench.gpu.processes import FOR_RIVALS, Job
from fastgd.backends.cuda import launch as cuda_launch
from fastgd.bench.result import Finding, Result

#: A worker whose sections do what their names say.
STUB = """
import json, os, signal, subprocess, sys, time
job, begun = json.load(open(sys.argv[1])), []
result = {"included": "", "findings": [], "raw": [], "missing": {}}
def write():
    json.dump({"begun": begun, "result": result}, open(job["to"], "w"))
for name in job["shares"]:
    begun.append(name)
    write()
    if name == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "hangs":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        result["raw"].append({"section": "hangs", "child": child.pid})
        write()
        time.sleep(60)
    if name == "fails":
        result["missing"]["section fails"] = "ValueError: no"
        write()
        sys.exit(1)
    result["raw"].append({"section": name, "process": os.getpid()})
    write()
"""


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """What comes of sections of these names and seconds."""
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    monkeypatch.setattr(processes, "_WORKER", [sys.executable, str(stub)])
    monkeypatch.setattr(processes, "_GRACE", 10.0)
    monkeypatch.setattr(processes, "_PAUSE", 0.02)
    monkeypatch.setattr(processes, "_LEAST", 0.5)

    def run(seconds=60.0, **shares):
        result = Result("")
        processes.run(Job(shares, "small", True, True, 1), result, Budget(seconds))
        return result, [raw["section"] for raw in result.raw]

    return run


@pytest.mark.parametrize(("name", "why"), [("fails", "ValueError: no"), ("dies", "its process ended with status -11")])
def test_a_section_that_fails_loses_nothing_of_the_others(tried, name, why):
    result, sections = tried(first=20.0, **{name: 20.0}, last=20.0)
    assert sections == ["first", "last"]
    assert result.missing == {f"section {name}": why}
    # What nothing on the GPU survives is left behind with the process.
    assert result.raw[0]["process"] != result.raw[1]["process"]


def test_a_section_that_takes_too_long_is_given_up_with_all_it_has_started(tried):
    result, sections = tried(first=1000.0, hangs=-9.0, last=1000.0, seconds=3000.0)
    assert sections == ["first", "hangs", "last"]
    assert list(result.missing) == ["hangs"]
    assert result.missing["hangs"].startswith(f"{NO_TIME}: it was given up after")
    state = Path(f"/proc/{result.raw[1]['child']}/stat")
    for _ in range(100):
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("what the section had started goes on")


def test_what_there_is_no_time_for_is_named(tried):
    result, sections = tried(seconds=0.1, first=20.0, second=20.0)
    assert sections == []
    assert result.missing == {"first": NO_TIME, "second": NO_TIME}


def test_a_worker_keeps_what_was_found_before_an_error(tmp_path, monkeypatch):
    seen = []

    def run(self, name, share):
        self.result.raw.append({"section": name})
        self.budget.log("a step")
        seen.append(json.loads((tmp_path / "found.json").read_text()))
        if name == "second":
            raise ZeroDivisionError("by zero")

    monkeypatch.setattr(worker.Sections, "run", run)
    shares = {"first": 1.0, "second": 1.0, "third": 1.0}
    job = Job(shares, "small", True, True, 1, 60.0, str(tmp_path / "found.json"))
    assert worker.run(job) == 1
    facts = json.loads((tmp_path / "found.json").read_text())
    assert facts["begun"] == ["first", "second"]
    assert facts["result"]["missing"] == {"section second": "ZeroDivisionError: by zero"}
    error = facts["result"]["raw"][-1]
    assert (error["section"], error["of"]) == ("error", "second")
    assert error["traceback"][-1] == "ZeroDivisionError: by zero"
    assert "test_gpu_run.py" in "".join(error["traceback"])
    # Each step is there as soon as it is done.
    assert [[raw["section"] for raw in one["result"]["raw"]] for one in seen] == [["first"], ["first", "second"]]


def test_a_worker_says_which_paths_its_sections_took(tmp_path, monkeypatch):
    def run(self, name, share):
        monkeypatch.setitem(cuda_launch.fast_launches, "all", 3)
        monkeypatch.setitem(cuda_launch.numba_launches, "gradient", 2)
        monkeypatch.setattr(worker, "gpu_kernels", lambda: {"compiled": [], "loaded": ["gradient", "fold"]})

    monkeypatch.setattr(worker.Sections, "run", run)
    job = Job({"first": 1.0}, "small", True, True, 1, 60.0, str(tmp_path / "found.json"))
    assert worker.run(job) == 0
    (facts,) = json.loads((tmp_path / "found.json").read_text())["result"]["raw"]
    ways = {"compiled": 0, "loaded": 2, "launched fast": 3, "launched by Numba: gradient": 2}
    assert facts == {"section": "paths", "of": ["first"], **ways}


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_no_time_is_refused(seconds, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main([f"--seconds={seconds}"])
    assert f"{seconds} is no time to measure in" in capsys.readouterr().err


def test_without_a_gpu_there_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(command, "why_unusable", lambda: "no driver: install one")
    assert command.main([]) == 2
    assert capsys.readouterr().err == "bench.gpu: no driver: install one\n"


def test_the_simulator_measures_nothing_by_mistake(monkeypatch, capsys):
    monkeypatch.setattr(command, "why_unusable", lambda: None)
    monkeypatch.setattr(command, "describe", lambda: {"simulated": True})
    assert command.main([]) == 2
    assert "NUMBA_ENABLE_CUDASIM=1 is set" in capsys.readouterr().err


CHECKED = {"section": "checks", "ran": 5, "failed": [], "left_out": [], "sanitizers": {}}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command, with what its sections find: status, where it has written, and what."""
    monkeypatch.setattr(command, "why_unusable", lambda: None)
    monkeypatch.setattr(command, "describe", lambda: {"simulated": False, "versions": {}})
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    asked = []

    def main(words=(), checked=CHECKED, **missing):
        asked.clear()

        def sections(job, result, budget):
            asked.extend(job.shares)
            if "checks" in job.shares:
                result.raw.append(checked)
            if "passes" in job.shares:
                result.raw.append({"section": FOR_RIVALS, "of": "pass", "expected": [1.0]})
                result.findings.append(Finding("Pass", 1.0, "s"))
                result.missing |= missing
            if "rivals" in job.shares and "passes" in asked:
                assert job.ours["pass"]["expected"] == [1.0]

        monkeypatch.setattr(processes, "run", sections)
        status = command.main(list(words))
        # What was found so far lies in a place of its own meanwhile.
        path = max(tmp_path.rglob("gpu.json"), key=lambda path: path.stat().st_mtime_ns)
        content = json.loads(path.read_text())
        for written in tmp_path.rglob("gpu.json"):
            written.unlink()
        return status, str(path.relative_to(tmp_path)), content

    main.asked = asked
    return main


def test_a_whole_run_is_the_tracked_result(run):
    status, path, content = run()
    assert (status, path) == (0, "gpu.json")
    assert run.asked == list(command.SECTIONS)
    assert [raw["section"] for raw in content["raw"]] == ["gpu", "checks", "whole"]
    assert content["raw"][-1]["complete"]


def test_parts_and_runs_that_failed_leave_the_tracked_result_alone(run):
    assert run(["--only", "passes"])[1] == "part/gpu.json"
    assert run.asked == ["passes"]
    status, path, content = run(**{"section passes": "ValueError: no"})
    assert (status, path) == (1, "part/gpu.json")
    assert not content["raw"][-1]["complete"]
    assert run(["--quick"])[1] == "quick/gpu.json"


FAILED = {"failed": [{"check": "pass", "error": "off"}]}
FOUND = {"sanitizers": {"memcheck": {"ran": True, "found": True, "said": "Invalid read"}}}


@pytest.mark.parametrize(
    ("checked", "missing"),
    [(FAILED, {}), (FOUND, {}), ({}, {"section passes, Full pass": "off by 1"}), ({}, {"section epochs, 256": "off"})],
)
def test_a_run_in_which_anything_is_wrong_is_no_tracked_result(run, checked, missing):
    status, path, content = run((), CHECKED | checked, **missing)
    assert (status, path) == (1, "part/gpu.json")
    assert not content["raw"][-1]["complete"]


def test_wrong_results_and_missing_time_are_printed(run, capsys):
    late = CHECKED | {"left_out": ["a", "b"]}
    status, _, content = run(["--quick"], late, **{"CuPy, pass": NO_TIME, "JAX": "not installed"})
    assert status == 3
    whole = content["raw"][-1]
    assert (whole["complete"], whole["left_out"]) == (False, ["2 checks", "CuPy, pass"])
    assert "NOT COMPLETE: 2 checks: no time was left\nNOT COMPLETE: CuPy, pass" in capsys.readouterr().err
    wrong = CHECKED | {"failed": [{"check": "pass", "error": "off"}]}
    wrong["sanitizers"] = {"memcheck": {"ran": True, "found": True, "said": "Invalid read"}}
    assert run(["--quick"], wrong)[0] == 1
    said = capsys.readouterr().err
    assert "WRONG: pass: off" in said
    assert "WRONG: compute-sanitizer memcheck: Invalid read" in said
    # A rival that is not there leaves a run whole.
    assert run(["--quick"], JAX="not installed")[0] == 0


def test_every_section_has_its_share():
    assert sum(sum(group.values()) for group in command.GROUPS) <= command.SECONDS < 480.0
