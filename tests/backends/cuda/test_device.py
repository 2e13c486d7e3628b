"""Copies to the GPU, and messages of its errors."""

import os
import threading

import numpy as np
import pytest
from numba import cuda

from fastgd.backends.cuda import device as cuda_device
from fastgd.backends.cuda import driver
from fastgd.backends.cuda import transfer as cuda_transfer
from fastgd.backends.cuda.data import CudaData
from fastgd.backends.cuda.device import guarded
from fastgd.backends.cuda.transfer import to_device
from fastgd.exceptions import DeviceError
from fastgd.kernels.cuda._target import SIMULATED
from tests.backends.cuda.rows import held
from tests.kernels import full_pass
from tests.kernels.table import Case, sample

CASE = Case("logistic", "f8", "C")


@pytest.mark.parametrize("numbers", [1, 7, 8, 9, 16, 100])
def test_large_arrays_travel_in_pieces(numbers, monkeypatch):
    """Use buffers of eight numbers, filled by threads with three numbers at a time."""
    monkeypatch.setattr(cuda_transfer, "_SMALL_BYTES", 0)
    monkeypatch.setattr(cuda_transfer, "BUFFER_BYTES", 64)
    monkeypatch.setattr(cuda_transfer, "_COPY_BYTES", 24)
    monkeypatch.setattr(cuda_transfer, "_kept", [])
    X = np.random.default_rng(0).standard_normal((numbers, 1))
    stream = cuda.stream()
    for _ in range(2):
        np.testing.assert_array_equal(to_device(X, stream, 2).copy_to_host(), X)
    assert len(cuda_transfer._kept) == 1


def test_bytes_of_transfers_are_noted():
    data = sample(CASE, 40, 3, weighted=True)
    rows = held(data)
    assert rows.transferred.bytes == data.X.nbytes + data.y.nbytes + data.s.nbytes
    assert rows.transferred.seconds > 0.0
    before = rows.transferred.bytes
    rows.without_targets()
    assert rows.transferred.bytes == before


def test_no_room(monkeypatch):
    data = sample(CASE, 40, 3)
    monkeypatch.setattr(cuda_device, "free_bytes", lambda: 1000)
    with pytest.raises(MemoryError, match=r"the GPU has no room for the data: 1,288 bytes are needed, 1,000 are free"):
        held(data)


@pytest.mark.parametrize(
    ("name", "kind", "reported"),
    [
        ("OUT_OF_MEMORY", MemoryError, "the GPU has no room left: .* bytes are free"),
        ("NOT_INITIALIZED", DeviceError, "does not survive a fork.*'spawn'"),
        *(
            (
                name,
                DeviceError,
                rf'does not run here \(CUDA_ERROR_{name}\), and the driver runs.*pip install "numba-cuda',
            )
            for name in ("UNSUPPORTED_PTX_VERSION", "NO_BINARY_FOR_GPU", "INVALID_PTX", "INVALID_IMAGE")
        ),
        ("ILLEGAL_ADDRESS", DeviceError, r"the GPU stopped working for this process \(CUDA_ERROR_ILLEGAL_ADDRESS\)"),
        ("INVALID_VALUE", ArithmeticError, "^Call to cuLaunch results in CUDA_ERROR_INVALID_VALUE$"),
    ],
)
def test_errors_name_a_remedy(name, kind, reported):
    with pytest.raises(kind, match=reported), guarded():
        raise ArithmeticError(f"Call to cuLaunch results in CUDA_ERROR_{name}")


def test_errors_of_others_pass():
    with pytest.raises(KeyError, match="columns"), guarded():
        raise KeyError("columns")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
def test_forked_child_raises_device_error(monkeypatch):
    data = sample(CASE, 40, 3)
    rows = held(data)
    monkeypatch.setattr(driver.os, "getpid", lambda: -1)
    with pytest.raises(DeviceError, match="forked from one that had begun to use the GPU"):
        rows.gradient("logistic", data.coef, data.intercept, data.shift, 0.0)
    with pytest.raises(DeviceError, match="forked from one that had begun to use the GPU"):
        CudaData(data.X, data.y, None, 1)


class Work:
    """An event after work of so many seconds of a clock that only sleeps advance."""

    def __init__(self, seconds, monkeypatch):
        self.now, self.end, self.pauses, self.waited = 0.0, seconds, [], False
        monkeypatch.setattr(cuda_device, "SIMULATED", False)
        monkeypatch.setattr(cuda_device.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(cuda_device.time, "sleep", self._sleep)

    def _sleep(self, seconds):
        self.now += seconds
        self.pauses.append(seconds)

    def query(self):
        return self.now >= self.end

    def synchronize(self):
        self.waited = True


def test_the_end_of_work_is_noticed_soon(monkeypatch):
    """Within a sixteenth of its time or 20 microseconds, and within a millisecond or the given limit."""
    for seconds, late in ((1e-4, 2e-5), (5e-3, 5e-3 / 16), (1.0, 1e-3)):
        work = Work(seconds, monkeypatch)
        cuda_device.wait(work)
        assert seconds <= work.now <= seconds + late + 1e-9
    work = Work(1.0, monkeypatch)
    cuda_device.wait(work, longest=5e-5)
    assert max(work.pauses) == 5e-5


def test_short_work_is_waited_for_without_a_look(monkeypatch):
    work = Work(1e-3, monkeypatch)
    cuda_device.wait(work, expected=1e-3)
    assert work.waited
    assert not work.pauses


def test_fits_from_threads():
    """The simulator runs one kernel at a time, and a GPU's driver compiles one."""
    data = sample(CASE, 40, 3)
    found = {}

    def work(number):
        found[number] = full_pass.gradient(CASE, data, held(data))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(full_pass.same_bits(found[0], other) for other in found.values())


@pytest.mark.skipif(not SIMULATED, reason="what is compiled is counted on a GPU")
def test_nothing_is_compiled_in_the_simulator():
    assert cuda_device.compile_seconds() == 0.0
