"""Functions of the user's as schedules, and everything that can be given for a learning rate."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastgd.parameters import POSITIVE, Parameters, is_number, shown
from fastgd.schedules._base import Rates, Schedule, State, is_auto
from fastgd.schedules._decays import Constant

#: ``(step, epoch, metric) -> rate``.
Function = Callable[[int, int, float | None], float]
#: What can be given for a learning rate: a number > 0, "auto", a schedule or a function.
LearningRate = float | str | Schedule | Function


@dataclass(frozen=True)
class FromFunction(Schedule):
    """A function of the user's, called once an epoch.

    Parameters
    ----------
    function : callable
        ``(step, epoch, metric) -> rate``: updates done, epochs done, and the validation or training loss of the epoch
        before, None in the first; a positive number.
    """

    function: Function

    @property
    def automatic(self) -> bool:
        """Whether the rate is left to the fit: it is not."""
        return False

    def check(self) -> None:
        """Raise a ValueError where the function is none that can be called with three arguments."""
        if not takes_three(self.function):
            raise self._wrong("function", "a callable (step, epoch, metric) -> rate")

    def begin(self, state: Mapping[str, float], step: int, epoch: int) -> State:
        """The state for an epoch that begins, with the rate that the function gives for it."""
        return {**state, "rate": self(step, epoch, state.get("metric"))}

    def observe(self, state: Mapping[str, float], metric: float) -> State:
        """The state after an epoch: its loss."""
        return {"metric": float(metric)}

    def rates(self, steps: ArrayLike, epochs: ArrayLike, state: Mapping[str, float] | None = None) -> Rates:
        """Learning rates of updates: that of `begin`, else one call for each epoch that is asked for."""
        state = {} if state is None else state
        if "rate" in state:
            return np.full(np.shape(epochs), state["rate"])
        whole, at, back = np.unique(np.floor(epochs), return_index=True, return_inverse=True)
        firsts = np.asarray(steps)[at]
        rates = [self(step, epoch, state.get("metric")) for step, epoch in zip(firsts, whole, strict=True)]
        return np.array(rates, dtype=np.float64)[back]

    def __call__(self, step: int, epoch: float, metric: float | None = None) -> float:
        """The rate that the function gives, checked."""
        rate = self.function(int(step), int(epoch), metric)
        if not (is_number(rate) and POSITIVE.holds(rate)):
            raise ValueError(
                f"learning_rate must be positive and finite, but the function {self.function!r} "
                f"gave {rate!r} at step {int(step)}, epoch {int(epoch)}, metric {metric!r}"
            )
        return float(rate)


def takes_three(function: Any) -> bool:
    """Whether a value is a function that three arguments can be given to.

    Classes, optimizers and schedules are callable as well, but are not meant to be called here.
    """
    if not callable(function) or isinstance(function, type | Parameters):
        return False
    try:
        inspect.signature(function).bind(0, 0, None)
    except TypeError:
        return False
    except ValueError:
        # Some functions written in C do not give their signature: the call will show.
        return True
    return True


def as_schedule(learning_rate: Any, name: str = "learning_rate") -> Schedule:
    """Anything that can be given for a learning rate as a schedule.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable
        A positive number, a rate left to the fit, a schedule, or ``(step, epoch, metric) -> rate``.
    name : str, default="learning_rate"
        What errors call it.

    Returns
    -------
    Schedule
        Checked; where a schedule was given that one.

    Raises
    ------
    ValueError
        If it is none of these, or the schedule has a hyper-parameter out of range.
    """
    if isinstance(learning_rate, Schedule):
        learning_rate.check()
        return learning_rate
    if is_auto(learning_rate) or (is_number(learning_rate) and POSITIVE.holds(learning_rate)):
        return Constant(learning_rate)
    if takes_three(learning_rate):
        return FromFunction(learning_rate)
    raise ValueError(
        f"{name} must be 'auto', a positive number, an object of fastgd.schedules "
        f"or a callable (step, epoch, metric) -> rate, got {shown(learning_rate)}"
    )
