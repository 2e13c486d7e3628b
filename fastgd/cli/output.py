"""What the command writes: its result, its data, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from fastgd import files
from fastgd.cli import stops

# A process that is stopped removes them.
stops.unfinished = files.unfinished

#: Characters that move the cursor, colour or reorder what a terminal shows: control characters, line and paragraph
#: separators, and marks of writing direction; lone surrogates stand for bytes of a file's name that are no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class OutputError(Exception):
    """The result cannot be printed."""


def printable(text: str) -> str:
    r"""Return one line of text with unprintable characters escaped, as ``\x1b``."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def plural(count: float, noun: str) -> str:
    """Return a count with its noun: ``1 row``, ``2,000 rows``, ``2.5 passes``."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,.4g} {noun}{ending}" if count % 1 else f"{int(count):,} {noun}{ending}"


def printable_json(text: str) -> str:
    r"""Return JSON with the unprintable characters in its strings escaped, as ``\u009b``."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def prepare_streams() -> None:
    """Give closed standard streams the null device, and let text escape what a stream's encoding lacks.

    Without it the next file that is opened would become the standard output, and Python would print there what is meant
    for the standard error.

    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for the life of the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def takes_unicode() -> bool:
    """Return whether standard output can show every character."""
    return sys.stdout is None or (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def print_text(text: str) -> None:
    """Print the result on standard output, at once.

    Raises
    ------
    OutputError
        It is closed, or takes no more; BrokenPipeError where its reader has left.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}") from error


def print_data(data: bytes) -> None:
    """Write data on standard output as they are; on a terminal with unprintable characters escaped.

    Raises
    ------
    OutputError
        As `print_text` does.
    """
    if sys.stdout is None or sys.stdout.isatty():
        print_text("\n".join(map(printable, data.decode().split("\n"))).removesuffix("\n"))
        return
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}") from error


def abandon(stream: TextIO | None) -> None:
    """Let Python's own flush of a stream at its exit find no closed pipe and no full disk."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


#: Files that this process has completed, by the names that the user gave.
written: list[Path] = []


def inventory() -> str:
    """Return what this process has written so far, in words."""
    return f"written: {', '.join(map(str, written))}" if written else "nothing was written"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary file, as `fastgd.files.whole_file` does, and note in the inventory what has been written."""
    with files.whole_file(path) as temporary:
        yield temporary
    written.append(path)
