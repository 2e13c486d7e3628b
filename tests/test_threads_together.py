"""Parts that must run at once: each has its own thread, and a failure leaves none waiting."""

import threading
import time

import numpy as np
import pytest

from fastgd import threads
from fastgd.backends.cpu import epochs as cpu_epochs
from tests.kernels import minibatch
from tests.kernels.minibatch import Setup
from tests.kernels.table import Case, sample


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch):
    """Teams use no thread of the pool, nor one of another team."""
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    before = set(threading.enumerate())
    yield
    # Idle threads of pools that earlier tests left behind may end meanwhile.
    assert set(threading.enumerate()) <= before
    assert threads._pool.size == 0


def never():
    raise AssertionError("stop was called")


@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_all_run_at_the_same_time_and_the_caller_is_the_first(size):
    barrier, seen = threading.Barrier(size), {}

    def work(index):
        barrier.wait(10)
        seen[index] = threading.get_ident()

    threads.together(size, work, never)
    assert set(seen) == set(range(size))
    assert len(set(seen.values())) == size
    assert seen[0] == threading.get_ident()


class Waiting:
    """Return work in which one member acts while the others wait to be released."""

    def __init__(self, member, does):
        self.member, self.does = member, does
        self.stopped, self.ended = threading.Event(), []

    def work(self, index):
        if index == self.member:
            self.does()
        assert self.stopped.wait(10), "this thread was not released"
        self.ended.append(index)


def fails():
    raise ArithmeticError("from a member")


@pytest.mark.parametrize("member", [0, 1, 3])
def test_an_error_releases_the_others_and_reaches_the_caller(member):
    waiting = Waiting(member, fails)
    with pytest.raises(ArithmeticError, match="from a member"):
        threads.together(4, waiting.work, waiting.stopped.set)
    assert sorted(waiting.ended) == [index for index in range(4) if index != member]


def test_an_error_without_company():
    with pytest.raises(ArithmeticError, match="from a member"):
        threads.together(1, lambda index: fails(), never)


def test_of_several_errors_the_first_is_raised():
    first = threading.Event()

    def work(index):
        if index == 2:
            first.set()
            raise ArithmeticError("first")
        first.wait(10)
        time.sleep(0.05)
        raise ValueError("later")

    with pytest.raises(ArithmeticError, match="first"):
        threads.together(3, work, lambda: None)


@pytest.mark.parametrize("begun", [0, 1, 2])
def test_a_thread_that_cannot_start_releases_those_that_did(monkeypatch, begun):
    start, started = threads.start_new_thread, []

    def limited(*arguments):
        if len(started) == begun:
            raise RuntimeError("can't start new thread")
        started.append(arguments)
        start(*arguments)

    monkeypatch.setattr(threads, "start_new_thread", limited)
    waiting = Waiting(-1, None)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threads.together(4, waiting.work, waiting.stopped.set)
    # The caller's own part has not begun, and the others only where their threads ran before the error.
    assert set(waiting.ended) <= set(range(1, begun + 1))


def interrupted():
    raise KeyboardInterrupt


def test_an_interrupt_at_work_comes_after_the_others_have_ended():
    waiting = Waiting(0, interrupted)
    with pytest.raises(KeyboardInterrupt):
        threads.together(3, waiting.work, waiting.stopped.set)
    assert sorted(waiting.ended) == [1, 2]


def test_an_interrupt_while_a_thread_starts_leaves_none_behind(monkeypatch):
    start, begun = threads.start_new_thread, threading.Event()

    def start_and_be_interrupted(*arguments):
        start(*arguments)
        assert begun.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(threads, "start_new_thread", start_and_be_interrupted)
    waiting = Waiting(1, begun.set)
    with pytest.raises(KeyboardInterrupt):
        threads.together(3, waiting.work, waiting.stopped.set)
    assert waiting.ended == [1]


def test_an_interrupt_while_waiting_for_the_others_comes_after_their_end(monkeypatch):
    join, interrupts, ended = threads._Parts._join, [], []

    def interrupted_once(parts, withdraw):
        if not interrupts:
            interrupts.append(parts)
            raise KeyboardInterrupt
        join(parts, withdraw)

    begun = threading.Barrier(3)

    def work(index):
        begun.wait(10)
        if index:
            time.sleep(0.1)
        ended.append(index)

    monkeypatch.setattr(threads._Parts, "_join", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        threads.together(3, work, lambda: None)
    assert sorted(ended) == [0, 1, 2]


def test_teams_inside_teams_and_of_several_callers():
    done = []
    threads.together(2, lambda i: threads.together(3, lambda j: done.append((i, j)), never), never)
    assert sorted(done) == [(i, j) for i in range(2) for j in range(3)]


@pytest.mark.parametrize("member", [0, 1, 2])
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_kernels_that_wait_for_a_member_that_fails_return(monkeypatch, member, error):
    """Without a release they would wait at the barrier forever; afterwards the same team runs again."""
    monkeypatch.setattr(cpu_epochs, "_TEAM_BYTES", 1)
    monkeypatch.setattr(cpu_epochs, "_PART_NUMBERS", 1)
    case, setup = Case("squared", "f8", "C"), Setup("gd", 1500, n_threads=3)
    data = sample(case, 3000, 4)
    expected = minibatch.ours(case, data, setup, 1).thetas[0]
    both = minibatch.twin(case, data, setup)
    kernel = both.epochs._kernel

    def broken(*arguments):
        if arguments[-1].team.member == member:
            raise error("of this member")
        kernel(*arguments)

    rates = np.array([setup.rate(1), setup.rate(2)])
    rule = both.data.rule_state(minibatch.recipe("gd"), both.start.copy())
    both.epochs._kernel = broken
    with pytest.raises(error, match="of this member"):
        both.epochs.run(0, 0, 2, rates, rule)
    assert np.array_equal(rule.theta, both.start)
    both.epochs._kernel = kernel
    both.epochs.run(0, 0, 2, rates, rule)
    assert np.array_equal(rule.theta, expected)
