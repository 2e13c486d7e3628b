"""The commands, as typer reads them; the module of a command is imported when it runs.

Every command returns its job instead of running it: by then typer no longer handles exceptions.
"""

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

import fastgd
from fastgd.cli.draw_options import DrawOptions
from fastgd.cli.options import BenchOptions, FitOptions, PredictOptions, WarmupOptions

# Rich would box and wrap at 80 columns, and take brackets in the name of a column for markup.
app = typer.Typer(
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Linear and logistic regression by gradient descent on large data, at the speed of memory.",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"fastgd {fastgd.__version__}")
        raise typer.Exit


@app.callback()
def _fastgd(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _add_command(
    name: str, options: type[FitOptions | PredictOptions | WarmupOptions | BenchOptions | DrawOptions]
) -> None:
    """Add a command that has an option per field of a dataclass, and its docstring as help."""

    def command(**given: Any) -> Callable[[], None]:
        return partial(_run, name, options(**given))

    parameters = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[option.type, option.metadata["typer"]],
            default=inspect.Parameter.empty if option.default is dataclasses.MISSING else option.default,
        )
        for option in dataclasses.fields(options)
    ]
    command.__doc__ = options.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command(name)(command)


def _run(name: str, *arguments: object) -> None:
    """Call the function of a command, such as `fastgd.cli.fit.fit`."""
    getattr(importlib.import_module(f"fastgd.cli.{name}"), name)(*arguments)


_add_command("fit", FitOptions)
_add_command("predict", PredictOptions)


@app.command()
def info(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> Callable[[], None]:
    """Show versions, threads and the folder of the compiled kernels."""
    return partial(_run, "info", json)


_add_command("warmup", WarmupOptions)
_add_command("bench", BenchOptions)
_add_command("draw", DrawOptions)
