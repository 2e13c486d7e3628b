"""A user's function: its value, gradient and curvature at a point, checked and counted."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import approx_fprime

from fastgd.parameters import shown

Array = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
#: Step of the complex difference: nothing is subtracted, so the smaller the better.
_COMPLEX_STEP = 1e-100
#: Relative step of the differences of gradients: long enough for gradients that are differences themselves.
_HESSIAN_STEP = math.cbrt(_EPS)
#: Power iteration: products with the Hessian at most, and the relative change that ends it. It comes from below.
_POWER_PRODUCTS, _POWER_CHANGE, _POWER_MARGIN = 20, 0.01, 1.1
#: Smallest number whose inverse is finite with some room.
_SMALLEST = 1e-300
#: Products of the method of Lanczos at most; in fewer dimensions they span all of them.
_LANCZOS_PRODUCTS = 20
#: Where to look for lower values: multiples of a unit step, which is this many steps of differences of gradients, or
#: one step of Newton's method along the gradient, at most this share of 1 + |x|.
_MULTIPLES, _DIFFERENCES, _NEAR = (1.0, 3.0, 10.0, 30.0), 10.0, 3e-4
#: Factor by which a decrease must exceed the tangent's, and the shares of the value and of the largest curvature that
#: count as rounding: gradients may be differences of values.
_EXCESS, _VALUE_ROUNDING, _CURVATURE_ROUNDING = 1.5, 1e-12, 1e-5


class Evaluation(NamedTuple):
    """A point, and the function there; the gradient is NaN where the value is not finite."""

    x: Array
    value: float
    gradient: Array

    @property
    def finite(self) -> bool:
        """Whether both value and gradient are finite."""
        return math.isfinite(self.value) and bool(np.all(np.isfinite(self.gradient)))

    @property
    def steepness(self) -> float:
        """The largest component of the gradient, which `tol` bounds."""
        return float(np.max(np.abs(self.gradient)))

    @property
    def slope(self) -> float:
        """The Euclidean norm of the gradient."""
        return float(np.linalg.norm(self.gradient))

    @property
    def reach(self) -> float:
        """1 + |x|, the length at which x counts as moved."""
        return 1.0 + float(np.linalg.norm(self.x))

    def along(self, length: float) -> Array:
        """Return the point that a step of this length against the gradient leads to."""
        return self.x - length * self.gradient


def forward_differences(fun: Callable[[Array], Any], x: Array) -> Array:
    """Return differences to one side: one call per coordinate, half of the digits."""
    return approx_fprime(x, fun, math.sqrt(_EPS) * np.maximum(1.0, np.abs(x)))


def central_differences(fun: Callable[[Array], Any], x: Array) -> Array:
    """Return the mean of the differences to both sides: two calls per coordinate, two thirds of the digits."""
    step = math.cbrt(_EPS) * np.maximum(1.0, np.abs(x))
    mean: Array = 0.5 * (approx_fprime(x, fun, step) + approx_fprime(x, fun, -step))
    return mean


def complex_differences(fun: Callable[[Any], Any], x: Array) -> Array:
    """Return imaginary parts close to x: one call per coordinate, all digits of an analytic function."""
    values = [fun(x + 1j * _COMPLEX_STEP * unit) for unit in np.eye(x.size)]
    if not all(np.iscomplexobj(value) for value in values):
        raise ValueError("jac='cs' needs a fun that takes complex x and returns complex values: take '3-point'")
    return np.array([complex(value).imag / _COMPLEX_STEP for value in values])


#: Kinds of differences by scipy's names.
DIFFERENCES = {"2-point": forward_differences, "3-point": central_differences, "cs": complex_differences}


class Function:
    """A user's function with its gradient; the last point is remembered.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)``.
    args : tuple
        Further arguments.
    jac : callable, bool, str or None
        Where the gradient comes from, see `fastgd.minimize`.
    """

    def __init__(self, fun: Callable[..., Any], args: tuple[Any, ...], jac: Any) -> None:
        self._fun = fun
        self._args = args
        self._jac = jac
        self._unspecified = jac is None or jac is False
        # Whether fun returns both value and gradient; its first answer decides if jac does not.
        self._returns_pairs: bool | None = None if self._unspecified else jac is True
        self._last: tuple[Array, float, Array | None] | None = None
        self.nfev = 0
        self.njev = 0

    def value(self, x: Array) -> float:
        """Return the function at x; NaN, without a call, where x itself is not finite."""
        if not np.all(np.isfinite(x)):
            return math.nan
        return self._at(x)[1]

    def evaluate(self, x: Array) -> Evaluation:
        """Return the function and its gradient at x."""
        value = self.value(x)
        if not math.isfinite(value):
            return Evaluation(x, value, np.full_like(x, math.nan))
        gradient = self._at(x)[2]
        if gradient is None:
            gradient = self._differentiate(x, value)
            self._last = (x, value, gradient)
        return Evaluation(x, value, gradient)

    def _at(self, x: Array) -> tuple[Array, float, Array | None]:
        if self._last is None or not np.array_equal(x, self._last[0]):
            self._last = (x, *self._look(x))
        return self._last

    def _look(self, x: Array) -> tuple[float, Array | None]:
        """Call the user's function."""
        answer = self._call(x)
        pair = isinstance(answer, tuple | list) and len(answer) == 2
        if self._returns_pairs is None:
            self._returns_pairs = pair
        if not self._returns_pairs:
            return _number(answer), None
        if not pair:
            raise ValueError(f"fun must return (value, gradient) here, got {shown(answer)}")
        self.njev += 1
        return _number(answer[0]), _vector(answer[1], x.size)

    def _differentiate(self, x: Array, value: float) -> Array:
        self.njev += 1
        if callable(self._jac):
            return _vector(self._jac(x.copy(), *self._args), x.size)
        if self._jac == "cs":
            return complex_differences(self._call, x)
        differences = DIFFERENCES["3-point" if self._unspecified else self._jac]
        return differences(lambda at: value if np.array_equal(at, x) else _number(self._call(at)), x)

    def _call(self, x: Any) -> Any:
        self.nfev += 1
        # A copy: a function may change its argument or keep it.
        return self._fun(x.copy(), *self._args)


