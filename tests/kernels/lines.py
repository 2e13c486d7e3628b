"""Lines of the table as parameters of tests; `bench.gpu` uses the table where there is no pytest."""

import pytest

from tests.kernels.table import ALL, Case


def lines(chosen: list[Case]) -> list:
    """Every case as a parameter of a test, slow where it is not chosen: each costs seconds of compiling."""
    return [pytest.param(c, id=c.name, marks=[] if c in chosen else [pytest.mark.slow]) for c in ALL]
