"""How a source is read where it does not say so itself. Imports no NumPy, for the command's help."""

from __future__ import annotations

from typing import NamedTuple


class ReadOptions(NamedTuple):
    """How a source is read where it does not say so itself."""

    header: bool | None = None
    """Whether the first line of delimited text names the columns; None finds out."""
    decimal: str | None = None
    """The decimal mark of delimited text; None finds out."""
    thousands: str = ""
    """The mark between groups of three digits in delimited text; "" allows none."""
    null: tuple[str, ...] = ()
    """Values that mean "missing" in every column, besides the usual ones in columns of numbers."""
