"""The command ``fastgd``: fit, predict, bench, info, warmup."""

from __future__ import annotations

import sys

from fastgd.cli import signals


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments; None takes the process's own.

    Returns
    -------
    int
        The exit code: 0; 1 where the result cannot be printed; 2 for input that cannot be used; 130 and 143 after
        SIGINT and SIGTERM; 141 where the reader of standard output has left.
    """
    try:
        signals.install()
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        from fastgd.cli import errors, output

        errors.say("stopped", output.written_files())
        return signals.exit_code()


def _run(argv: list[str]) -> int:
    from fastgd.cli import errors, output

    try:
        output.prepare_streams()
        job = _parse(argv)
        signals.check()
        if callable(job):
            job()
        if sys.stdout is not None:
            sys.stdout.flush()
        signals.check()
    except BrokenPipeError:
        output.abandon(sys.stdout)
        return 141
    except output.OutputError as error:
        errors.say("error", f"the result cannot be printed: {error}; {output.written_files()}")
        output.abandon(sys.stdout)
        return 1
    except Exception as error:
        signals.check()  # a library may report the signal as an error of its own
        line = errors.describe(error, argv)
        if line is None:
            raise
        errors.say("error", line)
        errors.silence_gpu_teardown(error)
        return 2
    return 0


def _parse(argv: list[str]) -> object:
    """Return the job that the arguments ask for; None once help or the version has been printed."""
    try:
        from fastgd.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        from fastgd.cli.errors import InputError

        raise InputError(f"the command needs {error.name}: pip install '.[cli]' in the checkout") from error
    return app(argv or ["--help"], prog_name="fastgd", standalone_mode=False)
