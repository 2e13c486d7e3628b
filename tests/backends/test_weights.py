"""Sums and conversion of sample weights, on any number of threads."""

import numpy as np
import pytest

from fastgd import _targets
from fastgd.backends import weights

N = 1000


@pytest.fixture(params=[1, 3])
def n_threads(request, monkeypatch):
    """Return the number of threads that share blocks of 16 weights."""
    monkeypatch.setattr(weights, "_BLOCK", 16)
    monkeypatch.setattr(_targets, "_WEIGHTS", 16)
    return request.param


def test_effective_rows(n_threads):
    s = np.random.default_rng(0).random(N)
    np.testing.assert_allclose(weights.effective(N, s, n_threads), s.sum() ** 2 / (s @ s), rtol=1e-13)
    assert weights.effective(N, None, n_threads) == N
    assert weights.effective(N, np.full(N, 1e-200), n_threads) == pytest.approx(N)


@pytest.mark.parametrize("row", [0, 500, N - 1])
@pytest.mark.parametrize("hard", [None, 0.0, 1e-300, 1e300, 1e-42])
def test_weights_that_float32_cannot_hold_become_relative(n_threads, hard, row):
    s = 0.5 + np.random.default_rng(0).random(N)
    if hard is not None:
        s[row] = hard
    found = _targets.weights_as(s, np.dtype(np.float32), n_threads)
    assert found.dtype == np.float32
    with np.errstate(under="ignore"):
        expected = s / s.mean() if hard not in (None, 0.0) else s
        assert np.array_equal(found, expected.astype(np.float32))
    assert _targets.weights_as(s, np.dtype(np.float64), n_threads) is s
    assert _targets.weights_as(None, np.dtype(np.float32), n_threads) is None
