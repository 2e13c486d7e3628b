"""Data on GPUs: in Numba's simulator, or on a GPU where NUMBA_ENABLE_CUDASIM=0."""

import sys

import pytest

from fastgd.backends import cuda_device
from fastgd.kernels.cuda import gradient
from fastgd.kernels.cuda._target import SIMULATED


@pytest.fixture(autouse=True, scope="module")
def threads_take_short_turns():
    """The simulator's threads wait for each other in loops: of turns of 5 ms, Python's, most would be spent so."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture(autouse=True)
def few_threads(monkeypatch):
    """Of a block: the simulator's are Python's."""
    if SIMULATED:
        monkeypatch.setattr(cuda_device, "THREADS", 8)
        monkeypatch.setattr(gradient, "FOLD_SUMS", 4)
        monkeypatch.setattr(gradient, "FOLD_SHARES", 2)
