"""Memory read bandwidth of the machine over a given array, the upper limit of any pass over X.

Three ways to read every number once, each on 1 to N threads; the fastest is the yardstick. Run them alternately with
the measured job, since bandwidth changes with the load of a virtual machine's host.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from fastgd.bench.machine import cores
from fastgd.bench.timing import Job, alternate, fastest

_STREAMS = 8
_CHUNKS_PER_THREAD = 16


# Loops run over x.size of a slice: over signed bounds they check for wrap-around and do not vectorise.
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
    # The bits as integers: a maximum of floats, which treats NaN specially, does not vectorise.
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


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores())


def _read(name: str, x: NDArray[Any], threads: int) -> Any:
    one, combine = _READS[name]
    # At least eight numbers per chunk, so that no stream is empty.
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
    """Return every way to read X by names like "sum, 2 threads"; X is contiguous and not copied.

    Their results are checked, which also compiles them.
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


def read_sum(X: NDArray[Any]) -> float:
    """Return the sum of all numbers of a contiguous array, read on all cores."""
    return float(_read("sum", X.reshape(-1), cores()))


def measure_shares(X: NDArray[Any], jobs: dict[str, tuple[Job, int]], rounds: int) -> dict[str, Any]:
    """Time jobs alternately with every way to read X; a job comes with the threads that it uses.

    Its yardstick is the fastest way (by median) on at most as many threads.
    """
    ways = {count: reads(X, list(range(1, count + 1))) for count in sorted({count for _, count in jobs.values()})}
    everything = {name: way for some in ways.values() for name, way in some.items()}
    everything |= {name: job.run for name, (job, _) in jobs.items()}
    seconds = alternate(everything, rounds)
    yardsticks = {name: fastest({way: seconds[way] for way in ways[count]}) for name, (_, count) in jobs.items()}
    return {"seconds": seconds, "yardsticks": yardsticks}
