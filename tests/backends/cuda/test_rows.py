"""Every method of rows on the GPU gives the CPU's result, from as many rows read."""

import numpy as np
import pytest
from numba import cuda

from fastgd.backends.cuda.data import CudaData
from fastgd.backends.cuda.stream import _take as take
from fastgd.backends.cuda.stream import place
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.losses import Softmax, find_loss
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Runs
from tests.backends.cuda.rows import CASES, both, close, held, placed
from tests.kernels import full_pass
from tests.kernels.table import Case, sample

N, D = 40, 3
RUNS = Runs(4, np.array([0, 3, 9]))


@pytest.fixture(params=["held", "streamed"])
def where(request):
    return request.param


def rows_of(case, where, monkeypatch, weighted=True):
    """Return a sample, with its rows on the CPU and on the GPU."""
    data = sample(case, N, D, weighted=weighted)
    return data, data.on_cpu(), placed(data, where, monkeypatch)


def scaling_of(cpu, case):
    return Scaling.standard(cpu.moments(), True)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loss_and_gradient(case, where, weighted, monkeypatch):
    data, _, there = rows_of(case, where, monkeypatch, weighted)
    copy = data.X.copy()
    full_pass.compare(case, data, full_pass.gradient(case, data, there))
    # Once more, from the same memory.
    full_pass.compare(case, data, full_pass.gradient(case, data, there))
    assert there.rows_read == 2 * N
    np.testing.assert_array_equal(data.X, copy)


