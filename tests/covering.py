"""Few rows of a cross product that hold every pair of its values: those of the fast tests, all others are slow."""

import itertools
from collections.abc import Iterable

import pytest


def every_pair(rows: Iterable[tuple]) -> list[tuple]:
    """Choose rows with most new pairs first, until any two values that meet in a row meet in a chosen one."""
    pairs = {row: set(itertools.combinations(enumerate(row), 2)) for row in rows}
    left, chosen = set().union(*pairs.values()), []
    while left:
        chosen.append(max(pairs, key=lambda row: len(pairs[row] & left)))
        left -= pairs[chosen[-1]]
    return chosen


def pairwise(rows: Iterable[tuple]) -> list:
    """All rows as parameters of a test, slow where `every_pair` does without them."""
    rows = list(rows)
    chosen = every_pair(rows)
    return [pytest.param(*row, marks=[] if row in chosen else [pytest.mark.slow]) for row in rows]
