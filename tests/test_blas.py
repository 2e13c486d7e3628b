"""BLAS runs on one thread while the limit is held, and as before afterwards."""

import os
import threading
from contextlib import ExitStack, suppress

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from fastgd import LinearRegression, blas
from fastgd.blas import SingleThreadedBlas, restores_process, single_threaded
from tests.estimators.fits import fit, problem_for, theta_of


def limits():
    """Return the threads of every BLAS library of this process."""
    return [library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers]


@pytest.fixture
def usual():
    """Set three threads of BLAS."""
    with ThreadpoolController().limit(limits=3, user_api="blas"):
        found = limits()
        assert found
        assert set(found) == {3}
        yield found
        assert limits() == found


def test_last_holder_lifts_the_limit(usual):
    with SingleThreadedBlas():
        assert set(limits()) == {1}
        with SingleThreadedBlas():
            assert set(limits()) == {1}
        assert set(limits()) == {1}
    assert limits() == usual


def test_errors_lift_the_limit(usual):
    with pytest.raises(ZeroDivisionError), SingleThreadedBlas(), SingleThreadedBlas():
        raise ZeroDivisionError
    assert limits() == usual
    assert blas.holds() == 0


def test_alternating_threads_hold_the_limit(usual):
    """One thread enters while another holds the limit, and leaves after it."""
    entered, left, seen = threading.Event(), threading.Event(), []

    def second():
        with SingleThreadedBlas():
            entered.set()
            left.wait(10)
            seen.extend(limits())

    with SingleThreadedBlas():
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait(10)
    left.set()
    thread.join()
    assert set(seen) == {1}
    assert limits() == usual


def test_limit_beside_limits_of_another_thread(usual):
    seen = []

    def ask():
        with SingleThreadedBlas():
            seen.extend(limits())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert set(seen) == {1}
    assert limits() == usual


@pytest.mark.parametrize("optimizer", ["normal_equations", "sketched_newton", "lbfgs"])
def test_fits_restore_blas_threads(usual, optimizer):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 12))
    LinearRegression("squared" if optimizer == "normal_equations" else "huber", optimizer=optimizer).fit(X, X[:, 0])
    assert limits() == usual
    assert blas.holds() == 0


def test_small_work_does_not_ask_for_it(usual):
    """BLAS computes so small matrices on one thread: results are equal, and 20 microseconds are saved."""
    with single_threaded(1000, 8):
        assert limits() == usual
    for shape in ((1025, 8), (33, 33)):
        with single_threaded(*shape):
            assert set(limits()) == {1}


#: Functions of the module, and how often they are called before the interrupt.
INTERRUPTED = [("_free", 1), ("_free", 2), ("_set_threads", 1), ("_update", 1)]


@pytest.mark.parametrize("held", [0, 1])
@pytest.mark.parametrize(("name", "last"), INTERRUPTED)
def test_interrupt_while_entering_keeps_the_limit(usual, monkeypatch, name, last, held):
    calls, function = [], getattr(blas, name)

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) == last:
            raise KeyboardInterrupt
        return function(*arguments)

    with ExitStack() as stack:
        for _ in range(held):
            stack.enter_context(SingleThreadedBlas())
        with monkeypatch.context() as patch:
            patch.setattr(blas, name, interrupted)
            with suppress(KeyboardInterrupt), SingleThreadedBlas():
                pass
        assert blas.holds() == held
        assert limits() == ([1] * len(usual) if held else usual)
    test_last_holder_lifts_the_limit(usual)


@pytest.mark.parametrize("held", [0, 1])
def test_an_exit_that_an_interrupt_skips_is_made_good(usual, monkeypatch, held):
    """Interrupt at the first instruction of ``__exit__``, while the lock is held, and with NumPy's errors ignored."""

    def skipped(*_):
        blas._lock.acquire()
        np.seterr(over="ignore", invalid="ignore")
        raise KeyboardInterrupt

    @restores_process
    def work():
        with SingleThreadedBlas():
            pass

    with ExitStack() as stack:
        for _ in range(held):
            stack.enter_context(SingleThreadedBlas())
        errors = np.geterr()
        with monkeypatch.context() as patch:
            patch.setattr(SingleThreadedBlas, "__exit__", skipped)
            with pytest.raises(KeyboardInterrupt):
                work()
        assert blas.holds() == held
        assert limits() == ([1] * len(usual) if held else usual)
        assert np.geterr() == errors
    seen = []
    thread = threading.Thread(target=lambda: seen.append(test_last_holder_lifts_the_limit(usual)))
    thread.start()
    thread.join(10)
    assert seen == [None]


FORK = """
import os, sys, warnings
from threadpoolctl import ThreadpoolController
from fastgd import blas

def limits():
    return {library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers}

blas._libraries()
usual = limits()
# Python 3.12 warns of any fork while there are threads; this is what the test is about.
warnings.simplefilter("ignore", DeprecationWarning)
with blas.SingleThreadedBlas(), blas._lock:
    child = os.fork()
    if child == 0:
        try:
            assert limits() == usual
            with blas.SingleThreadedBlas():
                assert limits() == {1}
            assert limits() == usual
        finally:
            os._exit(1 if sys.exc_info()[0] else 0)
_, status = os.waitpid(child, 0)
assert limits() == usual
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_lets_go_of_it(python):
    """The holders of the limit and of its lock exist in the parent only."""
    python("-c", FORK, OPENBLAS_NUM_THREADS="2")


KINDS = [("squared", 1), ("huber", 2), ("softmax", 3)]
SOLVED = [
    *((*kind, name) for kind in KINDS for name in ("auto", "sketched_newton", "lbfgs", "accelerated")),
    ("squared", 1, "normal_equations"),
]


# Not all of them are there after so few passes.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("loss", "outputs", "optimizer"), SOLVED)
@pytest.mark.parametrize(("n", "d"), [(2000, 3), (20_000, 3), (256, 31), (600, 300)])
def test_bits_do_not_depend_on_blas_threads(loss, outputs, n, d, optimizer):
    problem = problem_for(loss, outputs, n=n, d=d, alpha=1e-4)
    models = []
    for number in (1, 2, 3):
        with threadpool_limits(number, user_api="blas"):
            models.append(fit(problem, optimizer=optimizer, max_iter=30, tol=1e-3, n_threads=1))
    for model in models[1:]:
        assert theta_of(model).tobytes() == theta_of(models[0]).tobytes()
        assert model.fit_report_["certificate"] == models[0].fit_report_["certificate"]
