"""Ctrl-C and SIGTERM: the command ends within a second, with exit code 130 or 143 and nothing half-written.

A fit with checkpoints has more time to write the last one; a second signal ends it at once.

The handlers are installed before anything else is imported, so this module imports at its top only small modules that
Python itself has loaded.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # as type checkers know it, without the import of `typing`
if TYPE_CHECKING:
    import socket
    from types import FrameType
    from typing import NoReturn

GRACE_SECONDS = 0.7

_received: list[int] = []
#: Seconds after the first signal in which the main thread may finish, besides `GRACE_SECONDS`.
_more_seconds = 0.0


class Stopped(KeyboardInterrupt):
    """A signal has come.

    Where code that Python runs from C lets a KeyboardInterrupt itself pass, even to a handler, Python ends the process
    by SIGINT instead of returning its exit code; it does not for a subclass.
    """


def install() -> None:
    """Raise `Stopped` in the main thread on SIGINT and SIGTERM; end the process if it cannot be in time.

    Python runs a signal's handler between two of its own instructions, and so not while the main thread compiles or
    reads inside another library; the interpreter's wake-up socket informs a second thread at once.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise)
    import socket
    import threading

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, writer), daemon=True, name="fastgd-signals").start()
    check()  # imports drop exceptions from their call-backs, and no thread has watched before


def check() -> None:
    """Raise `Stopped` if a signal has come: a library may have caught the one that its handler raised."""
    if _received:
        raise Stopped


def allow_seconds(seconds: float) -> None:
    """Give the main thread so many more seconds after a signal that comes from now on."""
    global _more_seconds
    _more_seconds = seconds


def exit_code() -> int:
    """Return the exit code for the signal that came: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def _raise(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if len(_received) == 1:  # a second one would interrupt the clean-up
        raise Stopped


def _watch(reader: socket.socket, writer: socket.socket) -> NoReturn:
    import shutil
    import time

    while True:
        number = reader.recv(1)[0]
        if number in (signal.SIGINT, signal.SIGTERM):
            break
    if _more_seconds:
        reader.settimeout(_more_seconds)
        try:  # noqa: SIM105 - this module does not import contextlib
            reader.recv(1)
        except TimeoutError:
            pass
    time.sleep(GRACE_SECONDS)
    files = sys.modules.get("fastgd.files")
    for path in tuple(files.unfinished) if files else ():
        try:
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
        except OSError:
            continue
    os.write(2, b"fastgd: stopped\n")
    os._exit(128 + number)
