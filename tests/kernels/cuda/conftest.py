"""Kernels for GPUs: in Numba's simulator, or on a GPU where NUMBA_ENABLE_CUDASIM=0."""

import os
import warnings
from collections.abc import Iterator

import pytest

from tests.simulated import threads_take_turns

__all__ = ["on_gpu", "small_grids", "threads_take_turns"]


@pytest.fixture(scope="session")
def on_gpu() -> bool:
    """Whether kernels run on a GPU."""
    return os.environ["NUMBA_ENABLE_CUDASIM"] == "0"


@pytest.fixture(autouse=True)
def small_grids() -> Iterator[None]:
    """Numba warns of grids of fewer than 128 blocks, which these are; the backend's launches do not let it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Grid size")
        yield
