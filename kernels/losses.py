"""The losses: the one table from which the loops of the CPU and of the GPU are built.

A loss of one output is three scalar functions of a margin z, a target y and the loss's parameter p (Huber's delta;
unused elsewhere): value, gradient and curvature in z. The curvature is the second derivative, except that of the Huber
loss beyond delta: see `huber_curvature`.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastgd.kernels._jit import jitable
from fastgd.kernels.mathfun import exp, log1p

#: Curvature of Newton's model of a Huber loss beyond delta, where the loss is linear, as a share of its majoriser's,
#: delta / |r|: with none the model is singular where few rows are within delta, with all of it steps are short.
HUBER_OUTSIDE = 0.05


@jitable
def squared_value(z, y, p):
    """(z - y)^2 / 2."""
    r = z - y
    return type(z)(0.5) * r * r


@jitable
def squared_grad(z, y, p):
    """Derivative of (z - y)^2 / 2 in z."""
    return z - y


@jitable
def squared_curvature(z, y, p):
    """Second derivative of (z - y)^2 / 2 in z."""
    return type(z)(1.0)


@jitable
def huber_value(z, y, p):
    """r^2 / 2 where |r| <= p, else p (|r| - p / 2), with r = z - y (Huber 1964)."""
    a = abs(z - y)
    half = type(z)(0.5)
    return half * a * a if a <= p else p * (a - half * p)


@jitable
def huber_grad(z, y, p):
    """Derivative of the Huber loss in z: r clipped to [-p, p]."""
    r = z - y
    # Written so that NaN passes through.
    low = -p if r < -p else r
    return p if low > p else low


@jitable
def huber_curvature(z, y, p):
    """Curvature in z of Newton's model of the Huber loss: 1 where |z - y| <= p, else HUBER_OUTSIDE p / |z - y|.

    It is the loss's second derivative where |z - y| < p only; where |z - y| > p that is 0.
    """
    a = abs(z - y)
    return type(z)(1.0) if a <= p else type(z)(HUBER_OUTSIDE) * p / a


@jitable
def logistic_value(z, y, p):
    """log(1 + exp(-y z)) for y in {-1, +1}. Stable for all z."""
    m = -y * z
    zero = type(z)(0.0)
    # Written so that NaN passes through.
    return (zero if m < zero else m) + log1p(exp(-abs(m)))


@jitable
def logistic_grad(z, y, p):
    """Derivative of log(1 + exp(-y z)) in z: -y sigmoid(-y z). Stable for all z."""
    m = -y * z
    one = type(z)(1.0)
    e = exp(-abs(m))
    return -y * (e if m < type(z)(0.0) else one) / (one + e)


@jitable
def logistic_curvature(z, y, p):
    """Second derivative of log(1 + exp(-y z)) in z, at most 1/4. Stable for all z."""
    one = type(z)(1.0)
    e = exp(-abs(z))
    return e / ((one + e) * (one + e))


class Loss(NamedTuple):
    """How kernels evaluate a loss."""

    #: Upper bound of the curvature in z (softmax: of the largest eigenvalue, Böhning 1992).
    largest_curvature: float
    #: Scalar functions of (z, y, p); None of a loss that couples its outputs.
    value: Callable[..., float] | None = None
    grad: Callable[..., float] | None = None
    curvature: Callable[..., float] | None = None

    @property
    def is_coupled(self) -> bool:
        """Whether all outputs of a row share one loss, softmax cross-entropy: y (1, n) then holds class numbers."""
        return self.value is None


#: The losses by name.
LOSSES = {
    "squared": Loss(1.0, squared_value, squared_grad, squared_curvature),
    "huber": Loss(1.0, huber_value, huber_grad, huber_curvature),
    "logistic": Loss(0.25, logistic_value, logistic_grad, logistic_curvature),
    "softmax": Loss(0.5),
}


def find_loss(name: str) -> Loss:
    """Return a loss by its name; raise a ValueError for an unknown one."""
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]
