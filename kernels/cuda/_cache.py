"""Compiled kernels of the GPU on disk, so that they are compiled once per machine.

Typing and lowering take seconds, then the linker. An entry holds the state that numba-cuda itself keeps of a kernel,
including its linked machine code: a process that finds it neither types nor links.
"""

import functools
import importlib
import logging
import os
import pickle
import sys
import zlib
from importlib.metadata import PackageNotFoundError, version

from fastgd.kernels._cache import cache_folder, filelock, source_stamp
from fastgd.kernels._entries import CompileLocks, Entries

logger = logging.getLogger("fastgd")

#: Errors of a driver that refuses machine code, which is then recompiled; others are errors of the GPU.
_REFUSALS = (
    "INVALID_IMAGE",
    "INVALID_SOURCE",
    "NO_BINARY_FOR_GPU",
    "INVALID_PTX",
    "UNSUPPORTED_PTX_VERSION",
    "NOT_FOUND",
)
#: Packages on whose versions machine code, or its saved form, depends.
_PACKAGES = "numba", "numba-cuda", "llvmlite", "cuda-core", "cuda-bindings"
#: Settings of Numba (NUMBA_OPT, ...) that change machine code and are no options of a kernel.
_SETTINGS = "OPT", "BOUNDSCHECK", "FORCE_CUDA_CC", "CUDA_DEFAULT_PTX_CC", "CUDA_DEBUG_POLY", "CUDA_ENABLE_NRT"


#: Computed at import, with the sources that this process runs, not with edits made later.
STAMP = source_stamp("cuda")


@functools.cache
def entries() -> Entries | None:
    """Return the entries for these sources, or None without a writable folder or without filelock."""
    folder = cache_folder(STAMP) if filelock else None
    return None if folder is None else Entries(folder)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _state_of(path: str | None) -> tuple[object, ...]:
    """Return values that distinguish a library from another build of it."""
    if path is None or not os.path.isfile(path):
        return (path,)
    found = os.stat(path)
    return path, found.st_size, found.st_mtime_ns


@functools.cache
def toolchain() -> str:
    """Describe the compilers and linkers: versions of packages, the libraries found, the driver, the settings."""
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
    """A cache of numba-cuda's kind for one kernel, whose errors never stop a fit.

    Parameters
    ----------
    kernel : CUDADispatcher
        It needs the attribute `made_of` of its factory: the name alone does not distinguish kernels.
    """

    cache_path = None

    def __init__(self, kernel):
        self._kernel = kernel
        self.locks = CompileLocks()

    def key(self, argument_types, capability: tuple[int, ...]) -> str:
        """Return everything on which the machine code of a signature depends."""
        options = sorted((name, repr(option)) for name, option in self._kernel.targetoptions.items())
        kinds = [repr(kind) for kind in argument_types]
        return repr(((self._kernel.__name__, self._kernel.made_of, kinds, options, capability), toolchain()))

    def load_overload(self, sig, target_context):
        """Return the kernel of a signature, or None if this process, which then holds its lock, must compile it."""
        where = self._where(sig)
        if where is None:
            return None
        kept, key = where
        return self.locks.load(kept, self._kernel.__name__, key, lambda: self._load(kept, key, sig))

    def save_overload(self, sig, data):
        """Save a kernel that has been linked."""
        where = self._where(sig)
        # Only machine code for any launch configuration is saved.
        if where is None or getattr(data, "launch_config_sensitive", False):
            return
        kept, key = where
        kept.try_save(self._kernel.__name__, key, lambda: packed(data))

    def _where(self, sig):
        kept = entries() if hasattr(self._kernel, "made_of") else None
        if kept is None:
            return None
        from numba import cuda

        try:
            return kept, self.key(tuple(sig), cuda.get_current_device().compute_capability)
        except Exception as error:  # a release of numba-cuda with other internals
            logger.warning("compiled kernels are not cached (%s)", error)
            return None

    def _load(self, kept: Entries, key: str, sig):
        kernel = kept.rebuild(self._kernel.__name__, key, lambda found: unpacked(found, tuple(sig)))
        try:
            if kernel is not None:
                kernel.bind()
        except Exception as error:  # of the driver, of which there are many classes
            if not any(name in str(error) for name in _REFUSALS):
                raise
            logger.warning("the GPU's driver refused a cached kernel in %s (%s)", kept.folder, error)
            return None
        return kernel

    def enable(self) -> None:
        """Do nothing: a kernel without a folder has no cache."""

    disable = flush = enable


def packed(kernel):
    """Return the state that numba-cuda keeps of a linked kernel, as bytes."""
    from numba.cuda.serialize import dumps

    return zlib.compress(dumps(kernel._reduce_states()), 1)


def unpacked(data: bytes, argument_types):
    """Return the kernel of `packed`.

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


def cached(kernel):
    """Let a dispatcher of numba-cuda load its kernels from disk and save them there."""
    if hasattr(kernel, "_cache") and hasattr(kernel, "targetoptions"):
        cache = KernelCache(kernel)
        kernel._cache, kernel.compile = cache, functools.partial(cache.locks.compile, kernel.compile)
    return kernel
