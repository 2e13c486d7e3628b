"""Ways to run a fit, with rows held out or without, for tests of early stopping and of validation."""

from dataclasses import replace

import numpy as np

from fastgd.holdout import held_out_rows
from fastgd.optimizers import GradientDescent, Nesterov
from tests.estimators.fits import Recorder, model_for, targets

#: Ways to run a fit that stand for all solvers.
WAYS = {
    "auto": {},
    "sketched newton": {"optimizer": "sketched_newton"},
    "accelerated": {"optimizer": "accelerated"},
    "lbfgs": {"optimizer": "lbfgs"},
    "backtracking": {"optimizer": GradientDescent(line_search="backtracking")},
    "exact": {"optimizer": GradientDescent(line_search="exact")},
    "full batch": {"optimizer": Nesterov(form="lookahead"), "batch_size": "full"},
    "batches": {"optimizer": "adam", "batch_size": 16},
    "averaged": {"optimizer": GradientDescent(average=True), "batch_size": 16},
    "saga": {"optimizer": "saga", "batch_size": 16},
}
SEED = np.random.RandomState(3).randint(2**31 - 1)


def held(problem, fraction=0.2):
    """Numbers of the rows that a fit with random_state=3 holds out."""
    classes = None if problem.loss in ("squared", "huber") else np.unique(problem.y, return_inverse=True)[1].ravel()
    return held_out_rows(problem.n_rows, fraction, SEED, classes=classes, weights=problem.weight)


def without(problem, rows):
    """The problem with weight 0 on these rows."""
    weight = problem.weight.copy()
    weight[rows] = 0.0
    return replace(problem, weight=weight)


def only(problem, rows):
    """The problem of these rows alone, as many classes as it may lack."""
    return replace(problem, x=problem.x[rows], y=problem.y[rows], weight=problem.weight[rows])


def model_of(problem, way, **parameters):
    """What `way` means, for a few epochs without end before them."""
    return model_for(problem, **{"random_state": 3, "max_iter": 8, "tol": 0.0, **WAYS[way], **parameters})


def stopping(problem, way="batches", **parameters):
    """A fit with early stopping, and the states that a callback got."""
    recorder = Recorder()
    model = model_of(problem, way, **{"early_stopping": True, "validation_fraction": 0.2, **parameters})
    return model.fit(problem.x, targets(problem), problem.weight, callbacks=recorder), recorder
