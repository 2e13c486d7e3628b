"""What a fit had is given back when it ends: Python's collector finds nothing of it, which may run in any thread."""

import gc

import numpy as np
import pytest

from fastgd import LogisticRegression


@pytest.mark.parametrize("optimizer", ["accelerated", "lbfgs", "momentum", "sketched_newton"])
def test_a_fit_leaves_nothing_in_cycles(optimizer):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 20))
    y = X[:, 0] + rng.normal(size=len(X)) > 0
    # The first fit compiles.
    LogisticRegression(optimizer=optimizer, tol=0.01).fit(X, y)
    gc.disable()
    # What there was before is not looked through, now and later: that takes a second.
    gc.freeze()
    try:
        LogisticRegression(optimizer=optimizer, tol=0.01).fit(X, y)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = [type(it).__name__ for it in gc.garbage if type(it).__module__.startswith("fastgd")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found
