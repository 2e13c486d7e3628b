"""Mini-batches of sparse rows on the GPU: the reference's steps for every rule, for any division into calls."""

from dataclasses import replace

import numpy as np
import pytest

from bench.gpu import checks
from fastgd import reference
from fastgd.backends.cuda import csr_epochs
from fastgd.backends.cuda import device as cuda_device
from fastgd.backends.cuda.csr import CudaCsr
from tests.kernels import minibatch
from tests.kernels.csr.rows import compressed, sparse_sample
from tests.kernels.minibatch import PENALTIES, Setup
from tests.kernels.table import LOSSES, Case

N, D = 21, 5
RULES = list(reference.RULES)
PLAIN = Case("logistic", "f8", "C")


@pytest.fixture(autouse=True)
def poisoned():
    """Fill memory with NaN before it is used."""
    with checks.poisoned():
        yield


def path(case, data, setup, count=2, cuts=(), index="i4"):
    """Return the end of a fit, on memory of its own."""
    stated, rows = minibatch.twin(case, data, setup), CudaCsr(compressed(data.X, index), data.y, data.s, 1)
    stated = stated._replace(data=rows, epochs=rows.epochs(case.loss, stated.plan))
    found = minibatch.run_epochs(stated, case, len(data.X), setup, count, cuts)
    assert rows.rows_read == count * len(data.X)
    return found


def assert_same_bits(found, expected):
    np.testing.assert_array_equal(found.thetas, expected.thetas)
    np.testing.assert_array_equal(found.slots, expected.slots)


@pytest.mark.parametrize(
    ("number", "turn"),
    [
        pytest.param(number, turn, marks=[pytest.mark.slow] * (turn != number % 2), id=f"{rule}-{turn}")
        for number, rule in enumerate(RULES)
        for turn in (0, 1)
    ],
)
def test_every_rule(number, turn):
    penalty = list(PENALTIES)[(number + turn) % len(PENALTIES)]
    setup = Setup(
        RULES[number], (4, 30)[turn], turn == 0, turn == 0, penalty, scaled=number % 4 < 2, intercept=number % 3 > 0
    )
    data = sparse_sample(PLAIN, N, D, 0.4, weighted=setup.weighted)
    minibatch.compare(PLAIN, data, setup, path(PLAIN, data, setup), 2)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_outputs_and_dtypes(loss):
    outputs = {"squared": 5, "huber": 1, "softmax": 11}.get(loss)
    for dtype, index in (("f4", "i8"), ("f8", "i4")):
        case, setup = Case(loss, dtype, "C"), Setup("momentum", 8, weighted=True, penalty="l2", scaled=True)
        data = sparse_sample(case, N, D, 0.4, outputs=outputs, weighted=True)
        minibatch.compare(case, data, setup, path(case, data, setup, 1, index=index), 1)


@pytest.mark.parametrize("rule", ["saga", *(pytest.param(rule, marks=pytest.mark.slow) for rule in ("adam", "nadam"))])
def test_cuts_launches_and_waits_do_not_show(rule, monkeypatch):
    data, setup = sparse_sample(PLAIN, N, D, 0.4), Setup(rule, 4, scaled=True)
    expected = path(PLAIN, data, setup)
    monkeypatch.setattr(csr_epochs, "_ORDER_ROWS", 9)
    monkeypatch.setattr(csr_epochs, "_QUEUED", 1)
    found = path(PLAIN, data, setup, cuts=(1, 4))
    assert_same_bits(found, expected)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-14)


def test_the_gpu_does_not_show(monkeypatch):
    """As many blocks as a GPU holds at once take the steps of all columns."""
    data, setup = sparse_sample(PLAIN, N, 9, 0.4), Setup("adam", 12, scaled=True)
    expected = path(PLAIN, data, setup)
    monkeypatch.setattr(cuda_device, "multiprocessors", lambda: 1)
    monkeypatch.setattr("fastgd.backends.cuda.csr_rows._BLOCKS", 1)
    assert_same_bits(path(PLAIN, data, setup), expected)


def test_intercepts_of_centred_columns_have_several_parts(monkeypatch):
    monkeypatch.setattr(csr_epochs, "_PART_COLUMNS", 3)
    data, setup = sparse_sample(PLAIN, N, 20, 0.4), Setup("gd", 8, scaled=True)
    minibatch.compare(PLAIN, data, setup, path(PLAIN, data, setup), 2)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the simulator's threads, which are NumPy's
@pytest.mark.parametrize("rule", ["gd", "saga"])
def test_a_bad_row_makes_theta_and_the_loss_not_finite(rule):
    for bad, size in ((np.nan, 1), (np.inf, 30)):
        data, setup = sparse_sample(PLAIN, N, D, 0.4), Setup(rule, size)
        stated = minibatch.twin(PLAIN, data, setup)
        data.X[7, 2] = bad
        rows = CudaCsr(compressed(data.X), data.y, data.s, 1)
        stated = stated._replace(data=rows, epochs=rows.epochs("logistic", stated.plan))
        found = minibatch.run_epochs(stated, PLAIN, N, setup, 2)
        assert not np.isfinite(found.thetas).all(), bad
        assert not np.isfinite(found.losses[1]), bad


def test_interrupts_leave_whole_batches(monkeypatch):
    data, setup = sparse_sample(PLAIN, N, D, 0.4), Setup("adam", 4)
    stated, rows = minibatch.twin(PLAIN, data, setup), CudaCsr(compressed(data.X), data.y, data.s, 1)
    epochs, rates = rows.epochs("logistic", stated.plan), np.full(6, 0.1)
    expected = rows.rule_state(minibatch.recipe("adam"), stated.start.copy())
    epochs.run(0, 0, 2, rates[:2], expected)
    queue = csr_epochs._BatchLoop._queue_batch

    def interrupted(self, order, start, stop):
        if start == 8:
            raise KeyboardInterrupt
        queue(self, order, start, stop)

    monkeypatch.setattr(csr_epochs._BatchLoop, "_queue_batch", interrupted)
    rule = rows.rule_state(minibatch.recipe("adam"), stated.start.copy())
    with pytest.raises(KeyboardInterrupt):
        epochs.run(0, 0, 6, rates, rule)
    np.testing.assert_array_equal(rule.theta, expected.theta)
    assert rule.memory.step[0] == expected.memory.step[0] == 2
    assert rule.memory.product[0] == expected.memory.product[0]


def test_a_shift_is_refused():
    data = sparse_sample(PLAIN, N, D)
    problem = replace(minibatch.twin(PLAIN, data, Setup()).plan, shift=np.ones(D))
    with pytest.raises(ValueError, match="cannot be shifted"):
        CudaCsr(compressed(data.X), data.y, data.s, 1).epochs("logistic", problem)
