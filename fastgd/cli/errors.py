"""Report errors of the command: one line on stderr, in the terms of its options, without a traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import pairwise

from fastgd.cli.output import abandon, printable
from fastgd.exceptions import DeviceError, DivergenceError, ModelFileError, TableError

#: Longest message; the user's own text in it may be of any length.
_LONGEST = 3000
#: How CUDA's driver names its errors, for which Python's wrappers have many classes.
_CUDA_ERROR = re.compile(r"\bCUDA_ERROR_[A-Z_]+")
_PARSER_ERROR = re.compile(r"Invalid value for '(.+?)'(?: / '.*?')*: (.*)")

#: Parameters of the estimators and the options that set them, as messages name them: ``max_iter`` or ``tol=0.1``.
_OPTIONS = {"max_iter": "--epochs", "n_iter_no_change": "--patience"} | {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *("alpha", "batch_size", "delta", "device", "early_stopping", "l1_ratio", "learning_rate", "max_seconds"),
        *("optimizer", "tol", "validation_fraction"),
    )
}
_PARAMETER = re.compile(rf"\b({'|'.join(_OPTIONS)})\b(?:=(['\"]?)([-+.\w]*\w)\2)?")


class InputError(Exception):
    """The user's input cannot be used; the message says why and gives the remedy."""


def say(kind: str, message: str) -> None:
    """Print a message as one line on stderr, whatever line breaks and control characters it has."""
    line = " ".join(part.strip() for part in message.splitlines() if part.strip())
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 3 :]}"
    try:
        print(f"fastgd: {kind}: {printable(line)}", file=sys.stderr, flush=True)
    except OSError:  # a reader that has left, or a full disk, changes neither the result nor the exit code
        abandon(sys.stderr)


def in_options(message: str) -> str:
    """Return a message of the estimators with the command's options in place of their parameters."""

    def option(found: re.Match[str]) -> str:
        is_flag = found[3] in (None, "True")
        return _OPTIONS[found[1]] if is_flag else f"{_OPTIONS[found[1]]} {found[3]}"

    return _PARAMETER.sub(option, message)


def describe(error: BaseException, argv: Sequence[str] = ()) -> str | None:
    """Return the message for an error that the user can fix; None for a fault of the program.

    Parameters
    ----------
    error : BaseException
    argv : sequence of str, default=()
        The arguments of the command, for values that its parser does not name.

    Returns
    -------
    str or None
    """
    if isinstance(error, InputError | TableError | ModelFileError | DivergenceError):
        return str(error)
    if isinstance(error, DeviceError):
        return in_options(str(error))
    if hasattr(error, "format_message"):  # typer's errors
        context = getattr(error, "ctx", None)
        message = _with_value(error.format_message().rstrip("."), argv)
        return f"{message}; see '{context.command_path if context else 'fastgd'} --help'"
    if isinstance(error, MemoryError):
        remedy = ", or --device cpu" if "GPU" in str(error) else ""
        return f"not enough memory: {error}; try --dtype float32, or fewer rows or columns{remedy}"
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} does not exist: check the path"
    if isinstance(error, IsADirectoryError):
        return f"{error.filename} is a folder: give the path of a file"
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return f"{error.filename or 'input or output'}: {error.strerror or error}"
    if found := _CUDA_ERROR.search(str(error)):
        return f"the GPU's driver reports {found[0]}: check that nvidia-smi works, or use --device cpu"
    return None


def _with_value(message: str, argv: Sequence[str]) -> str:
    """Return a parser's message with the option first, the value that it refused, and plain words."""
    found = _PARSER_ERROR.fullmatch(message)
    if found is None:
        return message
    option, reason = found[1], re.sub(r"^(Value error, )?(Input )?|, unable to parse .*", "", found[2])
    values = [value for word, value in pairwise(argv) if word == option]
    values += [word.removeprefix(f"{option}=") for word in argv if word.startswith(f"{option}=")]
    if not values or reason.startswith(repr(values[-1])):
        return f"{option}: {reason}"
    return f"{option} {values[-1]}: {reason}"


def silence_gpu_teardown(error: BaseException) -> None:
    """After an error of the GPU, suppress the pages of errors from freeing its memory when this process ends."""
    if _CUDA_ERROR.search(str(error)):
        sys.unraisablehook = lambda its: None
        sys.excepthook = lambda *its: None
