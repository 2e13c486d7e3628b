"""BLAS on one thread while our own threads call it: its threads would fight ours, and change results."""

import threading
from functools import cache
from types import TracebackType
from typing import Any

from threadpoolctl import ThreadpoolController

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
        with _lock:
            if _holders == 0:
                _free()
                _limit = _controller().limit(limits=1, user_api="blas")
            _holders += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _holders
        with _lock:
            _holders -= 1
            if _holders == 0:
                _free()
                _limit.restore_original_limits()
                _free()
