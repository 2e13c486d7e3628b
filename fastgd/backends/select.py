"""Choose the device of a fit from expected seconds, and put data there."""

import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.backends.cpu import data as cpu
from fastgd.backends.csr.data import CsrData
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.cuda import driver
from fastgd.backends.cuda.driver import why_unusable
from fastgd.backends.gpu_arrays import GpuArray
from fastgd.backends.stream.data import StreamData
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.exceptions import DeviceError
from fastgd.objective.dataset import Data

#: Bytes per second: from the host's memory to the GPU's; read by the GPU; by a thread of the CPU, and by all at most.
_TRANSFER, _GPU_READS, _THREAD_READS, _CPU_READS = 1e10, 1e12, 1e10, 1e11
#: Seconds of a pass beside reading, its launches and the wait for its end; of an update of a mini-batch rule.
_GPU_PASS, _GPU_UPDATE, _CPU_PASS, _CPU_UPDATE = 2e-4, 1e-5, 5e-5, 2e-6
#: Seconds to start CUDA and to compile the kernels of a fit, 8 to 10 of 1 to 3 s each, in a new process; whether they
#: are in the cache is not checked. Else the seconds of a fit's small copies.
_GPU_START, _GPU_FIT = 16.0, 0.02
#: Expected passes of full-batch solvers, and most expected passes of rules on the full batch.
FEW_PASSES, MANY_PASSES = 8, 100
#: Factor by which the GPU must be faster, since the assumptions are rough.
_MARGIN = 2.0


@dataclass(frozen=True)
class Work:
    """The expected work of a fit on data of the host.

    nbytes: of X. passes: over X. updates: of all mini-batches, 0 for the full batch. n_threads: threads of the CPU that
    share a pass or a mini-batch.
    """

    nbytes: int
    passes: float
    updates: float
    n_threads: int

    def on_cpu(self) -> float:
        """Return the expected seconds on the CPU."""
        rate = min(_THREAD_READS * self.n_threads, _CPU_READS)
        return self.passes * (_CPU_PASS + self.nbytes / rate) + self.updates * _CPU_UPDATE

    def on_gpu(self, started: bool, streamed: bool = False) -> float:
        """Return the expected seconds on the GPU, with one transfer of X, or one per pass if X is streamed."""
        start = _GPU_FIT if started else _GPU_START + _GPU_FIT
        there, read = self.nbytes / _TRANSFER, self.nbytes / _GPU_READS
        pass_, once = (max(there, read), 0.0) if streamed else (read, there)
        return start + once + self.passes * (_GPU_PASS + pass_) + self.updates * _GPU_UPDATE

    def pays(self, started: bool, streamed: bool = False) -> bool:
        """Whether the GPU is expected to be clearly faster."""
        return _MARGIN * self.on_gpu(started, streamed) < self.on_cpu()


#: Values of the parameter `device`.
DEVICES = ("auto", "cpu", "cuda")
#: The backend's module, which is loaded once the GPU was used.
_STARTED = "fastgd.backends.cuda.device"


class Device(NamedTuple):
    """A device, and the reason for its choice."""

    name: str
    reason: str


#: X as it came: an array on the host or on the GPU, sparse, read from a source in every pass, or on a cluster.
Columns = NDArray[Any] | GpuArray | CsrMatrix | StreamMatrix | Any


def choose(asked: str, X: Columns, work: Work) -> Device:
    """Choose the device of a fit.

    Parameters
    ----------
    asked : {"auto", "cpu", "cuda"}
    X : ndarray, GpuArray, CsrMatrix or StreamMatrix
    work : Work
        The expected work of the fit.

    Raises
    ------
    ValueError
        If X is on the GPU and the CPU is asked for, or X is read in every pass and the GPU is asked for.
    DeviceError
        If the GPU is asked for, or X is there, and it cannot be used.
    """
    if isinstance(X, GpuArray):
        if asked == "cpu":
            raise ValueError(
                "X is on the GPU and device='cpu': copy it to the host (X.get() in CuPy, X.cpu().numpy() in PyTorch), "
                "or use device='auto' or 'cuda'"
            )
        require_cuda()
        _check_same_gpu(X)
        return Device("cuda", f"device={asked!r}" if asked == "cuda" else "device='auto': X is on the GPU")
    if isinstance(X, CsrMatrix):
        return _choose_for_sparse(asked)
    if isinstance(X, StreamMatrix):
        return _choose_for_stream(asked)
    if is_on_cluster(X):
        # A worker without a GPU raises where one is asked for.
        return Device("cuda" if asked == "cuda" else "cpu", f"device={asked!r}: rows are on the workers of a cluster")
    if asked == "cuda":
        require_cuda()
    if asked != "auto":
        return Device(asked, f"device={asked!r}")
    name, because = _automatic(X, work)
    return Device(name, f"device='auto': {because}")


def is_on_cluster(X: Any) -> bool:
    """Whether rows are on a Dask cluster, whose module is loaded then."""
    loaded = sys.modules.get("fastgd.backends.dask.matrix")
    return loaded is not None and isinstance(X, loaded.DaskMatrix)


def _choose_for_sparse(asked: str) -> Device:
    """Choose the device of sparse rows: the CPU unless the GPU is asked for, where no passes have been measured."""
    if asked != "cuda":
        return Device("cpu", f"device={asked!r}: X is sparse" if asked == "auto" else f"device={asked!r}")
    require_cuda()
    return Device("cuda", "device='cuda'; curvatures and Gram matrices of sparse X are computed on the CPU")


