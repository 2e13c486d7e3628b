"""Ctrl-C and SIGTERM: the command ends within a second, with exit code 130 or 143 and nothing half-written."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

GRACE_SECONDS = 0.7

_unfinished: set[Path] = set()
_received: list[int] = []


def install() -> None:
    """Raise KeyboardInterrupt in the main thread on SIGINT and SIGTERM; end the process if it cannot be in time.

    Python runs a signal's handler between two of its own instructions, and so not while the main thread compiles or
    reads inside another library; the interpreter's wake-up socket tells a second thread at once.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise)
    threading.Thread(target=_watch, args=(reader, writer), daemon=True, name="fastgd-stops").start()


def exit_code() -> int:
    """Return the exit code that tells of the signal that came: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + (_received[0] if _received else signal.SIGINT)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` that takes its place at the end; on any error nothing is left behind."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    _unfinished.add(temporary)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    _received.append(number)
    raise KeyboardInterrupt


def _watch(reader: socket.socket, writer: socket.socket) -> None:
    while True:
        number = reader.recv(1)[0]
        if number in (signal.SIGINT, signal.SIGTERM):
            break
    time.sleep(GRACE_SECONDS)
    for path in tuple(_unfinished):
        path.unlink(missing_ok=True)
    os.write(2, b"fastgd: stopped\n")
    os._exit(128 + number)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
