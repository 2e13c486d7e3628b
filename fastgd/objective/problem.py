"""The problem without its data (loss, penalty, units), working coordinates, and the result of a pass."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastgd.arrays import Array, all_finite
from fastgd.losses import ConstantModel, Loss
from fastgd.objective.coordinates import Moments, Scaling, TargetScaling, load_shift


@dataclass(frozen=True)
class Problem:
    """A problem in raw columns and working targets.

    loss: in working units; l1 and l2 (K,): penalty weights of raw coefficients; constant: the best model without
    columns; units (K,): the units of targets for certificates, relative to working ones.
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

    @cached_property
    def has_l1(self) -> bool:
        """Whether there is an L1 term."""
        return bool(self.l1.any())

    @cached_property
    def has_l2(self) -> bool:
        """Whether there is an L2 term."""
        return bool(self.l2.any())

    @cached_property
    def has_penalties_of_their_own(self) -> bool:
        """Whether outputs have different L2 weights."""
        return bool((self.l2 != self.l2[0]).any())


class WorkingCoordinates(NamedTuple):
    """Working coordinates, and the shift that kernels subtract on load."""

    scaling: Scaling
    shift: Array

    @classmethod
    def of(
        cls, moments: Moments, problem: Problem, standardize: bool, dtype: str, may_shift: bool = True
    ) -> "WorkingCoordinates":
        """Return the coordinates of standardised columns or of raw ones; without `may_shift` the shift is 0.

        A standardised column of scale sd has an L2 weight of l2 / sd^2, too stiff for the steps of a rule if sd is
        tiny: then the scale is sqrt(l2), and the weight 1.
        """
        intercept = problem.fit_intercept
        standard = Scaling.standard(moments, intercept)
        if problem.has_l2:
            standard = standard.no_finer_than(math.sqrt(problem.l2.max()))
        scaling = standard if standardize else Scaling.identity(moments, intercept)
        return cls(scaling, load_shift(moments, dtype) if intercept and may_shift else np.zeros(moments.mean.size))


class Evaluation(NamedTuple):
    """The result of a pass: theta, its losses and penalties (K,), and the gradient of the mean loss (K, d + 1).

    slope (K, d + 1): the gradient of F without L1. total: F in working units.
    """

    theta: Array
    losses: Array
    penalties: Array
    gradient: Array
    slope: Array
    total: float

    @property
    def is_finite(self) -> bool:
        """Whether F and its gradient are finite."""
        return math.isfinite(self.total) and all_finite(self.slope)
