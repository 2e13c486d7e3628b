"""Streams of chunks through `partial_fit`."""

import pickle

import numpy as np

from tests.estimators.fits import targets, theta_of
from tests.solvers.steps import HYPER, RULES

#: Rules for streams: SAGA knows rows by number.
STREAMED = [rule for rule in RULES if rule != "saga"]
N, BATCH = 112, 8
#: Of whole batches.
CHUNKS = [slice(0, 40), slice(40, 48), slice(48, 112)]


def rule(name, rate=0.05):
    return RULES[name](rate, **HYPER[name])


def stream(model, X, y, passes=1, between=lambda model: model, **first):
    """Chunk by chunk, with something done to the model between calls; `first` goes into the first call only."""
    for _ in range(passes):
        for rows in CHUNKS:
            model = between(model.partial_fit(X[rows], y[rows], **first))
            # Classes may be named again.
            first = {"classes": first["classes"]} if "classes" in first else {}
    return model


def classes_of(problem):
    return {"classes": np.unique(targets(problem))} if problem.loss in ("logistic", "softmax") else {}


def assert_same_bits(one, other):
    assert theta_of(one).tobytes() == theta_of(other).tobytes()


def by_pickle(model):
    return pickle.loads(pickle.dumps(model))
