"""The machine and the versions that a result was measured with."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fastgd

#: The root of the checkout, if this is one.
ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = (
    *("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "torch", "jax", "optax"),
    *("scikit-learn-intelex", "glum", "skglm", "snapml", "liblinear-official", "pandas"),
    *("pyarrow", "duckdb", "dask-ml"),
)


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """Return the processor's name for itself."""
    return _first_field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """Return CPU, memory, system and versions."""
    found = {package: number or "not installed" for package, number in versions(_PACKAGES).items()}
    return {
        "cpu": cpu_name(),
        "cpu_family_model": "/".join(_first_field("/proc/cpuinfo", key) for key in ("cpu family", "model")),
        "cores": cores(),
        "caches": _caches(),
        "memory_gb": _memory_gb(),
        "virtual": "hypervisor" in _first_field("/proc/cpuinfo", "flags").split(),
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), "fastgd": f"{fastgd.__version__} ({commit()})", **found},
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package, an empty string if it is not installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found


def commit() -> str:
    """Return the commit of the checkout, with a note if sources differ from it."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "fastgd", "kernels", "bench/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "commit unknown"
    return f"{head} with changes" if changed else head


def reset_peak_memory() -> int:
    """Set the peak of this process's memory to its present size, and return that; 0 where Linux has no such files."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return peak_memory()


def peak_memory() -> int:
    """Return the most bytes of memory since the peak was reset; 0 where Linux has no such file."""
    return 1024 * int((_first_field("/proc/self/status", "VmHWM") or "0").split()[0])


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _first_field(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == key), "")


def _memory_gb() -> float:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return 0.0


def _caches() -> dict[str, str]:
    """Return the size of each cache of the first core."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with contextlib.suppress(OSError):  # ARM machines may lack the size
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
            found[f"L{level} {kind.lower()}"] = size
    return found
