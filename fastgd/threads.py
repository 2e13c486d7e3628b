"""The number of threads of a fit, and the thread pool."""

import itertools
import os
import threading
from _thread import start_new_thread
from collections.abc import Callable
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Never

import numpy as np

from fastgd.parameters import is_integer, shown

#: Most threads: above the processors of any machine, and each needs memory.
_MOST_THREADS = 1024
#: Least number of blocks for which threads are started.
_MANY_BLOCKS = 4

_chosen: int | None = None


@cache
def _quota() -> int | None:
    """Return the processors that the control group allows, or None; read once, since that costs more than a fit."""
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
    """Return the number of threads that affinity, control group quota and ``NUMBA_NUM_THREADS`` allow together."""
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
        Number of threads, from 1 to 1024; None for all that affinity, quota and ``NUMBA_NUM_THREADS`` allow.
        Results do not depend on it.

    Raises
    ------
    ValueError
        If n is not an integer from 1 to 1024.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.set_num_threads(2)
    >>> fastgd.get_num_threads()
    2
    >>> fastgd.set_num_threads(None)
    """
    global _chosen
    _chosen = None if n is None else check_threads(n, "n")


def get_num_threads() -> int:
    """Number of threads that a fit with ``n_threads=None`` uses.

    Returns
    -------
    int
        What `set_num_threads` set, else all that affinity, quota and ``NUMBA_NUM_THREADS`` allow.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.get_num_threads() >= 1
    True
    """
    return _chosen or available_threads()


def check_threads(n: object, name: str) -> int:
    """Return n as a thread count or raise a ValueError that names the argument."""
    if not is_integer(n) or not 1 <= int(n) <= _MOST_THREADS:
        raise ValueError(f"{name} must be an integer from 1 to {_MOST_THREADS} or None, got {shown(n)}")
    return int(n)


class _Parts:
    """The parts of one call: part 0 is the caller's, each other part is begun by its thread or withdrawn.

    An interrupt can come between any two instructions of the main thread, but not inside an operation of a dict, set,
    list, queue or lock. So every change is one such operation, and an interrupted caller can repeat it.

    Parameters
    ----------
    size : int
    work : callable
        Called with self and the number of a part, in its thread. It must not refer to self: such a cycle would keep the
        data of a call until Python's garbage collector runs.
    stop : callable
        Called after an error, to release the running parts.
    """

    def __init__(self, size: int, work: Callable[["_Parts", int], None], stop: Callable[[], None]) -> None:
        self.stopped = False
        self._work, self._release = work, stop
        self._errors: list[BaseException] = []
        self._begun: dict[int, bool] = {0: True}
        self._ended: set[int] = set()
        self._done = {number: threading.Lock() for number in range(1, size)}
        for lock in self._done.values():
            lock.acquire()

    def run(self, start: Callable[["_Parts", int], object], withdraw: bool) -> None:
        """Start every part, do the caller's, and return when the others have ended, also after errors.

        Parameters
        ----------
        start : callable
            Called with self and the number of a part, to have `serve` called in another thread.
        withdraw : bool
            Whether to skip parts that have not begun by the end of the caller's.
        """
        try:
            try:
                for number in self._done:
                    start(self, number)
                self._attempt(0)
                self._join(withdraw)
            except BaseException:
                self._abort()
                raise
        except BaseException:
            # An interrupt may also have come between the lines above.
            self._abort()
            raise
        if self._errors:
            self._fail()

    def serve(self, number: int) -> None:
        """Do a part unless it was withdrawn."""
        if self._begun.setdefault(number, True):
            self._attempt(number)
            self._ended.add(number)
            self._done[number].release()

    def _attempt(self, number: int) -> None:
        try:
            self._work(self, number)
        except BaseException as error:
            self._errors.append(error)
            self._stop()

    def _stop(self) -> None:
        self.stopped = True
        self._release()

    def _abort(self) -> None:
        self._stop()
        self._join(withdraw=True)

    def _join(self, withdraw: bool) -> None:
        for number, done in self._done.items():
            if not withdraw or self._begun.setdefault(number, False):
                while number not in self._ended:
                    done.acquire()

    def _fail(self) -> Never:
        """Raise the first error; an interrupt before any other."""
        errors = sorted(self._errors, key=lambda error: isinstance(error, Exception))
        # The frames of an error refer to this object and the data of its work.
        self._errors.clear()
        try:
            raise errors[0]
        finally:
            errors.clear()


class _Pool:
    """Threads that live as long as the process and take parts from a queue."""

    def __init__(self) -> None:
        self.size = 0
        self._queue: SimpleQueue[tuple[_Parts, int]] = SimpleQueue()
        self._lock = threading.Lock()

    def grow(self, size: int) -> None:
        """Start threads up to a number."""
        for _ in range(size - self.size):
            start_new_thread(self._live, (size,))

    def submit(self, parts: _Parts, number: int) -> None:
        """Queue a part for the next free thread."""
        self._queue.put((parts, number))

    def _live(self, size: int) -> None:
        # Counted here, where no interrupt comes between count and start; several callers may start threads at once.
        with self._lock:
            if self.size >= size:
                return
            self.size += 1
        # Every thread has its own error state; callers check results instead.
        np.seterr(all="ignore")
        while True:
            parts, number = self._queue.get()
            parts.serve(number)
            del parts  # it refers to data


_pool = _Pool()


def _forget() -> None:
    """Create a new pool in a forked child, which has none of the threads."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(count: int, n_threads: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(slot, number)`` for every number below `count`, from up to `n_threads` threads.

    The calling thread is one of them, so that fits in several threads share the pool without waiting for each other.
    `slot` numbers the threads of this call. After an error or Ctrl-C no further work starts, and the call returns when
    all running work has ended.
    """
    size = min(n_threads, count)
    if size < 2:
        for number in range(count):
            work(0, number)
        return
    numbers, pool = itertools.count(), _pool

    def worker(parts: _Parts, slot: int) -> None:
        while not parts.stopped and (number := next(numbers)) < count:
            work(slot, number)

    pool.grow(size - 1)
    _Parts(size, worker, lambda: None).run(pool.submit, withdraw=True)


def by_blocks(n: int, size: int, n_threads: int, work: Callable[[int, slice], None]) -> None:
    """Call ``work(slot, rows)`` for every block of `size` rows of n, as `run` does; on one thread for few blocks."""

    def turn(slot: int, number: int) -> None:
        work(slot, slice(number * size, min((number + 1) * size, n)))

    count = -(-n // size)
    if count == 1:
        work(0, slice(0, n))
        return
    run(count, n_threads if count >= _MANY_BLOCKS else 1, turn)


def together(size: int, work: Callable[[int], None], stop: Callable[[], None]) -> None:
    """Call ``work(index)`` for every index below `size` at the same time, the caller's thread being the first.

    For work whose parts wait for each other: every part has its own thread, not one of the pool, where it could wait
    for a part that has not begun. `stop` is called to release the others if a part fails or cannot begin.
    """
    if size == 1:
        work(0)
        return
    parts = _Parts(size, lambda _, index: work(index), stop)
    parts.run(lambda parts, index: start_new_thread(parts.serve, (index,)), withdraw=False)
