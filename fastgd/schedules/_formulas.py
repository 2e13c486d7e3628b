"""Schedules with a formula: decays, schedules that end after some epochs, and the one that follows the loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastgd.parameters import COUNT, FACTOR, FRACTION, INSIDE, NOT_NEGATIVE, POSITIVE, Range, is_number
from fastgd.schedules._base import SMALLEST, Rates, Schedule, State, periods_done

#: Relative difference of two times that is rounding.
_SAME_TIME = 1e-12
_AT_LEAST_ONE = Range("a number of 1 or more", lambda value: 1 <= value < math.inf)


@dataclass(frozen=True)
class _FromInitial(Schedule):
    """A schedule whose rate at epoch 0 is `initial`, and a multiple of it later."""

    initial: float | str = "auto"

    def _values(self, epochs: Rates, state: Mapping[str, float]) -> Rates:
        return float(self.initial) * self._shape(epochs)

    def _shape(self, epochs: Rates) -> Rates:
        """Return the multiples of `initial`."""
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
    >>> from fastgd.schedules import Constant
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
        Multiplies the rate at each cut, in (0, 1].
    every : float, default=10
        Epochs between two cuts, > 0. ``every=k / B`` cuts after every k updates of B updates per epoch.

    References
    ----------
    Ge, Kakade, Kidambi and Netrapalli, "The step decay schedule: a near optimal, geometrically decaying learning rate
    procedure for least squares", 2019.

    Examples
    --------
    >>> from fastgd.schedules import StepDecay
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
        Multiplies the rate in each epoch, in (0, 1].

    References
    ----------
    Senior, Heigold, Ranzato and Yang, "An empirical study of learning rates in deep neural networks for speech
    recognition", 2013, exponential scheduling.

    Examples
    --------
    >>> from fastgd.schedules import ExponentialDecay
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
    r"""A rate that falls as a power of time, as the theory of stochastic gradients requires.

    .. math:: \eta(t) = \frac{\eta_0}{(1 + \mathrm{decay} \cdot t)^{\mathrm{power}}}

    The sum of the rates diverges and the sum of their squares converges for 1/2 < power <= 1.

    Parameters
    ----------
    initial : float or "auto", default="auto"
        The first learning rate, > 0; "auto" leaves it to the fit.
    decay : float, default=1.0
        Speed of the decay per epoch, >= 0: with power 1 the rate is halved after 1 / decay epochs.
    power : float, default=1.0
        The exponent, > 0.

    References
    ----------
    Robbins and Monro, "A stochastic approximation method", 1951.
    Bottou, "Stochastic gradient descent tricks", 2012, section 5.2.

    Examples
    --------
    >>> from fastgd.schedules import InverseTimeDecay
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


