"""Memory read bandwidth of the machine over a given array: what no pass over X can beat.

Three ways to read every number once, each on 1 to N threads; the fastest is the yardstick. They are to be run
in turn with the thing measured, since bandwidth changes with what else the host of a virtual machine does.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_STREAMS = 8
_CHUNKS_PER_THREAD = 16


# Loops run over x.size of a slice: over signed bounds they would check for wrap-around and not vectorise.
@numba.njit(nogil=True, fastmath=True, cache=True)
def _sum(x: Any) -> Any:
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    return total


@numba.njit(nogil=True, fastmath=True, cache=True)
def _largest(x: Any) -> Any:
    top = x[0]
    for i in range(x.size):
        top = max(top, x[i])
    return top


def _max(x: NDArray[Any]) -> Any:
    # Of the bits as integers: a maximum of floats, where NaN has its own rules, does not vectorise.
    return _largest(x.view(f"i{x.itemsize}"))


@numba.njit(nogil=True, fastmath=True, cache=True)
def _streams(x0: Any, x1: Any, x2: Any, x3: Any, x4: Any, x5: Any, x6: Any, x7: Any) -> Any:
    total = x0.dtype.type(0)
    for i in range(x0.size):
        total += ((x0[i] + x1[i]) + (x2[i] + x3[i])) + ((x4[i] + x5[i]) + (x6[i] + x7[i]))
    return total


def _eight_streams(x: NDArray[Any]) -> Any:
    length = x.size // _STREAMS
    total = _streams(*(x[k * length : (k + 1) * length] for k in range(_STREAMS)))
    return total + (_sum(x[_STREAMS * length :]) if _STREAMS * length < x.size else 0)


_READS: dict[str, tuple[Callable[[NDArray[Any]], Any], Callable[[list[Any]], Any]]] = {
    "sum": (_sum, sum),
    "max": (_max, max),
    "eight streams": (_eight_streams, sum),
}


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores())


def _read(name: str, x: NDArray[Any], threads: int) -> Any:
    one, combine = _READS[name]
    # At least eight numbers a chunk, so that no stream is empty.
    chunks = np.array_split(x, max(1, min(threads * _CHUNKS_PER_THREAD, x.size // _STREAMS)))
    if threads == 1:
        return combine([one(chunk) for chunk in chunks])
    parts = [chunks[k::threads] for k in range(threads)]
    waiting = [_pool().submit(lambda part: [one(chunk) for chunk in part], part) for part in parts[1:]]
    results = [one(chunk) for chunk in parts[0]]
    for future in waiting:
        results += future.result()
    return combine(results)


def reads(X: NDArray[Any], threads: list[int] | None = None) -> dict[str, Callable[[], Any]]:
    """Every way to read X, named "sum, 2 threads" and the like; X is a contiguous array and not copied.

    Their results are checked here, which also compiles them.
    """
    flat = (X if X.flags.c_contiguous else X.T).reshape(-1)
    if not np.shares_memory(flat, X):
        raise ValueError("X must be contiguous")
    ways: dict[str, Callable[[], Any]] = {
        f"{name}, {count} thread{'s' if count > 1 else ''}": functools.partial(_read, name, flat, count)
        for count in threads or range(1, cores() + 1)
        for name in _READS
    }
    top = float(flat.view(f"i{flat.itemsize}").max())
    exact, size = float(np.sum(flat, dtype=np.float64)), float(np.abs(flat).sum(dtype=np.float64))
    for name, way in ways.items():
        expected, slack = (top, 0.0) if name.startswith("max") else (exact, 1e-3 * size)
        if abs(float(way()) - expected) > slack:
            raise AssertionError(f"{name}: read {way()}, expected {expected}")
    return ways
