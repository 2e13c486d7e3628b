"""Every method of sparse rows on the GPU gives the CPU's result, from as many rows read."""

import itertools

import numpy as np
import pytest
from numba import cuda

from bench.gpu import checks
from fastgd.backends.cuda import csr_sums
from fastgd.backends.cuda import device as cuda_device
from fastgd.backends.cuda.csr import CudaCsr, place
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.kernels.cuda.csr import plan_lanes, shared_numbers
from fastgd.kernels.cuda.layout import SHARED_BYTES
from fastgd.losses import find_loss
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Runs
from tests.backends.cuda.rows import both, close
from tests.covering import pairwise
from tests.kernels import full_pass
from tests.kernels.csr.rows import compressed, on_csr, sparse_sample
from tests.kernels.table import DTYPES, LOSSES, Case

N, D = 40, 7
#: Outputs besides those of the table: powers of two or not, more than a group of the tests has threads.
OUTPUTS = {"squared": [1, 5], "huber": [1, 4], "logistic": [1], "softmax": [2, 3, 11]}


@pytest.fixture(autouse=True)
def poisoned():
    """Fill memory with NaN before it is used."""
    with checks.poisoned():
        yield


def on_gpu(data, **options):
    return CudaCsr(compressed(data.X, **options), data.y, data.s, 2)


def rows_of(case, density=0.4, **options):
    """Return a sample, with its rows on the CPU and on the GPU."""
    data = sparse_sample(case, N, D, density, weighted=True)
    return data, on_csr(data, 2, **options), on_gpu(data, **options)


CASES = [Case(loss, dtype, "C") for loss in LOSSES for dtype in DTYPES]
SQUARED = [Case("squared", dtype, "C") for dtype in DTYPES]
by_dtype = pytest.mark.parametrize("case", SQUARED, ids=DTYPES)


@pytest.mark.parametrize(
    ("loss", "dtype", "index", "weighted", "density"),
    pairwise(itertools.product(LOSSES, DTYPES, ["i4", "i8"], [True, False], [0.05, 0.5])),
)
def test_loss_and_gradient(loss, dtype, index, weighted, density):
    case = Case(loss, dtype, "C")
    for outputs in OUTPUTS[loss]:
        data = sparse_sample(case, N, D, density, outputs=outputs, weighted=weighted)
        there = on_gpu(data, index=index, zeros=weighted)
        first = full_pass.gradient(case, data, there)
        full_pass.compare(case, data, first)
        # Once more, from the same memory.
        assert full_pass.same_bits(full_pass.gradient(case, data, there), first)
        assert there.rows_read == 2 * N


@pytest.mark.parametrize("case", CASES[4::3], ids=lambda case: case.name)
def test_blocks_threads_and_chunks_of_rows(case, monkeypatch):
    """Products have the same bits however many blocks share the rows; chunks of rows have sums of their own."""
    data = sparse_sample(case, N, D, 0.4, weighted=True)
    expected = full_pass.gradient(case, data, on_gpu(data))
    for blocks in (1, 5, 40):
        monkeypatch.setattr(cuda_device, "blocks_in_turn", lambda *_: blocks)  # noqa: B023
        found = full_pass.gradient(case, data, on_gpu(data))
        full_pass.compare(case, data, found)
        np.testing.assert_array_equal(found.products, expected.products)
    monkeypatch.setattr(cuda_device, "THREADS", 32)
    full_pass.compare(case, data, full_pass.gradient(case, data, on_gpu(data)))
    monkeypatch.setattr(csr_sums, "_CHUNK_BYTES", 9 * data.y.itemsize * len(data.coef))
    monkeypatch.setattr(csr_sums, "_CHUNK_SHARE", 1 << 30)
    there = on_gpu(data)
    full_pass.compare(case, data, full_pass.gradient(case, data, there))
    assert [chunk.stop - chunk.start for chunk in there._passes[case.loss, len(data.coef)]._chunks] == [9] * 4 + [4]


