"""Read tables and streams of rows. This module imports no NumPy, for the command's help."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fastgd.data.batch_source import scan_sql
    from fastgd.data.rows import RowBlock, RowSource
    from fastgd.data.scan import as_source

__all__ = ["ReadOptions", "RowBlock", "RowSource", "as_source", "scan_sql"]

#: Module of each public name that is imported when it is first used.
_MODULES = {"RowBlock": "rows", "RowSource": "rows", "as_source": "scan", "scan_sql": "batch_source"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


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
    text: tuple[str, ...] = ()
    """Columns of delimited text to read as text, even if their first values are numbers."""
    n_features: int | None = None
    """Number of features of libsvm text; None finds the largest number of one."""
