"""Mini-batches on the GPU: the reference's steps for every rule, held and streamed, for any division into calls."""

import numpy as np
import pytest

from fastgd import reference
from fastgd.backends.cuda import epochs as cuda_epochs
from fastgd.backends.cuda.epochs import part_rows
from tests.backends.cuda.rows import CASES, held, placed, streamed
from tests.kernels import minibatch
from tests.kernels.minibatch import Setup, recipe, run_epochs
from tests.kernels.table import Case, sample

N, D = 21, 3
PLAIN = Case("logistic", "f8", "C")


def path(case, data, setup, rows, count=2, cuts=()):
    """Return the end of a fit on rows."""
    stated = minibatch.twin(case, data, setup)
    stated = stated._replace(data=rows, epochs=rows.epochs(case.loss, stated.plan))
    return run_epochs(stated, case, N, setup, count, cuts)


@pytest.mark.parametrize("rule", [rule for rule in reference.RULES if rule != "saga"])  # which is refused of streams
def test_every_rule_of_a_stream(rule, monkeypatch):
    """On data on the GPU: tests/kernels/cuda/test_epoch.py."""
    setup = Setup(rule, 8, weighted=True, penalty="elastic net", scaled=True)
    data = sample(PLAIN, N, D, weighted=True)
    minibatch.compare(PLAIN, data, setup, path(PLAIN, data, setup, streamed(data, monkeypatch)), 2)


@pytest.mark.parametrize("where", ["held", "streamed"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_loss(case, where, monkeypatch):
    setup = Setup("momentum", 5, shuffle=case.order == "C", intercept=case.dtype == "f8", scaled=True)
    data = sample(case, N, D)
    minibatch.compare(case, data, setup, path(case, data, setup, placed(data, where, monkeypatch)), 2)


def test_streams_take_the_very_steps_of_data_on_the_gpu(monkeypatch):
    data, setup = sample(PLAIN, N, D, weighted=True), Setup("adam", 4, weighted=True)
    found, expected = (path(PLAIN, data, setup, rows) for rows in (streamed(data, monkeypatch), held(data)))
    np.testing.assert_array_equal(found.thetas, expected.thetas)
    np.testing.assert_array_equal(found.slots, expected.slots)
    # The sums of an epoch are cut where buffers end.
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-14)


@pytest.mark.parametrize("rule", ["gd", "saga"])
def test_cuts_and_short_launches_do_not_show(rule, monkeypatch):
    data, setup = sample(PLAIN, N, D), Setup(rule, 4)
    expected = path(PLAIN, data, setup, held(data))
    monkeypatch.setattr(cuda_epochs, "_LAUNCH_SECONDS", 2.5 * cuda_epochs._BATCH_SECONDS)
    found = path(PLAIN, data, setup, held(data), cuts=(3,))
    np.testing.assert_array_equal(found.thetas, expected.thetas)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-14)


def test_a_batch_larger_than_a_chunk(monkeypatch):
    data, setup = sample(PLAIN, N, D), Setup("gd", 16)
    rows = streamed(data, monkeypatch)
    minibatch.compare(PLAIN, data, setup, path(PLAIN, data, setup, rows), 2)
    assert rows.chunk_rows == 9


def test_a_batch_that_has_no_room(monkeypatch):
    data = sample(PLAIN, N, D)
    rows = streamed(data, monkeypatch)
    monkeypatch.setattr("fastgd.backends.cuda.device.free_bytes", lambda: 100)
    problem = minibatch.twin(PLAIN, data, Setup(batch_size=16)).plan
    with pytest.raises(MemoryError, match=r"no room for twice 16 rows: 1,024 bytes are needed, 100 are free"):
        rows.epochs("logistic", problem)


def test_saga_on_a_stream_names_a_remedy(monkeypatch):
    data = sample(PLAIN, N, D)
    rows = streamed(data, monkeypatch)
    epochs = rows.epochs("logistic", minibatch.twin(PLAIN, data, Setup(batch_size=4)).plan)
    with pytest.raises(ValueError, match=r"optimizer='saga' needs all rows on the GPU.*device='cpu'"):
        epochs.run(0, 0, 1, np.ones(1), rows.rule_state(recipe("saga"), np.zeros((1, D + 1))))


def test_saga_returns_to_earlier_parameters_with_an_empty_table():
    """As on the CPU: derivatives of parameters that no longer exist would bias the direction."""
    data, setup = sample(PLAIN, N, D), Setup("saga", 4)
    stated, rates = minibatch.twin(PLAIN, data, setup), np.full(6, 0.1)
    thetas = []
    for rows in (stated.data, held(data)):
        rule, epochs = rows.rule_state(recipe("saga"), stated.start.copy()), rows.epochs(PLAIN.loss, stated.plan)
        earlier = rule.copy()
        epochs.run(0, 0, 6, rates, rule)
        rule.restore(earlier)
        epochs.run(1, 0, 6, rates, rule)
        thetas.append(rule.theta)
    np.testing.assert_allclose(thetas[1], thetas[0], rtol=1e-12)


def test_an_interrupt_leaves_the_rule_after_a_whole_batch(monkeypatch):
    data, setup = sample(PLAIN, N, D), Setup("saga", 4)
    stated = minibatch.twin(PLAIN, data, setup)
    monkeypatch.setattr(cuda_epochs, "_LAUNCH_SECONDS", 0.0)
    found, expected = (held(data).rule_state(recipe("saga"), stated.start.copy()) for _ in range(2))
    rates = np.full(6, 0.1)
    rows = held(data)
    rows.epochs(PLAIN.loss, stated.plan).run(0, 0, 2, rates[:2], expected)
    epochs, waits = rows.epochs(PLAIN.loss, stated.plan), []

    def interrupted(event, **_):
        waits.append(event)
        raise KeyboardInterrupt

    monkeypatch.setattr(cuda_epochs, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        epochs.run(0, 0, 6, rates, found)
    assert len(waits) == 1
    assert found.memory.step[0] == 2
    np.testing.assert_array_equal(found.theta, expected.theta)
    np.testing.assert_array_equal(found.memory.slots, expected.memory.slots)


def test_parts_of_a_batch():
    """A function of the batch and its columns: 128 for small batches, 512 for the largest."""
    for size, most in ((1, 1), (256, 128), (4096, 128), (1 << 17, 512), (1 << 22, 512)):
        rows = part_rows(size, 100)
        assert rows >= 1
        assert -(-size // rows) <= most
