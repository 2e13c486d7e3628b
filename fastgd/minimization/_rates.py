"""First rates on a function of which nothing is known but value and gradient."""

import math

import numpy as np

from fastgd.minimization._function import Array, Evaluation, Function
from fastgd.optimizers import WithRate

#: Relative length of the differences of gradients: long enough for gradients that are differences themselves.
HESSIAN_STEP = math.cbrt(float(np.finfo(np.float64).eps))
#: Power iteration: products with the Hessian at most, and the relative change that ends it. It comes from below.
_PRODUCTS = 20
_SETTLED = 0.01
_MARGIN = 1.1
_SMALLEST = 1e-300


def automatic_rate(optimizer: WithRate, function: Function, at: Evaluation) -> float:
    """The first rate: 1 / L, L the largest curvature found at the start; adaptive rules make a step of its length.

    That is the step to the minimum along the gradient, at most as long as x, and 1 more, shared among coordinates.
    """
    if optimizer.adaptive is None:
        return _positive(1.0 / largest_curvature(function, at))
    norm = float(np.linalg.norm(at.gradient))
    length = min(norm / curvature_downhill(function, at), 1.0 + float(np.linalg.norm(at.x))) / math.sqrt(at.x.size)
    return _positive(optimizer.rate_of_first_step(length))


def largest_curvature(function: Function, at: Evaluation) -> float:
    """The largest absolute eigenvalue of the Hessian, by power iteration on differences of gradients."""
    # The gradient alone may lie in a flat direction for good: a step that is too long there shows late.
    v = _unit(_unit(at.gradient) + _unit(np.random.default_rng(0).standard_normal(at.x.size)))
    largest = 0.0
    for _ in range(_PRODUCTS):
        product = hessian_times(function, at, v)
        found = float(np.linalg.norm(product))
        if not math.isfinite(found) or found == 0.0:
            break
        settled = abs(found - largest) <= _SETTLED * found
        largest, v = found, product / found
        if settled:
            break
    return _positive(_MARGIN * largest or _scale(at))


def curvature_downhill(function: Function, at: Evaluation) -> float:
    """The absolute curvature along the gradient."""
    downhill = _unit(at.gradient)
    found = abs(float(downhill @ hessian_times(function, at, downhill)))
    return _positive(found if math.isfinite(found) and found > 0.0 else _scale(at))


def _positive(number: float) -> float:
    """A number whose inverse is finite and above 0, also where float64 has none that is close."""
    return min(max(number, _SMALLEST), 1.0 / _SMALLEST)


def hessian_times(function: Function, at: Evaluation, v: Array) -> Array:
    """The Hessian times a vector of length 1, by a difference of gradients."""
    step = HESSIAN_STEP * (1.0 + float(np.linalg.norm(at.x)))
    return (function.evaluate(at.x + step * v).gradient - at.gradient) / step


def _scale(at: Evaluation) -> float:
    """Where no curvature is seen: the one whose step is as long as x, and 1 more."""
    return float(np.linalg.norm(at.gradient)) / (1.0 + float(np.linalg.norm(at.x))) or 1.0


def _unit(v: Array) -> Array:
    return v / (float(np.linalg.norm(v)) or 1.0)
