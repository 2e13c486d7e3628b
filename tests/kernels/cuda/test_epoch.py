"""The mini-batch kernel against the reference: every rule, loss, dtype and order; slices and bits."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")

from fastgd import reference
from fastgd.backends.cuda import device as cuda_device
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.kernels.cuda.epoch import Work
from fastgd.kernels.shuffle import row_at
from tests.kernels import minibatch
from tests.kernels.cuda.launch import Shape, epochs
from tests.kernels.minibatch import PENALTIES, Setup
from tests.kernels.table import ALL, HALF, Case, lines, sample

N = 29
FIRST = Case("logistic", "f8", "C")
PENALTY_NAMES = list(PENALTIES)


def check(case: Case, setup: Setup, shape: Shape, n: int = N) -> None:
    """Two epochs by the kernel and by the reference."""
    data = sample(case, n, shape.d, weighted=setup.weighted)
    minibatch.compare(case, data, setup, epochs(case, data, setup, shape), 2)


@pytest.mark.parametrize("rule", list(reference.RULES))
def test_rules(rule):
    """Every rule twice; penalties, order of rows, weights, intercept and replicated updates alternate."""
    number = list(reference.RULES).index(rule)
    penalty = PENALTY_NAMES[number % len(PENALTIES)], PENALTY_NAMES[(number + 2) % len(PENALTIES)]
    check(FIRST, Setup(rule, 12, True, number % 2 == 0, penalty[0]), Shape(3, 8, replicated=number % 2 == 0))
    plain = Setup(rule, 12, False, number % 2 == 1, penalty[1], scaled=True, intercept=number % 3 > 0)
    check(Case("squared", "f8", "F"), plain, Shape(2, 8, replicated=number % 2 == 1))


@pytest.mark.parametrize("case", lines(HALF))
def test_losses(case):
    number = ALL.index(case)
    shapes = Shape(1, 8, replicated=True), Shape(3, 16), Shape(33, 8, spilled=True, replicated=True), Shape(8, 16)
    shape = shapes[number % len(shapes)]
    setup = Setup("adam", [7, 16][number % 2], number % 3 > 0, weighted=number % 5 > 2, penalty="elastic net")
    check(case, setup, shape, 19)


def test_groups_of_a_warp_and_pieces():
    check(FIRST, Setup("gd", 10), Shape(70, 32), 15)
    check(FIRST, Setup("gd", 10), Shape(70, 8), 15)


@pytest.mark.parametrize("size", [1, 100])
def test_single_rows_and_all_rows(size):
    check(FIRST, Setup("momentum", size), Shape(2, 8), 9)


@pytest.mark.parametrize("rule", ["saga", "nadam"])
def test_an_epoch_in_slices_is_the_epoch_bit_for_bit(rule):
    setup, shape = Setup(rule, 8, weighted=True, penalty="elastic net"), Shape(3, 8)
    data = sample(FIRST, N, 3, weighted=True)
    whole, cut = epochs(FIRST, data, setup, shape), epochs(FIRST, data, setup, shape, cuts=(1, 3))
    np.testing.assert_array_equal(cut.thetas, whole.thetas)
    np.testing.assert_array_equal(cut.slots, whole.slots)


@pytest.mark.parametrize(
    ("case", "rule", "n", "d"),
    [
        # More parts than are read at a time; means that are subtracted from sums; sums that many threads own.
        (FIRST, "adam", 150, 3),
        (Case("squared", "f4", "C", shift=True), "saga", N, 20),
        (Case("softmax", "f8", "F"), "lookahead", N, 9),
        (Case("softmax", "f4", "C", shift=True), "amsgrad", N, 2),
    ],
)
def test_replicated_and_shared_updates_have_the_same_bits(case, rule, n, d, monkeypatch):
    halves, launch = set(), cuda_device.launch

    def recorded(kernel, grid, stream, *args):
        halves.update(its.parts.shape[0] for its in args if isinstance(its, Work))
        launch(kernel, grid, stream, *args)

    monkeypatch.setattr(cuda_device, "launch", recorded)
    data, setup = sample(case, n, d, weighted=True), Setup(rule, n - 3, weighted=True, scaled=True)
    found, expected = (
        epochs(case, data, setup, Shape(d, 8, replicated=replicated), cuts=(1,)) for replicated in (True, False)
    )
    np.testing.assert_array_equal(found.thetas, expected.thetas)
    np.testing.assert_array_equal(found.slots, expected.slots)
    np.testing.assert_array_equal(found.losses, expected.losses)
    assert halves == {1, 2}


def test_a_bad_row_makes_theta_and_the_loss_not_finite():
    data = sample(FIRST, N, 3)
    bad = data.X.copy()
    bad[20, 1] = np.nan
    path = epochs(FIRST, data, Setup("adam", 8), Shape(3, 8), bad=bad)
    assert not np.isfinite(path.thetas).all()
    assert not np.isfinite(path.losses[1])


@pytest.mark.skipif(not SIMULATED, reason="records what a kernel asks for")
@pytest.mark.parametrize(("size", "n_cuts"), [(5, 0), (20, 0), (100, 0), (5, 2)])
def test_all_rows_but_the_first_tile_of_a_launch_are_prefetched(size, n_cuts, monkeypatch):
    """Rows of 9 numbers of 8 bytes, three sectors or four: every fourth number, and the last one."""
    setup, shape, cuts = Setup("gd", size, weighted=True), Shape(9, 16), tuple(range(1, n_cuts + 1))
    prefetched, data = set(), sample(FIRST, N, 9, weighted=True)
    monkeypatch.setattr("fastgd.kernels.cuda.epoch.prefetch", lambda array, at: prefetched.add((array.shape, at)))
    epochs(FIRST, data, setup, shape, cuts=cuts, count=1)
    order = [row_at(position, N, setup.seed, 0) for position in range(N)]
    tile = min(shape.layout(1, "C").rows, size)
    first = {position for cut in (0, *cuts) for position in range(cut * size, cut * size + tile)}
    rows = [row for position, row in enumerate(order) if position not in first]
    expected = {((N, 9), row * 9 + j) for row in rows for j in (0, 4, 8)}
    assert prefetched == expected | {((1, N), row) for row in rows} | {((N,), row) for row in rows}


@pytest.mark.skipif(not SIMULATED, reason="records what a kernel asks for")
@pytest.mark.parametrize("shuffle", [True, False])
def test_columns_are_prefetched_if_rows_are_consecutive(shuffle, monkeypatch):
    prefetched, data = set(), sample(Case("squared", "f4", "F"), N, 3)
    monkeypatch.setattr("fastgd.kernels.cuda.epoch.prefetch", lambda array, at: prefetched.add((array.shape, at)))
    epochs(Case("squared", "f4", "F"), data, Setup("gd", 8, shuffle), Shape(3, 8), count=1)
    of_x = {at for shape, at in prefetched if shape == (3, N)}
    assert of_x == (set() if shuffle else {j * N + i for j in range(3) for i in range(8, N)})
    # Of both targets.
    assert len(prefetched) == len(of_x) + 2 * (N - 8)
