"""The command ``fastgd``: fit, predict, bench, info, warmup."""

from __future__ import annotations

import os
import sys

from fastgd.cli import errors, stops


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments; None takes the process's own.

    Returns
    -------
    int
        The exit code: 0, or 2 for input that cannot be used, or 130 and 143 after SIGINT and SIGTERM.
    """
    stops.install()
    try:
        job = _parse(sys.argv[1:] if argv is None else argv)
        if callable(job):
            job()
        sys.stdout.flush()
    except KeyboardInterrupt:
        errors.say("stopped", "nothing was written")
        return stops.exit_code()
    except BrokenPipeError:  # the reader of our output has seen enough; Python's own flush at exit must find no pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        line = errors.describe(error)
        if line is None:
            raise
        errors.say("error", line)
        errors.hush_lost_gpu(error)
        return 2
    return 0


def _parse(argv: list[str]) -> object:
    """Return the job that the arguments ask for; help and version are printed and leave none."""
    try:
        from fastgd.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        raise errors.InputError(f"the command needs {error.name}: pip install 'fastgd[cli]'") from error
    return app(argv or ["--help"], prog_name="fastgd", standalone_mode=False)
