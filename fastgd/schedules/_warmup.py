"""A warm-up, and what follows it."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from fastgd.parameters import FACTOR, POSITIVE, Parameters, Range
from fastgd.schedules._base import SMALLEST, Rates, Schedule, State
from fastgd.schedules._function import LearningRate, as_schedule

#: The state of what follows, inside that of the warm-up.
_PREFIX = "then."
#: Warm-ups inside of one another at most.
_DEEPEST = 20


@dataclass(frozen=True)
class WarmUp(Schedule):
    r"""A rate that rises along a straight line to the first one of another schedule, which then follows.

    .. math::
        \eta(t) = \eta_\mathrm{then}(0) \left(\mathrm{start} + (1 - \mathrm{start}) \, t / T\right)
        \quad\text{for } t < T, \qquad \eta(t) = \eta_\mathrm{then}(t - T) \quad\text{for } t \ge T

    with T = epochs. What follows knows nothing of the warm-up: its epochs, and the losses that it sees, begin after.

    Parameters
    ----------
    epochs : float, default=1
        T > 0.
    then : float, "auto", schedule or callable, default="auto"
        What follows: anything that can be given for a learning rate, at most 20 warm-ups inside of one another. A
        length left to the fit is what the warm-up leaves of it.
    start_factor : float, default=0.1
        The first rate as a share of what it rises to, in (0, 1].

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017, section 2.2.

    Examples
    --------
    >>> schedule = WarmUp(2, then=StepDecay(0.5, every=3))
    >>> [round(schedule(step=0, epoch=epoch), 12) for epoch in (0, 1, 2, 4, 5)]
    [0.05, 0.275, 0.5, 0.5, 0.25]
    """

    epochs: float = 1
    then: LearningRate = "auto"
    start_factor: float = 0.1
    kind: ClassVar[str] = "warmup"
    first: ClassVar[str] = "then"
    ranges: ClassVar[Mapping[str, Range]] = {"epochs": POSITIVE, "start_factor": FACTOR}

    def __post_init__(self) -> None:
        """Raise a ValueError for warm-ups nested so deeply that following them would exhaust Python's stack."""
        self._check_depth()

    @property
    def automatic(self) -> bool:
        """Whether the rate of what follows is left to the fit."""
        return self._next().automatic

    @property
    def needs_length(self) -> bool:
        """Whether the length of what follows is left to the fit."""
        return self._next().needs_length

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        self._check_depth()
        self._next()
        Parameters.check(self)

    def bind(self, rate: float | None, epochs: float) -> Self:
        """A schedule for a fit: with a number for "auto", and with the fit's length where none was given.

        Parameters
        ----------
        rate : float or None
            What "auto" stands for; of no use, and may be None, where `automatic` is False.
        epochs : float
            How many epochs the fit lasts at most.

        Returns
        -------
        WarmUp
            A checked copy.
        """
        self.check()
        # A fit that ends within the warm-up never sees what follows; any length above 0 will do.
        left = max(epochs - self.epochs, SMALLEST)
        return dataclasses.replace(self, then=self._next().bind(rate, left))

    def start(self) -> State:
        """The state before the first epoch: epochs done, and the state of what follows."""
        return _packed(0, self._next().start())

    def begin(self, state: Mapping[str, float], step: int, epoch: int) -> State:
        """The state for an epoch that begins."""
        follows = (step, math.floor(epoch - self.epochs)) if epoch >= self.epochs else (0, 0)
        return _packed(state["epochs"], self._next().begin(_inner(state), *follows))

    def observe(self, state: Mapping[str, float], metric: float) -> State:
        """The state after an epoch; what follows sees only epochs that end after the warm-up."""
        done, inner = state["epochs"] + 1, _inner(state)
        return _packed(done, self._next().observe(inner, metric) if done > self.epochs else inner)

    def rates(self, steps: ArrayLike, epochs: ArrayLike, state: Mapping[str, float] | None = None) -> Rates:
        """Learning rates of updates."""
        then, inner = self._next(), _inner(self.start() if state is None else state)
        counts, times = np.asarray(steps), np.asarray(epochs, dtype=np.float64)
        rises = times < self.epochs
        values = np.empty_like(times)
        if rises.any():
            share = self.start_factor + (1.0 - self.start_factor) * times[rises] / self.epochs
            values[rises] = then.rates([0], [0], inner)[0] * share
        if not rises.all():
            values[~rises] = then.rates(counts[~rises], times[~rises] - self.epochs, inner)
        return values

    def __call__(self, step: int, epoch: float, metric: float | None = None) -> float:
        """The learning rate of one update."""
        if epoch < self.epochs:
            return super().__call__(step, epoch)
        return self._next()(step, epoch - self.epochs, metric)

    def _check_depth(self) -> None:
        inner, depth = self.then, 1
        while isinstance(inner, WarmUp):
            inner, depth = inner.then, depth + 1
            if depth > _DEEPEST:
                raise ValueError(f"then of WarmUp nests more than {_DEEPEST} warm-ups: give it a rate")

    def _next(self) -> Schedule:
        return as_schedule(self.then, "then of WarmUp")


def _packed(epochs: float, inner: Mapping[str, float]) -> State:
    return {"epochs": epochs, **{_PREFIX + name: value for name, value in inner.items()}}


def _inner(state: Mapping[str, float]) -> State:
    return {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
