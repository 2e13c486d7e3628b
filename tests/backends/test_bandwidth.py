"""Bandwidth benchmarks read every number."""

import numpy as np
import pytest
from numba import cuda

from fastgd.backends.bandwidth import GpuReader, HostToGpu
from fastgd.backends.cuda import device as cuda_device


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (16, 8), (37, 11)])
def test_the_gpu_adds_up_every_number_once(dtype, shape):
    # Small whole numbers, which add up without rounding.
    size = shape[0] * shape[1]
    X = (np.arange(size) % 8 + 1.0).astype(dtype).reshape(shape)
    reader = GpuReader(cuda.to_device(X))
    reader()
    reader.queue()
    assert reader.total() == X.sum()


@pytest.mark.parametrize(("room", "nbytes"), [(1 << 40, 1000), (400, 100)])
def test_copies_to_the_gpu_arrive_and_leave_room(monkeypatch, room, nbytes):
    monkeypatch.setattr(cuda_device, "available_bytes", lambda: room)
    copy = HostToGpu(1000)
    copy()
    assert copy.there.copy_to_host().tolist() == [1] * nbytes
    assert copy.nbytes == nbytes
