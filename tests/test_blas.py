"""BLAS on one thread while anyone asks for it, and as before afterwards."""

import threading

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from fastgd import LinearRegression, blas
from fastgd.blas import SingleThreadedBlas


def limits():
    """Threads of every BLAS library of this process."""
    return [library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers]


@pytest.fixture
def usual():
    """BLAS has three threads."""
    with ThreadpoolController().limit(limits=3, user_api="blas"):
        found = limits()
        assert found
        assert set(found) == {3}
        yield found
        assert limits() == found


def test_the_limit_is_lifted_by_the_last_who_holds_it(usual):
    with SingleThreadedBlas():
        assert set(limits()) == {1}
        with SingleThreadedBlas():
            assert set(limits()) == {1}
        assert set(limits()) == {1}
    assert limits() == usual


def test_an_error_lifts_it_too(usual):
    with pytest.raises(ZeroDivisionError), SingleThreadedBlas(), SingleThreadedBlas():
        raise ZeroDivisionError
    assert limits() == usual
    assert blas._holders == 0


def test_threads_that_hold_it_by_turns(usual):
    """One enters while another holds it, and leaves after that one has left."""
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


def test_a_thread_may_ask_for_it_while_another_has_set_limits_of_its_own(usual):
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
def test_fits_leave_it_as_it_was(usual, optimizer):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 12))
    LinearRegression("squared" if optimizer == "normal_equations" else "huber", optimizer=optimizer).fit(X, X[:, 0])
    assert limits() == usual
    assert blas._holders == 0