@pytest.mark.parametrize("case", [CASES[1], CASES[6]], ids=lambda case: case.name)
def test_no_numbers_and_few_rows(case):
    for n, d, density in ((N, D, 0.0), (1, 1, 1.0), (2, 3, 1.0), (9, 1, 1.0)):
        data = sparse_sample(case, n, d, density)
        full_pass.compare(case, data, full_pass.gradient(case, data, on_gpu(data)))
        moments, expected = (rows.moments() for rows in (on_gpu(data), on_csr(data)))
        np.testing.assert_allclose(moments.sd, expected.sd, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the simulator's threads, which are NumPy's
@pytest.mark.parametrize("case", CASES[1::2], ids=lambda case: case.name)
def test_numbers_that_are_not_finite_reach_the_sums(case):
    for bad in (np.nan, np.inf):
        data = sparse_sample(case, 21, 3)
        data.X[13, 1] = bad
        there = on_gpu(data)
        found, moments = full_pass.gradient(case, data, there), there.moments()
        assert not np.isfinite(found.products[:, 1]).any()
        assert not np.isfinite(moments.sd[1])
        assert np.isfinite(moments.sd[[0, 2]]).all()
        if np.isnan(bad):
            assert not np.isfinite(found.losses).all()
            assert not np.isfinite(found.derivatives).any()
            # As in dense rows, whose zeros are multiplied by the derivatives.
            assert not np.isfinite(found.products).any()


@pytest.mark.parametrize("index", ["i4", "i8"])
@by_dtype
def test_moments_and_norms(case, index):
    for weighted in (True, False):
        data = sparse_sample(case, N, D, 0.4, weighted=weighted)
        if weighted:
            data.X[:, 3], data.X[:, 5] = -1.7, data.X[:, 5] + 1e6  # constant, and far from zero
        its = on_gpu(data, index=index), on_csr(data, index=index)
        found, expected = both(lambda rows: rows.moments(), *its)
        assert found.weight == expected.weight
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found.sd, expected.sd, rtol=1e-10)
        assert (found.sd[3] == 0.0) == (weighted or not data.X[:, 3].any())
        scaling = Scaling(np.linspace(-1.0, 2.0, D), np.linspace(0.0, 2.0, D))
        found, expected = both(lambda rows: rows.squared_norms(scaling), *its)  # noqa: B023
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@by_dtype
def test_attributes(case):
    _, here, there = rows_of(case)
    for name in ("n", "d", "order", "dtype", "nbytes", "targets", "weight", "effective_rows", "is_sparse"):
        assert getattr(there, name) == getattr(here, name), name
    assert there.device == "cuda"
    for start, stop in ((0, N), (3, 17)):
        for found, expected in zip(there.rows_on_host(start, stop), here.rows_on_host(start, stop), strict=True):
            np.testing.assert_array_equal(found, expected)
        sparse, dense = there.sparse_rows_on_host(start, stop)[0], here.rows_on_host(start, stop)[0]
        np.testing.assert_array_equal(sparse.toarray(), dense)


@pytest.mark.parametrize("case", [CASES[1], CASES[6]], ids=lambda case: case.name)
def test_samples_parts_and_rows_without_targets(case):
    data, here, there = rows_of(case)
    runs, numbers = Runs(4, np.array([0, 3, 9])), np.array([39, 2, 17])
    for cut in (
        lambda rows: rows.sample(runs),
        lambda rows: rows.part(numbers, rows.weights[numbers]),
        lambda rows: rows.part(numbers),
    ):
        few = cut(here)
        X, y, s = few.rows_on_host(0, few.n)
        found = full_pass.gradient(case, data, cut(there))
        full_pass.compare(case, data._replace(X=X, y=y, s=s), found)
    assert (there.rows_read, there.rows_sampled) == (0, runs.rows.size)
    bare, one = there.without_targets(), Case("squared", case.dtype, "C")
    at = data._replace(y=np.zeros((1, N), data.y.dtype), coef=data.coef[:1], intercept=data.intercept[:1])
    full_pass.compare(one, at, full_pass.gradient(one, at, bare))
    assert bare.data.X is there.data.X


@pytest.mark.parametrize("case", [CASES[1], CASES[6]], ids=lambda case: case.name)
def test_margins_are_columns_of_a_line(case):
    data, here, there = rows_of(case)
    line, expected = both(lambda rows: rows.line(data.coef, data.intercept, data.shift), there, here)
    outputs = len(data.coef)
    assert (line.n, line.d, line.dtype, line.is_sparse) == (N, outputs, case.dtype, False)
    close(line.rows_on_host(0, N)[0], expected.rows, case)
    at = data._replace(X=expected.rows, coef=np.eye(outputs), intercept=np.zeros(outputs), shift=np.zeros(outputs))
    full_pass.compare(case, at, full_pass.gradient(case, at, line))


