"""The GPU as the backend sees it: launches, how many blocks it holds, its memory, and what its errors mean."""

import contextlib
import gc
import re
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from numba import cuda

from fastgd.backends.cuda import driver
from fastgd.backends.cuda import launch as cuda_launch
from fastgd.exceptions import DeviceError
from fastgd.kernels.cuda._target import SIMULATED

#: Threads of a block, None for what the layout chooses; blocks of a grid in the simulator, whose threads are Python's.
THREADS: int | None = 16 if SIMULATED else None
SIMULATED_BLOCKS = 2
#: Blocks in turn on a place of the GPU: where one is slow, others take the rest.
_TURNS = 4
#: Bytes that are left to others, and the share of what is free that is.
_SPARE_BYTES, _SPARE_SHARE = 1 << 28, 16
#: Seconds between two looks at work under way: at least, at most, and as a share of those that have passed.
_SHORTEST, _LONGEST, _SHARE_OF_PASSED = 2e-5, 1e-3, 1 / 16
#: Seconds of work for which Ctrl-C may wait.
_SHORT_WORK = 5e-3

_ERROR = re.compile(r"CUDA_ERROR_[A-Z_]+")
_FORKED = "CUDA_ERROR_NOT_INITIALIZED", "CUDA_ERROR_DEINITIALIZED"
#: Errors after which nothing runs on the GPU in this process any more.
_LOST = tuple(
    f"CUDA_ERROR_{name}"
    for name in (
        "ILLEGAL_ADDRESS",
        "LAUNCH_FAILED",
        "LAUNCH_TIMEOUT",
        "HARDWARE_STACK_ERROR",
        "ILLEGAL_INSTRUCTION",
        "MISALIGNED_ADDRESS",
        "INVALID_ADDRESS_SPACE",
        "INVALID_PC",
        "ASSERT",
        "ECC_UNCORRECTABLE",
        "CONTEXT_IS_DESTROYED",
        "INVALID_CONTEXT",
        "UNKNOWN",
    )
)
#: Errors of code that the driver or the GPU cannot run.
_UNSUITABLE = tuple(
    f"CUDA_ERROR_{name}" for name in ("UNSUPPORTED_PTX_VERSION", "NO_BINARY_FOR_GPU", "INVALID_PTX", "INVALID_IMAGE")
)

#: One compilation at a time, and in the simulator one kernel.
_launching = threading.RLock()
_compiling = 0.0


class Grid(NamedTuple):
    """How a kernel is launched: blocks, threads of each, bytes of shared memory of each."""

    blocks: int
    threads: int
    shared: int = 0


def compile_seconds() -> float:
    """Seconds that this process has spent compiling kernels for the GPU, or loading them from disk."""
    return _compiling


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """What is done on the GPU: errors say what to do.

    Raises
    ------
    MemoryError
        If the GPU has no room.
    DeviceError
        In a process forked from one that had begun to use the GPU, where what was compiled does not run, and after an
        error that nothing survives.
    """
    _check_process()
    try:
        yield
    except Exception as error:
        found = _ERROR.search(str(error))
        name = found[0] if found else ""
        if name == "CUDA_ERROR_OUT_OF_MEMORY":
            raise MemoryError(f"the GPU has no room left: {free_bytes():,} bytes are free ({error})") from error
        if name in _FORKED:
            raise DeviceError(driver.AFTER_A_FORK) from error
        if name in _UNSUITABLE:
            raise DeviceError(
                f"the installed CUDA packages make code that does not run here ({name}), and {driver.what_would_suit()}"
            ) from error
        if name in _LOST:
            raise DeviceError(
                f"the GPU stopped working for this process ({name}), and no CUDA call will succeed in it any more: "
                "start a new process; if it happens again, fit with device='cpu'"
            ) from error
        raise


def _check_process() -> None:
    if driver.is_forked():
        raise DeviceError(driver.AFTER_A_FORK)
    driver.note_start()


