"""Hyper-parameters by scikit-learn's protocol: get, set (also nested ones, on copies) and check."""

import copy
import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self, SupportsInt, TypeGuard

import numpy as np

from fastgd.suggestions import RULES, Checked, unknown_parameter

__all__ = [
    "COUNT",
    "FACTOR",
    "FRACTION",
    "INSIDE",
    "NOT_NEGATIVE",
    "POSITIVE",
    "Parameters",
    "Range",
    "is_integer",
    "is_number",
    "is_one_of",
    "is_positive_integer",
    "replacements",
    "shown",
]


#: Characters of a value in a message, at most.
_SHOWN = 200
#: Types that are registered as numbers and are none.
_NO_NUMBERS = (bool, np.timedelta64)


class Range(NamedTuple):
    """The allowed numbers of a hyper-parameter, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


POSITIVE = Range("a positive number", lambda value: 0 < value < math.inf)
NOT_NEGATIVE = Range("a number of 0 or more", lambda value: 0 <= value < math.inf)
FRACTION = Range("a number in [0, 1)", lambda value: 0 <= value < 1)
FACTOR = Range("a number in (0, 1]", lambda value: 0 < value <= 1)
INSIDE = Range("a number in (0, 1)", lambda value: 0 < value < 1)
COUNT = Range("an integer of 0 or more", lambda value: is_integer(value) and int(value) >= 0)


def is_number(value: object) -> bool:
    """Whether a value is a real number within the range of float64; False for booleans and durations."""
    if isinstance(value, float):
        return True  # at once, since registered types are looked up slowly
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, Real):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def is_integer(value: object) -> TypeGuard[SupportsInt]:
    """Whether a value is an integer of any size; False for booleans and durations, which are Integrals too."""
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, _NO_NUMBERS))


def is_positive_integer(value: object) -> bool:
    """Whether a value is an integer of 1 or more within the range of float64."""
    return is_integer(value) and is_number(value) and int(value) >= 1


def is_one_of(value: object, names: Collection[str]) -> bool:
    """Whether a value is one of some names; False for arrays, which compare element by element."""
    return isinstance(value, str) and value in names


def shown(value: object) -> str:
    """Return the shortened repr of a value for a message, also for integers that Python refuses to write."""
    try:
        text = repr(value)
    except ValueError:
        return "an integer of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


@dataclass(frozen=True)
class Parameters(Checked):
    """A frozen dataclass whose fields follow scikit-learn's parameter protocol."""

    _elsewhere: ClassVar[Mapping[str, str]] = RULES
    #: The allowed numbers of fields, which `check` checks.
    ranges: ClassVar[Mapping[str, Range]] = {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Hyper-parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include nested hyper-parameters, such as ``learning_rate__every``.

        Returns
        -------
        dict
            With those of nested objects as ``learning_rate__every``.

        Examples
        --------
        >>> from fastgd import optimizers, schedules
        >>> optimizers.GradientDescent(schedules.StepDecay(0.1)).get_params()["learning_rate__every"]
        10
        """
        params = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if deep:
            for name, value in list(params.items()):
                if _has_params(value):
                    params |= {f"{name}__{inner}": item for inner, item in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters, as `sklearn.base.clone` and grid searches do.

        Parameters
        ----------
        **params : object
            Hyper-parameters by name, nested ones as ``learning_rate__every``: the inner object is replaced by a changed
            copy, since it may be in use elsewhere. Values are checked when a fit begins.

        Returns
        -------
        self
            The same object.

        Raises
        ------
        ValueError
            If there is no hyper-parameter of that name; then none is set.

        Examples
        --------
        >>> from fastgd import optimizers
        >>> optimizers.Adam().set_params(beta1=0.8).beta1
        0.8
        """
        for name, value in replacements(self, params).items():
            object.__setattr__(self, name, value)
        return self

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range.

        Raises
        ------
        ValueError
            If a hyper-parameter is out of range.
        """
        for name, bounds in self.ranges.items():
            value = getattr(self, name)
            if not (is_number(value) and bounds.holds(value)):
                raise self._wrong(name, bounds.words)

    def _wrong(self, name: str, words: str) -> ValueError:
        return ValueError(f"{name} of {type(self).__name__} must be {words}, got {shown(getattr(self, name))}")


#: Examples of objects with nested parameters, by the parameter that holds them.
_OBJECTS = {
    "optimizer": "an object that has, such as fastgd.optimizers.Adam()",
    "learning_rate": "an object that has, such as fastgd.schedules.StepDecay()",
}


def replacements(holder: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return new values of a holder's own parameters that give all parameters, also nested ones, the given values.

    Parameters
    ----------
    holder : Checked
        Has scikit-learn's ``get_params``; neither it nor its parameters are changed.
    params : mapping of str to object
        Values by name, nested ones as ``optimizer__learning_rate``.

    Returns
    -------
    dict
        Values by names without "__"; for nested values, a changed copy of the object that holds them.

    Raises
    ------
    ValueError
        If there is no parameter of that name.
    """
    known = holder.get_params(deep=False)
    found: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for key, value in params.items():
        name, mark, inner = key.partition("__")
        if name not in known:
            raise ValueError(unknown_parameter(type(holder), name, known, holder._elsewhere))
        if mark:
            nested.setdefault(name, {})[inner] = value
        else:
            found[name] = value
    for name, inside in nested.items():
        held = found.get(name, known[name])
        if not _has_params(held):
            example = _OBJECTS.get(name, "an object that has")
            raise ValueError(f"{name}={held!r} has no parameter {next(iter(inside))!r}: give {example}")
        found[name] = copy.deepcopy(held).set_params(**inside)
    return found


def _has_params(value: object) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)
