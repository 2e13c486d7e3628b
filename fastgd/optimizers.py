"""Update rules: small frozen dataclasses that hold hyper-parameters, and say the formula and its source.

They follow scikit-learn's parameter protocol, so that ``GridSearchCV`` reaches ``optimizer__learning_rate``, and are
never changed by a fit. Throughout, g is the gradient of a batch's objective without its L1 term, eta the learning
rate, and prox the soft threshold of the L1 term with the coordinate's own step (the intercept has none). Without an
L1 term prox is the identity.
"""

import dataclasses
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

__all__ = ["Adam", "GradientDescent", "Momentum", "Optimizer"]


@dataclass(frozen=True)
class Optimizer:
    """What all rules have in common."""

    rule: ClassVar[str] = ""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Hyper-parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Without a meaning here: no hyper-parameter has parameters.

        Returns
        -------
        dict
        """
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def set_params(self, **params: Any) -> "Optimizer":
        """Set hyper-parameters of this object, as `sklearn.base.clone` and grid searches do.

        Parameters
        ----------
        **params : float or str
            Hyper-parameters by name; they are checked when a fit begins.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a name is not one of the rule's hyper-parameters.
        """
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(self.get_params())}"
                )
            object.__setattr__(self, name, value)
        return self

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        rate = self.get_params()["learning_rate"]
        if rate != "auto" and not (_is_number(rate) and 0 < rate < math.inf):
            raise ValueError(f"learning_rate must be 'auto' or a positive number, got {rate!r}")

    def numbers(self) -> tuple[float, float, float]:
        """The hyper-parameters in the order in which kernels take them."""
        return (0.0, 0.0, 0.0)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_fraction(name: str, value: object) -> None:
    if not (_is_number(value) and 0 <= value < 1):  # type: ignore[operator]
        raise ValueError(f"{name} must be a number in [0, 1), got {value!r}")


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    r"""Gradient descent, stochastic where batches are smaller than the data.

    .. math:: \theta \leftarrow \mathrm{prox}(\theta - \eta g)

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        eta > 0. "auto": 1 / L of the batch (Gower et al. 2019); for mini-batches divided by 1 + epochs done.

    References
    ----------
    Robbins and Monro, "A stochastic approximation method", 1951.
    Gower et al., "SGD: general analysis and improved rates", 2019.
    """

    learning_rate: float | str = "auto"
    rule: ClassVar[str] = "gd"


@dataclass(frozen=True)
class Momentum(Optimizer):
    r"""Heavy-ball momentum.

    .. math::
        \theta' = \mathrm{prox}(\theta + \mu V - \eta g), \qquad V \leftarrow \theta' - \theta

    V is the difference of iterates after the prox; without an L1 term this is V <- mu V - eta g.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        eta > 0. "auto": as for `GradientDescent`, for mini-batches times 1 - momentum.
    momentum : float, default=0.9
        mu in [0, 1).

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    """

    learning_rate: float | str = "auto"
    momentum: float = 0.9
    rule: ClassVar[str] = "momentum"

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        super().check()
        _check_fraction("momentum", self.momentum)

    def numbers(self) -> tuple[float, float, float]:
        """mu."""
        return (self.momentum, 0.0, 0.0)


@dataclass(frozen=True)
class Adam(Optimizer):
    r"""Adam, with bias correction.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        \theta &\leftarrow \mathrm{prox}\left(\theta - \eta \frac{\hat m}{\sqrt{\hat v} + \epsilon}\right),
        \qquad \hat m = \frac{m}{1 - \beta_1^t}, \quad \hat v = \frac{v}{1 - \beta_2^t}

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        eta > 0. "auto": 0.02 in the coordinates of the fit, falling to 0 as half a cosine over the epochs.
    beta1 : float, default=0.9
        Decay of the mean of gradients, in [0, 1).
    beta2 : float, default=0.999
        Decay of the mean of squared gradients, in [0, 1).
    eps : float, default=1e-8
        Added to the root of the second moment, > 0.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """

    learning_rate: float | str = "auto"
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    rule: ClassVar[str] = "adam"

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        super().check()
        _check_fraction("beta1", self.beta1)
        _check_fraction("beta2", self.beta2)
        if not (_is_number(self.eps) and self.eps > 0):
            raise ValueError(f"eps must be a positive number, got {self.eps!r}")

    def numbers(self) -> tuple[float, float, float]:
        """beta1, beta2, eps."""
        return (self.beta1, self.beta2, self.eps)


#: Optimizers by the names that estimators accept.
BY_NAME = {kind.rule: kind for kind in (GradientDescent, Momentum, Adam)}
