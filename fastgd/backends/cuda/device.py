"""Access to the GPU: launches, resident blocks, memory, events and errors."""

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

#: Threads per block, None to use the layout's; blocks of a grid in the simulator, whose threads are Python's.
THREADS: int | None = 16 if SIMULATED else None
SIMULATED_BLOCKS = 2
#: Blocks per resident block, which balances blocks of unequal speed.
_TURNS = 4
#: Bytes of free memory to leave unused, and their least share of it.
_SPARE_BYTES, _SPARE_SHARE = 1 << 28, 16
#: Seconds between two polls of an event: least, most, and as a share of the seconds waited.
_SHORTEST, _LONGEST, _SHARE_OF_PASSED = 2e-5, 1e-3, 1 / 16
#: Seconds of work that Ctrl-C may wait for.
_SHORT_WORK = 5e-3

_ERROR = re.compile(r"CUDA_ERROR_[A-Z_]+")
_FORKED = "CUDA_ERROR_NOT_INITIALIZED", "CUDA_ERROR_DEINITIALIZED"
#: Errors after which this process can no longer use the GPU.
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
#: Errors for code that the driver or the GPU cannot run.
_UNSUITABLE = tuple(
    f"CUDA_ERROR_{name}" for name in ("UNSUPPORTED_PTX_VERSION", "NO_BINARY_FOR_GPU", "INVALID_PTX", "INVALID_IMAGE")
)

#: One compilation at a time, and in the simulator one kernel.
_launching = threading.RLock()
_compiling = 0.0


class Grid(NamedTuple):
    """Launch configuration: blocks, threads per block, and bytes of shared memory per block."""

    blocks: int
    threads: int
    shared: int = 0


def compile_seconds() -> float:
    """Return the seconds that this process has spent compiling kernels for the GPU, or loading them from disk."""
    return _compiling


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Translate errors of work on the GPU into errors with a remedy.

    Raises
    ------
    MemoryError
        If the GPU has no memory left.
    DeviceError
        In a process forked from one that had begun to use the GPU, if compiled code does not run, and after an error
        that makes the GPU unusable for the process.
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
    """Collect garbage after compiling, which keeps errors with the frames of the whole fit, and so its data.

    Python's garbage collector would run later in any thread; one that never used the GPU cannot free its memory and
    prints an error.
    """
    if not SIMULATED:
        gc.collect()


def _note_compiling(kernel: Any, began: float) -> None:
    """Add the seconds of a kernel's newest signature; a compiled one, not a loaded one, leaves garbage."""
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
    """Return the blocks of a kernel that the GPU can hold at once; compile the kernel for these arguments."""
    if SIMULATED:
        return 1
    with _launching:
        before, began = len(kernel.overloads), time.perf_counter()
        compiled = kernel.compile(tuple(kernel.typeof_pyval(arg) for arg in args))
        if len(kernel.overloads) != before:
            _note_compiling(kernel, began)
        return max(1, int(compiled.max_cooperative_grid_blocks(threads, shared)))


def blocks_in_turn(kernel: Any, threads: int, shared: int, *args: Any) -> int:
    """Return the number of blocks for the rows of a pass: several per resident block."""
    return SIMULATED_BLOCKS if SIMULATED else _TURNS * resident_blocks(kernel, threads, shared, *args)


def multiprocessors() -> int:
    """Return the number of multiprocessors of the GPU."""
    return SIMULATED_BLOCKS if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


def free_bytes() -> int:
    """Return the bytes of the GPU's memory that can be allocated."""
    context = cuda.current_context()
    if not SIMULATED:
        # Free the memory that Numba has not returned yet.
        context.memory_manager.deallocations.clear()
    free = context.get_memory_info().free
    return int(free) if free < float("inf") else 1 << 62


def require(needed: int, what: str) -> None:
    """Raise a MemoryError if fewer than `needed` bytes are free."""
    free = free_bytes()
    if needed > free:
        raise MemoryError(f"the GPU has no room for {what}: {needed:,} bytes are needed, {free:,} are free")


def available_bytes() -> int:
    """Return the bytes that data may take: the free ones minus a reserve."""
    free = free_bytes()
    return max(0, free - max(_SPARE_BYTES, free // _SPARE_SHARE))


def new_event() -> Any:
    """Return an event to record in a stream and to wait for."""
    return cuda.event() if SIMULATED else cuda.event(timing=False)


def wait(event: Any, longest: float = _LONGEST, expected: float = float("inf")) -> None:
    """Wait until the work before an event is done; Ctrl-C interrupts, unless it is expected to be short.

    Parameters
    ----------
    event : Event
    longest : float, default=1e-3
        Most seconds between two polls, the most delay after the end.
    expected : float, default=inf
        Expected seconds of the work.
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
