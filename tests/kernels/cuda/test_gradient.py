"""The full passes against the reference: every loss, dtype, order, with and without weights, in various layouts."""

import greenlet
import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")

from fastgd.backends.cuda.data import CudaData
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.kernels.cuda.layout import ALL_SHARED_BYTES, COLUMNS, ROWS, SHARED_BYTES, plan
from fastgd.kernels.cuda.slab import plan_slab
from fastgd.kernels.cuda.tiles import HELD
from tests.kernels import full_pass
from tests.kernels.cuda import launch
from tests.kernels.cuda.launch import Shape
from tests.kernels.cuda.launch import full_pass as on_device
from tests.kernels.table import ALL, HALF, ORDERS, Case, lines, sample

#: By columns: groups of 8, 16, 32 and 64 threads, several groups, several pieces, and sums outside shared memory.
SHAPES = [
    Shape(1, 16),
    Shape(3, 8),
    Shape(8, 16, 3),
    Shape(33, 16),
    Shape(33, 8, spilled=True),
    # For a group of at least a warp, as on a GPU, 70 columns are one piece.
    Shape(70 if SIMULATED else 300, 8, 1),
    Shape(70, 32, 1),
]
#: Logistic regression has one output.
SLAB_CASES = [
    Case(loss, "f4", order, shift)
    for loss in ("squared", "huber", "softmax")
    for order in ORDERS
    for shift in (False, True)
]
#: One four of columns and a part of it, groups of 8 and 16 threads, one load of a tile and two, one block and three.
SLAB_SHAPES = [Shape(3, 16, 1, slab=True), Shape(22, 16, 3, slab=True), Shape(33, 16, 2, slab=True)]
N = 37


def shapes_of(case: Case) -> list[Shape]:
    """Two of the shapes: cases that differ in one thing alone have different ones."""
    first = ALL.index(case)
    return [SHAPES[first % len(SHAPES)], SHAPES[(first + 3) % len(SHAPES)]]


def test_shapes_cover_groups_and_pieces():
    layouts = [shape.layout(1, "C") for shape in SHAPES]
    assert {layout.width for layout in layouts} == {8, 16, 32}
    assert any(layout.groups > 1 for layout in layouts)
    assert any(layout.pieces > 2 for layout in layouts)


