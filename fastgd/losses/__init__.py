"""The losses, one file each. Other code uses the traits of their objects and compares no names."""

import math
from functools import lru_cache
from typing import Any, TypeVar

from fastgd.losses._base import ClassificationLoss, ConstantModel, CoupledLoss, Loss, RegressionLoss, Stage
from fastgd.losses.huber import Huber
from fastgd.losses.logistic import Logistic
from fastgd.losses.softmax import Softmax
from fastgd.losses.squared import Squared
from fastgd.parameters import is_number, is_one_of, shown
from fastgd.suggestions import unknown_loss

__all__ = [
    "LOSSES",
    "ClassificationLoss",
    "ConstantModel",
    "CoupledLoss",
    "Huber",
    "Logistic",
    "Loss",
    "RegressionLoss",
    "Softmax",
    "Squared",
    "Stage",
    "classification_loss",
    "find_loss",
    "regression_loss",
]

_Kind = TypeVar("_Kind", bound=Loss)

#: The losses by name.
LOSSES: dict[str, type[Loss]] = {kind.name: kind for kind in (Squared, Huber, Logistic, Softmax)}
#: The losses of numeric targets by name.
_OF_TARGETS = {name: kind for name, kind in LOSSES.items() if issubclass(kind, RegressionLoss)}


def find_loss(name: str, delta: float = 1.0) -> Loss:
    """Return a loss by its name, with delta if it takes one; raise a ValueError for an unknown name."""
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {name!r}")
    return _make(LOSSES[name], delta)


@lru_cache
def _make(kind: type[_Kind], delta: float = 1.0) -> _Kind:
    """Return the same loss for the same arguments, so that what is kept by losses serves later fits."""
    return kind.make(delta)


def regression_loss(name: object, delta: object) -> RegressionLoss:
    """Return the loss of numeric targets that `LinearRegression` was given, with its delta or None.

    Raises
    ------
    ValueError
        If there is no loss of that name, or delta is none of a positive number and None, or has no effect.
    """
    if not is_one_of(name, _OF_TARGETS):
        names = " or ".join(map(repr, _OF_TARGETS))
        raise ValueError(f"loss must be {names}, got {shown(name)}{unknown_loss(name, tuple(_OF_TARGETS))}")
    kind = _OF_TARGETS[str(name)]
    if not kind.takes_delta:
        if delta is not None:
            raise ValueError(f"delta has no effect with loss={name!r}: leave it at None or use loss='huber'")
        return _make(kind)
    value: Any = 1.0 if delta is None else delta
    if not is_number(value) or not 0.0 < float(value) < math.inf:
        raise ValueError(f"delta must be a positive number or None, got {shown(delta)}")
    return _make(kind, float(value))


def classification_loss(outputs: int) -> ClassificationLoss:
    """Return the loss of two classes, which have one output, or of as many classes as outputs."""
    return _make(Logistic) if outputs == 1 else _make(Softmax)
