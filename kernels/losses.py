"""The losses as scalar functions of a margin z and a target y: value, gradient and curvature in z.

The curvature is the second derivative, except that of the Huber loss beyond delta: see `huber_curvature`.

Every one takes `p`, the loss's parameter (Huber's delta; unused elsewhere), so that one loop serves all.
The softmax loss couples the outputs of a row; its loop is in `cpu.residual`.
"""

from typing import Any, NamedTuple

from fastgd.kernels._jit import jitable
from fastgd.kernels.mathfun import exp, log1p

#: Share of its majoriser's curvature, delta / |r|, that Newton's model of a Huber loss has beyond delta, where the loss
#: is linear: with none the model is singular where few rows are within delta, with all of it steps are short.
HUBER_OUTSIDE = 0.05


class Loss(NamedTuple):
    """The three scalar functions of an elementwise loss, each of (z, y, p)."""

    value: Any
    grad: Any
    curvature: Any


@jitable
def squared_value(z: Any, y: Any, p: Any) -> Any:
    """(z - y)^2 / 2."""
    r = z - y
    return type(z)(0.5) * r * r


@jitable
def squared_grad(z: Any, y: Any, p: Any) -> Any:
    """Derivative of (z - y)^2 / 2 in z."""
    return z - y


@jitable
def squared_curvature(z: Any, y: Any, p: Any) -> Any:
    """Second derivative of (z - y)^2 / 2 in z."""
    return type(z)(1.0)


@jitable
def huber_value(z: Any, y: Any, p: Any) -> Any:
    """r^2 / 2 where |r| <= p, else p (|r| - p / 2), with r = z - y (Huber 1964)."""
    a = abs(z - y)
    half = type(z)(0.5)
    return half * a * a if a <= p else p * (a - half * p)


@jitable
def huber_grad(z: Any, y: Any, p: Any) -> Any:
    """Derivative of the Huber loss in z: r clipped to [-p, p]."""
    r = z - y
    # Written so that NaN passes through.
    low = -p if r < -p else r
    return p if low > p else low


@jitable
def huber_curvature(z: Any, y: Any, p: Any) -> Any:
    """Curvature in z of Newton's model of the Huber loss: 1 where |z - y| <= p, else HUBER_OUTSIDE p / |z - y|.

    It is the loss's second derivative where |z - y| < p only; where |z - y| > p that is 0.
    """
    a = abs(z - y)
    return type(z)(1.0) if a <= p else type(z)(HUBER_OUTSIDE) * p / a


@jitable
def logistic_value(z: Any, y: Any, p: Any) -> Any:
    """log(1 + exp(-y z)) for y in {-1, +1}. Stable for all z."""
    m = -y * z
    zero = type(z)(0.0)
    # Written so that NaN passes through.
    return (zero if m < zero else m) + log1p(exp(-abs(m)))


@jitable
def logistic_grad(z: Any, y: Any, p: Any) -> Any:
    """Derivative of log(1 + exp(-y z)) in z: -y sigmoid(-y z). Stable for all z."""
    m = -y * z
    one = type(z)(1.0)
    e = exp(-abs(m))
    return -y * (e if m < type(z)(0.0) else one) / (one + e)


@jitable
def logistic_curvature(z: Any, y: Any, p: Any) -> Any:
    """Second derivative of log(1 + exp(-y z)) in z, at most 1/4. Stable for all z."""
    one = type(z)(1.0)
    e = exp(-abs(z))
    return e / ((one + e) * (one + e))


#: The elementwise losses by name.
ELEMENTWISE = {
    "squared": Loss(squared_value, squared_grad, squared_curvature),
    "huber": Loss(huber_value, huber_grad, huber_curvature),
    "logistic": Loss(logistic_value, logistic_grad, logistic_curvature),
}

#: Largest curvature in z that each loss can have (softmax: largest eigenvalue, Böhning 1992).
LARGEST_CURVATURE = {"squared": 1.0, "huber": 1.0, "logistic": 0.25, "softmax": 0.5}
