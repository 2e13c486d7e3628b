"""scikit-learn's L-BFGS, stopped at any of its iterates: an iteration is a lap."""

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any
from unittest import mock

import numpy as np
from scipy import optimize
from sklearn.linear_model import LogisticRegression

from fastgd.bench.objective import Floats, Objective
from fastgd.bench.rivals.racers import Effort, Racer

#: One fit whose tolerances do not stop it before it is stopped.
_ITERATES = [Effort("iterates", 0)]
_PARAMETERS = {"tol": 1e-12, "max_iter": 100_000}


def solvers(objective: Objective) -> Iterator[Racer]:
    """L-BFGS of logistic and softmax regression with a penalty on squares alone."""
    if objective.task != "linear" and objective.l2 and not objective.l1:
        yield Racer("scikit-learn lbfgs, stopped at its iterates", _ITERATES, _start, validates=True)


def _start(objective: Objective, effort: Effort) -> Iterator[Floats]:
    """Run the fit in a thread that waits at each iterate until the next one is wanted."""
    strength = 1.0 / (objective.alpha * len(objective.data.y))
    model = LogisticRegression(C=strength, fit_intercept=objective.intercept, **_PARAMETERS)
    iterates: SimpleQueue[Any] = SimpleQueue()
    wanted: SimpleQueue[bool] = SimpleQueue()
    minimize = optimize.minimize

    def pause(flat: Floats) -> None:
        iterates.put(flat)
        if not wanted.get():
            raise StopIteration

    def fit() -> None:
        try:
            with mock.patch.object(
                optimize, "minimize", lambda *inputs, **options: minimize(*inputs, **(options | {"callback": pause}))
            ):
                if wanted.get():
                    model.fit(objective.data.X, objective.data.y)
            iterates.put(None)
        except BaseException as error:
            iterates.put(error)

    def run() -> Iterator[Floats]:
        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        try:
            while True:
                wanted.put(True)
                found = iterates.get()
                if isinstance(found, BaseException):
                    raise found
                if found is None:
                    return
                yield _theta(objective, found)
        finally:
            wanted.put(False)
            thread.join()

    return run()


def _theta(objective: Objective, flat: Floats) -> Floats:
    """Return theta of scikit-learn's flat parameters, columns of classes one after another; not copied if large."""
    theta = flat.reshape((objective.shape[0], -1), order="F")
    return theta if objective.intercept else np.column_stack([theta, np.zeros(len(theta))])
