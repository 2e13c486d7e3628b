"""Mini-batch epochs: every rule, batch size and penalty against the reference; slices, bits and inputs."""

import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

from fastgd import reference
from fastgd.kernels.shuffle import WINDOW
from fastgd.reference import epoch_order
from tests.kernels import minibatch
from tests.kernels.minibatch import PENALTIES, Setup, recipe
from tests.kernels.table import ALL, EPOCH, LOSSES, Case, lines, sample

RULES = list(reference.RULES)
#: In float32 at every batch size; the other rules at large ones, where rounding has few updates to grow in. Rules
#: compute in float64 whatever X is.
SINGLE = ["gd", "momentum", "adam"]
N, D = 303, 6
#: Single rows, less and more than a tile, and a block; all rows and more.
SIZES = [1, 7, 32, 100, 256, 300, N, 1000]
#: Fewer rows for the smallest batches, still a hundred updates: the reference is slow.
FEW_ROWS = {1: 50, 7: 150}
FIRST = Case("logistic", "f8", "C")


def covering(case: Case) -> list[Setup]:
    """Every rule with half of the batch sizes; other factors at all levels equally often, in an order of chance.

    Neighbours among the cases have the other half.
    """
    rng = np.random.default_rng([ord(letter) for letter in case.name])
    turn = ALL.index(case).bit_count()
    pairs = [
        (rule, size)
        for (i, rule), (j, size) in itertools.product(enumerate(RULES), enumerate(SIZES))
        if (i + j + turn) % 2 == 0 and (case.dtype == "f8" or rule in SINGLE or size in (100, N))
    ]

    def levels(values) -> list:
        spread = list(itertools.islice(itertools.cycle(values), len(pairs)))
        return [spread[i] for i in rng.permutation(len(pairs))]

    factors = zip(
        levels([False, True]), levels([False, True]), levels(list(PENALTIES)), levels([False, True]), strict=True
    )
    intercepts = levels([True, True, False] if not case.shift else [True])
    return [
        Setup(rule, size, shuffle, weighted, penalty, scaled, intercept)
        for (rule, size), (shuffle, weighted, penalty, scaled), intercept in zip(
            pairs, factors, intercepts, strict=True
        )
    ]


@pytest.mark.parametrize("case", lines(EPOCH))
def test_against_the_reference(case):
    for setup in covering(case):
        n = FEW_ROWS.get(setup.batch_size, N)
        minibatch.check(case, sample(case, n, D, weighted=setup.weighted), setup)


@pytest.mark.slow
@pytest.mark.parametrize("case", lines([]))
def test_full_cross_against_the_reference(case):
    for rule, size, shuffle, weighted, penalty, scaled in itertools.product(
        RULES if case.dtype == "f8" else SINGLE, SIZES, [False, True], [False, True], PENALTIES, [False, True]
    ):
        setup = Setup(rule, size, shuffle, weighted, penalty, scaled)
        minibatch.check(case, sample(case, N, D, weighted=weighted), setup)


@pytest.mark.parametrize("case", lines([Case("softmax", "f8", "C"), Case("softmax", "f8", "F")]))
@pytest.mark.parametrize(("n", "d"), [(3, 1), (15, 2), (16, 1), (17, 3), (33, 33), (65, 130)])
def test_small_and_odd_sizes(case, n, d):
    for size in (1, 2, 8, 9, 16, 33, 64):
        setup = Setup("adam", size, weighted=True, penalty="elastic net", scaled=d < n)
        minibatch.check(case, sample(case, n, d, weighted=True), setup)


def test_one_row():
    case = Case("squared", "f8", "C")
    for size in (1, 5):
        minibatch.check(case, sample(case, 1, 3), Setup("momentum", size), count=3)


@pytest.mark.parametrize("outputs", [2, 7])
def test_many_outputs(outputs):
    case = Case("softmax", "f8", "C")
    minibatch.check(case, sample(case, 90, 4, outputs=outputs), Setup("momentum", 16, penalty="l1"))
    case = Case("squared", "f8", "C")
    minibatch.check(case, sample(case, 90, 4, outputs=outputs), Setup("gd", 16, penalty="l2"))


@pytest.mark.parametrize("size", [100, 5000])
def test_batches_across_windows_of_the_shuffle(size):
    n = 2 * WINDOW + 777
    case = Case("squared", "f8", "C")
    minibatch.check(case, sample(case, n, 2, outputs=1), Setup("gd", size), count=1)


@pytest.mark.parametrize("size", [7, 100, N])
def test_drop_last(size):
    setup = Setup("adam", size, weighted=True, penalty="l2", drop_last=True)
    minibatch.check(FIRST, sample(FIRST, N, D, weighted=True), setup, count=3)


