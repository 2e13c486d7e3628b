"""The choice of a device, and messages on missing requirements of a GPU."""

import importlib
import importlib.metadata
import importlib.util
import os
import sys
import tomllib
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression
from fastgd.backends import select
from fastgd.backends.cuda import driver
from fastgd.backends.select import Work
from fastgd.exceptions import DeviceError

X = np.random.default_rng(0).standard_normal((6, 2))
#: A fit that no GPU can be too far away for, and one that is done before a GPU has started.
LONG, SHORT = Work(1 << 34, 1000, 0, 1), Work(1 << 20, 10, 0, 1)


@pytest.fixture
def machine(monkeypatch):
    """Imitate a machine with driver, packages and GPU, of which parts can be removed."""
    parts = {
        "driver": (13, 0),
        "numba_cuda": True,
        "numba-cuda": "0.30.4",
        "cuda-bindings": "13.1.0",
        "capability": (9, 0),
        "nvvm": None,
        "runtime": __file__,
        "reason": None,
        "gpus": 1,
        "room": 1 << 40,
        "compiled": 0.0,
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
        if parts[name] is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return parts[name]

    def available_bytes():
        if parts["room"] is None:
            raise MemoryError("the GPU has no room left")
        return parts["room"]

    class Gpus(list):
        current = None

        def __getitem__(self, number):
            return SimpleNamespace(compute_capability=parts["capability"])

    modules = {
        "numba.cuda.cudadrv.nvvm": SimpleNamespace(NVVM=nvvm),
        "numba.cuda.cudadrv.libs": SimpleNamespace(get_cudalib=lambda name, static: parts["runtime"]),
        "numba.cuda.cudadrv.driver": SimpleNamespace(driver=Driver()),
        "numba.cuda.cudadrv.devices": SimpleNamespace(gpus=Gpus()),
    }
    monkeypatch.setattr(driver, "_owner", None)
    monkeypatch.setattr(select, "_available_gpu_bytes", available_bytes)
    monkeypatch.setitem(sys.modules, select._STARTED, SimpleNamespace(compile_seconds=lambda: parts["compiled"]))
    monkeypatch.setattr(driver, "simulated", lambda: False)
    monkeypatch.setattr(driver, "driver_version", lambda: parts["driver"])
    monkeypatch.setattr(driver, "is_hinted", lambda: parts["driver"] is not None)
    monkeypatch.setattr(driver, "importlib", SimpleNamespace(import_module=modules.__getitem__, util=importlib.util))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: parts["numba_cuda"] or None)
    monkeypatch.setattr(driver, "version", version)
    return parts


NEW, OLD = (rf'pip install "numba-cuda\[cu{major}\]>=0.30"' for major in (13, 12))
MISSING = {
    "driver": (None, rf"no NVIDIA driver was found.*{NEW} \(cu12 where nvidia-smi shows CUDA 12\)"),
    "an old driver": ((11, 8), "the NVIDIA driver is for CUDA 11.8, older than 12"),
    "numba_cuda": (False, f"numba-cuda is not installed: {NEW}"),
    "numba-cuda": ("0.29.1", f"numba-cuda 0.29 is too old: {NEW}"),
    "cuda-bindings": (None, f"cuda-bindings is not installed: {NEW}"),
    "nvvm": ("libnvvm.so not found", rf"toolkit cannot be used \(libnvvm.so not found\): {NEW}"),
    "runtime": ("libcudadevrt.a", f"toolkit has no libcudadevrt.a: {NEW}"),
    "gpus": (0, "the NVIDIA driver finds no GPU"),
    "capability": ((7, 0), f"capability 7.0, and the packages of CUDA 13 need 7.5: {OLD} in a new environment"),
    "an old GPU": ((5, 2), "the GPU has compute capability 5.2, and 7.0 is the least that works: use device='cpu'"),
    "reason": ("CUDA_ERROR_NO_DEVICE (100)", "the NVIDIA driver finds no GPU"),
    "another reason": ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", r"does not start \(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\)"),
    "many lines": ("It cannot be found.\nIf you are sure that", r"does not start \(It cannot be found\.\): see"),
    "an announcement": ("Error at init:\n\nit is broken\nlook", r"does not start \(Error at init: it is broken\): see"),
    "a fork of others'": ("Call to cuInit results in CUDA_ERROR_NOT_INITIALIZED (3)", "does not survive a fork"),
}
PARTS = {
    "an old driver": "driver",
    "an old GPU": "capability",
    **dict.fromkeys(["another reason", "many lines", "an announcement", "a fork of others'"], "reason"),
}


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
def test_missing_requirements_are_named(machine, kind, missing):
    machine[PARTS.get(missing, missing)], message = MISSING[missing]
    with pytest.raises(DeviceError, match=message):
        kind(device="cuda").fit(X, [0, 1, 0, 1, 1, 0])
    with pytest.raises(DeviceError, match=message):
        kind(device="cuda").partial_fit(X, [0, 1, 0, 1, 1, 0])


