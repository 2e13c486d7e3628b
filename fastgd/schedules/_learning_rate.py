"""Learning rates as users give them: functions, warm-ups before another schedule, and numbers."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from fastgd.parameters import FACTOR, POSITIVE, Parameters, Range, is_number, shown
from fastgd.schedules._base import SMALLEST, Rates, Schedule, State, is_auto
from fastgd.schedules._formulas import Constant

#: ``(step, epoch, metric) -> rate``.
Function = Callable[[int, int, float | None], float]
#: A learning rate as users give it: a number > 0, "auto", a schedule or a function.
LearningRate = float | str | Schedule | Function
#: Prefix of the next schedule's state inside that of the warm-up.
_PREFIX = "then."
#: Largest number of nested warm-ups.
_DEEPEST = 20


@dataclass(frozen=True)
class FromFunction(Schedule):
    """A function of the user's, called once per epoch.

    Parameters
    ----------
    function : callable
        ``(step, epoch, metric) -> rate``: updates done, epochs done, and the validation or training loss of the last
        epoch, None in the first; returns a positive number.

    Examples
    --------
    >>> from fastgd import optimizers, schedules
    >>> schedules.FromFunction(lambda step, epoch, metric: 0.1 / (1 + epoch))(step=0, epoch=4)
    0.02
    >>> rule = optimizers.Momentum(lambda step, epoch, metric: 0.1 / (1 + epoch))  # the same
    """

    function: Function

    @property
    def automatic(self) -> bool:
        """False: the function gives the rate."""
        return False

    def check(self) -> None:
        """Raise a ValueError if the function cannot be called with three arguments."""
        if not takes_three(self.function):
            raise self._wrong("function", "a callable (step, epoch, metric) -> rate")

    def begin(self, state: Mapping[str, float], step: int, epoch: int) -> State:
        """Return the state for an epoch that begins, with the rate that the function gives for it."""
        return {**state, "rate": self(step, epoch, state.get("metric"))}

    def observe(self, state: Mapping[str, float], metric: float) -> State:
        """Return the state after an epoch: its loss."""
        return {"metric": float(metric)}

    def rates(self, steps: ArrayLike, epochs: ArrayLike, state: Mapping[str, float] | None = None) -> Rates:
        """Return learning rates of updates: that of `begin`, else of one call for each epoch."""
        state = {} if state is None else state
        if "rate" in state:
            return np.full(np.shape(epochs), state["rate"])
        whole, at, back = np.unique(np.floor(epochs), return_index=True, return_inverse=True)
        firsts = np.asarray(steps)[at]
        rates = [self(step, epoch, state.get("metric")) for step, epoch in zip(firsts, whole, strict=True)]
        return np.array(rates, dtype=np.float64)[back]

    def __call__(self, step: int, epoch: float, metric: float | None = None) -> float:
        """Return the rate that the function gives, checked."""
        rate = self.function(int(step), int(epoch), metric)
        if not (is_number(rate) and POSITIVE.holds(rate)):
            raise ValueError(
                f"learning_rate must be positive and finite, but the function {self.function!r} "
                f"gave {rate!r} at step {int(step)}, epoch {int(epoch)}, metric {metric!r}"
            )
        return float(rate)


def takes_three(function: Any) -> bool:
    """Whether a value is a function that takes three arguments.

    Classes, optimizers and schedules are callable as well, but are not meant to be called here.
    """
    if not callable(function) or isinstance(function, type | Parameters):
        return False
    try:
        inspect.signature(function).bind(0, 0, None)
    except TypeError:
        return False
    except ValueError:
        # Some functions written in C have no signature: the call will show.
        return True
    return True


def as_schedule(learning_rate: Any, name: str = "learning_rate") -> Schedule:
    """Return a learning rate as a schedule.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable
        A positive number, a rate left to the fit, a schedule, or ``(step, epoch, metric) -> rate``.
    name : str, default="learning_rate"
        Its name in errors.

    Returns
    -------
    Schedule
        The schedule that was given, checked, or a new one.

    Raises
    ------
    ValueError
        If it is none of these, or a hyper-parameter of the schedule is out of range.

    Examples
    --------
    >>> from fastgd import schedules
    >>> schedules.as_schedule(0.1)
    Constant(initial=0.1)
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


@dataclass(frozen=True)
class WarmUp(Schedule):
    r"""A rate that rises along a straight line to the first rate of another schedule, which then follows.

    .. math::
        \eta(t) = \eta_\mathrm{then}(0) \left(\mathrm{start} + (1 - \mathrm{start}) \, t / T\right)
        \quad\text{for } t < T, \qquad \eta(t) = \eta_\mathrm{then}(t - T) \quad\text{for } t \ge T

    with T = epochs. The next schedule does not see the warm-up: its epochs and losses begin after it.

    Parameters
    ----------
    epochs : float, default=1
        T > 0.
    then : float, "auto", schedule or callable, default="auto"
        The next schedule, or any other learning rate; at most 20 warm-ups may be nested. A length left to the fit is
        the fit's length after the warm-up.
    start_factor : float, default=0.1
        The first rate as a share of the rate after the warm-up, in (0, 1].

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017, section 2.2.

    Examples
    --------
    >>> from fastgd.schedules import StepDecay, WarmUp
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
        """Raise a ValueError for warm-ups nested so deeply that they would exhaust Python's stack."""
        self._check_depth()

    @property
    def automatic(self) -> bool:
        """Whether the rate of the next schedule is left to the fit."""
        return self._next().automatic

    @property
    def needs_length(self) -> bool:
        """Whether the length of the next schedule is left to the fit."""
        return self._next().needs_length

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        self._check_depth()
        self._next()
        Parameters.check(self)

    def bind(self, rate: float | None, epochs: float) -> Self:
        """Return a checked copy for a fit, see `Schedule.bind`; the next schedule has the epochs that are left."""
        self.check()
        # A fit that ends within the warm-up never reaches the next schedule; any length above 0 will do.
        left = max(epochs - self.epochs, SMALLEST)
        return dataclasses.replace(self, then=self._next().bind(rate, left))

    def start(self) -> State:
        """Return the state before the first epoch: epochs done, and the state of the next schedule."""
        return _packed(0, self._next().start())

    def begin(self, state: Mapping[str, float], step: int, epoch: int) -> State:
        """Return the state for an epoch that begins."""
        follows = (step, math.floor(epoch - self.epochs)) if epoch >= self.epochs else (0, 0)
        return _packed(state["epochs"], self._next().begin(_inner(state), *follows))

    def observe(self, state: Mapping[str, float], metric: float) -> State:
        """Return the state after an epoch; the next schedule observes epochs that end after the warm-up."""
        done, inner = state["epochs"] + 1, _inner(state)
        return _packed(done, self._next().observe(inner, metric) if done > self.epochs else inner)

    def rates(self, steps: ArrayLike, epochs: ArrayLike, state: Mapping[str, float] | None = None) -> Rates:
        """Return learning rates of updates."""
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
        """Return the learning rate of one update."""
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
