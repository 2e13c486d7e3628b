"""Standard output and files: text safe for terminals, data as they are, files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from fastgd import files

#: Characters that move the cursor, colour or reorder what a terminal shows: control characters, line and paragraph
#: separators, and marks of writing direction; lone surrogates stand for bytes of a file's name that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

#: Files that this process has completed, as the user named them.
written: list[Path] = []


class OutputError(Exception):
    """The result cannot be printed."""


def printable(text: str) -> str:
    r"""Return one line of text with unprintable characters escaped, as ``\x1b``."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def printable_json(text: str) -> str:
    r"""Return JSON with the unprintable characters in its strings escaped, as ``\u009b``."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plural(count: float, noun: str) -> str:
    """Return a count with its noun: ``1 row``, ``2,000 rows``, ``2.5 passes``."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,.4g} {noun}{ending}" if count % 1 else f"{int(count):,} {noun}{ending}"


def listed(parts: Sequence[str], most: int = 8, noun: str = "") -> str:
    """Return the first of some parts of a message, and how many more there are: ``a, b and 3 more columns``."""
    rest = len(parts) - most
    more = f" and {plural(rest, f'more {noun}') if noun else f'{rest:,} more'}" if rest > 0 else ""
    return ", ".join(parts[:most]) + more


def prepare_streams() -> None:
    """Give closed standard streams the null device, and escape characters that a stream's encoding lacks.

    Otherwise the next file to be opened would become standard output, and Python would print messages for standard
    error into it.
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


@contextlib.contextmanager
def _output() -> Iterator[TextIO]:
    """Give standard output; raise `OutputError` if it is closed or full, BrokenPipeError if its reader has left."""
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        yield sys.stdout
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}") from error


def print_text(text: str) -> None:
    """Print the result on standard output at once; see `_output` for errors."""
    with _output() as stream:
        print(text, file=stream, flush=True)


def print_file(path: Path) -> None:
    """Write a file of text to standard output as it is; on a terminal with unprintable characters escaped."""
    with _output() as stream, path.open("rb") as file:
        if stream.isatty():
            print_text("\n".join(map(printable, file.read().decode().split("\n"))).removesuffix("\n"))
            return
        stream.flush()
        shutil.copyfileobj(file, stream.buffer)
        stream.buffer.flush()


def abandon(stream: TextIO | None) -> None:
    """Keep Python's own flush of a stream at its exit from finding a closed pipe or a full disk."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def written_files() -> str:
    """Return which files this process has written so far, in words."""
    return f"written: {', '.join(map(str, written))}" if written else "nothing was written"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary file, as `fastgd.files.whole_file` does, and record that it has been written."""
    with files.whole_file(path) as temporary:
        yield temporary
    written.append(path)
