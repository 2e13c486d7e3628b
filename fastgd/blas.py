"""Limit BLAS to one thread during fits: its threads compete with ours, and their number changes results."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache, wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

#: Most numbers and columns of a matrix whose products and factorisations BLAS does on one thread by itself: OpenBLAS
#: has limits of 9216 numbers for products with vectors and of 2^18 multiplications for products of matrices.
_FEW_NUMBERS, _FEW_COLUMNS = 1 << 13, 32

_lock = threading.RLock()
#: Number of times that each thread, by its identifier, holds the limit.
_holds: dict[int, int] = {}
#: The libraries with their threads before the limit; None without a limit.
_usual: list[tuple[Any, int]] | None = None


@cache
def _libraries() -> list[Any]:
    """Return the controllers of the BLAS libraries. The search takes milliseconds, and must follow SciPy's loading."""
    import scipy.linalg  # noqa: F401

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _free() -> None:
    """Let any thread set limits, since fits run in any: threadpoolctl 3.8 accepts only the first thread that does."""
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
    """Limit BLAS if any thread holds the limit, else lift it; `again` repeats that after an interrupt."""
    global _usual
    if _holds:
        if _usual is None:
            # Stored before any change.
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
    """Context manager of the process's limit, set by the first thread that enters and lifted by the last."""

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
        # In a forked child it was released.
        if os.getpid() == self._process:
            _hold(self._thread, _holds.get(self._thread, 0) - 1)


_NO_CHANGE = nullcontext()


def single_threaded(rows: int, columns: int) -> AbstractContextManager[None]:
    """Return the limit for work on a matrix of this shape; none if BLAS uses one thread by itself.

    Setting and lifting the limit takes 20 microseconds, a large part of a fit of so few numbers.
    """
    few = rows * columns <= _FEW_NUMBERS and columns <= _FEW_COLUMNS
    return _NO_CHANGE if few else SingleThreadedBlas()


def limited_blas() -> AbstractContextManager[None]:
    """Return the limit, or a null context if this thread holds it already, as during fits."""
    return _NO_CHANGE if threading.get_ident() in _holds else SingleThreadedBlas()


def holds() -> int:
    """Return the number of times that this thread holds the limit."""
    return _holds.get(threading.get_ident(), 0)


def restore_holds(number: int) -> None:
    """Set the number of holds of this thread, after an interrupt at any point of this module."""
    with suppress(RuntimeError):  # raised if this thread does not hold the lock
        while True:
            _lock.release()
    _hold(threading.get_ident(), number, again=True)


_P = ParamSpec("_P")
_T = TypeVar("_T")


def restores_process(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorate a function to restore the limit on BLAS and NumPy's error state after an exception.

    Python raises KeyboardInterrupt between any two instructions of the main thread, also at the first one of an
    ``__exit__``, which then does nothing. This wrapper acts after the exception, and does nothing otherwise.
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
    """Release the limit in a forked child: the threads that held it exist in the parent only."""
    global _lock
    _lock = threading.RLock()
    _holds.clear()
    _update()


if hasattr(os, "register_at_fork"):
    # During a fork no other thread may be inside threadpoolctl, whose lock the child could not release.
    os.register_at_fork(before=lambda: _lock.acquire(), after_in_parent=lambda: _lock.release(), after_in_child=_forget)
