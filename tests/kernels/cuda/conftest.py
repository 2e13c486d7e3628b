"""Kernels for GPUs: in Numba's simulator, or on a GPU where NUMBA_ENABLE_CUDASIM=0."""

import os

import pytest

from tests.simulated import threads_take_short_turns

__all__ = ["on_gpu", "threads_take_short_turns"]


@pytest.fixture(scope="session")
def on_gpu() -> bool:
    """Whether kernels run on a GPU."""
    return os.environ["NUMBA_ENABLE_CUDASIM"] == "0"