def test_more_outputs_and_another_loss_of_the_same_rows():
    data = sample(Case("squared", "f8", "C"), N, D)
    here, there = data.on_cpu(), held(data)
    rng = np.random.default_rng(0)
    for loss, outputs in (("squared", 2), ("huber", 2), ("squared", 2)):
        point = rng.standard_normal((outputs, D)), rng.standard_normal(outputs), np.zeros(D)
        found, expected = there.gradient(loss, *point, 0.5), here.gradient(loss, *point, 0.5)
        np.testing.assert_allclose(found.products, expected.products, rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_properties_and_rows_on_host(case, where, monkeypatch):
    data, here, there = rows_of(case, where, monkeypatch)
    for name in ("n", "d", "order", "dtype", "nbytes"):
        assert getattr(there, name) == getattr(here, name), name
    assert there.weight == pytest.approx(here.weight, rel=1e-12)
    assert there.effective_rows == pytest.approx(here.effective_rows, rel=1e-6)
    assert there.device == "cuda"
    for start, stop in ((0, N), (3, 17), (38, N)):
        for found, expected in zip(there.rows_on_host(start, stop), here.rows_on_host(start, stop), strict=True):
            np.testing.assert_array_equal(found, expected)
    scratch = np.empty((20, D), data.X.dtype)
    np.testing.assert_array_equal(there.rows_on_host(5, 9, scratch)[0], data.X[5:9])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_moments_and_norms(case, where, monkeypatch):
    _, here, there = rows_of(case, where, monkeypatch)
    found, expected = both(lambda rows: rows.moments(), there, here)
    assert found.weight == pytest.approx(expected.weight, rel=1e-12)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(found.sd, expected.sd, rtol=1e-10)
    scaling = scaling_of(here, case)
    found, expected = both(lambda rows: rows.squared_norms(scaling), there, here)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_samples_and_parts(case, where, monkeypatch):
    data, here, there = rows_of(case, where, monkeypatch)
    point = data.coef, data.intercept, data.shift, data.delta
    numbers = np.array([39, 2, 17, 20, 5])
    for cut in (
        lambda rows: rows.sample(RUNS),
        lambda rows: rows.part(numbers, rows.weights[numbers]),
        lambda rows: rows.part(numbers),
    ):
        found, expected = both(lambda rows: (cut(rows), cut(rows).gradient(case.loss, *point))[1], there, here)  # noqa: B023
        for name in ("products", "derivatives", "losses"):
            close(getattr(found, name), getattr(expected, name), case, N)
        np.testing.assert_array_equal(cut(there).rows_on_host(0, 4)[0], cut(here).rows_on_host(0, 4)[0])
    assert there.rows_sampled == RUNS.rows.size


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_lines_and_rows_without_targets(case, where, monkeypatch):
    data, here, there = rows_of(case, where, monkeypatch)
    outputs = len(data.coef)
    point = np.eye(outputs), np.zeros(outputs), np.zeros(outputs), data.delta
    line = both(lambda rows: rows.line(data.coef, data.intercept, data.shift), there, here)
    assert [(rows.n, rows.d, rows.dtype, rows.order) for rows in line] == [(N, outputs, case.dtype, case.order)] * 2
    found, expected = (rows.gradient(case.loss, *point) for rows in line)
    close(found.products, expected.products, case, N)
    point = np.ones((1, D)), np.ones(1), data.shift, 0.0
    found, expected = (rows.without_targets().gradient("squared", *point) for rows in (there, here))
    close(found.products, expected.products, case, N)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_losses_gradients_and_curvatures_in_working_coordinates(case, where, keep, monkeypatch):
    data, here, there = rows_of(case, where, monkeypatch)
    scaling = scaling_of(here, case)
    theta = np.hstack([data.coef, data.intercept[:, None]])
    designs = both(lambda rows: rows.design(scaling, True, keep, False), there, here)
    found, expected = (design.quadratic(find_loss(case.loss, data.delta), theta) for design in designs)
    close(found.losses, expected.losses, case)
    close(found.gradient, expected.gradient, case)
    close(found.curvature(), expected.curvature(), case)
    if case.loss == "softmax":
        close(designs[0].couplings(Softmax(), theta), designs[1].couplings(Softmax(), theta), case)
        close(designs[0].joint(Softmax(), theta), designs[1].joint(Softmax(), theta), case)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("case", [case for case in CASES if case.loss == "squared"], ids=lambda case: case.name)
def test_sums_of_a_squared_loss(case, where, intercept, monkeypatch):
    data, here, there = rows_of(case, where, monkeypatch)
    scaling = scaling_of(here, case)
    its = [rows.least_squares(scaling, intercept) for rows in (there, here)]
    assert (its[0].columns, its[0].width) == (its[1].columns, its[1].width)
    close(its[0].gram(), its[1].gram(), case)
    close(its[0].triangle(), its[1].triangle(), case)
    for found, expected in zip(*(sums.gradient(data.coef, data.intercept) for sums in its), strict=True):
        close(found, expected, case)
    assert there.rows_read == 3 * N


@pytest.mark.parametrize("order", ["C", "F"])
def test_pinned_rows_are_copied_directly(order, monkeypatch):
    data = sample(Case("logistic", "f8", order), N, D, weighted=True)
    point = data.coef, data.intercept, data.shift, data.delta
    expected = placed(data, "streamed", monkeypatch).gradient("logistic", *point)
    monkeypatch.setattr("fastgd.backends.cuda.stream.is_pinned", lambda array: True)
    there, copied = placed(data, "streamed", monkeypatch), []
    monkeypatch.setattr("fastgd.backends.cuda.stream._take", lambda *args: (copied.append(args[0].shape), take(*args)))
    assert full_pass.same_bits(there.gradient("logistic", *point), expected)
    # Beside targets and weights no rows but column-major ones, whose chunks lie with gaps between them.
    assert (there.data.X.shape in copied) == (order == "F")
    close(there.part(np.array([3, 1])).rows_on_host(0, 2)[0], data.X[[3, 1]], Case("logistic", "f8", order))


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_on_the_gpu_are_used_in_place(order):
    case = Case("logistic", "f4", order)
    data = sample(case, N, D)
    X = cuda.to_device(data.X)
    there = CudaData(X, data.y, data.s, 1)
    full_pass.compare(case, data, full_pass.gradient(case, data, there))
    assert there.order == order
    X[3, 1] = 9.0
    assert there.rows_on_host(3, 4)[0][0, 1] == 9.0
    assert there.without_targets().rows_on_host(3, 4)[0][0, 1] == 9.0


def test_gaps_between_numbers_on_the_gpu():
    X = cuda.to_device(np.zeros((8, 4)))[:, :2]
    with pytest.raises(ValueError, match="X on the GPU must be contiguous"):
        CudaData(X, np.zeros((1, 8)), None, 1)


@pytest.mark.skipif(not SIMULATED, reason="a GPU's memory cannot be patched")
def test_data_that_have_no_room_are_streamed(monkeypatch):
    data = sample(Case("squared", "f8", "C"), N, D)
    assert place(data.X, data.y, None, 1).chunk_rows == N
    monkeypatch.setattr("fastgd.backends.cuda.device.available_bytes", lambda: 1000)
    assert place(data.X, data.y, None, 1).chunk_rows == 1000 // 4 // (8 * (D + 2))
    assert place(data.X[:4], data.y[:, :4], None, 1).chunk_rows == 4
