"""Limit BLAS to one thread while fits call it: its threads compete with ours, and their number changes results."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache, wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

#: Numbers and columns of a matrix up to which BLAS shares no product with it, nor a factorisation, among threads:
#: OpenBLAS has limits of 9216 numbers for products with vectors and of 2^18 multiplications for those of matrices.
_FEW_NUMBERS, _FEW_COLUMNS = 1 << 13, 32

_lock = threading.RLock()
#: How often each thread, by its identifier, holds the limit.
_holds: dict[int, int] = {}
#: The libraries with their threads before the limit; None while there is no limit.
_usual: list[tuple[Any, int]] | None = None


@cache
def _libraries() -> list[Any]:
    """Controllers of the BLAS libraries. The search takes milliseconds, and must come after scipy's has been loaded."""
    import scipy.linalg  # noqa: F401

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _free() -> None:
    """Let any thread set limits: threadpoolctl 3.8 obeys the first one that does alone, and fits come from any."""
    for library in _libraries():
        clear = getattr(library, "clear_controlling_thread", None)
        if clear is not None:
            clear(force=True)


def _set_threads(numbers: list[tuple[Any, int]]) -> None:
    _free()
    for library, number in numbers:
        library.set_num_threads(number)
    _free()


def _update(again: bool = False) -> None:
    """Limit BLAS if any thread holds the limit, else lift it; `again` after an interrupt, which left it half done."""
    global _usual
    if _holds:
        if _usual is None:
            # Noted before anything is changed.
            _usual, again = [(library, library.num_threads) for library in _libraries()], True
        if again:
            _set_threads([(library, 1) for library, _ in _usual])
    elif _usual is not None:
        _set_threads(_usual)
        _usual = None


def _hold(thread: int, number: int, again: bool = False) -> None:
    with _lock:
        if number > 0:
            _holds[thread] = number
        else:
            _holds.pop(thread, None)
        _update(again)


class SingleThreadedBlas:
    """``with SingleThreadedBlas():`` the process's limit, set by the first thread that enters, lifted by the last."""

    def __enter__(self) -> None:
        self._process, self._thread = os.getpid(), threading.get_ident()
        before = holds()
        try:
            _hold(self._thread, before + 1)
        except BaseException:
            _hold(self._thread, before, again=True)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A forked child has released it.
        if os.getpid() == self._process:
            _hold(self._thread, _holds.get(self._thread, 0) - 1)


def single_threaded(rows: int, columns: int) -> AbstractContextManager[None]:
    """Return the limit for work on a matrix of this shape; none where BLAS uses one thread by itself.

    Setting and lifting the limit takes 20 microseconds, of some hundred that a fit of so few numbers takes.
    """
    few = rows * columns <= _FEW_NUMBERS and columns <= _FEW_COLUMNS
    return nullcontext() if few else SingleThreadedBlas()


def limited_blas() -> AbstractContextManager[None]:
    """Return the limit, or nothing to do where this thread holds it already, as fits do."""
    return nullcontext() if threading.get_ident() in _holds else SingleThreadedBlas()


def holds() -> int:
    """Return how often this thread holds the limit."""
    return _holds.get(threading.get_ident(), 0)


def restore_holds(number: int) -> None:
    """Let this thread hold the limit so often, after an interrupt that may have come at any point of this module."""
    with suppress(RuntimeError):  # raised where this thread does not hold the lock
        while True:
            _lock.release()
    _hold(threading.get_ident(), number, again=True)


_P = ParamSpec("_P")
_T = TypeVar("_T")


def restores_process(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Restore state of the process or thread after an exception: the limit on BLAS and NumPy's error state.

    Python raises KeyboardInterrupt between any two instructions of the main thread, also at the first one of an
    ``__exit__``, which then does nothing. Here the interrupt has been raised, and nothing that was done is repeated
    by a successful call.
    """

    @wraps(function)
    def restoring(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        held, errors = holds(), np.geterr()
        try:
            return function(*args, **kwargs)
        except BaseException:
            restore_holds(held)
            np.seterr(**errors)
            raise

    return restoring


def _forget() -> None:
    """Release the limit in a forked child: the threads that held it live in the parent alone."""
    global _lock
    _lock = threading.RLock()
    _holds.clear()
    _update()


if hasattr(os, "register_at_fork"):
    # No other thread is inside threadpoolctl, whose lock the child could not release, while the process forks.
    os.register_at_fork(before=lambda: _lock.acquire(), after_in_parent=lambda: _lock.release(), after_in_child=_forget)
