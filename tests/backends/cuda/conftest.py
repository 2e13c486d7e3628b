"""Tests of data on GPUs run in Numba's simulator, or on a GPU with NUMBA_ENABLE_CUDASIM=0."""

import pytest

from fastgd.backends.cuda import device as cuda_device
from fastgd.kernels.cuda import gradient
from fastgd.kernels.cuda._target import SIMULATED
from tests.simulated import threads_take_turns

__all__ = ["few_threads", "threads_take_turns"]


@pytest.fixture(autouse=True)
def few_threads(monkeypatch):
    """Limit the threads of a block: the simulator's are Python's."""
    if SIMULATED:
        monkeypatch.setattr(cuda_device, "THREADS", 8)
        monkeypatch.setattr(gradient, "FOLD_SUMS", 4)
        monkeypatch.setattr(gradient, "FOLD_SHARES", 2)
