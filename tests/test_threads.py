"""The pool: slots, errors, interrupts, forks, and several callers at once."""

import os
import threading
import time

import numpy as np
import pytest

from fastgd import threads
from fastgd.backends.cpu import data as cpu
from tests.kernels import full_pass
from tests.kernels.table import Case, sample


@pytest.fixture(autouse=True)
def own_pool(monkeypatch):
    """Use a pool apart from that of other tests."""
    monkeypatch.setattr(threads, "_pool", threads._Pool())


@pytest.mark.parametrize(("n", "size", "slots"), [(0, 3, 0), (7, 3, 1), (30, 3, 3), (31, 3, 3)])
def test_blocks_are_worked_on_once_and_few_on_one_thread(n, size, slots):
    together, done, used = threading.Barrier(max(1, slots)), [], set()

    def work(slot, rows):
        if slot not in used:
            used.add(slot)
            together.wait(timeout=60)
        done.extend(range(rows.start, rows.stop))
        assert rows.stop - rows.start <= size

    threads.by_blocks(n, size, 3, work)
    assert sorted(done) == list(range(n))
    assert len(used) == slots


@pytest.mark.parametrize("count", [0, 1, 2, 100])
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_every_number_is_worked_on_once_and_no_slot_by_two_at_a_time(count, n_threads):
    done, busy, clashes = [], set(), []

    def work(slot, number):
        if slot in busy or not 0 <= slot < n_threads:
            clashes.append(slot)
        busy.add(slot)
        time.sleep(0.0002)
        done.append(number)
        busy.discard(slot)

    threads.run(count, n_threads, work)
    assert sorted(done) == list(range(count))
    assert not clashes


def test_threads_run_at_the_same_time():
    """Each call waits for the other."""
    barrier = threading.Barrier(3)
    threads.run(3, 3, lambda slot, number: barrier.wait(10))


@pytest.mark.parametrize("bad_slot", [0, 1])
def test_an_error_ends_the_work_and_reaches_the_caller(bad_slot):
    started, ended, both = [], [], threading.Barrier(2)

    def work(slot, number):
        started.append(number)
        if number < 2:
            both.wait(10)
        try:
            if slot == bad_slot:
                raise ArithmeticError("from a chunk")
            time.sleep(0.05)
        finally:
            ended.append(number)

    with pytest.raises(ArithmeticError, match="from a chunk"):
        threads.run(1000, 2, work)
    now = len(started)
    assert now < 20
    assert sorted(started) == sorted(ended)
    time.sleep(0.1)
    assert len(started) == now
    # The pool lives on.
    done = []
    threads.run(10, 2, lambda slot, number: done.append(number))
    assert len(done) == 10


def test_interrupt_waits_for_running_work_and_stops_the_rest():
    """Scratch memory must not be freed while a kernel writes to it."""
    started, ended, helper = [], [], threading.Event()

    def work(slot, number):
        started.append(number)
        if slot == 0:
            helper.wait(10)
            raise KeyboardInterrupt
        helper.set()
        time.sleep(0.2)
        ended.append(number)

    with pytest.raises(KeyboardInterrupt):
        threads.run(1000, 2, work)
    assert len(started) < 10
    assert len(ended) == len(started) - 1


class InterruptedOnce:
    """A lock whose first blocking acquire is interrupted."""

    def __init__(self, lock):
        self.lock, self.interrupted = lock, False

    def acquire(self):
        if not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt
        return self.lock.acquire()

    def release(self):
        self.lock.release()


def test_interrupt_waits_for_a_helper(monkeypatch):
    """The calling thread has already done its part."""
    join, helper, ended = threads._Parts._join, threading.Event(), []

    def interrupted(parts, withdraw):
        if not isinstance(parts._done[1], InterruptedOnce):
            parts._done[1] = InterruptedOnce(parts._done[1])
        join(parts, withdraw)

    monkeypatch.setattr(threads._Parts, "_join", interrupted)

    def work(slot, number):
        if slot == 0:
            helper.wait(10)
        else:
            helper.set()
            time.sleep(0.2)
        ended.append(slot)

    with pytest.raises(KeyboardInterrupt):
        threads.run(2, 2, work)
    assert ended == [0, 1]


