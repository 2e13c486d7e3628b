"""Fast launches pass the arguments that Numba would pass."""

import json

import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")
pytest.importorskip("cuda.pathfinder", reason="needs CUDA's compiler: pip install 'numba-cuda[cu13]'")

BY_NUMBA = "too large", "on the host", "a number of NumPy", "passed otherwise", "passed otherwise again"
#: Types of arguments that have not been seen before.
NEW = "first", "another order", "a float", "another tuple", "passed otherwise"


@pytest.fixture(scope="module")
def launches(python):
    return json.loads(python("-m", "tests.backends.cuda.launched", NUMBA_ENABLE_CUDASIM="0").splitlines()[-1])


def test_arguments_are_passed_as_numba_passes_them(launches):
    assert {name: its["same"] for name, its in launches.items()} == dict.fromkeys(launches, True)


def test_unknown_arguments_are_launched_by_numba(launches):
    assert {name for name, its in launches.items() if its["by"] == "numba"} == set(BY_NUMBA)
    assert {its["by"] for its in launches.values()} == {"numba", "driver"}


def test_types_are_inspected_once(launches):
    assert {name for name, its in launches.items() if its["typed"]} == set(NEW)


def test_launches_are_counted_and_numbas_are_logged_once(launches):
    for its in launches.values():
        by_numba = int(its["by"] == "numba")
        assert its["counted"] == [1 - by_numba, by_numba]
    said = {name: its["said"] for name, its in launches.items() if its["said"]}
    assert said == {"too large": ["launches of the kernel kernel are left to Numba, which takes longer"]}