class _Lasting(Schedule):
    """A schedule with a length in epochs; None stands for the length of the fit."""

    epochs: float | None

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        super().check()
        self._check_optional("epochs")

    def _check_optional(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not (is_number(value) and POSITIVE.holds(value)):
            raise self._wrong(name, "None or a positive number")

    def _lengths(self, epochs: float) -> dict[str, Any]:
        return {"epochs": epochs} if self.epochs is None else {}

    def _done(self, epochs: Rates) -> Rates:
        """Return the share of the length that is done."""
        return np.minimum(epochs / self._length(), 1.0)

    def _length(self) -> float:
        if self.epochs is None:
            raise ValueError(f"{self!r} leaves its length to the fit: give epochs, or bind it first")
        return float(self.epochs)


class _ToFinal(_Lasting):
    """A schedule that falls from `initial` to `final`."""

    initial: float | str
    final: float

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        super().check()
        if is_number(self.initial) and self.final > float(self.initial):
            raise self._wrong("final", f"at most initial={self.initial!r}")

    def _zero_at(self) -> float:
        return self._length() if self.final == 0 else math.inf

    def _between(self, left: Rates) -> Rates:
        """Return `initial` where 1 is left, `final` where 0 is."""
        return self.final + (float(self.initial) - self.final) * left


@dataclass(frozen=True)
class PolynomialDecay(_ToFinal):
    r"""A rate that falls to a final one along a power; by default along a straight line to 0.

    .. math::
        \eta(t) = \eta_\mathrm{final} + (\eta_0 - \eta_\mathrm{final}) (1 - t / T)^{\mathrm{power}},
        \qquad T = \mathrm{epochs}

    and the final rate after T.

    Parameters
    ----------
    initial : float or "auto", default="auto"
        The first learning rate, > 0; "auto" leaves it to the fit.
    final : float, default=0.0
        The last learning rate, from 0 to `initial`. With 0 the fit must end when the schedule does.
    power : float, default=1.0
        The exponent, > 0.
    epochs : float or None, default=None
        T > 0. None: the fit's `max_iter`.

    References
    ----------
    Chen et al., "DeepLab: semantic image segmentation with deep convolutional nets, atrous convolution, and fully
    connected CRFs", 2018, the learning rate policy "poly".

    Examples
    --------
    >>> from fastgd.schedules import PolynomialDecay
    >>> PolynomialDecay(0.1, power=2, epochs=10)(step=0, epoch=5)
    0.025
    """

    initial: float | str = "auto"
    final: float = 0.0
    power: float = 1.0
    epochs: float | None = None
    kind: ClassVar[str] = "polynomial"
    ranges: ClassVar[Mapping[str, Range]] = {"final": NOT_NEGATIVE, "power": POSITIVE}

    def _values(self, epochs: Rates, state: Mapping[str, float]) -> Rates:
        return self._between((1.0 - self._done(epochs)) ** self.power)


@dataclass(frozen=True)
class CosineDecay(_ToFinal):
    r"""Half a cosine from the first rate to the final one, once or with warm restarts.

    .. math::
        \eta(t) = \eta_\mathrm{final} + \frac{\eta_0 - \eta_\mathrm{final}}{2} \left(1 + \cos \pi f\right)

    f is the share that is done: t / T with T = epochs, and 1 after T. With warm restarts it is the share of the
    current cycle; the first lasts `restart_every` epochs, each next one `growth` times as long as the one before.

    Parameters
    ----------
    initial : float or "auto", default="auto"
        The first learning rate, > 0, and that after each restart; "auto" leaves it to the fit.
    final : float, default=0.0
        The last learning rate, from 0 to `initial`. With 0 and no restarts the fit must end when the schedule does.
    epochs : float or None, default=None
        T > 0. None: the fit's `max_iter`, or with `restart_every` no end.
    restart_every : float or None, default=None
        Epochs of the first cycle, > 0; None for no restarts.
    growth : float, default=1.0
        Length of each cycle relative to the one before, >= 1; needs `restart_every`.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5.

    Examples
    --------
    >>> from fastgd.schedules import CosineDecay
    >>> schedule = CosineDecay(0.5, restart_every=10)
    >>> [round(schedule(step=0, epoch=epoch), 12) for epoch in (0, 5, 10, 15)]
    [0.5, 0.25, 0.5, 0.25]
    """

    initial: float | str = "auto"
    final: float = 0.0
    epochs: float | None = None
    restart_every: float | None = None
    growth: float = 1.0
    kind: ClassVar[str] = "cosine"
    ranges: ClassVar[Mapping[str, Range]] = {"final": NOT_NEGATIVE, "growth": _AT_LEAST_ONE}

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        super().check()
        self._check_optional("restart_every")
        if self.restart_every is None and self.growth != 1:
            raise self._wrong("growth", "1 without restart_every")
        if self.restart_every is not None and self.epochs is not None:
            raise self._wrong("epochs", "None with restart_every, whose cycles have lengths of their own")

    def _lengths(self, epochs: float) -> dict[str, Any]:
        return super()._lengths(epochs) if self.restart_every is None else {}

    def _zero_at(self) -> float:
        return super()._zero_at() if self.restart_every is None else math.inf

    def _values(self, epochs: Rates, state: Mapping[str, float]) -> Rates:
        done = self._done(epochs) if self.restart_every is None else self._done_of_cycle(epochs, self.restart_every)
        # (1 + cos pi f) / 2 without its cancellation near the end.
        return self._between(np.sin(0.5 * math.pi * (1.0 - done)) ** 2)

    def _done_of_cycle(self, epochs: Rates, length: float) -> Rates:
        """Return the share of each epoch's cycle that is done, below 1."""
        if self.growth == 1:
            done = epochs / length - periods_done(epochs, length)
        else:
            starts = self._starts(float(np.max(epochs, initial=0.0)), length)
            # The next cycle where a time misses its start by rounding alone.
            cycle = np.searchsorted(starts, epochs + _SAME_TIME * np.maximum(epochs, length), side="right") - 1
            done = (epochs - starts[cycle]) / (length * float(self.growth) ** cycle)
        return np.clip(done, 0.0, math.nextafter(1.0, 0.0))

    def _starts(self, last: float, length: float) -> Rates:
        """Return the epochs at which cycles start, up to one after `last`."""
        growth = float(self.growth)
        count = int(math.log1p(last / length * (growth - 1.0)) / math.log(growth)) + 2
        return length * (growth ** np.arange(count + 0.0) - 1.0) / (growth - 1.0)


@dataclass(frozen=True)
class OneCycle(_Lasting):
    r"""A rate that rises to a peak and falls far below its start, both along half a cosine.

    With r = rise T and T = epochs, the rate goes from start_factor peak at t = 0

    .. math::
        \eta(t) = \mathrm{peak} \left(\mathrm{start} + (1 - \mathrm{start}) \frac{1 - \cos(\pi t / r)}{2}\right)
        \quad\text{for } t < r

    to the peak at r, and from there to final_factor peak at T, where it stays:

    .. math::
        \eta(t) = \mathrm{peak} \left(\mathrm{final} + (1 - \mathrm{final})
        \frac{1 + \cos(\pi (t - r) / (T - r))}{2}\right) \quad\text{for } t \ge r

    T is a time, so the last update of a fit of T epochs comes shortly before the end of the schedule. PyTorch's
    ``OneCycleLR(total_steps=N, pct_start=p)`` counts updates instead: its peak is at update p N - 1 and its end at
    update N - 1, both counted from 0. With B updates per epoch it is ``OneCycle(peak, epochs=(N - 1) / B,
    rise=(p * N - 1) / (N - 1), final_factor=start_factor / 1e4)``.

    Parameters
    ----------
    peak : float or "auto", default="auto"
        The largest learning rate, > 0; "auto" leaves it to the fit.
    epochs : float or None, default=None
        T > 0. None: the fit's `max_iter`.
    rise : float, default=0.3
        The share of the epochs in which the rate rises, in (0, 1).
    start_factor : float, default=0.04
        The first rate as a share of the peak, in (0, 1].
    final_factor : float, default=1e-4
        The last rate as a share of the peak, in (0, 1].

    References
    ----------
    Smith, "A disciplined approach to neural network hyper-parameters: part 1", 2018.
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.

    Examples
    --------
    >>> from fastgd.schedules import OneCycle
    >>> schedule = OneCycle(0.5, epochs=10)
    >>> [round(schedule(step=0, epoch=epoch), 12) for epoch in (0, 3, 10)]
    [0.02, 0.5, 5e-05]
    """

    peak: float | str = "auto"
    epochs: float | None = None
    rise: float = 0.3
    start_factor: float = 0.04
    final_factor: float = 1e-4
    kind: ClassVar[str] = "onecycle"
    first: ClassVar[str] = "peak"
    ranges: ClassVar[Mapping[str, Range]] = {"rise": INSIDE, "start_factor": FACTOR, "final_factor": FACTOR}

    def _values(self, epochs: Rates, state: Mapping[str, float]) -> Rates:
        done = self._done(epochs)
        up = self.start_factor + (1.0 - self.start_factor) * np.sin(0.5 * math.pi * done / self.rise) ** 2
        left = (1.0 - done) / (1.0 - self.rise)
        down = self.final_factor + (1.0 - self.final_factor) * np.sin(0.5 * math.pi * left) ** 2
        return float(self.peak) * np.where(done < self.rise, up, down)


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    r"""A rate that is cut if the loss has not fallen for some epochs.

    The loss is the validation loss of a fit that has one, else the training loss. An epoch is better than the best
    before it if ``loss < best - threshold |best|``. After more than `patience` epochs in a row that are not,

    .. math:: \eta \leftarrow \max(\mathrm{factor} \cdot \eta, \mathrm{minimum})

    and the next `cooldown` epochs do not count.

    Parameters
    ----------
    initial : float or "auto", default="auto"
        The first learning rate, > 0; "auto" leaves it to the fit.
    factor : float, default=0.5
        Multiplies the rate at each cut, in (0, 1).
    patience : int, default=3
        Epochs without a better loss that are allowed, >= 0.
    threshold : float, default=1e-4
        Smallest improvement that counts, relative to the best loss, in [0, 1).
    cooldown : int, default=0
        Epochs after a cut that do not count, >= 0.
    minimum : float, default=0.0
        Smallest rate, from 0 to `initial`; the rate never becomes 0.

    References
    ----------
    Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    section 5: "divide the learning rate by 10 when the validation error rate stopped improving".

    Examples
    --------
    >>> from fastgd.schedules import ReduceOnPlateau
    >>> schedule = ReduceOnPlateau(0.1, patience=1)
    >>> state = schedule.start()
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     state = schedule.observe(state, loss)
    >>> float(schedule.rates([4], [4], state)[0])
    0.05
    """

    initial: float | str = "auto"
    factor: float = 0.5
    patience: int = 3
    threshold: float = 1e-4
    cooldown: int = 0
    minimum: float = 0.0
    kind: ClassVar[str] = "plateau"
    ranges: ClassVar[Mapping[str, Range]] = {
        "factor": INSIDE,
        "patience": COUNT,
        "threshold": FRACTION,
        "cooldown": COUNT,
        "minimum": NOT_NEGATIVE,
    }

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        super().check()
        if is_number(self.initial) and self.minimum > float(self.initial):
            raise self._wrong("minimum", f"at most initial={self.initial!r}")

    def start(self) -> State:
        """Return the state before the first epoch: the share of the initial rate, and two counts of epochs."""
        return {"share": 1.0, "bad": 0, "resting": 0}

    def observe(self, state: Mapping[str, float], metric: float) -> State:
        """Return the state after an epoch with this loss."""
        new = dict(state)
        best = new.get("best", math.inf)
        if best == math.inf or metric < best - self.threshold * abs(best):
            new |= {"best": float(metric), "bad": 0}
        else:
            new["bad"] += 1
        if new["resting"] > 0:
            new |= {"resting": new["resting"] - 1, "bad": 0}
        elif new["bad"] > self.patience:
            new |= {"share": max(new["share"] * float(self.factor), SMALLEST), "bad": 0, "resting": int(self.cooldown)}
        return new

    def __call__(self, step: int, epoch: float, metric: float | None = None) -> float:
        """Raise a TypeError: the rate depends on all losses so far, which `observe` follows."""
        raise TypeError("ReduceOnPlateau has no rate without the losses so far: use start, observe and rates")

    def _values(self, epochs: Rates, state: Mapping[str, float]) -> Rates:
        return np.full_like(epochs, max(float(self.initial) * state["share"], self.minimum))
