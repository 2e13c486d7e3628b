"""Which paths a process has taken: kernels compiled or loaded from disk, and who passed the arguments of launches."""

from collections.abc import Mapping

from fastgd.backends.cuda import launch as cuda_launch
from fastgd.backends.select import gpu_kernels


def taken() -> dict[str, int]:
    """How many kernels were compiled and loaded, one a signature, and how many launches went fast, or by Numba."""
    found = {how: len(names) for how, names in gpu_kernels().items()}
    found["launched fast"] = cuda_launch.fast_launches["all"]
    by_numba = cuda_launch.numba_launches.items()
    return found | {f"launched by Numba: {name}": count for name, count in by_numba}


def added(some: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """What several processes have taken."""
    return {path: some.get(path, 0) + more.get(path, 0) for path in {**some, **more}}
