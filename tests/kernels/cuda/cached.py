"""Kernels compiled or loaded without a GPU: `python -m tests.kernels.cuda.cached 9.0 2,still 3,wait` prints JSON.

A process of its own, since in that of the tests the simulator has taken the compiler's place. Everything is real but
the GPU: machine code is linked, and not loaded.
"""

import hashlib
import json
import sys
from typing import Any

import numba.cuda.dispatcher as dispatcher
from numba.cuda import codegen, float64, types
from numba.cuda.cudadrv import driver

from fastgd.kernels._jit import kernel_factory
from fastgd.kernels.cuda import _cache
from fastgd.kernels.cuda._target import compiled_kernels, cuda, cuda_kernel

ARGUMENTS = (types.Array(float64, 1, "C"),)


@kernel_factory
def make_scale(factor: int, end: str) -> Any:
    """Kernels that share a name; those that wait for their grid must be launched as a whole."""
    waits, registers = end == "wait", 32 if end == "tight" else None

    @cuda_kernel("scale", max_registers=registers)
    def scale(out: Any) -> None:
        out[cuda.grid(1)] *= factor
        if waits:
            cuda.cg.this_grid().sync()

    return scale


def pretend(capability: tuple[int, int]) -> None:
    """Replace Numba's device by one that has a capability and nothing else."""

    class Gpu:
        compute_capability, name = capability, b"none"

    dispatcher.get_current_device = cuda.get_current_device = Gpu
    codegen.CUDACodeLibrary._ensure_cc = lambda self, cc: cc or (*capability, "a" if capability >= (9, 0) else "")
    dispatcher._Kernel.bind = lambda kernel: kernel.library.get_cubin()
    driver.driver.get_version = lambda: (13, 0)


def main() -> None:
    pretend(tuple(int(part) for part in sys.argv[1].split(".")))
    out = {}
    for name in sys.argv[2:]:
        factor, end = name.split(",")
        kernel = make_scale(int(factor), end)
        found = kernel.compile(ARGUMENTS)
        out[name] = {
            "loaded": sum(kernel.stats.cache_hits.values()),
            "compiled": sum(kernel.stats.cache_misses.values()),
            "whole": found.cooperative,
            "code": hashlib.sha256(found.library.get_cubin().code).hexdigest(),
        }
    kept = _cache.entries()
    reported = {how: len(names) for how, names in compiled_kernels().items()}
    print(json.dumps({"kernels": out, "reported": reported, "folder": kept and str(kept.folder)}))  # noqa: T201


if __name__ == "__main__":
    main()
