"""Generated calls of the public interface end as documented."""

import os

import pytest

from tests.faults.calls import Case

SEED = 20261129
#: A case makes three calls or more.
CASES, RUNS = 700, 10


def test_a_few_generated_calls_end_as_documented():
    cases = [Case(SEED, number) for number in range(30)]
    for case in cases:
        case.run()
    assert not [finding for case in cases for finding in case.findings]
    assert sum(len(case.steps) for case in cases) > 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.name != "posix", reason="the watchdog needs POSIX's timers")
@pytest.mark.parametrize("run", range(RUNS))
def test_generated_calls_end_as_documented(python, run):
    """In a process of its own, which a crash ends; it prints one finding per line."""
    python("-m", "tests.faults.calls", CASES, SEED, run * CASES)
