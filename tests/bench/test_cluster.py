"""Measurements on clusters: the cases, and the model of a pass."""

import numpy as np
import pytest

from bench.cases import CLUSTER_CASES
from bench.cluster import CASES, _fitted, _predicted, main


def test_cases_are_listed() -> None:
    assert set(CASES) == set(CLUSTER_CASES)
    with pytest.raises(SystemExit):
        main(["unknown"])


def test_the_model_finds_the_terms_that_made_its_data() -> None:
    a, b, bandwidth = 0.004, 0.002, 5e9
    cases = [
        (count, n, d, a + b * count + 4.0 * n * d / (count * bandwidth))
        for count in (1, 2, 4)
        for n, d in ((10**5, 50), (10**6, 50), (10**6, 200))
    ]
    found = _fitted(cases)
    np.testing.assert_allclose(found, (a, b, bandwidth), rtol=1e-6)
    np.testing.assert_allclose(_predicted(found, 2, 3 * 10**6, 100), a + 2 * b + 1.2e9 / 1e10, rtol=1e-6)
