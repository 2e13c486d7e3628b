"""Interrupts at random moments leave the process as it was."""

import os
import signal

import pytest


@pytest.mark.skipif(not hasattr(signal, "setitimer") or not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.parametrize(
    ("interrupts", "seed"),
    [(100, 0), pytest.param(3000, 1, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_a_storm_of_interrupts_leaves_the_process_as_it_was(python, interrupts, seed):
    """The child ends itself where something hangs, and says what differs from before."""
    assert int(python("-m", "tests.faults.storm", interrupts, seed).split()[0]) == interrupts
