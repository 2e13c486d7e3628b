"""The best constant of the Huber loss equals that of a search, on any number of threads."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from fastgd._data import NumericTargets
from fastgd.losses import Huber, _base
from fastgd.objective.coordinates import TargetScaling

DELTA = 0.7


def mean_loss(b, y, s):
    size = np.abs(y - b)
    return np.average(np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)), weights=s)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_best_constant_of_huber(monkeypatch, n_threads, weighted):
    monkeypatch.setattr(_base, "_BLOCK", 16)
    rng = np.random.default_rng(0)
    y, s = rng.standard_normal((2, 200)) ** 3, rng.random(200) if weighted else None
    found = Huber(DELTA).constant_model(y, s, *np.zeros((2, 2)), True, n_threads)
    for target, loss, start in zip(y, found.losses, found.start, strict=True):
        np.testing.assert_allclose(loss, minimize_scalar(mean_loss, args=(target, s), tol=1e-12).fun, rtol=1e-12)
        np.testing.assert_allclose(start, mean_loss(0.0, target, s), rtol=1e-12)
    alone = Huber(DELTA).constant_model(y, s, *np.zeros((2, 2)), True)
    assert (found.rms, found.losses.tolist()) == (alone.rms, alone.losses.tolist())


@pytest.mark.parametrize(("n", "outputs"), [(10, 1), (70_000, 4)])
def test_working_targets(n, outputs):
    rng = np.random.default_rng(0)
    y = rng.standard_normal((n, outputs))
    scaling = TargetScaling(rng.random(outputs), 1.0 + rng.random(outputs))
    targets = NumericTargets(SimpleNamespace(n_threads=3), y, None, is_vector=False)
    found = targets.working(scaling, np.dtype(np.float32))
    assert np.array_equal(found, ((y - scaling.center) / scaling.scale).T.astype(np.float32))
