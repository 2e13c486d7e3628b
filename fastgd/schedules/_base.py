"""The base of all schedules."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.parameters import POSITIVE, Parameters, is_number

Rates = NDArray[np.float64]
#: The state of a schedule in a fit: numbers by name, so that they can be saved as JSON.
State = dict[str, float]

#: Rates that underflow are rounded to this one: they are no reason to end a fit.
SMALLEST = float(np.finfo(np.float64).tiny)
#: Relative rounding of a time, and the share of a period within which two times are the same.
_ROUNDING, _SAME = 4.0 * float(np.finfo(np.float64).eps), 1e-9


@dataclass(frozen=True)
class Schedule(Parameters):
    """A learning rate as a function of time, which is counted in epochs done, with fractions inside an epoch.

    A fit calls `bind` and `start` once, `begin` before and `observe` after each epoch, and `rates` any number of times
    for the updates of an epoch. All are pure: a schedule's memory is the state that they return.

    Examples
    --------
    >>> from fastgd import schedules
    >>> schedule = schedules.CosineDecay().bind(rate=0.1, epochs=10)
    >>> schedule.rates(steps=[0, 50], epochs=[0.0, 5.0]).round(3)
    array([0.1 , 0.05])
    """

    #: The name on the command line, and in saved models.
    kind: ClassVar[str] = ""
    #: The field that holds the rate that all others are multiples of.
    first: ClassVar[str] = "initial"

    @property
    def automatic(self) -> bool:
        """Whether the first rate is left to the fit."""
        return is_auto(getattr(self, self.first))

    @property
    def needs_length(self) -> bool:
        """Whether the schedule's length is left to the fit."""
        return bool(self._lengths(1.0))

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range.

        Raises
        ------
        ValueError
            If a hyper-parameter is out of range.
        """
        rate = getattr(self, self.first)
        if not (is_auto(rate) or (is_number(rate) and POSITIVE.holds(rate))):
            raise self._wrong(self.first, "'auto' or a positive number")
        super().check()

    def bind(self, rate: float | None, epochs: float) -> Self:
        """Return a copy for a fit, with a number for "auto" and the fit's length if the schedule has none.

        Parameters
        ----------
        rate : float or None
            The number for "auto"; may be None if `automatic` is False.
        epochs : float
            Largest number of epochs of the fit.

        Returns
        -------
        Schedule
            A checked copy.

        Raises
        ------
        ValueError
            If a hyper-parameter is out of range, a rate is needed and not given, or rates would be 0 before the end.
        """
        changes = self._lengths(epochs)
        if self.automatic:
            if rate is None:
                raise ValueError(f"{self!r} leaves its rate to the fit, which knows none: give {self.first}")
            changes[self.first] = float(rate)
        bound = dataclasses.replace(self, **changes)
        bound.check()
        if bound._zero_at() < epochs:
            raise ValueError(
                f"{self!r} is at rate 0 from epoch {bound._zero_at():g} on, and the fit may last {epochs:g}: "
                "give final > 0, or leave epochs at None"
            )
        return bound

    def start(self) -> State:
        """Return the state before the first epoch.

        Returns
        -------
        dict of str to float
            Numbers by name, empty for schedules without memory.
        """
        return {}

    def begin(self, state: Mapping[str, float], step: int, epoch: int) -> State:
        """Return the state for an epoch that begins after some updates and epochs; only functions use it.

        Parameters
        ----------
        state : mapping of str to float
            From `start` or `observe`.
        step : int
            Updates done.
        epoch : int
            Epochs done.

        Returns
        -------
        dict of str to float
            The state for `rates`.
        """
        return dict(state)

    def observe(self, state: Mapping[str, float], metric: float) -> State:
        """Return the state after an epoch with this validation loss, or training loss without validation rows.

        Parameters
        ----------
        state : mapping of str to float
            The state of the epoch.
        metric : float
            The loss.

        Returns
        -------
        dict of str to float
            The state for `begin`.
        """
        return dict(state)

    def rates(self, steps: ArrayLike, epochs: ArrayLike, state: Mapping[str, float] | None = None) -> Rates:
        """Return learning rates of updates.

        Parameters
        ----------
        steps : array-like of int, shape (m,)
            Updates done before each update.
        epochs : array-like of float, shape (m,)
            Epochs done before each, with the fraction of the current one.
        state : mapping of str to float, default=None
            From `begin` or `observe`; None stands for `start`.

        Returns
        -------
        ndarray of float64, shape (m,)
            Positive; 0 only at the end of a schedule with ``final=0``.

        Raises
        ------
        ValueError
            If the schedule is not bound, or an epoch is past the end of one with ``final=0``.
        """
        if self.automatic:
            raise ValueError(f"{self!r} leaves its rate to the fit: give {self.first}, or bind a rate first")
        times = np.asarray(epochs, dtype=np.float64)
        end = self._zero_at()
        if np.any(times > end):
            raise ValueError(f"{self!r} is at rate 0 from epoch {end:g} on: give final > 0 or more epochs")
        values = self._values(times, self.start() if state is None else state)
        positive: Rates = np.where(times < end, np.maximum(values, SMALLEST), values)
        return positive

    def __call__(self, step: int, epoch: float, metric: float | None = None) -> float:
        """Return the learning rate of one update, if it does not depend on the losses so far.

        Parameters
        ----------
        step : int
            Updates done before it.
        epoch : float
            Epochs done before it, with the fraction of the current one.
        metric : float, default=None
            Used by functions only.

        Returns
        -------
        float

        Raises
        ------
        TypeError
            If the rate depends on the losses so far.
        """
        return float(self.rates([step], [epoch])[0])

    def _values(self, epochs: Rates, state: Mapping[str, float]) -> Rates:
        """Return the formula's values at some epochs."""
        raise NotImplementedError

    def _lengths(self, epochs: float) -> dict[str, Any]:
        """Return the fields that the length of the fit decides."""
        return {}

    def _zero_at(self) -> float:
        """Return the epoch at which the rate becomes 0."""
        return float("inf")


def is_auto(rate: object) -> bool:
    """Whether a learning rate is left to the fit."""
    return isinstance(rate, str) and rate == "auto"


def periods_done(epochs: Rates, length: float) -> Rates:
    """Return the number of whole periods of a length in a time, without rounding errors of either.

    An update at k / batches may miss the end of a period of k / batches epochs by a few roundings. No two updates are
    as close to each other as a billionth of a period, so a time that close to the end belongs to the next period.
    """
    periods: Rates = np.floor(epochs / length * (1.0 + _ROUNDING) + _SAME)
    return periods
