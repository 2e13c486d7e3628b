"""What every test may use."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Kernels for GPUs run in Numba's simulator, which takes their place where it is asked for before Numba is imported; on
# a machine with a GPU, NUMBA_ENABLE_CUDASIM=0 runs the same tests on it.
os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")


def pytest_collection_finish() -> None:
    """Keep the collector from looking through thousands of collected tests again and again."""
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the checkout."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def python(root: Path) -> Callable[..., str]:
    """Return a function that runs Python on the checkout in a process of its own, checks its success, gives its output.

    Named arguments are variables of its environment.
    """

    def python(*words: object, **variables: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(root), **variables}
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
        return done.stdout

    return python
