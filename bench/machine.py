"""What a result was measured on and with."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fastgd
from bench.yardstick import cores

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = [
    *("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "torch", "jax", "optax"),
    *("scikit-learn-intelex", "glum", "skglm"),
]


def describe() -> dict[str, Any]:
    """CPU, memory, system and versions."""
    return {
        "cpu": _first_field("/proc/cpuinfo", "model name") or platform.processor(),
        "cpu_family_model": "/".join(_first_field("/proc/cpuinfo", key) for key in ("cpu family", "model")),
        "cores": cores(),
        "caches": _caches(),
        "memory_gb": _memory_gb(),
        "virtual": "hypervisor" in _first_field("/proc/cpuinfo", "flags").split(),
        "system": platform.platform(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of Python and of every package that a number depends on; of fastgd with the commit."""
    found = {"python": platform.python_version(), "fastgd": f"{fastgd.__version__} ({commit()})"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """The commit of the checkout, with a note where sources differ from it."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "fastgd", "kernels", "bench/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "commit unknown"
    return f"{head} with changes" if changed else head


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
    """Size of each cache that the first core sees."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        found[f"L{level} {kind.lower()}"] = size
    return found
