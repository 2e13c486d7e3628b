"""The schedule that looks at the loss."""

import math

import numpy as np
import pytest

from fastgd.schedules import (
    ReduceOnPlateau,
    WarmUp,
)
from tests.schedules.objects import watch


def test_numbers_of_torch():
    """Of ReduceLROnPlateau(factor=0.3, patience=2, threshold=1e-4, cooldown=1, min_lr=0.03)."""
    losses = [5, 4, 4, 4, 4, 3.99999, *[3.9] * 9]
    schedule = ReduceOnPlateau(0.5, factor=0.3, patience=2, threshold=1e-4, cooldown=1, minimum=0.03)
    rates, _ = watch(schedule, losses)
    np.testing.assert_allclose(rates, [*[0.5] * 5, *[0.15] * 5, *[0.045] * 4, 0.03, 0.03], rtol=1e-14)


def test_losses_that_fall_leave_the_rate():
    rates, _ = watch(ReduceOnPlateau(0.5, patience=0), [10.0 * 0.99**k for k in range(20)])
    assert rates == [0.5] * 21


def test_every_flat_epoch_counts_without_patience():
    rates, _ = watch(ReduceOnPlateau(0.5, patience=0), [1.0, 1.0, 1.0, 0.5, 0.5])
    assert rates == [0.5, 0.5, 0.25, 0.125, 0.125, 0.0625]


def test_a_cut_begins_the_count_anew():
    rates, _ = watch(ReduceOnPlateau(0.5, patience=1), [1.0] * 6)
    assert rates == [0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_an_equal_loss_is_no_better_without_a_threshold():
    assert watch(ReduceOnPlateau(1.0, patience=0, threshold=0), [1.0, 1.0])[0][-1] == 0.5


def test_the_threshold_is_relative_also_below_zero():
    schedule = ReduceOnPlateau(1.0, patience=0, threshold=0.1)
    assert watch(schedule, [-10.0, -10.9])[0][-1] == 0.5
    assert watch(schedule, [-10.0, -11.1])[0][-1] == 1.0
    assert watch(schedule, [10.0, 9.1])[0][-1] == 0.5
    assert watch(schedule, [10.0, 8.9])[0][-1] == 1.0


def test_a_loss_that_is_nan_is_no_better():
    assert watch(ReduceOnPlateau(1.0, patience=0), [1.0, math.nan, 0.5])[0] == [1.0, 1.0, 0.5, 0.5]


def test_it_never_reaches_zero():
    rates, _ = watch(ReduceOnPlateau(0.5, factor=1e-9, patience=0), [1.0] * 60)
    assert min(rates) > 0.0


def test_it_has_no_rate_without_losses():
    with pytest.raises(TypeError, match=r"ReduceOnPlateau has no rate without the losses"):
        ReduceOnPlateau(0.1)(0, 0)
    with pytest.raises(TypeError, match=r"ReduceOnPlateau has no rate without the losses"):
        WarmUp(1, then=ReduceOnPlateau(0.1))(0, 1)
    assert WarmUp(1, then=ReduceOnPlateau(0.1))(0, 0.5) == pytest.approx(0.055)
