"""Fits on GPUs: in Numba's simulator, or on a GPU where NUMBA_ENABLE_CUDASIM=0."""

import numpy as np
import pytest
from numba import cuda

from fastgd.kernels.cuda._target import SIMULATED
from tests.backends.cuda.conftest import few_threads
from tests.simulated import threads_take_turns

__all__ = ["few_threads", "threads_take_turns"]


class Foreign:
    """An array of another library on the GPU, which shows `__cuda_array_interface__` alone."""

    def __init__(self, array):
        self.there, self._array = cuda.to_device(array), array

    @property
    def __cuda_array_interface__(self):
        if not SIMULATED:
            return self.there.__cuda_array_interface__
        shown = self._array.__array_interface__
        return {"version": 3, **{name: shown[name] for name in ("shape", "typestr", "data", "strides")}}


@pytest.fixture
def on_gpu(monkeypatch):
    """Make arrays of another library's on the GPU."""
    if SIMULATED:
        # The simulator has no arrays of others.
        monkeypatch.setattr(cuda, "as_cuda_array", lambda found: found.given.there, raising=False)
    return lambda array: Foreign(np.asarray(array))
