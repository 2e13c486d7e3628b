"""The page of benchmarks comes from the result files and from nowhere else."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.chart import CHART
from bench.chart import results as results_of_races
from bench.table import (
    BEGIN,
    CLUSTER_BEGIN,
    CLUSTER_END,
    END,
    GPU_BEGIN,
    GPU_END,
    PAGE,
    PASSES_BEGIN,
    PASSES_END,
    SPARSE_BEGIN,
    SPARSE_END,
    STREAM_BEGIN,
    STREAM_END,
    main,
    row,
)
from fastgd.bench.result import Finding, Result, quantity
from fastgd.bench.timing import Spread
from fastgd.plots._bench import races, words

FINDINGS = [
    Finding("Pass", 43.21, "GB/s", "reading", {"median": 0.864, "min": 0.8, "max": 0.9012}, "share", 0.8),
    Finding("Epoch", 0.01234, "s", "other, 30 ms", {"median": 2.43, "min": 2.0, "max": 3.14159}, "times"),
    Finding("Rule", 0.03, "s", "gd, 28 ms", {"median": 1.081, "min": 0.9, "max": 1.12}, "cost", at_most=1.15),
    Finding("First fit", 1.234, "s", "its imports", at_most=10.0),
    Finding("Detail", 1.0, "s", in_table=False),
]
_PARTS = (
    (PASSES_BEGIN, PASSES_END),
    (SPARSE_BEGIN, SPARSE_END),
    (STREAM_BEGIN, STREAM_END),
    (CLUSTER_BEGIN, CLUSTER_END),
)
_EMPTY = f"{GPU_BEGIN}\n{GPU_END}\nend\n" + "".join(f"{begin}\n{end}\n" for begin, end in _PARTS)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    _write(folder, FINDINGS, quick=False)
    return folder


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "benchmarks.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n{_EMPTY}")
    return path


def _write(folder: Path, findings: list[Finding], quick: bool, name: str = "epoch", **more: Any) -> None:
    versions = {"python": "3.11.7", "torch": "not installed"}
    machine = {"cpu": "Some CPU", "cores": 2, "virtual": True, "memory_gb": 25.3, "versions": versions}
    content: dict[str, Any] = {"quick": quick, "machine": machine, "findings": [asdict(f) for f in findings]}
    content |= more
    (folder / f"{name}.json").write_text(json.dumps(content))


def _run(page: Path, results: Path, *more: str) -> int:
    return main(["--page", str(page), "--results", str(results), *more])


def test_rows_are_written_between_the_markers(page: Path, results: Path) -> None:
    assert _run(page, results) == 0
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n|")
    assert text.endswith(f"\n{END}\nafter\n{_EMPTY}")
    assert "\nold\n" not in text
    assert "| Pass | 43.2 GB/s | reading | **86.4 %** (80 to 90.1) |" in text
    assert "| Epoch | 12.3 ms | other, 30 ms | **2.4 times** as fast (2.0 to 3.1) |" in text
    assert "| Rule | 30 ms | gd, 28 ms | **1.08 times** as long (0.90 to 1.12) |" in text
    assert "| First fit | 1.23 s | its imports |  |" in text
    assert "Detail" not in text
    assert "on Some CPU, 2 cores of a virtual machine, 25 GB; python 3.11.7." in text


def test_results_of_a_gpu_have_a_part_of_their_own(page: Path, results: Path) -> None:
    gpu = {
        "section": "gpu",
        "name": "Some GPU",
        "nvidia_smi": {"driver_version": "580.1"},
        "cuda_runtime": "13.0",
        "versions": {"numba-cuda": "0.30.4"},
    }
    checks = {"section": "checks", "ran": 1234, "failed": [], "left_out": []}
    _write(results, FINDINGS, False, "gpu", raw=[gpu, checks], missing={})
    assert _run(page, results) == 0
    part = page.read_text().partition(GPU_BEGIN)[2].partition(GPU_END)[0]
    assert part.startswith("\n### On a GPU\n\n| what |")
    assert "| Pass | 43.2 GB/s |" in part
    assert "Detail" not in part
    assert "on one Some GPU, driver 580.1, CUDA 13.0; numba-cuda 0.30.4; beside it Some CPU, 2 cores" in part
    assert "1,234 results were checked" in part
    assert "wrong" not in part
    assert "no time" not in part
    assert "Not measured" not in part
    checks["failed"] = [{"check": "pass", "error": "off"}]
    checks["left_out"] = ["a", "b"]
    missing = {"CuPy, pass": "not installed", "epochs, batches of 256": "no time was left"}
    _write(results, FINDINGS, False, "gpu", raw=[gpu, checks], missing=missing)
    assert _run(page, results) == 0
    part = page.read_text().partition(GPU_BEGIN)[2].partition(GPU_END)[0]
    assert "**1 were wrong**; **for 2 no time was left**." in part
    named = "CuPy, pass (not installed); epochs, batches of 256 (no time was left)"
    assert part.endswith(f"\n\n**Not measured**: {named}.\n")
    _write(results, FINDINGS, True, "gpu", raw=[gpu, checks], missing={})
    assert _run(page, results) == 2
    (results / "gpu.json").unlink()
    assert _run(page, results) == 0
    assert f"{GPU_BEGIN}\n{GPU_END}" in page.read_text()


def test_passes_on_real_data_are_listed(page: Path, results: Path) -> None:
    machine = {"cpu": "Some CPU", "cores": 2, "virtual": False, "memory_gb": 25.3, "versions": {"python": "3.11.7"}}
    fit = {"data": "flights", "loss": "squared", "rows": 327346, "columns": 11, "solver": "LBFGS", "passes": 6.0}
    fit |= {"in_table": True, "seconds": 0.1871}
    raced = fit | {"data": "bike", "rival": "Ridge", "rival_seconds": 1.25}
    content = {"machine": machine, "fits": [fit, raced, fit | {"data": "adult", "in_table": False}, {"error": "none"}]}
    (results / "real.json").write_text(json.dumps(content))
    assert _run(page, results) == 0
    part = page.read_text().partition(PASSES_BEGIN)[2].partition(PASSES_END)[0]
    assert "| flights | 327,346 x 11 | squared | LBFGS | 6 | 187 ms |  |\n" in part
    assert "| bike | 327,346 x 11 | squared | LBFGS | 6 | 187 ms | Ridge, 1.25 s |\n" in part
    assert "adult" not in part
    assert part.endswith("Measured on Some CPU, 2 cores, 25 GB; python 3.11.7.\n")


def test_sparse_data_have_a_table_of_their_own(page: Path, results: Path) -> None:
    _write(results, FINDINGS[1:2], quick=False, name="sparse_a9a")
    assert _run(page, results) == 0
    part = page.read_text().partition(SPARSE_BEGIN)[2].partition(SPARSE_END)[0]
    assert part.startswith("\n| what |")
    assert "| Epoch | 12.3 ms |" in part
    assert "`python -m bench.sparse` measures again" in part


def test_the_tracked_page_is_up_to_date() -> None:
    assert main(["--check"]) == 0, PAGE


def test_the_tracked_chart_shows_every_race() -> None:
    chart = CHART.read_text(encoding="utf-8")
    found = races([json.loads(path.read_text(encoding="utf-8")) for path in results_of_races()])
    assert len(found) >= 14
    assert CHART.stat().st_size < 200_000
    for finding in found:
        for text in words(finding):
            assert f">{text}</text>" in chart


def test_check_writes_nothing_and_fails_until_the_table_is_up_to_date(page: Path, results: Path) -> None:
    before = page.read_text()
    assert _run(page, results, "--check") == 1
    assert page.read_text() == before
    assert _run(page, results) == 0
    assert _run(page, results, "--check") == 0
    _write(results, FINDINGS[:1], quick=False)
    assert _run(page, results, "--check") == 1


def test_quick_runs_are_refused(page: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(results, FINDINGS, quick=True)
    assert _run(page, results) == 2
    assert "quick" in capsys.readouterr().err


def test_no_results_and_no_markers_are_errors(page: Path, results: Path, tmp_path: Path) -> None:
    assert _run(page, tmp_path / "nowhere") == 2
    page.write_text(f"{END}\n{BEGIN}\n")
    assert _run(page, results) == 2


def test_bounds_are_those_of_the_ratio_or_of_the_value() -> None:
    assert [finding.missed for finding in FINDINGS] == [False] * 5
    assert Finding("a", 0.0, "s", ratio={"median": 0.7, "min": 0.6, "max": 0.9}, at_least=0.8).missed
    assert Finding("a", 0.0, "s", ratio={"median": 1.2, "min": 1.0, "max": 1.3}, at_most=1.15).missed
    assert Finding("a", 11.0, "s", at_most=10.0).missed


def test_missed_targets_are_shown_with_their_bounds() -> None:
    times = {"median": 0.848, "min": 0.8, "max": 0.9}
    slow = Finding("Fit", 0.078, "s", "other", times, "times", at_least=1.2)
    assert (
        row(slow) == "| Fit | 78 ms | other | **0.85 times** as fast (0.80 to 0.90), **missed**: at least 1.2 times |"
    )
    assert slow.lines.endswith("    78 ms, 0.85 times as fast (0.80 to 0.90) MISSED [at least 1.2 times]  | other")
    share = Finding("Pass", 20.0, "GB/s", "reading", {"median": 0.5, "min": 0.4, "max": 0.6}, "share", at_least=0.8)
    assert row(share).endswith("| **50 %** (40 to 60), **missed**: at least 80 % |")
    assert row(Finding("First fit", 11.0, "s", at_most=10.0)) == "| First fit | 11 s |  | **missed**: at most 10 s |"
    assert Finding("Fit", 0.078, "s", "other").lines.endswith("    78 ms [no bound]  | other")


@pytest.mark.parametrize(("at_least", "asked"), [(None, ""), (2.0, ": at least 2 times")])
def test_a_fit_that_does_not_arrive_is_missed_with_any_target(at_least: float | None, asked: str) -> None:
    nothing: Spread = {"median": 0.0, "min": 0.0, "max": 0.0}
    finding = Finding("Fit", 4, "of 5 repetitions", "other, 9 ms", nothing, "times", at_least)
    assert finding.missed
    assert row(finding) == f"| Fit | 4 of 5 repetitions | other, 9 ms | **missed**{asked} |"


def test_quantities_and_cells() -> None:
    assert [quantity(*q) for q in ((0.5, "s"), (12.0, "s"), (1234.5, "MB"))] == ["500 ms", "12 s", "1234 MB"]
    assert row(Finding("a|b", 1.0, "s")) == "| a\\|b | 1 s |  |  |"


def test_times_are_compared_round_by_round_or_by_medians() -> None:
    result = Result("")
    result.add_times("what", [1.0, 2.0, 4.0], "rival", [8.0, 10.0, 40.0], paired=False, at_least=3.0)
    result.add_times("what", [1.0, 2.0, 4.0], "rival", [8.0, 10.0, 40.0])
    first, second = result.findings
    assert (first.value, first.against, first.missed) == (2.0, "rival, 10 s", False)
    assert first.ratio == {"median": 5.0, "min": 2.0, "max": 40.0}
    assert second.ratio == {"median": 8.0, "min": 5.0, "max": 10.0}
    result.add_share("what", 10**9, [2.0], [1.0], "reading, {} GB/s", at_least=0.6)
    share = result.findings[-1]
    assert (share.value, share.against, share.ratio["median"], share.missed) == (0.5, "reading, 1.0 GB/s", 0.5, True)
