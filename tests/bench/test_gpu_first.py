"""First fits of a process, as the GPU's benchmark separates them: compiled, loaded from disk, warm."""

import sys

import pytest

from bench.gpu import first
from bench.gpu.clock import NO_TIME, SIZES, Budget
from fastgd.bench.result import Result

#: As a process that fits twice and keeps its kernels in a folder, or nowhere.
FITS = """
import json, os, pathlib, sys, time
time.sleep({pause})
kept = pathlib.Path(os.environ["NUMBA_CACHE_DIR"], "kernel")
how = "loaded" if kept.exists() else "compiled"
if {keeps}:
    kept.touch()
fits = [dict.fromkeys(("seconds_compile", "seconds_transfer", "seconds_compute"), value) for value in
        ({{"compiled": 9.0, "loaded": 3.0}}[how], 1.0)]
print(json.dumps({{"paths": {{"compiled": 0, "loaded": 0, how: 2}}, "fits": fits}}))
"""


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """What is found of processes; what earlier sections have compiled lies in a folder of theirs."""
    (tmp_path / "kernel").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    def run(keeps=True, pause=0.0, seconds=60.0):
        script = tmp_path / "python"
        script.write_text(f"#!{sys.executable}\n{FITS.format(pause=pause, keeps=keeps)}")
        script.chmod(0o755)
        monkeypatch.setattr(first.sys, "executable", str(script))
        result = Result("")
        first.section(result, SIZES["small"], Budget(60.0), seconds)
        return {finding.what: finding.value for finding in result.findings}, result

    return run


def of(found, beginning):
    return [value for what, value in found.items() if what.startswith(beginning)]


def test_compiled_loaded_and_warm_fits_are_separated(measured):
    found, result = measured()
    assert len(found) == 9
    assert of(found, "First fit of a process, kernels compiled, 200 x 10 float32, X on the host: ") == [9.0] * 3
    assert of(found, "First fit of a process, kernels loaded from disk, ") == [3.0] * 3
    assert of(found, "Second fit of a process, ") == [1.0] * 3
    assert result.missing == {}
    assert [raw["paths"] for raw in result.raw] == [{"compiled": 2, "loaded": 0}, {"compiled": 0, "loaded": 2}]


def test_kernels_that_were_compiled_again_are_not_called_loaded(measured):
    found, result = measured(keeps=False)
    assert not of(found, "First fit of a process, kernels loaded")
    assert of(found, "Second fit") == [1.0] * 3
    assert list(result.missing.values()) == ["2 kernels were compiled: they were not on disk"]


def test_fits_that_take_too_long_are_left_out(measured):
    found, result = measured(pause=60.0, seconds=0.5)
    assert found == {}
    assert list(result.missing.values()) == [NO_TIME, NO_TIME]
