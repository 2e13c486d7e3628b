"""A schedule at work: the rate of each update of a fit."""

from collections.abc import Callable

import numpy as np

from fastgd.scaling import Array
from fastgd.schedules import Schedule


class Pace:
    """Keeps what a bound schedule remembers from epoch to epoch.

    Parameters
    ----------
    schedule : Schedule
        Bound, see `Schedule.bind`.
    batches : int
        Updates an epoch.
    state : dict of str to float or None, default=None
        From an earlier run that this one continues.
    check : callable, default=None
        Raises for rates that the rule cannot run at, see `Optimizer.check_rates`.
    """

    def __init__(
        self,
        schedule: Schedule,
        batches: int,
        state: dict[str, float] | None = None,
        check: Callable[[Array], None] | None = None,
    ) -> None:
        self._schedule = schedule
        self._batches = batches
        self._check = check
        # A stream may have changed its schedule, which then begins.
        self.state = {**schedule.start(), **(state or {})}
        self._step, self._epoch = 0, 0
        #: What the schedule's rates are multiplied with.
        self.factor = 1.0
        #: The rate of the first update of the run, and the largest so far.
        self.first, self.largest = float("nan"), 0.0

    def begin(self, step: int, epoch: int) -> None:
        """Begin an epoch, after `step` updates and `epoch` epochs."""
        self._step, self._epoch = step, epoch
        self.state = self._schedule.begin(self.state, step, epoch)

    def rates(self, first: int, last: int) -> Array:
        """Rates of the updates [first, last) of the epoch."""
        updates = np.arange(first, last)
        rates = self._schedule.rates(self._step + updates, self._epoch + updates / self._batches, self.state)
        if self.factor != 1.0:
            rates = self.factor * rates
        if np.isnan(self.first):
            self.first = float(rates[0])
        self.largest = max(self.largest, float(np.max(rates)))
        if self._check is not None:
            self._check(rates)
        return rates

    def end(self, metric: float) -> None:
        """End an epoch with its validation or training loss."""
        self.state = self._schedule.observe(self.state, metric)