def _choose_for_stream(asked: str) -> Device:
    """Return the CPU for rows that are read from a source in every pass."""
    if asked == "cuda":
        raise ValueError(
            "device='cuda' streams rows that are decoded once: use cache='disk' or cache='memory', or device='cpu'"
        )
    because = ": rows are decoded in every pass" if asked == "auto" else ""
    return Device("cpu", f"device={asked!r}{because}")


def _automatic(X: NDArray[Any], work: Work) -> tuple[str, str]:
    if driver.simulated() or not driver.is_hinted():
        return "cpu", "no NVIDIA GPU was found"
    started = _compiled_for_gpu() > 0.0
    if not work.pays(started):
        return "cpu", _expected(work, started)
    missing = why_unusable()
    if missing is not None:
        return "cpu", missing
    try:
        free = _available_gpu_bytes()
    except Exception as error:  # whatever the driver raises where the GPU is full or another's
        return "cpu", f"the GPU cannot be used: {error}"
    # Beside X its targets.
    streamed = X.nbytes + len(X) * X.itemsize > free
    why = f"; streamed, as X does not fit in the {free:,} bytes free there" if streamed else ""
    return "cuda" if work.pays(started, streamed) else "cpu", f"{_expected(work, started, streamed)}{why}"


def _expected(work: Work, started: bool, streamed: bool = False) -> str:
    gpu = work.on_gpu(started, streamed)
    return f"{work.on_cpu():.2g} s expected on the CPU, {gpu:.2g} s on the GPU, including transfer"


def _available_gpu_bytes() -> int:
    """Return the bytes that data may take on the GPU."""
    from fastgd.backends.cuda import device as cuda_device

    with cuda_device.guarded():
        return cuda_device.available_bytes()


def require_cuda() -> None:
    """Raise a DeviceError that names what fits on the GPU lack, if anything."""
    missing = why_unusable()
    if missing is not None:
        raise DeviceError(f"the GPU cannot be used: {missing}")


def _check_same_gpu(X: GpuArray) -> None:
    """Raise a ValueError for an array on another GPU than fits use."""
    if X.gpu is None or driver.simulated():
        return
    from numba import cuda

    used = int(cuda.get_current_device().id)
    if X.gpu != used:
        raise ValueError(f"X is on GPU {X.gpu}, and fits use GPU {used}: copy it there, or numba.cuda.select_device")


def gpu_name() -> str:
    """Return the name of the GPU that fits use; requires that `why_unusable` is None."""
    if driver.simulated():
        return "CUDA's simulator"
    from numba import cuda

    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


def place(X: Columns, y: NDArray[Any], s: NDArray[Any] | None, device: str, n_threads: int) -> Data:
    """Return a data set on a device.

    Parameters
    ----------
    X : ndarray, GpuArray, CsrMatrix or StreamMatrix of shape (n, d), C or F order or sparse, float32 or float64
        Used in place and never written to if it is on the device, else copied there.
    y : ndarray of shape (K, n) and the dtype of X
    s : ndarray of shape (n,) and the dtype of X, or None
    device : {"cpu", "cuda"}
    n_threads : int
    """
    if is_on_cluster(X):
        from fastgd.backends.dask.data import DaskData

        on_workers: Any = X
        return DaskData(on_workers, y, s, device, n_threads)
    if device == "cpu":
        assert not isinstance(X, GpuArray)
        if isinstance(X, StreamMatrix):
            return StreamData(X, y, s, n_threads)
        if isinstance(X, CsrMatrix):
            return CsrData(X, y, s, n_threads)
        return cpu.CpuData(X, y, s, n_threads)
    assert not isinstance(X, StreamMatrix)
    if isinstance(X, CsrMatrix):
        from fastgd.backends.cuda import csr as cuda_csr

        return cuda_csr.place(X, y, s, n_threads)
    from fastgd.backends.cuda import stream as cuda

    placed: Data = cuda.place(X.on_device() if isinstance(X, GpuArray) else X, y, s, n_threads)
    return placed


def margins_on_gpu(X: GpuArray, coef: Array, intercept: Array, n_threads: int) -> Array:
    """Return X . coef + intercept (n, K), accumulated in float64 on the GPU and copied to the host; coef (K, d)."""
    from fastgd.backends.cuda import columns as cuda_columns
    from fastgd.backends.cuda import device as cuda_device
    from fastgd.backends.cuda import stream as cuda

    data = cuda.place(X.on_device(), np.zeros((1, len(X)), X.dtype), None, n_threads)
    with cuda_device.guarded():
        there = cuda_columns.margins(data, coef, intercept, np.zeros(data.d), np.float64)
        margins: Array = there.copy_to_host()
    return margins


def compile_seconds() -> float:
    """Return the seconds that this process has spent on compiling kernels for all devices."""
    return cpu.compile_seconds() + _compiled_for_gpu()


def _compiled_for_gpu() -> float:
    """Return the seconds that this process has spent on compiling kernels for the GPU."""
    started = sys.modules.get(_STARTED)
    return 0.0 if started is None else float(started.compile_seconds())


def gpu_kernels() -> dict[str, list[str]]:
    """Return names of the GPU's kernels "compiled" and "loaded" from disk in this process, one per signature."""
    from fastgd.kernels.cuda._target import compiled_kernels

    return compiled_kernels()
