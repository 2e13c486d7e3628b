"""Signals at random moments of the command's life: the right exit code, and every file whole or absent."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastgd

SEED = 20261129


@pytest.fixture
def start(root, tmp_path):
    """Start the command on a table, whose fit takes as long as reading it."""
    X = np.random.default_rng(0).standard_normal((3000, 4))
    np.savetxt(tmp_path / "rows.csv", np.c_[X, X @ [1, 2, 3, 4]], delimiter=",", header="a,b,c,d,y", comments="")
    words = [sys.executable, "-m", "fastgd", "fit", "rows.csv", "--target", "y", "--json", "--save", "model"]
    environment = {**os.environ, "PYTHONPATH": str(root)}

    def start():
        return subprocess.Popen(
            words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [2, pytest.param(200, marks=pytest.mark.slow)])
def test_every_exit_is_that_of_the_signal_or_complete(start, tmp_path, count):
    """A process that has not installed its handlers yet is ended by the signal itself, which shells show alike."""
    rng = np.random.default_rng(SEED)
    begun = time.perf_counter()
    out, err = start().communicate(timeout=300)
    assert json.loads(out)["rows"] == 3000, err
    seconds = time.perf_counter() - begun
    codes = []
    for number in range(count):
        sent = (signal.SIGINT, signal.SIGTERM)[int(rng.integers(2))]
        (tmp_path / "model").unlink(missing_ok=True)
        process = start()
        time.sleep(float(rng.random()) * 1.1 * seconds)
        process.send_signal(sent)
        out, err = process.communicate(timeout=120)
        codes.append(process.returncode)
        where = f"signal {number} of seed {SEED}: {process.returncode}, {err}"
        # Python itself exits with 1 where SIGINT meets its start, before it runs a line of the command.
        at_start = sent == signal.SIGINT and err.startswith("Fatal Python error: init_")
        assert process.returncode in ((1,) if at_start else (0, 128 + sent, -sent)), where
        if process.returncode == 0:
            assert json.loads(out)["rows"] == 3000, where
            assert (tmp_path / "model").exists(), where
        if (tmp_path / "model").exists():
            assert fastgd.load(tmp_path / "model").n_features_in_ == 4, where
        assert set(os.listdir(tmp_path)) <= {"rows.csv", "model"}, where
    assert codes.count(0) < max(2, count // 2)
