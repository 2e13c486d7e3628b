"""Schedules that go on for as long as a fit does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastgd.parameters import FACTOR, NOT_NEGATIVE, POSITIVE, Range
from fastgd.schedules._base import Rates, Schedule, periods_done


@dataclass(frozen=True)
class _FromInitial(Schedule):
    """A schedule whose rate at epoch 0 is `initial`, and a multiple of it later."""

    initial: float | str = "auto"

    def _values(self, epochs: Rates, state: Mapping[str, float]) -> Rates:
        return float(self.initial) * self._shape(epochs)

    def _shape(self, epochs: Rates) -> Rates:
        """The multiple."""
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(_FromInitial):
    r"""One learning rate throughout.

    .. math:: \eta(t) = \eta_0

    Parameters
    ----------
    initial : float or "auto", default="auto"
        The learning rate, > 0; "auto" leaves it to the fit.

    References
    ----------
    Bottou, Curtis and Nocedal, "Optimization methods for large-scale machine learning", 2018, theorem 4.6: on batches
    a constant rate ends in a neighbourhood of the optimum, whose size is proportional to the rate.

    Examples
    --------
    >>> Constant(0.1)(step=0, epoch=7)
    0.1
    """

    kind: ClassVar[str] = "constant"

    def _shape(self, epochs: Rates) -> Rates:
        return np.ones_like(epochs)


@dataclass(frozen=True)
class StepDecay(_FromInitial):
    r"""A rate that is cut every few epochs; by default halved every ten.

    .. math:: \eta(t) = \eta_0 \, \mathrm{factor}^{\lfloor t / \mathrm{every} \rfloor}

    Parameters
    ----------
    initial : float or "auto", default="auto"
        The first learning rate, > 0; "auto" leaves it to the fit.
    factor : float, default=0.5
        What is left of the rate after a cut, in (0, 1].
    every : float, default=10
        Epochs between two cuts, > 0. ``every=k / B`` cuts after every k updates of B updates per epoch.

    References
    ----------
    Ge, Kakade, Kidambi and Netrapalli, "The step decay schedule: a near optimal, geometrically decaying learning rate
    procedure for least squares", 2019.

    Examples
    --------
    >>> schedule = StepDecay(0.1, every=10)
    >>> schedule(step=0, epoch=9.5), schedule(step=0, epoch=10)
    (0.1, 0.05)
    """

    factor: float = 0.5
    every: float = 10
    kind: ClassVar[str] = "step"
    ranges: ClassVar[Mapping[str, Range]] = {"factor": FACTOR, "every": POSITIVE}

    def _shape(self, epochs: Rates) -> Rates:
        shape: Rates = self.factor ** periods_done(epochs, self.every)
        return shape


@dataclass(frozen=True)
class ExponentialDecay(_FromInitial):
    r"""A rate that loses the same share in each epoch, smoothly inside it.

    .. math:: \eta(t) = \eta_0 \, \mathrm{factor}^t

    Parameters
    ----------
    initial : float or "auto", default="auto"
        The first learning rate, > 0; "auto" leaves it to the fit.
    factor : float, default=0.95
        What is left of the rate after an epoch, in (0, 1].

    References
    ----------
    Senior, Heigold, Ranzato and Yang, "An empirical study of learning rates in deep neural networks for speech
    recognition", 2013, exponential scheduling.

    Examples
    --------
    >>> ExponentialDecay(0.1, factor=0.25)(step=0, epoch=0.5)
    0.05
    """

    factor: float = 0.95
    kind: ClassVar[str] = "exponential"
    ranges: ClassVar[Mapping[str, Range]] = {"factor": FACTOR}

    def _shape(self, epochs: Rates) -> Rates:
        shape: Rates = self.factor**epochs
        return shape


@dataclass(frozen=True)
class InverseTimeDecay(_FromInitial):
    r"""A rate that falls as a power of time: what the theory of stochastic gradients asks for.

    .. math:: \eta(t) = \frac{\eta_0}{(1 + \mathrm{decay} \cdot t)^{\mathrm{power}}}

    The sum of the rates diverges and the sum of their squares converges for 1/2 < power <= 1.

    Parameters
    ----------
    initial : float or "auto", default="auto"
        The first learning rate, > 0; "auto" leaves it to the fit.
    decay : float, default=1.0
        How fast it falls, per epoch, >= 0: with power 1 the rate is halved after 1 / decay epochs.
    power : float, default=1.0
        The exponent, > 0.

    References
    ----------
    Robbins and Monro, "A stochastic approximation method", 1951.
    Bottou, "Stochastic gradient descent tricks", 2012, section 5.2.

    Examples
    --------
    >>> InverseTimeDecay(0.1)(step=0, epoch=3)
    0.025
    """

    decay: float = 1.0
    power: float = 1.0
    kind: ClassVar[str] = "inverse"
    ranges: ClassVar[Mapping[str, Range]] = {"decay": NOT_NEGATIVE, "power": POSITIVE}

    def _shape(self, epochs: Rates) -> Rates:
        shape: Rates = (1.0 + self.decay * epochs) ** -self.power
        return shape
