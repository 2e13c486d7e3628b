"""Sizes of samples, and the choice of the joint curvature."""

import numpy as np
import pytest

from fastgd.losses import find_loss
from fastgd.solvers.cost_model import Shape
from tests.estimators.fits import problem_for
from tests.objective_of import objective_of


@pytest.mark.parametrize(("loss", "outputs"), [("squared", 1), ("huber", 1), ("softmax", 3)])
def test_unequal_weights_reduce_effective_rows(loss, outputs):
    """With all weight on a quarter of the rows four rows are as informative as one."""
    problem = problem_for(loss, outputs, n=400, sample_weight=np.resize([1.0, 0.0, 0.0, 0.0], 400))
    assert Shape.of(objective_of(problem)).rarity == pytest.approx(4.0, rel=1e-12)
    equal = problem_for(loss, outputs, n=400, sample_weight=None)
    assert Shape.of(objective_of(equal)).rarity == 1.0


@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_sample_size_grows_with_rarity(loss):
    """Up to the largest share of all rows."""
    shape = Shape(10**7, 51, 3 if loss == "softmax" else 1, 4, find_loss(loss), False)
    sizes = [shape._replace(rarity=rarity).sample_rows for rarity in (1.0, 2.0, 4.0)]
    assert sizes[0] < sizes[1] < sizes[2] < shape.rows / 4
    assert shape._replace(rarity=1e9).first_rows <= shape.rows / 4
    assert shape._replace(rarity=1e9).sample_rows <= shape.rows


def test_few_parameters_of_softmax_have_a_joint_curvature():
    """Unless passes without it are expected to take far less time, or it needs much memory."""
    few = Shape(58_000, 10, 7, 8, find_loss("softmax"), False)
    assert few.quicker_curvature.joint
    assert not few._replace(loss=find_loss("logistic"), outputs=1).quicker_curvature.joint
    assert not few._replace(columns=785, outputs=10).quicker_curvature.joint
    assert not few._replace(rows=3_000, columns=200, outputs=5).quicker_curvature.joint
