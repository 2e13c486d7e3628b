"""``fastgd info``: versions, threads, the GPU and folders, for reports of faults."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

import fastgd
from fastgd.bench.machine import cpu_name, versions
from fastgd.cli.output import print_text

_PACKAGES = (
    *("numpy", "scipy", "numba", "llvmlite", "numba-cuda", "cuda-bindings", "scikit-learn", "safetensors"),
    *("duckdb", "typer", "rich", "matplotlib"),
)


def info(as_json: bool) -> None:
    """Print the facts about this installation, as lines or as one JSON object."""
    facts = collect()
    print_text(json.dumps(facts) if as_json else "\n".join(f"{name:<14}{value}" for name, value in facts.items()))


def collect() -> dict[str, Any]:
    """Return the facts: versions by package, the machine, threads, the GPU, and the folder of the compiled kernels."""
    from fastgd.backends.cuda.driver import why_unusable
    from fastgd.backends.select import gpu_name
    from fastgd.kernels._cache import cache_folder

    folder = cache_folder()
    return {
        "fastgd": fastgd.__version__,
        "python": platform.python_version(),
        **{package: number or "not installed" for package, number in versions(_PACKAGES).items()},
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "threads": fastgd.get_num_threads(),
        "gpu": why_unusable() or gpu_name(),
        "cache": "none: kernels are compiled in every process" if folder is None else str(folder),
    }