@by_dtype
def test_curvatures_and_gram_matrices_are_those_of_the_cpu(case):
    data, here, there = rows_of(case)
    scaling, theta = Scaling.standard(here.moments(), True), np.column_stack([data.coef, data.intercept])
    there.rows_read = here.rows_read
    for keep in (True, False):
        designs = both(lambda rows: rows.design(scaling, True, keep, False), there, here)  # noqa: B023
        found, expected = (design.quadratic(find_loss("squared"), theta) for design in designs)
        np.testing.assert_array_equal(found.curvature(), expected.curvature())
        np.testing.assert_array_equal(found.gradient, expected.gradient)
    found, expected = both(lambda rows: rows.least_squares(scaling, True).gram(), there, here)
    np.testing.assert_array_equal(found, expected)


def test_rows_are_copied_once_and_counted():
    data, _, there = rows_of(CASES[1])
    assert there.transferred.bytes == 0
    for _ in range(2):
        full_pass.gradient(CASES[1], data, there)
        assert there.transferred.bytes == there.rows.nbytes + data.y.nbytes + data.s.nbytes


@pytest.mark.parametrize("outputs", [1, pytest.param(11, marks=pytest.mark.slow)])
def test_memory_beside_the_matrix(outputs, monkeypatch):
    """A pass takes little: derivatives come in chunks, and no copy by columns is made."""
    case = Case("squared", "f4", "C")
    data = sparse_sample(case, 400, 20, 0.8, outputs=outputs)
    there, allocate, taken = on_gpu(data), cuda.device_array, []

    def device_array(shape, dtype=np.float64, **options):
        found = allocate(shape, dtype, **options)
        taken.append(found.nbytes)
        return found

    assert there.data.X.data.size == there.rows.nnz
    monkeypatch.setattr(cuda, "device_array", device_array)
    monkeypatch.setattr(csr_sums, "_CHUNK_BYTES", 0)
    full_pass.compare(case, data, full_pass.gradient(case, data, there))
    assert sum(taken) < 0.3 * there.nbytes


def test_shifts_raise():
    data, _, there = rows_of(CASES[1])
    with pytest.raises(ValueError, match="cannot be shifted"):
        there.gradient("squared", data.coef, data.intercept, np.ones(D), 0.0)
    with pytest.raises(ValueError, match="cannot be shifted"):
        there.line(data.coef, data.intercept, np.ones(D))


@pytest.mark.skipif(not SIMULATED, reason="a GPU's memory cannot be patched")
def test_data_that_have_no_room_raise(monkeypatch):
    data, _, _ = rows_of(CASES[1])
    monkeypatch.setattr(cuda_device, "free_bytes", lambda: 1000)
    with pytest.raises(MemoryError, match=r"no room for sparse X, which is not streamed .*1,000 are free"):
        place(compressed(data.X), data.y, data.s, 1)


@pytest.mark.parametrize("outputs", [1, 2, 3, 20, 32, 33, 300])
@pytest.mark.parametrize("numbers", [0.0, 1.0, 5.5, 80.0, 4000.0])
@pytest.mark.parametrize("threads", [8, 32, 256])
def test_threads_of_a_row(numbers, outputs, threads):
    lanes = plan_lanes(numbers, outputs, threads)
    width, side = 1 << lanes.bits, 1 << lanes.output_bits
    assert side <= width <= min(32, threads)
    # All outputs side by side, or each thread has its own.
    assert side == width if side < outputs else side < 2 * outputs
    if side < width:
        assert width <= max(numbers, 1) * side
    assert 8 * shared_numbers(lanes, 32, outputs) <= SHARED_BYTES


def test_more_outputs_than_shared_memory_holds():
    data, _, there = rows_of(CASES[1])
    with pytest.raises(ValueError, match="3000 outputs are more than the GPU's kernels have room for"):
        there.gradient("squared", np.zeros((3000, D)), np.zeros(3000), data.shift, 0.0)