@pytest.mark.parametrize("case", lines([FIRST, Case("softmax", "f8", "F")]))
@pytest.mark.parametrize("rule", RULES)
def test_an_epoch_in_slices_is_the_epoch_bit_for_bit(case, rule):
    data = sample(case, N, D, weighted=True)
    for size in (1, 7, 32, 100):
        setup = Setup(rule, size, weighted=True, penalty="elastic net", scaled=True)
        whole = minibatch.ours(case, data, setup, 3)
        cut = minibatch.ours(case, data, setup, 3, cuts=(1, 2, 3, 17, 40, 41))
        np.testing.assert_array_equal(cut.thetas, whole.thetas)
        np.testing.assert_array_equal(cut.slots, whole.slots)
        np.testing.assert_array_equal(cut.losses, whole.losses)


def test_an_epoch_resumed_in_another_process_is_the_same():
    """A fit resumed in another process has no filled window of rows."""
    n, setup = 2 * WINDOW + 100, Setup("gd", 3000)
    data = sample(FIRST, n, 2)
    whole = minibatch.ours(FIRST, data, setup, 2)
    first, second = (minibatch.twin(FIRST, data, setup) for _ in range(2))
    rule = first.data.rule_state(recipe("gd"), first.start.copy())
    rates = np.array([setup.rate(t + 1) for t in range(12)])
    first.epochs.run(0, 0, 6, rates[:6], rule)
    first.epochs.run(1, 0, 2, rates[6:8], rule)
    second.epochs.run(1, 2, 6, rates[8:], rule)
    np.testing.assert_array_equal(rule.theta, whole.thetas[1])


def test_an_earlier_epoch_draws_its_rows_again():
    data, setup = sample(FIRST, N, D), Setup("gd", 50)
    rates = np.full(7, 0.1)
    both = minibatch.twin(FIRST, data, setup)
    thetas = []
    for epoch in (0, 3, 0):
        rule = both.data.rule_state(recipe("gd"), both.start.copy())
        both.epochs.run(epoch, 0, 7, rates, rule)
        thetas.append(rule.theta)
    np.testing.assert_array_equal(thetas[0], thetas[2])
    assert not np.array_equal(thetas[0], thetas[1])


@pytest.mark.parametrize("case", lines([FIRST, Case("softmax", "f8", "F")]))
def test_inputs_are_read_only_in_place_and_unchanged(case, tmp_path):
    data = sample(case, N, D, weighted=True)
    setup = Setup("adam", 32, weighted=True, penalty="l1", scaled=True)
    before = [hashlib.sha256(array.tobytes()).digest() for array in (data.X, data.y, data.s)]
    path = minibatch.ours(case, data, setup, 2)
    assert before == [hashlib.sha256(array.tobytes()).digest() for array in (data.X, data.y, data.s)]
    np.save(tmp_path / "x.npy", data.X)
    for array in (data.X, data.y, data.s):
        array.flags.writeable = False
    for X in (data.X, np.load(tmp_path / "x.npy", mmap_mode="r")):
        np.testing.assert_array_equal(minibatch.ours(case, data._replace(X=X), setup, 2).thetas, path.thetas)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [1, 100])
def test_a_bad_row_makes_theta_and_the_loss_not_finite(rule, size):
    for bad in (np.nan, np.inf):
        data, setup = sample(FIRST, N, D), Setup(rule, size)
        both = minibatch.twin(FIRST, data, setup)
        # The kernel reads X in place; the reference would refuse it.
        data.X[200, 2] = bad
        path = minibatch.run_epochs(both, FIRST, N, setup, 2)
        assert not np.isfinite(path.thetas).all(), bad
        assert not np.isfinite(path.losses[1]), bad


def test_the_seed_and_the_epoch_choose_the_rows():
    """With one row per batch, rate 1, d = 1 and x = 1, theta is the target of the last row."""
    case = Case("squared", "f8", "C")
    data = sample(case, 40, 1, outputs=1)
    data.X[:] = 1.0
    data.y[:] = np.arange(40.0)
    for seed, epoch in ((0, 0), (5, 0), (5, 2)):
        setup = replace(Setup("gd", 1, intercept=False), seed=seed)
        both = minibatch.twin(case, data, setup)
        rule = both.data.rule_state(recipe("gd"), np.zeros((1, 2)))
        visited = []
        for t in range(40):
            both.epochs.run(epoch, t, t + 1, np.ones(1), rule)
            visited.append(round(rule.theta[0, 0]))
        assert visited == epoch_order(40, seed, epoch).tolist()


def test_every_loss_has_an_epoch_case():
    assert {case.loss for case in EPOCH} == LOSSES.keys()
