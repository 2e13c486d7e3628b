"""What a GPU needs, looked for one after the other, so that an error can name what is missing. Imports no CUDA."""

import ctypes
import functools
import importlib
import importlib.util
import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_LIBRARIES = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
#: What Linux has where a driver runs; on Windows' Linux the second.
_SIGNS = "/dev/nvidiactl", "/dev/dxg"
#: Versions of CUDA for which there is an extra of this package.
_EXTRAS = 12, 13


def simulated() -> bool:
    """Whether Numba runs kernels in Python, which needs no GPU."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def is_hinted() -> bool:
    """Whether something speaks for a GPU: a look that starts nothing."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    return any(map(os.path.exists, _SIGNS)) if sys.platform == "linux" else driver_version() is not None


@functools.cache
def driver_version() -> tuple[int, int] | None:
    """The newest CUDA that the driver can run; None where there is no driver. Loads its library and starts nothing."""
    try:
        library = ctypes.CDLL(_LIBRARIES[sys.platform])
        found = ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(found)) != 0:
            return None
    except (KeyError, OSError, AttributeError):
        return None
    return found.value // 1000, found.value % 1000 // 10


def why_unusable() -> str | None:
    """What is missing for fits on a GPU and how to install it; None where nothing is.

    Imports Numba's CUDA and starts the driver, unless something is missing before.
    """
    if simulated():
        return None
    found = driver_version()
    if found is None:
        return (
            "no NVIDIA driver was found: on a machine with an NVIDIA GPU install its driver (nvidia.com/drivers), then "
            f"{_install(None)}; or use device='cpu'"
        )
    if found[0] < _EXTRAS[0]:
        return f"the NVIDIA driver is for CUDA {found[0]}.{found[1]}, older than 12: update it, or use device='cpu'"
    if importlib.util.find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed: {_install(found)}"
    return _unusable_toolkit(found) or _unusable_gpu()


def _install(found: tuple[int, int] | None) -> str:
    """The line that installs what the driver can run; of both extras where that is not known."""
    lines = [f'pip install "fastgd[cuda{major}]"' for major in _EXTRAS]
    return " or ".join(lines) if found is None else lines[min(found[0], _EXTRAS[1]) - _EXTRAS[0]]


def _unusable_toolkit(found: tuple[int, int]) -> str | None:
    """What is wrong with the libraries that compile for the GPU."""
    try:
        bindings = int(version("cuda-bindings").partition(".")[0])
    except PackageNotFoundError:
        return f"the package cuda-bindings is not installed: {_install(found)}"
    if bindings > found[0]:
        return (
            f"the CUDA packages installed are those of CUDA {bindings}, and the driver runs CUDA {found[0]}.{found[1]} "
            f"at most: {_install(found)} in a new environment, or update the driver"
        )
    try:
        importlib.import_module("numba.cuda.cudadrv.nvvm").NVVM()
        # What kernels that wait for their whole grid are linked with.
        device_runtime = importlib.import_module("numba.cuda.cudadrv.libs").get_cudalib("cudadevrt", static=True)
    except Exception as error:  # whatever it is: libraries that cannot be loaded raise errors of many kinds
        return f"the CUDA toolkit cannot be used ({_first_line(error)}): {_install(found)}"
    if not os.path.isfile(device_runtime):
        return f"the CUDA toolkit has no {os.path.basename(device_runtime)}: {_install(found)}"
    return None


def _unusable_gpu() -> str | None:
    """What the driver says against its GPUs."""
    try:
        driver: Any = importlib.import_module("numba.cuda.cudadrv.driver").driver
        if driver.is_available and driver.get_device_count() > 0:
            return None
        reason = driver.initialization_error or "CUDA_ERROR_NO_DEVICE"
    except Exception as error:  # CudaSupportError, or what a broken installation raises
        reason = _first_line(error)
    if "NO_DEVICE" in reason or re.search(r"\(100\)", reason):
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES={hidden!r} may hide it)"
        return f"the NVIDIA driver finds no GPU{why}: use device='cpu'"
    return f"the NVIDIA driver does not start ({reason}): see whether nvidia-smi works, or use device='cpu'"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
