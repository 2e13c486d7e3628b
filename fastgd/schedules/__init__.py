"""Learning rates as functions of time: small frozen dataclasses that say their formula, their unit and its source.

Time t is counted in epochs done, with fractions inside an epoch, so that a schedule means the same for every batch
size. Objects follow scikit-learn's parameter protocol, compose, and are never changed by a fit: what
`ReduceOnPlateau` has to remember is a state that the fit keeps and that is saved with its model.
"""

from fastgd.schedules._base import Schedule
from fastgd.schedules._base import State as State
from fastgd.schedules._base import is_auto as is_auto
from fastgd.schedules._decays import Constant, ExponentialDecay, InverseTimeDecay, StepDecay
from fastgd.schedules._function import FromFunction, as_schedule
from fastgd.schedules._function import LearningRate as LearningRate
from fastgd.schedules._lasting import CosineDecay, OneCycle, PolynomialDecay
from fastgd.schedules._plateau import ReduceOnPlateau
from fastgd.schedules._warmup import WarmUp

__all__ = [
    "Constant",
    "CosineDecay",
    "ExponentialDecay",
    "FromFunction",
    "InverseTimeDecay",
    "OneCycle",
    "PolynomialDecay",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "as_schedule",
]

_KINDS: tuple[type[Schedule], ...] = (
    Constant,
    StepDecay,
    ExponentialDecay,
    InverseTimeDecay,
    PolynomialDecay,
    CosineDecay,
    OneCycle,
    WarmUp,
    ReduceOnPlateau,
)

#: Schedules by the names that the command line and saved models use.
BY_NAME = {kind.kind: kind for kind in _KINDS}
