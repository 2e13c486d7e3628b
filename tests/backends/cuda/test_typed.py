"""The compiler, which the simulator leaves out, takes every argument that the backend gives to a kernel."""

import json

import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")
pytest.importorskip("cuda.pathfinder", reason="needs CUDA's compiler: pip install 'numba-cuda[cu13]'")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["softmax f4 C", "huber f8 F", "logistic f8 C", "squared f4 F"])
def test_every_verb_compiles_each_kernel_once(python, case):
    """Except margins of column-major chunks, which are not contiguous."""
    printed = python("-m", "tests.backends.cuda.typed", *case.split(), NUMBA_ENABLE_CUDASIM="0")
    found = json.loads(printed.splitlines()[-1])
    assert len(found) >= 12
    twice = {name for name, count in found.items() if count > 1}
    assert twice == ({f"margins_{case[-4:-2]}_F"} if case.endswith("F") else set())


@pytest.mark.slow
@pytest.mark.parametrize("case", ["softmax f4 i4", "logistic f8 i8"])
def test_every_verb_of_sparse_rows_compiles_each_kernel_once(python, case):
    printed = python("-m", "tests.backends.cuda.typed", *case.split(), NUMBA_ENABLE_CUDASIM="0")
    found = json.loads(printed.splitlines()[-1])
    assert len(found) == 17
    assert {name for name, count in found.items() if count > 1} == set()
