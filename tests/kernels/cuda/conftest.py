"""Kernels for GPUs: in Numba's simulator, or on a GPU where NUMBA_ENABLE_CUDASIM=0."""

import os
import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def threads_take_short_turns():
    """The simulator's threads wait for each other in loops: of turns of 5 ms, Python's, most would be spent so."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture(scope="session")
def on_gpu() -> bool:
    """Whether kernels run on a GPU."""
    return os.environ["NUMBA_ENABLE_CUDASIM"] == "0"
