"""How many threads a fit uses, and the pool that they live in."""

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from numbers import Integral
from pathlib import Path

#: Blocks that are worth the start of threads.
_MANY_BLOCKS = 4

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_chosen: int | None = None


@cache
def _quota() -> int | None:
    """Processors that the control group allows, or None; read once a process, since its files cost more than a fit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else max(1, round(int(limit) / int(period)))
    except (OSError, ValueError):
        pass
    try:
        folder = Path("/sys/fs/cgroup/cpu")
        limit_us = int((folder / "cpu.cfs_quota_us").read_text())
        period_us = int((folder / "cpu.cfs_period_us").read_text())
        return max(1, round(limit_us / period_us)) if limit_us > 0 else None
    except (OSError, ValueError):
        return None


def available_threads() -> int:
    """Threads that affinity, the control group's quota and ``NUMBA_NUM_THREADS`` allow together."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [affinity, _quota()]
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    if asked.isdigit():
        limits.append(int(asked))
    return max(1, min(limit for limit in limits if limit is not None))


def set_num_threads(n: int | None) -> None:
    """Set how many threads fits use from now on.

    Parameters
    ----------
    n : int or None
        Number of threads, at least 1; None for all that affinity, quota and ``NUMBA_NUM_THREADS`` allow.
        Results do not depend on it.

    Raises
    ------
    ValueError
        If n is not a positive integer.
    """
    global _chosen
    _chosen = None if n is None else check_threads(n, "n")


def get_num_threads() -> int:
    """Number of threads that a fit with ``n_threads=None`` uses.

    Returns
    -------
    int
        What `set_num_threads` set, else all that affinity, quota and ``NUMBA_NUM_THREADS`` allow.
    """
    return _chosen or available_threads()


def check_threads(n: object, name: str) -> int:
    """Return n as a thread count or raise a ValueError that names the argument."""
    if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
        raise ValueError(f"{name} must be a positive integer or None, got {n!r}")
    return int(n)


def _executor(n: int) -> ThreadPoolExecutor:
    """The pool of the process, made at first use and remade when more threads are asked for."""
    global _pool
    with _lock:
        if _pool is None or _pool._max_workers < n:
            _pool = ThreadPoolExecutor(max_workers=n, thread_name_prefix="fastgd")
        return _pool


def _forget() -> None:
    """A forked child has the pool's object but none of its threads."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(count: int, n_threads: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(slot, number)`` for every number below `count`, from up to `n_threads` threads.

    The calling thread is one of them, so that fits in several threads share the pool without waiting for each other.
    `slot` numbers the threads of this call. After an error or Ctrl-C no further work starts, and the call
    returns only when every piece under way has ended.
    """
    numbers = itertools.count()
    stopped = threading.Event()

    def worker(slot: int) -> None:
        try:
            while not stopped.is_set() and (number := next(numbers)) < count:
                work(slot, number)
        except BaseException:
            stopped.set()
            raise

    helpers = min(n_threads, count) - 1
    if helpers < 1:
        worker(0)
        return
    futures: list[Future[None]] = []
    try:
        pool = _executor(helpers)
        for slot in range(helpers):
            futures.append(pool.submit(worker, slot + 1))
        worker(0)
    finally:
        for future in futures:
            if not future.cancel():
                _wait(future, stopped)
    for future in futures:
        if not future.cancelled():
            future.result()


def by_blocks(n: int, size: int, n_threads: int, work: Callable[[int, slice], None]) -> None:
    """Call ``work(slot, rows)`` for every block of `size` rows of n, as `run` does; of few blocks on one thread."""

    def turn(slot: int, number: int) -> None:
        work(slot, slice(number * size, min((number + 1) * size, n)))

    count = -(-n // size)
    run(count, n_threads if count >= _MANY_BLOCKS else 1, turn)


def _wait(future: "Future[None]", stopped: threading.Event) -> None:
    """Wait for a helper; an interrupt meanwhile stops new work, and is raised once the helper has ended."""
    while True:
        try:
            future.exception()
            return
        except KeyboardInterrupt:
            stopped.set()
            future.exception()
            raise


def together(size: int, work: Callable[[int], None], stop: Callable[[], None]) -> None:
    """Call ``work(index)`` for every index below `size` at the same time, the caller's thread being the first.

    For work whose parts wait for each other: every part has a thread of its own, never one of the pool, where it
    could wait for a part that has not begun. `stop` is called where one cannot begin or fails, to release the others.
    """
    errors: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            errors.append(error)
            stop()

    if size == 1:
        work(0)
        return
    others = [threading.Thread(target=guarded, args=(index,), name=f"fastgd-{index}") for index in range(1, size)]
    begun = []
    try:
        for thread in others:
            begun.append(thread)
            thread.start()
        guarded(0)
    except BaseException as error:
        # Also an interrupt that comes between two lines of ours.
        errors.append(error)
        stop()
    for thread in begun:
        if thread.ident is not None:
            _join(thread, errors)
    if errors:
        raise errors[0]


def _join(thread: threading.Thread, errors: list[BaseException]) -> None:
    """Wait for a thread that ends by itself; an interrupt meanwhile is raised by the caller."""
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt as error:
            errors.append(error)
