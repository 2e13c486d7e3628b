"""What a check is, and what checks compare with."""

from collections.abc import Callable
from typing import Any

import numpy as np

#: A name, and what raises where something is wrong.
Check = tuple[str, Callable[[], None]]


class Absent(Exception):
    """What a check needs is not there: it is noted, and no failure."""


def compare(what: str, got: Any, expected: Any, close: float) -> None:
    """Raise unless numbers are so close, in norm and relative to those expected."""
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    off = np.linalg.norm(got - expected) / max(float(np.linalg.norm(expected)), 1e-300)
    assert off <= close, f"{what}: off by {off:.3g}, more than {close:g}"
