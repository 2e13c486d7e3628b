"""First rates on a function of which nothing is known but value and gradient."""

import math

import numpy as np

from fastgd.minimization._function import Array, Evaluation, Function
from fastgd.optimizers import Optimizer
from fastgd.schedules import CosineDecay, Schedule, as_schedule
from fastgd.solvers.rates import ADAPTIVE

#: Relative length of the differences of gradients: long enough for gradients that are differences themselves.
_STEP = math.cbrt(float(np.finfo(np.float64).eps))
#: Power iteration: products with the Hessian at most, and the relative change that ends it. It comes from below.
_PRODUCTS = 20
_SETTLED = 0.01
_MARGIN = 1.1


def is_automatic(optimizer: Optimizer) -> bool:
    """Whether the first rate is left to us."""
    return as_schedule(optimizer.get_params(deep=False)["learning_rate"]).automatic


def automatic_rate(optimizer: Optimizer, function: Function, at: Evaluation) -> float:
    """The constant of adaptive rules; of the others 1 / L, L the largest curvature found at the start."""
    return ADAPTIVE.get(optimizer.rule) or 1.0 / largest_curvature(function, at)


def bound_schedule(optimizer: Optimizer, rate: float | None, max_iter: int) -> Schedule:
    """The schedule of a run, an iteration being an epoch; adaptive rules with no schedule fall to 0."""
    given = optimizer.get_params(deep=False)["learning_rate"]
    falls = isinstance(given, str) and optimizer.rule in ADAPTIVE
    return (CosineDecay() if falls else as_schedule(given)).bind(rate, max_iter)


def largest_curvature(function: Function, at: Evaluation) -> float:
    """The largest absolute eigenvalue of the Hessian, by power iteration on differences of gradients."""
    # The gradient alone may lie in a flat direction for good: a step that is too long there shows late.
    v = _unit(_unit(at.gradient) + _unit(np.random.default_rng(0).standard_normal(at.x.size)))
    largest = 0.0
    for _ in range(_PRODUCTS):
        product = _hessian_times(function, at, v)
        found = float(np.linalg.norm(product))
        if not math.isfinite(found) or found == 0.0:
            break
        settled = abs(found - largest) <= _SETTLED * found
        largest, v = found, product / found
        if settled:
            break
    return _MARGIN * largest or _scale(at)


def curvature_downhill(function: Function, at: Evaluation) -> float:
    """The absolute curvature along the gradient."""
    downhill = _unit(at.gradient)
    found = abs(float(downhill @ _hessian_times(function, at, downhill)))
    return found if math.isfinite(found) and found > 0.0 else _scale(at)


def _hessian_times(function: Function, at: Evaluation, v: Array) -> Array:
    step = _STEP * (1.0 + float(np.linalg.norm(at.x)))
    return (function.evaluate(at.x + step * v).gradient - at.gradient) / step


def _scale(at: Evaluation) -> float:
    """Where no curvature is seen: the one whose step is as long as x, and 1 more."""
    return float(np.linalg.norm(at.gradient)) / (1.0 + float(np.linalg.norm(at.x))) or 1.0


def _unit(v: Array) -> Array:
    return v / (float(np.linalg.norm(v)) or 1.0)
