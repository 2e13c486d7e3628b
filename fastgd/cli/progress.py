"""Show progress on stderr, if that is a terminal: rows per second while files are read, epochs and losses of a fit."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
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
    """Display the rows and the epochs that readers and estimators log."""

    def __init__(self, display: Progress, task: TaskID) -> None:
        super().__init__(logging.DEBUG)
        self._display = display
        self._task = task
        # Rows that the current pass over a source has read, and when it began.
        self._rows, self._started = 0, 0.0

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, Any] | None = getattr(record, "fastgd", None)
        if facts and "rows_read" in facts:
            self._show_rows(facts["rows_read"], facts["share_read"])
        elif facts and "epoch" in facts:
            self._show_epoch(facts)

    def _show_rows(self, rows: int, share: float) -> None:
        """Display rows, rows per second and, where the share of the file is known, the time left."""
        now = time.monotonic()
        if rows < self._rows or not self._rows:
            self._started = now
        self._rows, seconds = rows, now - self._started
        detail = reading_detail(rows, share, seconds)
        total = 1.0 if share > 0 else None
        self._display.update(self._task, completed=max(share, 0.0), total=total, detail=detail)

    def _show_epoch(self, facts: dict[str, Any]) -> None:
        parts = [f"epoch {facts['epoch']}"]
        shown = [name for name in ("loss", "validation_loss", "certificate") if math.isfinite(facts[name])]
        parts += [f"{name.replace('_', ' ')} {facts[name]:.3g}" for name in shown]
        state = {"completed": facts["epoch"], "total": facts["max_iter"], "detail": "  ".join(parts)}
        self._display.update(self._task, description="fitting", **state)


def reading_detail(rows: int, share: float, seconds: float) -> str:
    """Return the progress of a pass over a source: rows, rows per second, its share (below 0 if unknown), time left."""
    parts = [f"{rows:,} rows"]
    if seconds > 0:
        parts.append(f"{rows / seconds:,.0f} rows/s")
    if share > 0:
        minutes, rest = divmod(round(seconds * (1 / share - 1)), 60)
        parts += [f"{share:.0%}", f"{minutes}:{rest:02} left"]
    return "  ".join(parts)


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
