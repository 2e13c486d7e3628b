"""BLAS on one thread while fits call it: its threads would fight ours, and their number would show in results."""

import os
import threading
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import TracebackType
from typing import Any

from threadpoolctl import ThreadpoolController

#: Numbers and columns of a matrix up to which BLAS shares no product with it, nor a factorisation, among threads:
#: OpenBLAS has limits of 9216 numbers for products with vectors and of 2^18 multiplications for those of matrices.
_FEW_NUMBERS, _FEW_COLUMNS = 1 << 13, 32

_lock = threading.Lock()
_holders = 0
_limit: Any = None


@cache
def _controller() -> ThreadpoolController:
    """Looking for the libraries takes milliseconds, hence once a process, after scipy's has been loaded."""
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()


def _free() -> None:
    """Let any thread set limits: threadpoolctl 3.8 heeds the first one that does alone, and fits come from any."""
    for library in _controller().lib_controllers:
        clear = getattr(library, "clear_controlling_thread", None)
        if clear is not None:
            clear(force=True)


class SingleThreadedBlas:
    """``with SingleThreadedBlas():`` the limit is the process's, set by the first who enters, lifted by the last."""

    def __enter__(self) -> None:
        global _holders, _limit
        self._process = os.getpid()
        with _lock:
            try:
                _holders += 1
                if _holders == 1:
                    _free()
                    _limit = _controller().limit(limits=1, user_api="blas")
            except BaseException:
                _holders -= 1
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _holders
        if os.getpid() != self._process:
            # A forked child has let go of it.
            return
        with _lock:
            _holders -= 1
            if _holders == 0:
                _lift()


def single_threaded(rows: int, columns: int) -> AbstractContextManager[None]:
    """The same for work on a matrix of this shape; nothing where BLAS would keep to one thread of its own accord.

    Setting and lifting the limit takes 20 microseconds, of some hundred that a fit of so few numbers takes.
    """
    few = rows * columns <= _FEW_NUMBERS and columns <= _FEW_COLUMNS
    return nullcontext() if few else SingleThreadedBlas()


def _lift() -> None:
    global _limit
    _free()
    _limit.restore_original_limits()
    _free()
    _limit = None


def _forget() -> None:
    """In a forked child none of those live who would lift the limit, and the lock may be held for ever."""
    global _lock, _holders
    _lock, _holders = threading.Lock(), 0
    if _limit is not None:
        _lift()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
