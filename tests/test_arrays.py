"""Checks of arrays."""

import numpy as np
import pytest

from fastgd.arrays import all_finite


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("size", [3, 8192, 8193, 100_000])
def test_all_finite(size, dtype):
    """Also where sums overflow, or infinities of both signs meet."""
    numbers = np.full(size, np.finfo(dtype).max, dtype)
    assert all_finite(numbers)
    for bad in ([np.nan], [np.inf], [np.inf, -np.inf]):
        numbers[: len(bad)] = bad
        assert not all_finite(numbers)
