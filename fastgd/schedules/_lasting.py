"""Schedules that come to an end: after a number of epochs of their own, or with the fit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastgd.parameters import FACTOR, INSIDE, NOT_NEGATIVE, POSITIVE, Range, is_number
from fastgd.schedules._base import Rates, Schedule, periods_done

#: Relative difference of two times that is rounding.
_SAME_TIME = 1e-12
_AT_LEAST_ONE = Range("a number of 1 or more", lambda value: 1 <= value < math.inf)


class _Lasting(Schedule):
    """A schedule with a length, in epochs; None stands for the length of the fit."""

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
        """The share of the length that is done."""
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
        """`initial` where 1 is left, `final` where 0 is."""
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
    r"""Half a cosine from the first rate to the final one, once or again and again.

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
        T > 0. None: the fit's `max_iter`, or, where `restart_every` is given, without end.
    restart_every : float or None, default=None
        Epochs of the first cycle, > 0; None for no restarts.
    growth : float, default=1.0
        How much longer each cycle is than the one before, >= 1; needs `restart_every`.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5.

    Examples
    --------
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
        """The share of each epoch's cycle that is done, below 1."""
        if self.growth == 1:
            done = epochs / length - periods_done(epochs, length)
        else:
            starts = self._starts(float(np.max(epochs, initial=0.0)), length)
            # The next cycle where a time misses its start by rounding alone.
            cycle = np.searchsorted(starts, epochs + _SAME_TIME * np.maximum(epochs, length), side="right") - 1
            done = (epochs - starts[cycle]) / (length * float(self.growth) ** cycle)
        return np.clip(done, 0.0, math.nextafter(1.0, 0.0))

    def _starts(self, last: float, length: float) -> Rates:
        """Epochs at which cycles start, up to one after `last`."""
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