def test_packages_that_are_too_new_for_the_driver(machine):
    machine["driver"] = (12, 4)
    message = f"those of CUDA 13, and the driver runs CUDA 12.4 at most: {OLD} in a new environment, or update"
    with pytest.raises(RuntimeError, match=message):
        select.require_cuda()
    machine["cuda-bindings"], machine["capability"] = "12.9.4", (7, 0)
    select.require_cuda()


def test_remedies_match_the_driver(machine):
    assert (
        '[cu13]>=0.30" in a new environment (cu12 for GPUs of compute capability below 7.5)' in driver.what_would_suit()
    )


def test_remedies_match_the_extras(root):
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for major in driver.LEAST_GPUS:
        assert driver.install_line(major) == f'pip install "{extras[f"cuda{major}"][0]}"'


def in_a_fork(work):
    """Return the message of the error that work raises in a forked child."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that the child does not have
        child = os.fork()
    if child == 0:
        try:
            work()
            reported = "nothing"
        except Exception as error:
            reported = f"{type(error).__name__}: {error}"
        os.write(writer, reported.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        return file.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
def test_fits_in_a_forked_child(machine):
    def fit():
        LinearRegression(device="cuda").fit(X, X[:, 0])

    machine["gpus"] = 0
    assert "the NVIDIA driver finds no GPU" in in_a_fork(fit)
    with pytest.raises(DeviceError):
        select.require_cuda()
    # A driver that has not started leaves children alone.
    assert "the NVIDIA driver finds no GPU" in in_a_fork(fit)
    machine["gpus"] = 1
    select.require_cuda()
    expected = f"DeviceError: the GPU cannot be used: {driver.AFTER_A_FORK}"
    machine["reason"] = "CUDA initialized before forking"
    assert in_a_fork(fit) == expected
    machine["reason"] = None

    def choose():
        assert select.choose("auto", X, LONG) == ("cpu", f"device='auto': {driver.AFTER_A_FORK}")

    assert in_a_fork(choose) == "nothing"


def test_found_gpu_is_not_checked_again(machine):
    select.require_cuda()
    machine["cuda-bindings"] = None
    select.require_cuda()


def test_hidden_gpu_is_reported(machine, monkeypatch):
    machine["gpus"] = 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert "CUDA_VISIBLE_DEVICES='7' may hide it" in driver.why_unusable()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_no_hint_where_gpus_are_hidden(monkeypatch, hidden):
    monkeypatch.setattr(driver, "_has_driver_files", lambda signs: True)
    monkeypatch.setattr(driver.sys, "platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert driver.is_hinted()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not driver.is_hinted()


def test_files_of_the_driver_are_hints(tmp_path):
    (tmp_path / "there").touch()
    assert driver._has_driver_files((str(tmp_path / "missing"), str(tmp_path / "there")))
    assert not driver._has_driver_files((str(tmp_path / "missing"),))


def test_long_fits_go_to_the_gpu(machine):
    """The constants are assumptions; extremes have a clear choice."""
    assert select.choose("auto", X, LONG).name == "cuda"
    name, reason = select.choose("auto", X, SHORT)
    assert name == "cpu"
    assert "s expected on the CPU" in reason
    # A pass is too little for the way to the GPU, however large the data.
    assert select.choose("auto", X, LONG.__class__(1 << 38, 1, 0, 16)).name == "cpu"


def test_a_gpu_that_has_compiled_has_less_to_do(machine):
    work = Work(1 << 30, 100, 0, 1)
    assert select.choose("auto", X, work).name == "cpu"
    machine["compiled"] = 1.0
    assert select.choose("auto", X, work).name == "cuda"


def test_data_larger_than_the_gpus_memory_travel_in_every_pass(machine, monkeypatch):
    few, many = Work(1 << 34, 1, 0, 1), Work(1 << 34, 101, 0, 1)
    way = few.nbytes / select._TRANSFER
    assert many.on_gpu(True, streamed=True) - few.on_gpu(True, streamed=True) == pytest.approx(100 * way, rel=0.01)
    assert many.on_gpu(True) - few.on_gpu(True) < 2 * way
    # Beside X, six rows of two numbers, there are six targets.
    machine["room"] = X.nbytes + 6 * X.itemsize
    assert select.choose("auto", X, LONG).name == "cuda"
    machine["room"] -= 1
    name, reason = select.choose("auto", X, LONG)
    assert name == "cpu"
    assert reason.endswith(f"; streamed, as X does not fit in the {X.nbytes + 47} bytes free there")
    monkeypatch.setattr(select, "_TRANSFER", 1e12)
    name, reason = select.choose("auto", X, LONG)
    assert name == "cuda"
    assert "streamed" in reason
    machine["room"] = None
    assert select.choose("auto", X, LONG) == (
        "cpu",
        "device='auto': the GPU cannot be used: the GPU has no room left",
    )


@pytest.mark.parametrize(("batch_size", "n_threads"), [(64, 1), (1000, 1), (2048, 4), ("full", 8)])
def test_threads_that_share_batches_are_counted(monkeypatch, batch_size, n_threads):
    """A thread needs a part of at least 131,072 numbers of a batch."""
    seen = []

    def choose(asked, matrix, work):
        seen.append(work)
        raise KeyboardInterrupt

    monkeypatch.setattr(select, "choose", choose)
    large = np.zeros((4096, 256), np.float32)
    with pytest.raises(KeyboardInterrupt):
        LinearRegression(optimizer="gd", batch_size=batch_size, max_iter=3, n_threads=8).fit(large, large[:, 0])
    (work,) = seen
    assert work.n_threads == n_threads
    assert work.updates == (0 if batch_size == "full" else 3 * -(-4096 // batch_size))
    assert Work(1 << 34, 10, 9, 1).on_cpu() > 3 * Work(1 << 34, 10, 9, 4).on_cpu()


def test_auto_falls_back_on_missing_requirements(machine):
    machine["nvvm"] = "libnvvm.so not found"
    name, reason = select.choose("auto", X, LONG)
    assert name == "cpu"
    assert "libnvvm.so not found" in reason
    # Not looked up where the CPU is faster.
    assert "libnvvm" not in select.choose("auto", X, SHORT).reason
    machine["driver"] = None
    assert select.choose("auto", X, LONG) == ("cpu", "device='auto': no NVIDIA GPU was found")


def test_the_simulator_is_no_gpu(monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert select.why_unusable() is None
    assert select.choose("auto", X, LONG).name == "cpu"
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


def test_fits_on_the_cpu_import_no_cuda(python):
    python("-c", NO_CUDA)
