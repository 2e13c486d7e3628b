"""Remedies for values that are no numbers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

from fastgd.data.dialect import is_number
from fastgd.data.table import Example, Strays

_SIGNS = re.compile(r"^[-+]?\s*(?P<before>[$€£¥])?\s*[-+]?[\d.,' ]*\d\s*(?P<after>[$€£¥%])?$")
#: How numbers may be spelt (decimal mark, mark of thousands), and the options that read them.
_SPELLINGS = (
    (",", "", "--decimal ,"),
    (".", ",", "--thousands ,"),
    (",", ".", "--decimal , --thousands ."),
    (".", "'", '--thousands "\'"'),
    (".", " ", '--thousands " "'),
    (",", " ", '--decimal , --thousands " "'),
)


def advise(strays: Strays) -> str | None:
    """Return what to do about a column of numbers that are spelt otherwise, or about a few odd values among numbers.

    Parameters
    ----------
    strays : Strays
        The values of the column that are no numbers.

    Returns
    -------
    str or None
        None if the column is text. An option is named only if it reads all the values as the numbers they spell.
    """
    examples = strays.examples
    values = [example.value.strip() for example in examples]
    if not values:
        return None
    fitting = [option for decimal, mark, option in _SPELLINGS if _all(values, lambda v: is_number(v, decimal, mark))]  # noqa: B023
    if fitting[:2] == ["--decimal ,", "--thousands ,"] and not _decides_decimal(values):
        return (
            "its values are numbers: if the commas group thousands, use --thousands ,; if they are decimal marks,"
            " use --decimal ,"
        )
    if fitting:
        return f"its values are numbers: use {fitting[0]}"
    signs = {found["before"] or found["after"] for value in values if (found := _SIGNS.match(value))} - {None}
    if signs and _all(values, lambda value: _SIGNS.match(value) is not None):
        return f"its values are numbers with a sign: remove {' and '.join(sorted(filter(None, signs)))} in the file"
    if len(examples) < strays.n_values / 2:
        return f"most of its values are numbers: {_for_few(examples)}"
    return None


def _for_few(examples: Sequence[Example]) -> str:
    distinct = list(dict.fromkeys(example.value for example in examples))
    if len(distinct) == 1:
        return f"correct it, or take it for missing with --null {shlex.quote(distinct[0])}"
    return f"correct those that are not, from line {examples[0].line:,} on"


def _decides_decimal(values: Sequence[str]) -> bool:
    """Return whether commas can only be decimal marks: a group of thousands never begins with 0."""
    return any(value.lstrip("+-").startswith("0") for value in values)


def _all(values: Sequence[str], holds: Callable[[str], bool]) -> bool:
    return all(map(holds, values))
