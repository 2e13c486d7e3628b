"""Fits that are killed at random moments and continued from their checkpoints end with the same bits."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.faults.killed_fit import CASES

SEED = 20261130
#: How many are killed in the first pass, in a write, at any pass, and at any pass of a fit that continues another.
KILLS = {"first": 5, "write": 5, "pass": 7, "again": 3}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")]


@pytest.fixture
def run(root):
    """Run a fit in a folder; return its numbers of passes and writes, or None if it was killed."""

    def run(case, folder, kind="none", number=0.0):
        words = [sys.executable, "-m", "tests.faults.killed_fit", case, str(folder), kind, str(number)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True)
        if done.returncode == -signal.SIGKILL:
            return None
        assert done.returncode == 0, done.stderr
        passes, writes = map(int, done.stdout.split())
        return passes, writes

    return run


@pytest.mark.timeout(1200)
def test_killed_fits_continue_with_the_same_bits(run, tmp_path):
    rng, whole = np.random.default_rng(SEED), {}
    for case in CASES:
        folder = tmp_path / case
        folder.mkdir()
        counts = run(case, folder)
        assert counts is not None
        whole[case] = counts, (folder / "end.npz")
    kinds = [kind for kind, count in KILLS.items() for _ in range(count)]
    for number, kind in enumerate(kinds):
        case = list(CASES)[number % len(CASES)]
        (passes, writes), expected = whole[case]
        folder = tmp_path / str(number)
        folder.mkdir()
        if kind == "first":
            assert run(case, folder, "first", float(rng.uniform(0.0, 3.0))) is None
        elif kind == "write":
            # The first one has no file to replace.
            assert run(case, folder, "write", int(rng.integers(0, writes))) is None
        else:
            at = int(rng.integers(1, passes - 2))
            assert run(case, folder, "pass", at) is None
            if kind == "again":
                assert run(case, folder, "pass", int(rng.integers(0, passes - at - 1))) is None
        left = run(case, folder)
        assert left is not None
        with np.load(folder / "end.npz") as found, np.load(expected) as wanted:
            assert sorted(found) == sorted(wanted)
            for name in wanted:
                assert found[name].tobytes() == wanted[name].tobytes(), (number, kind, case, name)
        assert left[0] <= passes
        assert sorted(path.name for path in folder.iterdir()) in (["end.npz", "fit"], ["end.npz", "fit", "fit.lock"])
