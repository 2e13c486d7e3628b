"""What a point is where the gradient is 0: a minimum, a saddle point, a maximum or an inflection, or a plateau."""

from typing import NamedTuple

import numpy as np

from fastgd.minimization._function import Array, Evaluation, Function
from fastgd.minimization._rates import HESSIAN_STEP, hessian_times

#: Numbers by which results say so: of a minimum, and of what is none.
MINIMUM, SADDLE, FLAT = 0, 4, 5
#: Products with the Hessian at most; in fewer dimensions they span all of them.
_PRODUCTS = 20
#: Where to look for lower values: multiples of a step's unit, which is this many steps of differences of gradients, or
#: one step of Newton's method along the gradient, at most this share of the length of x, and 1 more.
_MULTIPLES, _DIFFERENCES, _NEAR = (1.0, 3.0, 10.0, 30.0), 10.0, 3e-4
#: How many times a decrease must exceed the tangent's, and which shares of the value and of the largest curvature are
#: taken for rounding, gradients being differences of values maybe.
_EXCESS, _VALUE_ROUNDING, _CURVATURE_ROUNDING = 1.5, 1e-12, 1e-5


class Curvatures(NamedTuple):
    """Extreme curvatures (m,), ascending, and the direction (d,) of the first."""

    values: Array
    lowest: Array


def kind_of(function: Function, at: Evaluation, tol: float) -> int:
    """Classify a point with a gradient of at most tol by the extreme curvatures there, and by values beside it.

    Flat is where a step of the length of x, and 1 more, changes the gradient by less than tol. Values decide on the
    rest: near a minimum of fourth order differences of gradients show curvatures that are not there, also negative
    ones, and at an inflection positive ones.
    """
    curvatures, lowest = extreme_curvatures(function, at)
    if curvatures.size == 0 or not np.all(np.isfinite(curvatures)):
        return MINIMUM
    reach = 1.0 + float(np.linalg.norm(at.x))
    largest = float(np.max(np.abs(curvatures)))
    if largest * reach <= tol:
        return FLAT
    return SADDLE if _falls_on(function, at, lowest, largest) else MINIMUM


def _falls_on(function: Function, at: Evaluation, lowest: Array, largest: float) -> bool:
    """Whether the function falls below its tangent near x, along the lowest curvature or the gradient.

    No function that is convex there does. x^3 ends a run where it is convex, and falls on from 0.
    """
    reach = 1.0 + float(np.linalg.norm(at.x))
    unit = _DIFFERENCES * HESSIAN_STEP * reach * lowest
    if _falls_along(function, at, unit, largest) or _falls_along(function, at, -unit, largest):
        return True
    norm = float(np.linalg.norm(at.gradient))
    if not norm > 0.0:
        return False
    downhill = -at.gradient / norm
    curvature = float(downhill @ hessian_times(function, at, downhill))
    newton = min(norm / curvature, _NEAR * reach) if curvature > 0.0 else _NEAR * reach
    return _falls_along(function, at, newton * downhill, largest)


def _falls_along(function: Function, at: Evaluation, unit: Array, largest: float) -> bool:
    """Whether multiples of a step lead below the tangent before one leads above the value at x."""
    slope, square = max(0.0, -float(unit @ at.gradient)), float(unit @ unit)
    for multiple in _MULTIPLES:
        noise = _VALUE_ROUNDING * abs(at.value) + _CURVATURE_ROUNDING * largest * square * multiple**2
        decrease = at.value - function.value(at.x + multiple * unit)
        if not decrease >= -noise:
            return False
        if decrease > _EXCESS * slope * multiple + noise:
            return True
    return False


def extreme_curvatures(function: Function, at: Evaluation) -> Curvatures:
    """Estimates of eigenvalues of the Hessian, from within their range, by the method of Lanczos (1950)."""
    size = min(at.x.size, _PRODUCTS)
    basis = np.zeros((size, at.x.size))
    projected = np.zeros((size, size))
    v = np.random.default_rng(0).standard_normal(at.x.size)
    found = size
    for k in range(size):
        # Twice: once leaves rounding that grows.
        for _ in range(2):
            v = v - basis[:k].T @ (basis[:k] @ v)
        norm = float(np.linalg.norm(v))
        if not norm > 0.0:
            found = k
            break
        basis[k] = v / norm
        v = hessian_times(function, at, basis[k])
        if not np.all(np.isfinite(v)):
            return Curvatures(np.zeros(0), np.zeros(at.x.size))
        projected[k, : k + 1] = basis[: k + 1] @ v
        projected[: k + 1, k] = projected[k, : k + 1]
    values, vectors = np.linalg.eigh(projected[:found, :found])
    return Curvatures(values, vectors[:, 0] @ basis[:found])