def test_a_helper_that_has_not_begun_is_not_waited_for():
    """The only thread of the pool is busy with another call."""
    free, busy, done = threading.Event(), threading.Event(), []

    def occupy(slot, number):
        if slot:
            busy.set()
            free.wait(10)
        else:
            busy.wait(10)

    other = threading.Thread(target=threads.run, args=(2, 2, occupy))
    other.start()
    busy.wait(10)
    threads.run(20, 2, lambda slot, number: done.append((slot, number)))
    assert done == [(0, number) for number in range(20)]
    free.set()
    other.join(10)


def test_calls_inside_calls_do_not_wait_for_each_other():
    done = []
    threads.run(4, 2, lambda slot, i: threads.run(4, 2, lambda inner, j: done.append((i, j))))
    assert len(set(done)) == 16


def test_more_threads_than_the_pool_has_make_a_larger_one():
    barrier = threading.Barrier(2)
    threads.run(2, 2, lambda slot, number: barrier.wait(10))
    larger = threading.Barrier(5)
    threads.run(5, 5, lambda slot, number: larger.wait(10))


def test_passes_from_several_python_threads_at_once():
    """More callers than processors share one pool, on separate and on the same data.

    Chunks are so long that kernels of several callers run at the same time.
    """
    case = Case("logistic", "f8", "C")
    samples = [sample(case, 40000, 20, weighted=True, seed=seed) for seed in range(3)]
    samples += samples[:1]
    shared = samples[0].on_cpu(2)
    alone = [full_pass.run(case, data) for data in samples]
    same, errors = [], []

    def fit(k):
        try:
            for _ in range(10):
                own = shared if k in (0, 3) else samples[k].on_cpu(2)
                same.append(full_pass.same_bits(full_pass.gradient(case, samples[k], own), alone[k]))
        except BaseException as error:
            errors.append(error)

    callers = [threading.Thread(target=fit, args=(k,)) for k in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not errors
    assert same == [True] * 40


@pytest.mark.parametrize("slots", [(0,), (1,), (0, 1)])
def test_bits_do_not_depend_on_the_working_threads(monkeypatch, slots):
    """The calling thread may get no chunk if the others are quick."""
    case = Case("squared", "f8", "C")
    data = sample(case, 5000, 7)
    alone = full_pass.run(case, data)
    monkeypatch.setattr(cpu, "_CHUNK_BYTES", (1, 1 << 29))

    def run(count, n_threads, work):
        for number in reversed(range(count)):
            work(slots[number % len(slots)], number)

    monkeypatch.setattr(threads, "run", run)
    assert full_pass.same_bits(full_pass.run(case, data, 2), alone)


FORK = """
import os, sys, threading, warnings
import numpy as np
from fastgd import threads
from fastgd.backends import cpu
from fastgd.backends.cpu.data import CpuData

cpu._CHUNK_BYTES = (1, 1 << 29)
X, y = np.random.default_rng(0).standard_normal((5000, 3)), np.ones((1, 5000))

def passes():
    point = np.ones((1, 3)), np.zeros(1), np.zeros(3), 0.0
    return CpuData(X, y, None, 2).gradient("squared", *point).products.tobytes()

def both_threads_run():
    barrier = threading.Barrier(2)
    threads.run(2, 2, lambda slot, number: barrier.wait(5))
    return True

before = passes()
assert both_threads_run()
# Python 3.12 warns of any fork while there are threads; this is what the test is about.
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    os._exit(0 if passes() == before and both_threads_run() else 7)
_, status = os.waitpid(child, 0)
assert passes() == before
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_child_has_its_own_threads(python):
    """The child has the pool's object but none of its threads."""
    python("-c", FORK)


def test_no_thread_is_started_by_an_import_or_a_single_threaded_pass(python):
    code = (
        "import threading, numpy as np\n"
        "from fastgd.backends.cpu.data import CpuData\n"
        "CpuData(np.ones((9, 2)), np.ones((1, 9)), None, 1).moments()\n"
        "print(threading.active_count())\n"
    )
    assert python("-c", code) == "1\n"


def test_numpy_results_of_the_pool_are_seen_by_the_caller():
    out = np.zeros(1000)

    def work(slot, number):
        out[number] = number

    threads.run(1000, 3, work)
    np.testing.assert_array_equal(out, np.arange(1000.0))
