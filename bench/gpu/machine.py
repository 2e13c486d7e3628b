"""Which GPU, and what drives it."""

import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from numba import cuda

from fastgd.kernels.cuda._target import SIMULATED

_PACKAGES = ("numba-cuda", "cuda-bindings", "cuda-toolkit", "nvidia-cuda-runtime", "triton")
#: CuPy has a package for each release of CUDA.
_CUPY = ("cupy-cuda13x", "cupy-cuda12x", "cupy")
_QUERY = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit,ecc.mode.current"


def describe() -> dict[str, Any]:
    """Model, driver, memory, caches and versions."""
    found: dict[str, Any] = {"simulated": SIMULATED, "versions": versions()}
    if SIMULATED:
        return found | {"name": "Numba's simulator"}
    device = cuda.get_current_device()
    name = device.name
    return found | {
        "name": name.decode() if isinstance(name, bytes) else str(name),
        "compute_capability": ".".join(map(str, device.compute_capability)),
        "multiprocessors": int(device.MULTIPROCESSOR_COUNT),
        "l2_mb": device.L2_CACHE_SIZE / 1e6,
        "memory_gb": float(cuda.current_context().get_memory_info().total) / 1e9,
        "cuda_runtime": _runtime(),
        "nvidia_smi": _smi(),
    }


def versions() -> dict[str, str]:
    """Of the packages that GPU figures depend on; what is not installed is left out."""
    found = {}
    for package in (*_PACKAGES, *_CUPY):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _runtime() -> str:
    try:
        return ".".join(map(str, cuda.runtime.get_version()))
    except Exception as error:  # an optional detail
        return f"unknown ({error})"


def _smi() -> dict[str, str]:
    """What the driver's own tool says, clocks included; empty where it is missing."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    words = [tool, f"--query-gpu={_QUERY}", "--format=csv,noheader", "--id=0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(_QUERY.split(","), values, strict=False))
