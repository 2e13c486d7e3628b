"""Threads that share large batches: the bits of one thread, and the reference's numbers."""

import itertools

import numpy as np
import pytest

from fastgd import reference
from fastgd.backends.cpu import epochs as cpu_epochs
from fastgd.backends.cpu.epochs import part_rows
from tests.kernels import minibatch
from tests.kernels.minibatch import Setup
from tests.kernels.table import Case, sample

#: Rows and columns of more bytes than a call needs to be shared, and batches of one to four parts.
N, D = 20_000, 64
SIZES = [2048, 4096, 5000, 8192, 10_000]
THREADS = [1, 2, 3, 5]
#: Layouts whose epoch kernels other tests compile, too.
CASES = [
    Case("logistic", "f8", "C"),
    Case("softmax", "f8", "F"),
    Case("squared", "f4", "F"),
    Case("logistic", "f4", "C"),
]


def teams(both):
    """Sizes of the teams that ran."""
    return set(both.epochs._teams)


def bits(case, data, setup, count=1, cuts=()):
    path = minibatch.ours(case, data, setup, count, cuts)
    return path.thetas.tobytes(), path.losses.tobytes(), path.slots.tobytes()


#: Every size with the first layout, both kinds of part with each other one.
SIZED = [(case, size) for case in CASES for size in SIZES if case is CASES[0] or size in (2048, 5000)]
REST = [pytest.param(*pair, marks=pytest.mark.slow) for pair in itertools.product(CASES, SIZES) if pair not in SIZED]


@pytest.mark.parametrize(("case", "size"), [*SIZED, *REST], ids=lambda its: getattr(its, "name", its))
def test_any_number_of_threads_gives_the_same_bits(case, size):
    data = sample(case, N, D, weighted=True)
    for rule in ("gd", "saga", "adam"):
        setups = [Setup(rule, size, weighted=True, penalty="elastic net", n_threads=count) for count in THREADS]
        alone, *others = [bits(case, data, setup) for setup in setups]
        assert all(other == alone for other in others), rule


@pytest.mark.parametrize(("size", "parts"), [(2048, 1), (4096, 2), (5000, 2), (8192, 4), (10_000, 4)])
def test_parts_are_those_of_the_batch_and_each_has_a_thread(size, parts):
    """A part has 2^17 numbers at least, 2048 rows of 64 columns."""
    case = CASES[0]
    rows = part_rows(size, D)
    assert -(-size // rows) == parts
    for count in THREADS:
        both = minibatch.twin(case, sample(case, N, D), Setup("gd", size, n_threads=count))
        minibatch.run_epochs(both, case, N, Setup("gd", size, n_threads=count), 1)
        assert teams(both) == {min(count, parts)}


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        *(("gd", 5000), ("lookahead", 10_000), ("adam", 5000), ("saga", 10_000)),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (("gd", 10_000), ("lookahead", 5000), ("adam", 10_000), ("saga", 5000))
        ),
    ],
)
def test_against_the_reference(rule, size):
    case = CASES[0]
    setup = Setup(rule, size, weighted=True, penalty="elastic net", scaled=True, n_threads=3)
    minibatch.check(case, sample(case, 12_000, D, weighted=True), setup, count=1)


@pytest.fixture
def small(monkeypatch):
    """Make calls shared, and batches cut into parts of a block, however small they are."""
    monkeypatch.setattr(cpu_epochs, "_TEAM_BYTES", 1)
    monkeypatch.setattr(cpu_epochs, "_PART_NUMBERS", 1)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("case", "turn"),
    [
        *((CASES[0], 0), (CASES[1], 1), (Case("squared", "f8", "C", True), 0)),
        *(
            pytest.param(case, turn, marks=pytest.mark.slow)
            for case, turn in ((CASES[0], 1), (CASES[1], 0), (Case("huber", "f8", "C", True), 0))
        ),
    ],
    ids=lambda its: getattr(its, "name", its),
)
def test_every_rule_on_parts_of_a_block(case, turn):
    """Batches of three and of twelve parts in turn, short last ones; against the reference and, to the bit, a thread.

    Rules that one case has with batches of three parts another has with those of twelve.
    """
    n, d = 3000, 5
    data = sample(case, n, d, weighted=True)
    for i, (rule, penalty) in enumerate(
        zip(reference.RULES, itertools.cycle(["elastic net", "none", "l1"]), strict=False)
    ):
        size = (700, 5000)[(i + turn) % 2]
        setup = Setup(rule, size, weighted=True, penalty=penalty, n_threads=3)
        minibatch.check(case, data, setup, count=1)
        alone = Setup(rule, size, weighted=True, penalty=penalty, n_threads=1)
        assert bits(case, data, setup) == bits(case, data, alone)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("rule", ["gd", "saga", "nadam"])
def test_calls_of_any_length_and_short_batches_left_out(rule):
    """Teams of several calls, and of other sizes between them, are one epoch."""
    case = CASES[0]
    data = sample(case, 3000, 5)
    for drop_last in (True, False):
        setup = Setup(rule, 700, drop_last=drop_last, n_threads=3)
        assert bits(case, data, setup, 3) == bits(case, data, setup, 3, cuts=(1, 2, 3))


def test_a_short_call_is_not_worth_a_team():
    case, setup = CASES[0], Setup("gd", 8192, n_threads=2)
    data = sample(case, N, D)
    both = minibatch.twin(case, data, setup)
    rule = both.data.rule_state(minibatch.recipe("gd"), both.start.copy())
    # Two batches have 8 MiB; the third, of 3616 rows, has 1.8.
    for first, last, expected in ((2, 3, {1}), (0, 2, {1, 2})):
        both.epochs.run(0, first, last, np.full(2, 0.1), rule)
        assert teams(both) == expected
