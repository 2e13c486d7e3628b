"""CuPy: a full pass by two products and elementwise functions on the GPU."""

from collections.abc import Iterator

import cupy
import numpy as np

from fastgd.bench.objective import Floats, Objective
from fastgd.bench.timing import Job


def full_passes(objective: Objective, theta: Floats, device: str = "cuda") -> Iterator[Job]:
    """Mean loss and gradient of logistic regression, X used in place where it is on the GPU."""
    data = objective.data
    X = cupy.asarray(data.X if data.on_gpu is None else data.on_gpu)
    w, b = cupy.asarray(theta[0, :-1], dtype=X.dtype), X.dtype.type(theta[0, -1])
    signs = cupy.asarray(data.signs())

    def run() -> Floats:
        t = signs * (X @ w + b)
        loss = cupy.logaddexp(0, -t).sum(dtype=cupy.float64)
        r = -signs / (1 + cupy.exp(t))
        gradient = cupy.concatenate([loss[None], r @ X, r.sum(dtype=cupy.float64)[None]])
        found: Floats = cupy.asnumpy(gradient) / len(signs)
        return found

    yield Job("CuPy", np.dtype(X.dtype).name, run)
