"""Check the requirements of fits on a GPU one by one, so that an error names the missing one. Imports no CUDA."""

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
#: Files of a running driver on Linux, and on WSL.
_SIGNS = "/dev/nvidiactl", "/dev/dxg"
#: Versions of CUDA that numba-cuda has packages for, each with the least compute capability of a GPU: kernels that wait
#: for each other by acquire and release need 7.0, CUDA 13's compilers more.
LEAST_GPUS = {12: (7, 0), 13: (7, 5)}
_OLDEST, _NEWEST = min(LEAST_GPUS), max(LEAST_GPUS)
#: The oldest numba-cuda that kernels have been compiled with.
NUMBA_CUDA = 0, 30

#: The message in a process forked after CUDA was started.
AFTER_A_FORK = (
    "this process was forked from one that had begun to use the GPU, and CUDA does not survive a fork: start workers "
    "with the method 'spawn' or 'forkserver' (joblib's default does), or fit with device='cpu' here"
)
#: The process that started the driver.
_owner: int | None = None


def note_start() -> None:
    """Remember that this process uses the GPU."""
    global _owner
    _owner = os.getpid()


def is_forked() -> bool:
    """Whether this process is a fork of one that had begun to use the GPU."""
    return _owner is not None and _owner != os.getpid()


def simulated() -> bool:
    """Whether Numba runs kernels in Python, which needs no GPU."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def is_hinted() -> bool:
    """Whether there are signs of a GPU, without starting CUDA."""
    found = _has_driver_files(_SIGNS) if sys.platform == "linux" else driver_version() is not None
    return found and os.environ.get("CUDA_VISIBLE_DEVICES", "0") not in ("", "-1")


@functools.cache
def _has_driver_files(signs: tuple[str, ...]) -> bool:
    """Whether there is any of these files; looked up once, since that takes as long as many checks of a fit."""
    return any(map(os.path.exists, signs))


@functools.cache
def driver_version() -> tuple[int, int] | None:
    """Return the newest CUDA that the driver can run; None without a driver. Loads its library only."""
    try:
        library = ctypes.CDLL(_LIBRARIES[sys.platform])
        found = ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(found)) != 0:
            return None
    except (KeyError, OSError, AttributeError):
        return None
    return found.value // 1000, found.value % 1000 // 10


def why_unusable() -> str | None:
    """Return the reason that fits cannot use a GPU, with a remedy; None if they can.

    Import Numba's CUDA and start the driver, unless a requirement is missing before. A success is remembered.
    """
    if is_forked():
        return AFTER_A_FORK
    if simulated() or _owner is not None:
        return None
    found = driver_version()
    if found is None:
        return (
            "no NVIDIA driver was found: on a machine with an NVIDIA GPU install its driver (nvidia.com/drivers), then "
            f"{install_line(_NEWEST)} (cu{_OLDEST} where nvidia-smi shows CUDA {_OLDEST}); or use device='cpu'"
        )
    if found[0] < _OLDEST:
        return f"the NVIDIA driver is for CUDA {found[0]}.{found[1]}, older than 12: update it, or use device='cpu'"
    if importlib.util.find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed: {_install(found)}"
    return _unusable_packages(found) or _unusable_gpu()


def install_line(major: int) -> str:
    """Return the command that installs the packages of a version of CUDA."""
    return f'pip install "numba-cuda[cu{major}]>={NUMBA_CUDA[0]}.{NUMBA_CUDA[1]}"'


def _install(found: tuple[int, int]) -> str:
    """Return the command that installs packages for the driver."""
    return install_line(min(found[0], _NEWEST))


def what_would_suit() -> str:
    """Return the remedy if code compiled by the installed packages does not run."""
    found, least = driver_version() or (_NEWEST, 0), ".".join(map(str, LEAST_GPUS[_NEWEST]))
    older = f" (cu{_OLDEST} for GPUs of compute capability below {least})" if found[0] >= _NEWEST else ""
    where = f"{_install(found)} in a new environment{older}"
    return f"the driver runs CUDA {found[0]}.{found[1]} at most: {where}, or update the driver"


def _unusable_packages(found: tuple[int, int]) -> str | None:
    """Return the problem with versions of packages or with libraries that compile for the GPU, or None."""
    compiler, bindings = _release("numba-cuda"), _release("cuda-bindings")
    if compiler is not None and compiler < NUMBA_CUDA:
        return f"numba-cuda {compiler[0]}.{compiler[1]} is too old: {_install(found)}"
    if bindings is None:
        return f"the package cuda-bindings is not installed: {_install(found)}"
    if bindings[0] > found[0]:
        return f"the CUDA packages installed are those of CUDA {bindings[0]}, and {what_would_suit()}"
    return _unusable_toolkit(found)


def _release(package: str) -> tuple[int, ...] | None:
    """Return the first two numbers of an installed package's version; None if it is not installed."""
    try:
        return tuple(map(int, re.findall(r"\d+", version(package))[:2]))
    except PackageNotFoundError:
        return None


