"""Read optimizers and schedules from text: ``NAME``, or ``NAME:key=value,key=value``.

Keys are the fields of the objects in `fastgd.optimizers` and `fastgd.schedules`, except the learning rate, which is an
option of its own. A value may be a schedule again, to which all that follows belongs:
``warmup:epochs=2,then=step:every=5,factor=0.1``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fastgd.cli.errors import InputError

if TYPE_CHECKING:
    from fastgd.optimizers import Optimizer
    from fastgd.parameters import Parameters
    from fastgd.schedules import LearningRate, Schedule

Kind = TypeVar("Kind", bound="Parameters")

#: Fields that hold a learning rate, which ``--learning-rate`` gives.
RATES = ("learning_rate", "initial", "peak")
_WORDS = {"true": True, "false": False, "none": None}
#: Whole numbers up to this size are exact as float64, and become integers.
_EXACT = 2.0**53
#: Schedules within each other at most.
_DEEPEST = 10


class Spelling(NamedTuple):
    """A name and values by key, as text."""

    name: str
    values: dict[str, str]


def read_optimizer(text: str, learning_rate: LearningRate) -> Optimizer | None:
    """Return the optimizer that ``--optimizer`` names, with a learning rate if it has one; None for "auto"."""
    from fastgd.optimizers import BY_NAME

    where = "--optimizer"
    spelling = split_spelling(text, where)
    if spelling.name == "auto":
        _check_keys(spelling, (), where)
        return None
    kind = _find(BY_NAME, spelling.name, where, ("auto", *BY_NAME))
    return _make(kind, spelling, "learning_rate", learning_rate, where)


def read_schedule(text: str, learning_rate: float | str, where: str = "--schedule") -> Schedule:
    """Return the schedule that ``--schedule`` names, from a learning rate; `where` names the text in messages."""
    from fastgd.schedules import BY_NAME, WarmUp

    depth = text.count("then=")
    if depth > _DEEPEST:
        raise InputError(f"{where}: schedules are nested {depth:,} deep; at most {_DEEPEST} are read")
    spelling = split_spelling(text, where)
    kind = _find(BY_NAME, spelling.name, where, BY_NAME)
    rate: LearningRate = learning_rate
    if kind is WarmUp and "then" in spelling.values:
        rate = read_schedule(spelling.values.pop("then"), learning_rate, f"{where} {spelling.name} then")
    return _make(kind, spelling, kind.first, rate, where)


def split_spelling(text: str, where: str) -> Spelling:
    """Return the name and the values by key, still as text; a value with a colon includes all that follows."""
    name, colon, rest = text.partition(":")
    values: dict[str, str] = {}
    while colon:
        part, colon, others = rest.partition(",")
        key, equals, value = (word.strip() for word in part.partition("="))
        if not (key and equals and value):
            raise InputError(f"{where} {text}: {part!r} is not key=value, as in {name.strip()}:key=value,key=value")
        if key in values:
            raise InputError(f"{where} {text}: {key} is given twice")
        if ":" in value:
            value, colon = f"{value}{colon}{others}", ""
        values[key], rest = value, others
    return Spelling(name.strip(), values)


def read_value(text: str) -> bool | int | float | str | None:
    """Return True, False, None, an integer, a number or, for anything else, the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _find(kinds: Mapping[str, type[Kind]], name: str, where: str, names: Collection[str]) -> type[Kind]:
    if name not in kinds:
        from fastgd.suggestions import unknown_optimizer

        hint = unknown_optimizer(name, names, "--optimizer gd --batch-size 1")
        raise InputError(f"{where}: there is no {name!r}; there are {', '.join(names)}{hint}")
    return kinds[name]


def _make(kind: type[Kind], spelling: Spelling, first: str, rate: LearningRate, where: str) -> Kind:
    """Return the object, with the rate where it has one, once its values are checked."""
    fields = [field.name for field in dataclasses.fields(kind)]
    _check_keys(spelling, [name for name in fields if name not in RATES], where)
    values: dict[str, Any] = {key: read_value(value) for key, value in spelling.values.items()}
    made = kind(**values, **({first: rate} if first in fields else {}))
    try:
        made.check()
    except ValueError as error:
        raise InputError(f"{where} {spelling.name}: {error}") from error
    return made


def _check_keys(spelling: Spelling, keys: Collection[str], where: str) -> None:
    for key in spelling.values:
        if key in (*RATES, "lr", "eta", "eta0"):
            raise InputError(f"{where} {spelling.name}: {key} is given by --learning-rate")
        if key not in keys:
            known = f"there are {', '.join(keys)}" if keys else "it has none"
            raise InputError(f"{where} {spelling.name}: there is no key {key!r}; {known}")
