"""What is minimised, apart from the data."""

from dataclasses import dataclass

from fastgd.constant import ConstantModel
from fastgd.scaling import Array, TargetScaling


@dataclass(frozen=True)
class Problem:
    """What is minimised, in raw columns and working targets.

    loss by name; delta in working units; l1 (K,) and l2: penalty weights of raw coefficients; constant: the best
    model without columns; units (K,): of the targets in which certificates are taken, by working ones.
    """

    loss: str
    delta: float
    l1: Array
    l2: float
    fit_intercept: bool
    constant: ConstantModel
    targets: TargetScaling
    units: Array