def _unusable_toolkit(found: tuple[int, int]) -> str | None:
    """Return the problem with libraries that compile for the GPU, or None."""
    try:
        importlib.import_module("numba.cuda.cudadrv.nvvm").NVVM()
        # Kernels with grid synchronisation are linked with this library.
        device_runtime = importlib.import_module("numba.cuda.cudadrv.libs").get_cudalib("cudadevrt", static=True)
    except Exception as error:  # libraries that cannot be loaded raise errors of many kinds
        return f"the CUDA toolkit cannot be used ({_first_line(error)}): {_install(found)}"
    if not os.path.isfile(device_runtime):
        return f"the CUDA toolkit has no {os.path.basename(device_runtime)}: {_install(found)}"
    return None


def _unusable_gpu() -> str | None:
    """Return the problem with the driver or its GPUs, or None."""
    try:
        driver: Any = importlib.import_module("numba.cuda.cudadrv.driver").driver
        if driver.is_available and driver.get_device_count() > 0:
            too_old = _unusable_age()
            if too_old is None:
                note_start()
            return too_old
        reason = _first_line(driver.initialization_error or "CUDA_ERROR_NO_DEVICE")
    except Exception as error:  # CudaSupportError, or any error of a broken installation
        reason = _first_line(error)
    if "before forking" in reason or "NOT_INITIALIZED" in reason:
        # Another library or the user had started CUDA.
        return AFTER_A_FORK
    if "NO_DEVICE" in reason or re.search(r"\(100\)", reason):
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES={hidden!r} may hide it)"
        return f"the NVIDIA driver finds no GPU{why}: use device='cpu'"
    return f"the NVIDIA driver does not start ({reason}): see whether nvidia-smi works, or use device='cpu'"


def _unusable_age() -> str | None:
    """Return the problem with a GPU of too low a compute capability, or None."""
    gpus: Any = importlib.import_module("numba.cuda.cudadrv.devices").gpus
    gpu = gpus.current or gpus[0]
    found, packages = tuple(gpu.compute_capability), (_release("cuda-bindings") or (_NEWEST,))[0]
    (oldest, newer), start = (LEAST_GPUS[_OLDEST], LEAST_GPUS[_NEWEST]), "the GPU has compute capability {}.{}, and "
    if found < oldest:
        return f"{start.format(*found)}{oldest[0]}.{oldest[1]} is the least that works: use device='cpu'"
    if packages >= _NEWEST and found < newer:
        needed = f"the packages of CUDA {packages} need {newer[0]}.{newer[1]}"
        return f"{start.format(*found)}{needed}: {install_line(_OLDEST)} in a new environment, or use device='cpu'"
    return None


def _first_line(error: object) -> str:
    """Return the first line of a message, with the second if the first ends with a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])
