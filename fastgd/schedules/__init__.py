"""Learning-rate schedules: frozen dataclasses whose docstrings state formula, unit and source.

Time t is counted in epochs done, with fractions inside an epoch, so that a schedule means the same for every batch
size. Schedules follow scikit-learn's parameter protocol, can be nested, and are never changed by a fit: the memory of
`ReduceOnPlateau` is a state that the fit keeps and that is saved with its model.
"""

from fastgd.schedules._base import Schedule
from fastgd.schedules._base import State as State
from fastgd.schedules._base import is_auto as is_auto
from fastgd.schedules._formulas import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    OneCycle,
    PolynomialDecay,
    ReduceOnPlateau,
    StepDecay,
)
from fastgd.schedules._learning_rate import FromFunction, WarmUp, as_schedule
from fastgd.schedules._learning_rate import LearningRate as LearningRate

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