def _tidy_up() -> None:
    """Drop what compiling has left: errors that it caught keep the frames of the whole fit, and with them its data.

    Python's collector would find them later, in whichever thread it runs: one that never used the GPU cannot free its
    memory, and says so.
    """
    if not SIMULATED:
        gc.collect()


def _note_compiling(kernel: Any, began: float) -> None:
    """Count the seconds since a kernel's newest signature was asked for; loading leaves nothing behind."""
    global _compiling
    if next(reversed(kernel.overloads)) not in kernel.stats.cache_hits:
        _tidy_up()
    _compiling += time.perf_counter() - began


def launch(kernel: Any, grid: Grid, stream: Any, *args: Any) -> None:
    """Queue a kernel on a stream."""
    with _launching:
        before, began = len(kernel.overloads), time.perf_counter()
        if SIMULATED:
            kernel[grid.blocks, grid.threads, stream, grid.shared](*args)
        else:
            # Numba warns of grids of fewer than 128 blocks, which small data are.
            configured = kernel[max(grid.blocks, 128), grid.threads, stream, grid.shared]
            configured.griddim = (grid.blocks, 1, 1)
            cuda_launch.launch(kernel, configured, args)
        if len(kernel.overloads) != before:
            _note_compiling(kernel, began)


def resident_blocks(kernel: Any, threads: int, shared: int, *args: Any) -> int:
    """Blocks of a kernel that the GPU holds at the same time; the kernel is compiled for these arguments."""
    if SIMULATED:
        return 1
    with _launching:
        before, began = len(kernel.overloads), time.perf_counter()
        compiled = kernel.compile(tuple(kernel.typeof_pyval(arg) for arg in args))
        if len(kernel.overloads) != before:
            _note_compiling(kernel, began)
        return max(1, int(compiled.max_cooperative_grid_blocks(threads, shared)))


def blocks_in_turn(kernel: Any, threads: int, shared: int, *args: Any) -> int:
    """Blocks to which the rows of a pass are dealt: some for every place on the GPU."""
    return SIMULATED_BLOCKS if SIMULATED else _TURNS * resident_blocks(kernel, threads, shared, *args)


def multiprocessors() -> int:
    """Of the GPU."""
    return SIMULATED_BLOCKS if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


def free_bytes() -> int:
    """Bytes of the GPU's memory that can be allocated."""
    context = cuda.current_context()
    if not SIMULATED:
        # What Numba has not given back yet.
        context.memory_manager.deallocations.clear()
    free = context.get_memory_info().free
    return int(free) if free < float("inf") else 1 << 62


def require(needed: int, what: str) -> None:
    """Raise a MemoryError that says how many bytes are missing, if any are."""
    free = free_bytes()
    if needed > free:
        raise MemoryError(f"the GPU has no room for {what}: {needed:,} bytes are needed, {free:,} are free")


def available_bytes() -> int:
    """Bytes that data may take: those free but for some that others need."""
    free = free_bytes()
    return max(0, free - max(_SPARE_BYTES, free // _SPARE_SHARE))


def new_event() -> Any:
    """A mark in a stream that can be waited for."""
    return cuda.event() if SIMULATED else cuda.event(timing=False)


def wait(event: Any, longest: float = _LONGEST, expected: float = float("inf")) -> None:
    """Wait until the work before an event is done; Ctrl-C interrupts, unless it is expected to be short.

    Parameters
    ----------
    event : Event
    longest : float, default=1e-3
        Seconds between two looks, at most: so late the end may be noticed.
    expected : float, default=inf
        Seconds that the work takes.
    """
    if SIMULATED:
        return
    if expected < _SHORT_WORK:
        event.synchronize()
        return
    began = time.perf_counter()
    while not event.query():
        passed = time.perf_counter() - began
        time.sleep(min(max(_SHORTEST, passed * _SHARE_OF_PASSED), longest))
