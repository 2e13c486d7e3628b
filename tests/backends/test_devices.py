"""Whether there is a GPU, and what is said where there is none."""

import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression
from fastgd.backends import devices, driver
from fastgd.backends.device_costs import Work
from fastgd.exceptions import DeviceError

X = np.random.default_rng(0).standard_normal((6, 2))
#: A fit that no GPU can be too far away for, and one that is done before a GPU has started.
LONG, SHORT = Work(1 << 34, 1000, 0, 1), Work(1 << 20, 10, 0, 1)


@pytest.fixture
def machine(monkeypatch):
    """A machine with a driver, the packages and a GPU, of which parts can be taken away."""
    parts = {
        "driver": (13, 0),
        "numba_cuda": True,
        "bindings": "13.1",
        "nvvm": None,
        "runtime": __file__,
        "reason": None,
        "gpus": 1,
    }

    class Driver:
        initialization_error = property(lambda self: parts["reason"])
        is_available = property(lambda self: parts["reason"] is None)

        def get_device_count(self):
            return parts["gpus"]

    def nvvm():
        if parts["nvvm"] is not None:
            raise OSError(parts["nvvm"])

    def version(name):
        if parts["bindings"] is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return parts["bindings"]

    modules = {
        "numba.cuda.cudadrv.nvvm": SimpleNamespace(NVVM=nvvm),
        "numba.cuda.cudadrv.libs": SimpleNamespace(get_cudalib=lambda name, static: parts["runtime"]),
        "numba.cuda.cudadrv.driver": SimpleNamespace(driver=Driver()),
    }
    monkeypatch.setattr(driver, "simulated", lambda: False)
    monkeypatch.setattr(driver, "driver_version", lambda: parts["driver"])
    monkeypatch.setattr(driver, "is_hinted", lambda: parts["driver"] is not None)
    monkeypatch.setattr(driver, "importlib", SimpleNamespace(import_module=modules.__getitem__, util=importlib.util))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: parts["numba_cuda"] or None)
    monkeypatch.setattr(driver, "version", version)
    return parts


MISSING = {
    "driver": (None, r'no NVIDIA driver was found.*pip install "fastgd\[cuda12\]" or pip install "fastgd\[cuda13\]"'),
    "an old driver": ((11, 8), "the NVIDIA driver is for CUDA 11.8, older than 12"),
    "numba_cuda": (False, r'numba-cuda is not installed: pip install "fastgd\[cuda13\]"'),
    "bindings": (None, r'cuda-bindings is not installed: pip install "fastgd\[cuda13\]"'),
    "nvvm": (
        "libnvvm.so not found",
        r'toolkit cannot be used \(libnvvm.so not found\): pip install "fastgd\[cuda13\]"',
    ),
    "runtime": ("libcudadevrt.a", r'toolkit has no libcudadevrt.a: pip install "fastgd\[cuda13\]"'),
    "gpus": (0, "the NVIDIA driver finds no GPU"),
    "reason": ("CUDA_ERROR_NO_DEVICE (100)", "the NVIDIA driver finds no GPU"),
    "another reason": ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", r"does not start \(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\)"),
}
PARTS = {"an old driver": "driver", "another reason": "reason"}


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
def test_what_is_missing_is_named(machine, kind, missing):
    machine[PARTS.get(missing, missing)], message = MISSING[missing]
    with pytest.raises(DeviceError, match=message):
        kind(device="cuda").fit(X, [0, 1, 0, 1, 1, 0])
    with pytest.raises(DeviceError, match=message):
        kind(device="cuda").partial_fit(X, [0, 1, 0, 1, 1, 0])


def test_packages_that_are_too_new_for_the_driver(machine):
    machine["driver"] = (12, 4)
    message = r'those of CUDA 13, and the driver runs CUDA 12.4 at most: pip install "fastgd\[cuda12\]"'
    with pytest.raises(RuntimeError, match=message):
        devices.require_cuda()
    machine["bindings"] = "12.9"
    devices.require_cuda()


def test_a_hidden_gpu_is_told(machine, monkeypatch):
    machine["gpus"] = 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert "CUDA_VISIBLE_DEVICES='7' may hide it" in driver.why_unusable()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_no_hint_where_gpus_are_hidden(monkeypatch, hidden):
    monkeypatch.setattr(driver.os.path, "exists", lambda path: True)
    monkeypatch.setattr(driver.sys, "platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert driver.is_hinted()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not driver.is_hinted()


def test_long_fits_go_to_the_gpu(machine):
    """What the constants are, nobody has measured; on which side lie extremes, nobody doubts."""
    assert devices.choose("auto", X, LONG).name == "cuda"
    name, reason = devices.choose("auto", X, SHORT)
    assert name == "cpu"
    assert "s expected on the CPU" in reason
    # A pass is too little for the way to the GPU, however large the data.
    assert devices.choose("auto", X, LONG.__class__(1 << 38, 1, 0, 16)).name == "cpu"


def test_auto_does_without_what_is_missing(machine):
    machine["nvvm"] = "libnvvm.so not found"
    name, reason = devices.choose("auto", X, LONG)
    assert name == "cpu"
    assert "libnvvm.so not found" in reason
    # Where the CPU wins nobody looks.
    assert "libnvvm" not in devices.choose("auto", X, SHORT).reason
    machine["driver"] = None
    assert devices.choose("auto", X, LONG) == ("cpu", "device='auto': no NVIDIA GPU was found")


def test_the_simulator_is_no_gpu(monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert devices.why_unusable() is None
    assert devices.choose("auto", X, LONG).name == "cpu"
    model = LinearRegression().fit(X, X[:, 0])
    assert model.fit_report_["device"] == "cpu"
    assert model.fit_report_["device_reason"] == "device='auto': no NVIDIA GPU was found"


@pytest.mark.parametrize("device", ["gpu", "CUDA", "cuda:0", 0, None])
def test_names_of_devices(device):
    with pytest.raises(ValueError, match=r"device must be 'auto', 'cpu' or 'cuda', got"):
        LinearRegression(device=device).fit(X, X[:, 0])


NO_CUDA = """
import sys
import numpy as np
import fastgd
from fastgd import LinearRegression
X = np.random.default_rng(0).standard_normal((6, 2))
for device in ("auto", "cpu"):
    LinearRegression(device=device).fit(X, X[:, 0]).predict(X)
    LinearRegression(device=device, optimizer="gd", batch_size=2, max_iter=1, tol=0.0).fit(X, X[:, 0])
found = [name for name in sys.modules if name.startswith(("numba.cuda", "numba_cuda", "fastgd.kernels.cuda", "cuda"))]
sys.exit(str(found) if found else 0)
"""


def test_fits_on_the_cpu_import_no_cuda():
    done = subprocess.run([sys.executable, "-c", NO_CUDA], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