@pytest.mark.parametrize("turn", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", lines(HALF))
def test_against_the_reference(case, turn):
    number = (ALL.index(case) + turn) % 2
    shape, weighted = shapes_of(case)[number], number == 1
    data = sample(case, N if shape.d < 70 else 19, shape.d, weighted=weighted)
    full_pass.compare(case, data, on_device(case, data, shape))


@pytest.mark.parametrize("order", ORDERS)
def test_groups_larger_than_a_warp(order):
    case = Case("squared", "f8", order)
    data = sample(case, 11, 140, weighted=True)
    full_pass.compare(case, data, on_device(case, data, Shape(140, 64, 1)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("dtype", "shape"), [("f8", Shape(3, 16)), ("f4", Shape(7, 16, slab=True))])
@pytest.mark.parametrize("n", [1, 7, 8, 9, 15, 16, 17])
def test_few_rows(n, dtype, shape, order):
    """Two groups, of which one has no rows, a few or all."""
    case = Case("softmax", dtype, order)
    data = sample(case, n, shape.d, weighted=True)
    full_pass.compare(case, data, on_device(case, data, shape))


def test_more_outputs_than_threads():
    for loss in ("softmax", "squared"):
        case = Case(loss, "f8", "C")
        data = sample(case, 20, 3, outputs=11)
        full_pass.compare(case, data, on_device(case, data, Shape(3, 8, 1)))


def test_sums_are_flushed_into_float64():
    """More tiles than a block sums up in the dtype of X: float32 alone would be off by n eps."""
    case = Case("squared", "f4", "C")
    data = sample(case, 600, 1, outputs=1)
    full_pass.compare(case, data, on_device(case, data, Shape(1, 8, 1)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("loss", "slab"), [("squared", False), ("huber", False), ("logistic", False), ("softmax", False), ("softmax", True)]
)
def test_a_bad_number_reaches_the_sums(loss, slab, order):
    case = Case(loss, "f4" if slab else "f8", order)
    data = sample(case, 21, 3)
    data.X[13, 1] = np.nan
    got = on_device(case, data, Shape(3, 8, slab=slab))
    assert not np.isfinite(got.losses).all()
    assert not np.isfinite(got.derivatives).any()
    assert not np.isfinite(got.products[:, 1]).any()


def test_the_same_grid_gives_the_same_bits():
    case = Case("softmax", "f4", "F")
    data = sample(case, N, 8, weighted=True)
    first, second = (on_device(case, data, Shape(8, 16)) for _ in range(2))
    assert full_pass.same_bits(first, second)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("itemsize", [4, 8])
def test_shared_memory_suffices(order, itemsize):
    for d in (1, 20, 100, 500, 1000, 5000):
        for outputs in (1, 3, 10, 30, 60, 100, 190):
            layout = plan(d, outputs, order)
            assert layout.threads % 32 == 0
            assert layout.width * layout.pieces * COLUMNS > d
            assert layout.for_gradients(itemsize).numbers * itemsize <= SHARED_BYTES, (d, outputs)


def test_too_many_outputs_are_refused():
    with pytest.raises(ValueError, match="1000 outputs are more"):
        plan(20, 1000, "C")


class Watched(np.ndarray):
    """X on the simulated device: notes where each thread of the block reads, in turn."""

    def __getitem__(self, at):
        thread = getattr(greenlet.getcurrent(), "threadIdx", None)
        if thread is not None and isinstance(at, tuple):
            self.base_reads.setdefault(thread.x, []).append(int(at[0]) * self.shape[1] + int(at[1]))
        return super().__getitem__(at)


@pytest.mark.skipif(not SIMULATED, reason="watches the simulator's threads")
@pytest.mark.parametrize("order", ORDERS)
def test_threads_of_a_warp_read_neighbours(order, monkeypatch):
    """At every read of X, of 32 threads: numbers beside one another, less those past the last column."""
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    case, reads = Case("squared", "f4", order), {}
    data = sample(case, 32, 127, outputs=1)

    def watched(*arrays):
        there = CudaData(*arrays)
        X = np.asarray(there.data.X.copy_to_host()).view(Watched)
        X.base_reads = reads
        there.data = there.data._replace(X=FakeCUDAArray(X))
        return there

    monkeypatch.setattr(launch, "CudaData", watched)
    on_device(case, data, Shape(127, 128, 1))
    first = np.array([reads[thread][:HELD] for thread in range(32)])
    steps = np.diff(first, axis=0)
    assert (steps[:, :-1] == 1).mean() > 0.95, steps


@pytest.mark.parametrize("case", SLAB_CASES, ids=lambda case: case.name)
def test_slabs_against_the_reference(case):
    number = SLAB_CASES.index(case)
    shape = SLAB_SHAPES[number % len(SLAB_SHAPES)]
    data = sample(case, N, shape.d, weighted=number % 2 == 0)
    full_pass.compare(case, data, on_device(case, data, shape))


@pytest.mark.parametrize(("loss", "n", "d", "outputs"), [("softmax", 20, 5, 12), ("squared", 600, 2, 2)])
def test_slabs_of_many_outputs_and_of_many_rows(loss, n, d, outputs):
    """As many outputs as a slab serves; more tiles than a thread sums up in float32."""
    case = Case(loss, "f4", "C")
    data = sample(case, n, d, outputs=outputs)
    full_pass.compare(case, data, on_device(case, data, Shape(d, 8, 1, slab=True)))


@pytest.mark.parametrize("order", ORDERS)
def test_slabs_fit_and_every_thread_has_work(order):
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


def test_outputs_and_columns_without_a_slab():
    assert plan_slab(100, 1, "C") is None
    assert plan_slab(100, 13, "C") is None
    assert plan_slab(2000, 2, "C") is None
