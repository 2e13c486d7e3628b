"""Show progress on stderr, if that is a terminal: the stage, and for a fit the epoch, loss and certificate."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from fastgd.cli.output import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LOGGER = logging.getLogger("fastgd")


#: Shows the user which stage the command has reached.
Show: TypeAlias = Callable[[str], None]


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Show]:
    """Give a function that shows a stage; it does nothing if `quiet`, or if stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage: None
        return
    display = _display()
    task = display.add_task("starting", total=None, detail="")
    handler = _EpochHandler(display, task)
    level = _LOGGER.level
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.DEBUG)  # at which the epochs of a fit that is not verbose are logged

    def show(stage: str) -> None:
        display.refresh()  # the last state of the stage before, however short it was
        display.update(task, description=printable(stage), total=None, detail="")

    try:
        with display:
            yield show
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(level)


class _EpochHandler(logging.Handler):
    """Display the epochs that the estimators log."""

    def __init__(self, display: Progress, task: TaskID) -> None:
        super().__init__(logging.DEBUG)
        self._display = display
        self._task = task

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, Any] | None = getattr(record, "fastgd", None)
        if not facts or "epoch" not in facts:
            return
        parts = [f"epoch {facts['epoch']}"]
        shown = [name for name in ("loss", "validation_loss", "certificate") if math.isfinite(facts[name])]
        parts += [f"{name.replace('_', ' ')} {facts[name]:.3g}" for name in shown]
        state = {"completed": facts["epoch"], "total": facts["max_iter"], "detail": "  ".join(parts)}
        self._display.update(self._task, description="fitting", **state)


def _display() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True, markup=False, highlight=False),
        transient=True,
    )
