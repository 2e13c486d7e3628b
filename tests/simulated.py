"""What tests of GPUs share in Numba's simulator."""

import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def threads_take_short_turns():
    """The simulator's threads wait for each other in loops: of turns of 5 ms, Python's, most would be spent so."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)
