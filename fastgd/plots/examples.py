"""Functions of two variables for pictures of paths."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

__all__ = ["Example", "plateau", "ravine", "rosenbrock", "saddle", "valleys"]


@dataclass(frozen=True)
class Example:
    """A function of two variables; calls return (value, gradient), as `fastgd.minimize` takes them.

    Attributes
    ----------
    formula : str
        The function of x and y in words of mathematics.
    start : tuple of float
        A start that shows its difficulty.
    minimum : tuple of float
        A lowest point.
    """

    formula: str
    start: tuple[float, float]
    minimum: tuple[float, float]
    _parts: Callable[[float, float], tuple[float, float, float]]

    def __call__(self, x: ArrayLike) -> tuple[float, Array]:
        """Return the value and the gradient at x of shape (2,)."""
        value, *slopes = self._parts(*np.asarray(x, dtype=np.float64))
        return float(value), np.array(slopes)


def _plateau(x: float, y: float) -> tuple[float, float, float]:
    height = float(np.exp(-0.5 * (x * x + y * y)))
    return 1.0 - height, x * height, y * height


def _rosenbrock(x: float, y: float) -> tuple[float, float, float]:
    bend = y - x * x
    return (1.0 - x) ** 2 + 100.0 * bend**2, 2.0 * (x - 1.0) - 400.0 * bend * x, 200.0 * bend


#: A ravine in which plain descent zigzags.
ravine = Example("x²/20 + y²", (-7.0, 2.0), (0.0, 0.0), lambda x, y: (x * x / 20.0 + y * y, x / 10.0, 2.0 * y))
#: A saddle at 0 between two minima; from the start, gradients lead to the saddle first.
saddle = Example(
    "x² - y² + y⁴/4",
    (-2.0, 0.01),
    (0.0, 2.0**0.5),
    lambda x, y: (x * x - y * y + 0.25 * y**4, 2.0 * x, y**3 - 2.0 * y),
)
#: A local minimum near (0.9, 0) and a lower one near (-1, 0).
valleys = Example(
    "(x² - 1)² + x/4 + y²",
    (0.2, 1.5),
    (-1.02989599, 0.0),
    lambda x, y: ((x * x - 1.0) ** 2 + 0.25 * x + y * y, 4.0 * x * (x * x - 1.0) + 0.25, 2.0 * y),
)
#: A hole in a plateau, where gradients are almost 0.
plateau = Example("1 - exp(-(x² + y²)/2)", (-3.5, 2.0), (0.0, 0.0), _plateau)
#: A bent valley with steep sides (Rosenbrock 1960).
rosenbrock = Example("(1 - x)² + 100 (y - x²)²", (-1.2, 1.0), (1.0, 1.0), _rosenbrock)
