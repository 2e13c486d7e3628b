"""The full pass of several outputs, whose rows lie in shared memory, against the reference."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")

from fastgd.kernels.cuda.layout import ALL_SHARED_BYTES, COLUMNS, ROWS
from fastgd.kernels.cuda.slab import plan_slab
from tests.kernels import full_pass
from tests.kernels.cuda.launch import Shape
from tests.kernels.cuda.launch import full_pass as on_device
from tests.kernels.table import ORDERS, Case, sample

#: Logistic regression has one output.
CASES = [
    Case(loss, "f4", order, shift)
    for loss in ("squared", "huber", "softmax")
    for order in ORDERS
    for shift in (False, True)
]
#: One four of columns and a part of it, groups of 8 and 16 threads, one load of a tile and two, one block and three.
SHAPES = [Shape(3, 16, 1, slab=True), Shape(22, 16, 3, slab=True), Shape(33, 16, 2, slab=True)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_against_the_reference(case):
    number = CASES.index(case)
    shape = SHAPES[number % len(SHAPES)]
    data = sample(case, 37, shape.d, weighted=number % 2 == 0)
    full_pass.compare(case, data, on_device(case, data, shape))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n", [1, 8, 15, 16, 17])
def test_few_rows(n, order):
    case = Case("softmax", "f4", order)
    data = sample(case, n, 7, weighted=True)
    full_pass.compare(case, data, on_device(case, data, Shape(7, 16, slab=True)))


@pytest.mark.parametrize("order", ORDERS)
def test_a_bad_number_reaches_the_sums(order):
    case = Case("softmax", "f4", order)
    data = sample(case, 21, 3)
    data.X[13, 1] = np.nan
    got = on_device(case, data, Shape(3, 8, slab=True))
    assert not np.isfinite(got.losses).all()
    assert not np.isfinite(got.products[:, 1]).any()


@pytest.mark.parametrize(("loss", "n", "d", "outputs"), [("softmax", 20, 5, 12), ("squared", 600, 2, 2)])
def test_as_many_as_there_may_be(loss, n, d, outputs):
    """Outputs; and rows, in more tiles than a thread sums up in float32."""
    case = Case(loss, "f4", "C")
    data = sample(case, n, d, outputs=outputs)
    full_pass.compare(case, data, on_device(case, data, Shape(d, 8, 1, slab=True)))


@pytest.mark.parametrize("order", ORDERS)
def test_the_plan_fits_and_every_thread_has_work(order):
    for d in (1, 7, 20, 60, 100, 200, 300):
        for outputs in range(2, 11):
            slab = plan_slab(d, outputs, order)
            assert slab is not None, (d, outputs)
            assert slab.numbers * 4 <= ALL_SHARED_BYTES
            assert slab.rows == slab.turns * slab.layout.rows <= slab.layout.threads
            assert slab.of_rows.width * slab.of_rows.groups == slab.layout.threads
            assert slab.of_rows.groups * ROWS == slab.rows
            assert d < slab.quads * COLUMNS <= slab.pitch
            # Four numbers of each of eight rows lie in banks of their own.
            assert len({(row * slab.pitch + c) % 32 for row in range(8) for c in range(4)}) == 32


def test_where_there_is_no_slab():
    assert plan_slab(100, 1, "C") is None
    assert plan_slab(100, 13, "C") is None
    assert plan_slab(2000, 2, "C") is None
