"""What the command says when it cannot go on: one line on stderr that says what to do, and no traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import pairwise

from fastgd.cli.output import abandon, printable
from fastgd.exceptions import DeviceError, DivergenceError, ModelFileError, TableError

#: What CUDA's drivers call their errors, of which Python's have many classes.
_CUDA_ERROR = re.compile(r"\bCUDA_ERROR_[A-Z_]+")


_REFUSED = re.compile(r"Invalid value for '(.+?)'(?: / '.*?')*: (.*)")
#: Characters of a message; what a user has given may be of any length.
_LONGEST = 3000


class InputError(Exception):
    """The user's input cannot be used; the message says why and what to do."""


def say(kind: str, message: str) -> None:
    """Print one line on stderr, whatever line breaks and control characters the message has."""
    line = " ".join(part.strip() for part in message.splitlines() if part.strip())
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 3 :]}"
    try:
        print(f"fastgd: {kind}: {printable(line)}", file=sys.stderr, flush=True)
    except OSError:  # a reader that has left, or a full disk, changes neither the result nor the exit code
        abandon(sys.stderr)


def describe(error: BaseException, argv: Sequence[str] = ()) -> str | None:
    """Return the line that tells a user of an error; None for one that is a fault of the program.

    Parameters
    ----------
    error : BaseException
        What was raised.
    argv : sequence of str, default=()
        The arguments of the command, which hold the values that its parser does not name.

    Returns
    -------
    str or None
        The line, to be followed by exit code 2.
    """
    if isinstance(error, InputError | TableError | ModelFileError | DivergenceError):
        return str(error)
    if isinstance(error, DeviceError):
        from fastgd.cli.options import in_options  # which imports this module

        return in_options(str(error))
    if hasattr(error, "format_message"):  # what typer raises for options that it refuses
        context = getattr(error, "ctx", None)  # of the command that was asked for
        message = _with_value(error.format_message().rstrip("."), argv)
        return f"{message}; see '{context.command_path if context else 'fastgd'} --help'"
    if isinstance(error, MemoryError):
        elsewhere = ", or --device cpu" if "GPU" in str(error) else ""
        return f"not enough memory: {error}; try --dtype float32, or fewer rows or columns{elsewhere}"
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} does not exist: check the path"
    if isinstance(error, IsADirectoryError):
        return f"{error.filename} is a folder: give the path of a file"
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return f"{error.filename or 'input or output'}: {error.strerror or error}"
    if found := _CUDA_ERROR.search(str(error)):
        return f"the GPU's driver reports {found[0]}: see whether nvidia-smi works, or use --device cpu"
    return None


def _with_value(message: str, argv: Sequence[str]) -> str:
    """Return a message of the parser with the option first, the value that it refused, and plain words."""
    found = _REFUSED.fullmatch(message)
    if found is None:
        return message
    option, reason = found[1], re.sub(r"^(Value error, )?(Input )?|, unable to parse .*", "", found[2])
    values = [value for word, value in pairwise(argv) if word == option]
    values += [word.removeprefix(f"{option}=") for word in argv if word.startswith(f"{option}=")]
    if not values or reason.startswith(repr(values[-1])):
        return f"{option}: {reason}"
    return f"{option} {values[-1]}: {reason}"


def hush_lost_gpu(error: BaseException) -> None:
    """After an error of a GPU: what the end of this process cannot free there would fill pages, and helps nobody."""
    if _CUDA_ERROR.search(str(error)):
        sys.unraisablehook = lambda its: None
        sys.excepthook = lambda *its: None
