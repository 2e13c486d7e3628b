"""The user's function: value and gradient wherever they are asked for, checked and counted."""

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
_TINY = 1e-100


class Evaluation(NamedTuple):
    """A point, and the function there; the gradient is NaN where the value is not finite."""

    x: Array
    value: float
    gradient: Array

    @property
    def finite(self) -> bool:
        """Whether both value and gradient are."""
        return math.isfinite(self.value) and bool(np.all(np.isfinite(self.gradient)))

    @property
    def steepness(self) -> float:
        """The largest component of the gradient, which `tol` bounds."""
        return float(np.max(np.abs(self.gradient)))


def forward_differences(fun: Callable[[Array], Any], x: Array) -> Array:
    """Differences to one side: one call a coordinate, half of the digits."""
    return approx_fprime(x, fun, math.sqrt(_EPS) * np.maximum(1.0, np.abs(x)))


def central_differences(fun: Callable[[Array], Any], x: Array) -> Array:
    """The mean of the differences to both sides: two calls a coordinate, two thirds of the digits."""
    step = math.cbrt(_EPS) * np.maximum(1.0, np.abs(x))
    mean: Array = 0.5 * (approx_fprime(x, fun, step) + approx_fprime(x, fun, -step))
    return mean


def complex_differences(fun: Callable[[Any], Any], x: Array) -> Array:
    """Imaginary parts at a little beside x: one call a coordinate, all digits of an analytic function."""
    values = [fun(x + 1j * _TINY * unit) for unit in np.eye(x.size)]
    if not all(np.iscomplexobj(value) for value in values):
        raise ValueError("jac='cs' needs a fun that takes complex x and returns complex values: take '3-point'")
    return np.array([complex(value).imag / _TINY for value in values])


#: By scipy's names.
DIFFERENCES = {"2-point": forward_differences, "3-point": central_differences, "cs": complex_differences}


class Function:
    """A function of the user's with its gradient; the last point is remembered.

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
        # Whether fun returns both; where nobody said so its first answer tells.
        self._pairs: bool | None = True if jac is True else None if jac is None or jac is False else False
        self._last: tuple[Array, float, Array | None] | None = None
        self.nfev = 0
        self.njev = 0

    def value(self, x: Array) -> float:
        """The function at x; NaN where x itself is not finite, which the user's function is not asked about."""
        if not np.all(np.isfinite(x)):
            return math.nan
        return self._at(x)[1]

    def evaluate(self, x: Array) -> Evaluation:
        """The function and its gradient at x."""
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
        if self._pairs is None:
            self._pairs = pair
        if not self._pairs:
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
        differences = DIFFERENCES["3-point" if self._pairs_unsaid else self._jac]
        return differences(lambda at: value if np.array_equal(at, x) else _number(self._call(at)), x)

    @property
    def _pairs_unsaid(self) -> bool:
        return self._jac is None or self._jac is False

    def _call(self, x: Any) -> Any:
        self.nfev += 1
        # A copy: what a function does to its argument, or keeps of it, is its own business.
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
