"""Interrupt fits at random moments in a process of its own: ``python -m tests.faults.storm INTERRUPTS SEED``.

A timer raises KeyboardInterrupt, as Ctrl-C does; afterwards the process must be as it was before: threads of BLAS,
NumPy's error state, handlers of the log, the pool. Between interrupts fits run from eight threads and in forked
children.
"""

import faulthandler
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings

import numpy as np
from threadpoolctl import ThreadpoolController

from fastgd import LinearRegression, LogisticRegression, threads
from tests.estimators.fits import theta_of

#: Seconds after which a fit or a child is taken for hung.
HUNG = 60
ROWS, COLUMNS = 20_000, 10


def jobs():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, COLUMNS))
    labels = (X[:, 0] + rng.standard_normal(ROWS) > 0).astype(int)
    return [
        (LinearRegression(alpha=0.1, n_threads=4), X, X @ np.arange(1.0, COLUMNS + 1)),
        (LogisticRegression(n_threads=2), X, labels),
        (LogisticRegression(optimizer="adam", max_iter=2, tol=0.0, random_state=0, n_threads=2), X, labels),
        (LinearRegression(optimizer="normal_equations", n_threads=3), X, X[:, 0]),
    ]


def state():
    """Everything that belongs to the process and that a fit may change for a while."""
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return (
        [library.num_threads for library in libraries],
        np.geterr(),
        list(warnings.filters),
        list(logging.getLogger("fastgd").handlers),
        signal.getsignal(signal.SIGALRM),
    )


def interrupted(job, delay):
    """Whether a fit was interrupted after `delay` seconds."""
    model, X, y = job
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        model.fit(X, y)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        time.sleep(0.001)  # one that another thread has received may be pending
    except KeyboardInterrupt:
        return True
    return False


def fit_in_threads(work, expected):
    errors = []

    def fit(number):
        try:
            model, X, y = jobs()[number % len(work)]
            assert np.array_equal(theta_of(model.fit(X, y)), expected[number % len(work)])
        except BaseException as error:
            errors.append(error)

    callers = [threading.Thread(target=fit, args=(number,), daemon=True) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(HUNG)
        assert not caller.is_alive(), "a fit in a thread hangs"
    assert not errors, errors


def fit_in_child(work, expected):
    faulthandler.cancel_dump_traceback_later()  # a child cannot stop its parent's
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(HUNG)
            model, X, y = work[0]
            os._exit(0 if np.array_equal(theta_of(model.fit(X, y)), expected[0]) else 7)
        finally:
            os._exit(8)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"a fit in a forked child ended with {status}"


def main(interrupts, seed):
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    warnings.simplefilter("ignore")
    random.seed(seed)
    work = jobs()
    expected, seconds = [], []
    for model, X, y in work:
        expected.append(theta_of(model.fit(X, y)))
        start = time.perf_counter()
        model.fit(X, y)
        seconds.append(time.perf_counter() - start)
    before, count, tries = state(), 0, 0
    while count < interrupts:
        tries += 1
        number = random.randrange(len(work))
        faulthandler.dump_traceback_later(HUNG, exit=True)
        count += interrupted(work[number], random.random() * 1.2 * seconds[number])
        assert state() == before, f"after {count} interrupts: {state()} instead of {before}"
        if tries % 100 == 0:
            fit_in_threads(work, expected)
            fit_in_child(work, expected)
        if tries % 10 == 0:
            model, X, y = work[number]
            assert np.array_equal(theta_of(model.fit(X, y)), expected[number])
            assert state() == before
    faulthandler.cancel_dump_traceback_later()
    fit_in_threads(work, expected)
    assert threads._pool.size <= 3
    sys.stdout.write(f"{count} interrupts in {tries} fits\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
