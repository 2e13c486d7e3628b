"""What every test may use."""

import gc
import os
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