def _number(given: Any) -> float:
    # A pair where one number is wanted may not even make an array.
    array = np.asarray(None if isinstance(given, tuple | list) else given)
    if array.size != 1 or array.dtype.kind not in "buif":
        raise ValueError(f"the value of fun must be one real number, got {shown(given)}")
    return float(array.item())


def _vector(given: Any, size: int) -> Array:
    gradient = np.asarray(given)
    if gradient.dtype.kind not in "buif":
        raise ValueError(f"gradients must be real numbers, got {shown(given)}")
    if gradient.shape != (size,) and not (size == 1 and gradient.shape == ()):
        raise ValueError(f"gradients must have the shape of x, ({size},), got {gradient.shape}")
    # A copy: functions may fill one array again and again.
    return gradient.astype(np.float64).reshape(size)


def hessian_times(function: Function, at: Evaluation, v: Array) -> Array:
    """Return the Hessian times a vector of length 1, by a difference of gradients."""
    step = _HESSIAN_STEP * at.reach
    return (function.evaluate(at.x + step * v).gradient - at.gradient) / step


def largest_curvature(function: Function, at: Evaluation) -> float:
    """Return the largest absolute eigenvalue of the Hessian, by power iteration on differences of gradients."""
    # The gradient alone may lie in a flat direction for good: a step that is too long there shows late.
    v = _unit(_unit(at.gradient) + _unit(np.random.default_rng(0).standard_normal(at.x.size)))
    largest = 0.0
    for _ in range(_POWER_PRODUCTS):
        product = hessian_times(function, at, v)
        found = float(np.linalg.norm(product))
        if not math.isfinite(found) or found == 0.0:
            break
        settled = abs(found - largest) <= _POWER_CHANGE * found
        largest, v = found, product / found
        if settled:
            break
    return invertible(_POWER_MARGIN * largest or _default_curvature(at))


def curvature_downhill(function: Function, at: Evaluation) -> float:
    """Return the absolute curvature along the gradient."""
    downhill = _unit(at.gradient)
    found = abs(float(downhill @ hessian_times(function, at, downhill)))
    return invertible(found if math.isfinite(found) and found > 0.0 else _default_curvature(at))


def invertible(number: float) -> float:
    """Return a number clipped to where its inverse is finite and above 0."""
    return min(max(number, _SMALLEST), 1.0 / _SMALLEST)


def _default_curvature(at: Evaluation) -> float:
    """Return the curvature for which a gradient step is as long as 1 + |x|, for where none is seen."""
    return at.slope / at.reach or 1.0


def _unit(v: Array) -> Array:
    return v / (float(np.linalg.norm(v)) or 1.0)


class Curvatures(NamedTuple):
    """Extreme curvatures (m,), ascending, and the direction (d,) of the first."""

    values: Array
    lowest: Array


def extreme_curvatures(function: Function, at: Evaluation) -> Curvatures:
    """Estimate eigenvalues of the Hessian, from within their range, by the method of Lanczos (1950)."""
    size = min(at.x.size, _LANCZOS_PRODUCTS)
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


def is_plateau(at: Evaluation, curvatures: Curvatures, tol: float) -> bool:
    """Whether a step as long as 1 + |x| changes the gradient by at most tol."""
    return float(np.max(np.abs(curvatures.values))) * at.reach <= tol


def falls_nearby(function: Function, at: Evaluation, curvatures: Curvatures) -> bool:
    """Whether the function falls below its tangent near x, along the lowest curvature or the gradient.

    No function that is convex there does. Values decide since near a minimum of fourth order differences of gradients
    show curvatures that are not there, also negative ones, and at an inflection positive ones: x^3 ends a run where it
    is convex, and falls on from 0.
    """
    largest = float(np.max(np.abs(curvatures.values)))
    unit = _DIFFERENCES * _HESSIAN_STEP * at.reach * curvatures.lowest
    if _falls_along(function, at, unit, largest) or _falls_along(function, at, -unit, largest):
        return True
    if not at.slope > 0.0:
        return False
    downhill = -at.gradient / at.slope
    curvature = float(downhill @ hessian_times(function, at, downhill))
    newton = min(at.slope / curvature, _NEAR * at.reach) if curvature > 0.0 else _NEAR * at.reach
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
