"""Rules with a step size for each coordinate, computed from its earlier gradients."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fastgd.optimizers._base import AdaptiveRate, KernelRule, WithRate
from fastgd.parameters import FRACTION, NOT_NEGATIVE, POSITIVE, Range

#: The rate at which a step of Adam moves a coefficient by about as much, in working coordinates.
_RATE = AdaptiveRate(0.02)


@dataclass(frozen=True)
class AdaGrad(WithRate):
    r"""AdaGrad: steps inversely proportional to the root of the sum of all squared gradients.

    .. math::
        h \leftarrow h + g^2, \qquad
        \theta \leftarrow \mathrm{prox}\left(\theta - \frac{\eta}{\sqrt h + \epsilon} g\right)

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": 0.3 in the coordinates of the fit,
        for mini-batches adapted as for `GradientDescent`, for the full batch falling to 0 as half a cosine.
    eps : float, default=1e-10
        Added to the root, > 0.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011, with
    diagonal matrices.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.AdaGrad(learning_rate=0.5), batch_size=64)
    >>> model.optimizer
    AdaGrad(learning_rate=0.5, eps=1e-10)
    """

    eps: float = 1e-10
    rule: ClassVar[str] = "adagrad"
    kernel_rules = (KernelRule("adagrad", (2,)),)
    adaptive = AdaptiveRate(0.3, None)
    ranges: ClassVar[Mapping[str, Range]] = {"eps": POSITIVE}


@dataclass(frozen=True)
class RMSProp(WithRate):
    r"""RMSProp: AdaGrad with a running mean of squared gradients in place of their sum.

    .. math::
        h \leftarrow \gamma h + (1 - \gamma) g^2, \qquad
        \theta \leftarrow \mathrm{prox}\left(\theta - \frac{\eta}{\sqrt h + \epsilon} g\right)

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": as for `Adam`.
    decay : float, default=0.9
        gamma in [0, 1).
    eps : float, default=1e-8
        Added to the root, > 0.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5, rmsprop: divide the gradient by a running average of its recent magnitude",
    2012.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.RMSProp(decay=0.95), batch_size=64)
    >>> model.optimizer
    RMSProp(learning_rate='auto', decay=0.95, eps=1e-08)
    """

    decay: float = 0.9
    eps: float = 1e-8
    rule: ClassVar[str] = "rmsprop"
    kernel_rules = (KernelRule("rmsprop", (2,)),)
    adaptive = _RATE
    ranges: ClassVar[Mapping[str, Range]] = {"decay": FRACTION, "eps": POSITIVE}


@dataclass(frozen=True)
class AdaDelta(WithRate):
    r"""AdaDelta: steps in the units of the parameters, from running means of squared gradients and steps.

    .. math::
        h &\leftarrow \gamma h + (1 - \gamma) g^2, \qquad
        \Delta = \frac{\sqrt{d + \epsilon}}{\sqrt{h + \epsilon}} g \\
        \theta &\leftarrow \mathrm{prox}(\theta - \eta \Delta), \qquad d \leftarrow \gamma d + (1 - \gamma) \Delta^2

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`); the paper has none, which corresponds to 1. "auto":
        20 in the coordinates of the fit, with the factors and the decay of `Adam`, the factor of short fits at most 2.
    decay : float, default=0.9
        gamma in [0, 1).
    eps : float, default=1e-6
        Added inside both roots, > 0; it determines the first steps.

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.AdaDelta(), batch_size=64)
    >>> model.optimizer
    AdaDelta(learning_rate='auto', decay=0.9, eps=1e-06)
    """

    decay: float = 0.9
    eps: float = 1e-6
    rule: ClassVar[str] = "adadelta"
    kernel_rules = (KernelRule("adadelta", (2, 2)),)
    #: Its steps grow by themselves, and overshoot if they are more than twice as long.
    adaptive = AdaptiveRate(20.0, 2.0)
    ranges: ClassVar[Mapping[str, Range]] = {"decay": FRACTION, "eps": POSITIVE}

    def rate_of_first_step(self, length: float) -> float:
        """Return the learning rate for a first step of this length, which is sqrt(eps / (1 - decay)) times the rate."""
        return length * math.sqrt((1.0 - self.decay) / self.eps)


@dataclass(frozen=True)
class _AdamFamily(WithRate):
    """A rule with running means of gradients and of their squares."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    adaptive = _RATE
    ranges: ClassVar[Mapping[str, Range]] = {"beta1": FRACTION, "beta2": FRACTION, "eps": POSITIVE}


@dataclass(frozen=True)
class Adam(_AdamFamily):
    r"""Adam, with bias correction.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        \theta &\leftarrow \mathrm{prox}\left(\theta - \eta \frac{\hat m}{\sqrt{\hat v} + \epsilon}\right),
        \qquad \hat m = \frac{m}{1 - \beta_1^t}, \quad \hat v = \frac{v}{1 - \beta_2^t}

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": 0.02 in the coordinates of the fit,
        for batches of B < 256 rows times sqrt(B / 256), in fits of U < 500 updates at least 0.02 min(500 / U, 10);
        for mini-batches adapted as for `GradientDescent`, for the full batch falling to 0 as half a cosine.
    beta1 : float, default=0.9
        Decay of the mean of gradients, in [0, 1).
    beta2 : float, default=0.999
        Decay of the mean of squared gradients, in [0, 1).
    eps : float, default=1e-8
        Added to the root of the second moment, > 0.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.Adam(learning_rate=0.01), batch_size=64)
    >>> model.optimizer
    Adam(learning_rate=0.01, beta1=0.9, beta2=0.999, eps=1e-08)
    """

    rule: ClassVar[str] = "adam"
    kernel_rules = (KernelRule("adam", (1, 2)),)


@dataclass(frozen=True)
class AMSGrad(_AdamFamily):
    r"""AMSGrad: Adam with a second moment that never decreases, so that steps do not grow again.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        u \leftarrow \max(u, v) \\
        \theta &\leftarrow \mathrm{prox}\left(\theta - \eta \frac{\hat m}{\sqrt{\hat u} + \epsilon}\right),
        \qquad \hat m = \frac{m}{1 - \beta_1^t}, \quad \hat u = \frac{u}{1 - \beta_2^t}

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": as for `Adam`.
    beta1 : float, default=0.9
        Decay of the mean of gradients, in [0, 1).
    beta2 : float, default=0.999
        Decay of the mean of squared gradients, in [0, 1).
    eps : float, default=1e-8
        Added to the root of the second moment, > 0.

    References
    ----------
    Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018, algorithm 2; bias corrections as PyTorch adds
    them.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.AMSGrad(beta2=0.99), batch_size=64)
    >>> model.optimizer
    AMSGrad(learning_rate='auto', beta1=0.9, beta2=0.99, eps=1e-08)
    """

    rule: ClassVar[str] = "amsgrad"
    kernel_rules = (KernelRule("amsgrad", (1, 2, 2)),)


@dataclass(frozen=True)
class Nadam(_AdamFamily):
    r"""Nadam: Adam with Nesterov's momentum, which grows from beta1 / 2 to beta1.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        \mu_t = \beta_1 \left(1 - \tfrac12 \, 0.96^{t \psi}\right), \qquad P_t = \prod_{i \le t} \mu_i \\
        \theta &\leftarrow \mathrm{prox}\left(\theta - \frac{\eta}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}
        \left[\frac{1 - \mu_t}{1 - P_t} g + \frac{\mu_{t+1}}{1 - P_{t+1}} m\right]\right)

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": as for `Adam`.
    beta1 : float, default=0.9
        Decay of the mean of gradients, and the momentum in the long run, in [0, 1).
    beta2 : float, default=0.999
        Decay of the mean of squared gradients, in [0, 1).
    eps : float, default=1e-8
        Added to the root of the second moment, > 0.
    momentum_decay : float, default=4e-3
        psi >= 0, the speed at which the momentum grows.

    References
    ----------
    Dozat, "Incorporating Nesterov momentum into Adam", 2016, with the momentum's schedule of PyTorch's ``NAdam``.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.Nadam(), batch_size=64)
    >>> model.optimizer
    Nadam(learning_rate='auto', beta1=0.9, beta2=0.999, eps=1e-08, momentum_decay=0.004)
    """

    momentum_decay: float = 4e-3
    rule: ClassVar[str] = "nadam"
    kernel_rules = (KernelRule("nadam", (1, 2)),)
    ranges: ClassVar[Mapping[str, Range]] = {**_AdamFamily.ranges, "momentum_decay": NOT_NEGATIVE}


@dataclass(frozen=True)
class AdamW(_AdamFamily):
    r"""AdamW: Adam with decoupled weight decay, which minimises another objective than F.

    Weights first shrink by eta times lambda, then Adam's step follows:

    .. math::
        w \leftarrow (1 - \eta \lambda) w, \qquad
        \theta \leftarrow \mathrm{prox}\left(\theta - \eta \frac{\hat m}{\sqrt{\hat v} + \epsilon}\right)

    **The decay is not part of a loss.** The limit of the iterates depends on eta and on earlier gradients, and is not
    the optimum of F, the objective that `alpha` defines and to which reported losses and certificates refer. For that
    optimum use `Adam` and `alpha`. The decay acts in the coordinates of the fit, which `standardize` scales; the
    intercept has none.

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": as for `Adam`.
    beta1 : float, default=0.9
        Decay of the mean of gradients, in [0, 1).
    beta2 : float, default=0.999
        Decay of the mean of squared gradients, in [0, 1).
    eps : float, default=1e-8
        Added to the root of the second moment, > 0.
    weight_decay : float, default=0.01
        lambda >= 0. A ValueError is raised for updates with eta lambda > 1, which would change the signs of weights.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2, with eta in front of the decay
    as in PyTorch.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.AdamW(weight_decay=0.1), batch_size=64)
    >>> model.optimizer
    AdamW(learning_rate='auto', beta1=0.9, beta2=0.999, eps=1e-08, weight_decay=0.1)
    """

    weight_decay: float = 0.01
    rule: ClassVar[str] = "adamw"
    kernel_rules = (KernelRule("adamw", (1, 2)),)
    ranges: ClassVar[Mapping[str, Range]] = {**_AdamFamily.ranges, "weight_decay": NOT_NEGATIVE}

    @property
    def largest_rate(self) -> float:
        """The largest learning rate whose decay does not change the signs of weights."""
        return 1.0 / self.weight_decay if self.weight_decay > 0.0 else math.inf

    def check_rates(self, rates: ArrayLike) -> None:
        """Raise a ValueError for a learning rate whose decay would change the signs of weights."""
        largest = float(np.max(rates))
        if largest * self.weight_decay > 1.0:
            raise ValueError(
                f"learning_rate={largest:g} of AdamW turns the signs of weights, which shrink by that times "
                f"weight_decay={self.weight_decay:g}: use rates of at most {self.largest_rate:g}, or less decay"
            )
