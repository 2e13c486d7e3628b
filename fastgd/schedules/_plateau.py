"""The schedule that looks at the loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastgd.parameters import COUNT, FRACTION, INSIDE, NOT_NEGATIVE, Range, is_number
from fastgd.schedules._base import SMALLEST, Rates, Schedule, State


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    r"""A rate that is cut when the loss has not fallen for some epochs.

    The loss is the validation loss where a fit has one, else the training loss. An epoch is better than the best
    before where loss < best - threshold |best|. After more than `patience` epochs in a row that are not,

    .. math:: \eta \leftarrow \max(\mathrm{factor} \cdot \eta, \mathrm{minimum})

    and for `cooldown` epochs none is counted.

    Parameters
    ----------
    initial : float or "auto", default="auto"
        The first learning rate, > 0; "auto" leaves it to the fit.
    factor : float, default=0.5
        What is left of the rate after a cut, in (0, 1).
    patience : int, default=3
        Epochs without a better loss that are tolerated, >= 0.
    threshold : float, default=1e-4
        How much better counts, relative to the best loss, in [0, 1).
    cooldown : int, default=0
        Epochs after a cut in which none is counted, >= 0.
    minimum : float, default=0.0
        Where the rate stops falling, from 0 to `initial`; it never becomes 0.

    References
    ----------
    Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    section 5: "divide the learning rate by 10 when the validation error rate stopped improving".

    Examples
    --------
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
        """The state before the first epoch: the share of the initial rate, and what is counted."""
        return {"share": 1.0, "bad": 0, "resting": 0}

    def observe(self, state: Mapping[str, float], metric: float) -> State:
        """The state after an epoch with this loss."""
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
        """Not offered: the rate depends on all losses so far, which `observe` follows."""
        raise TypeError("ReduceOnPlateau has no rate without the losses so far: use start, observe and rates")

    def _values(self, epochs: Rates, state: Mapping[str, float]) -> Rates:
        return np.full_like(epochs, max(float(self.initial) * state["share"], self.minimum))
