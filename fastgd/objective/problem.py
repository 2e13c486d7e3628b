"""The problem apart from its data: loss, penalty and units; its working coordinates; and what one pass gives."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd.arrays import Array
from fastgd.losses import ConstantModel, Loss
from fastgd.objective.coordinates import Moments, Scaling, TargetScaling, load_shift


@dataclass(frozen=True)
class Problem:
    """What is minimised, in raw columns and working targets.

    loss: in working units; l1 and l2 (K,): penalty weights of raw coefficients; constant: the best model without
    columns; units (K,): of the targets in which certificates are taken, by working ones.
    """

    loss: Loss
    l1: Array
    l2: Array
    fit_intercept: bool
    constant: ConstantModel
    targets: TargetScaling
    units: Array
    #: Whether coefficients must be at least 0.
    positive: bool = False


class WorkingCoordinates(NamedTuple):
    """Working coordinates, and what kernels subtract on load."""

    scaling: Scaling
    shift: Array

    @classmethod
    def of(cls, moments: Moments, problem: Problem, standardize: bool, dtype: str) -> "WorkingCoordinates":
        """Standardised columns or raw ones.

        A standardised column of scale sd has an L2 weight of l2 / sd^2, which no step of a rule could follow where sd
        is tiny: there sqrt(l2) is the scale, and the weight 1.
        """
        intercept = problem.fit_intercept
        standard = Scaling.standard(moments, intercept).no_finer_than(math.sqrt(problem.l2.max()))
        scaling = standard if standardize else Scaling.identity(moments, intercept)
        return cls(scaling, load_shift(moments, dtype) if intercept else np.zeros(moments.mean.size))


class Evaluation(NamedTuple):
    """What one pass gives: theta, its losses and penalties (K,), the gradient of the mean loss (K, d + 1).

    slope (K, d + 1): that gradient with L2's, F's without L1. total: F in working units.
    """

    theta: Array
    losses: Array
    penalties: Array
    gradient: Array
    slope: Array
    total: float

    @property
    def is_finite(self) -> bool:
        """Whether neither F nor its gradient overflows."""
        return math.isfinite(self.total) and bool(np.isfinite(self.slope).all())
