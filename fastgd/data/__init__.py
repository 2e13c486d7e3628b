"""Read tables from files. This module imports no NumPy, for the command's help."""

from __future__ import annotations

from typing import NamedTuple


class ReadOptions(NamedTuple):
    """How to read a source where the source itself does not say."""

    header: bool | None = None
    """Whether the first line of delimited text names the columns; None detects it."""
    decimal: str | None = None
    """The decimal mark of delimited text; None detects it."""
    thousands: str = ""
    """The mark between groups of three digits in delimited text; "" allows none."""
    null: tuple[str, ...] = ()
    """Values that mean "missing" in every column, besides the usual ones in columns of numbers."""
