"""Compiled kernels of the GPU on disk: machine code by all that it is made of, so that it is compiled once a machine.

What takes seconds is typing and lowering, then the linker. An entry holds what numba-cuda itself keeps of a kernel,
its linked machine code included: a process that finds it loads that, and neither types nor links.
"""

import functools
import importlib
import logging
import os
import pickle
import sys
import zlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastgd.kernels._cache import cache_folder, filelock, source_stamp
from fastgd.kernels._entries import CompileLocks, Entries

logger = logging.getLogger("fastgd")

#: What the driver says of machine code that it does not take, which is compiled anew; other errors are of the GPU.
_REFUSALS = (
    "INVALID_IMAGE",
    "INVALID_SOURCE",
    "NO_BINARY_FOR_GPU",
    "INVALID_PTX",
    "UNSUPPORTED_PTX_VERSION",
    "NOT_FOUND",
)
#: Packages whose versions machine code, or what is kept of it, depends on.
_PACKAGES = "numba", "numba-cuda", "llvmlite", "cuda-core", "cuda-bindings"
#: Settings of Numba (NUMBA_OPT, ...) that change what it compiles and are no option of a kernel.
_SETTINGS = "OPT", "BOUNDSCHECK", "FORCE_CUDA_CC", "CUDA_DEFAULT_PTX_CC", "CUDA_DEBUG_POLY", "CUDA_ENABLE_NRT"


#: Read when kernels are, so that what is compiled later is not taken for an edit made meanwhile.
STAMP = source_stamp("cuda")


@functools.cache
def entries() -> Entries | None:
    """Where kernels of these sources lie; None where there is no folder to write to, or no filelock."""
    folder = cache_folder(STAMP) if filelock else None
    return None if folder is None else Entries(folder)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _state_of(path: str | None) -> tuple[Any, ...]:
    """What tells a library from another build of it."""
    if path is None or not os.path.isfile(path):
        return (path,)
    found = os.stat(path)
    return path, found.st_size, found.st_mtime_ns


@functools.cache
def toolchain() -> str:
    """What compiles and links: versions of packages, the libraries found, the driver, the settings."""
    from numba.cuda import config
    from numba.cuda.cudadrv import driver, libs

    linked_by_library = driver._have_nvjitlink()
    names = ["nvvm", "nvJitLink"] if linked_by_library else ["nvvm"]
    pathfinder = importlib.import_module("cuda.pathfinder")
    libraries = [pathfinder.load_nvidia_dynamic_lib(name).abs_path for name in names]
    libraries.append(libs.get_cudalib("cudadevrt", static=True))
    found = (
        sys.version_info[:3],
        [(package, _version(package)) for package in _PACKAGES],
        [_state_of(path) for path in libraries],
        driver.driver.get_version(),
        [(setting, str(getattr(config, setting, None))) for setting in _SETTINGS],
    )
    return repr(found)


class KernelCache:
    """A cache of numba-cuda's kind for one kernel, with no error that could stop a fit.

    Parameters
    ----------
    kernel : CUDADispatcher
        Once its factory has noted `made_of`: the name alone does not tell kernels apart.
    """

    cache_path = None

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.locks = CompileLocks()

    def key(self, argument_types: tuple[Any, ...], capability: tuple[int, ...]) -> str:
        """All that the machine code of a signature is made of."""
        options = sorted((name, repr(option)) for name, option in self._kernel.targetoptions.items())
        its = self._kernel.__name__, self._kernel.made_of, [repr(kind) for kind in argument_types], options, capability
        return repr((its, toolchain()))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel of a signature; None where it must be compiled, by the process that has its lock now."""
        where = self._where(sig)
        if where is None:
            return None
        kept, key = where
        return self.locks.load(kept, self._kernel.__name__, key, lambda: self._load(kept, key, sig))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a kernel that has been linked."""
        where = self._where(sig)
        # Machine code for one launch configuration alone; ours is for any.
        if where is None or getattr(data, "launch_config_sensitive", False):
            return
        kept, key = where
        try:
            kept.save(self._kernel.__name__, key, packed(data))
        except Exception as error:
            logger.warning("could not cache a compiled kernel in %s (%s)", kept.folder, error)

    def _where(self, sig: Any) -> tuple[Entries, str] | None:
        kept = entries() if hasattr(self._kernel, "made_of") else None
        if kept is None:
            return None
        from numba import cuda

        try:
            return kept, self.key(tuple(sig), cuda.get_current_device().compute_capability)
        except Exception as error:  # a release of numba-cuda that has moved what is asked for
            logger.warning("compiled kernels are not cached (%s)", error)
            return None

    def _load(self, kept: Entries, key: str, sig: Any) -> Any:
        try:
            found = kept.load(self._kernel.__name__, key)
            if found is None:
                return None
            kernel = unpacked(found, tuple(sig))
        except Exception as error:  # whatever unpickling raises
            logger.warning("ignored an unreadable cached kernel in %s (%s)", kept.folder, error)
            return None
        try:
            kernel.bind()
        except Exception as error:  # of the driver, of which there are many classes
            if not any(name in str(error) for name in _REFUSALS):
                raise
            logger.warning("the GPU's driver refused a cached kernel in %s (%s)", kept.folder, error)
            return None
        return kernel

    def enable(self) -> None:
        """Nothing: a kernel without a folder has no cache."""

    disable = flush = enable


def packed(kernel: Any) -> bytes:
    """What numba-cuda keeps of a linked kernel, as bytes."""
    from numba.cuda.serialize import dumps

    return zlib.compress(dumps(kernel._reduce_states()), 1)


def unpacked(data: bytes, argument_types: tuple[Any, ...]) -> Any:
    """The kernel of `packed`.

    Raises
    ------
    ValueError
        If it takes other arguments.
    """
    from numba.cuda.dispatcher import _Kernel

    kernel = _Kernel._rebuild(**pickle.loads(zlib.decompress(data)))
    if kernel.argument_types != argument_types:
        raise ValueError(f"it takes {kernel.argument_types}, not {argument_types}")
    return kernel


def cached(kernel: Any) -> Any:
    """Let a dispatcher of numba-cuda load its kernels from disk and save them there."""
    if hasattr(kernel, "_cache") and hasattr(kernel, "targetoptions"):
        cache = KernelCache(kernel)
        kernel._cache, kernel.compile = cache, functools.partial(cache.locks.compile, kernel.compile)
    return kernel
