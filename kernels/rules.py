"""The update rules as scalar functions: what one coordinate does with its gradient.

Each returns the coordinate before the prox, the prox's step, and its new memory. `cpu.update` runs them over all
coordinates; the rule's number chooses the loop there, outside of it.
"""

from typing import Any

from fastgd.kernels._jit import jitable

GD, MOMENTUM, ADAM = 0, 1, 2

#: Rule by name: (number, memory slots a coordinate).
RULES = {"gd": (GD, 0), "momentum": (MOMENTUM, 1), "adam": (ADAM, 2)}


@jitable
def gd(w: Any, g: Any, rate: Any) -> Any:
    """w - rate g (Cauchy 1847; Robbins and Monro 1951)."""
    return w - rate * g


@jitable
def momentum(w: Any, v: Any, g: Any, rate: Any, mu: Any) -> Any:
    """w + mu v - rate g, with v the last difference of iterates (Polyak 1964, heavy ball)."""
    return w + (mu * v - rate * g)


@jitable
def adam_first(m: Any, g: Any, beta1: Any) -> Any:
    """beta1 m + (1 - beta1) g: the running mean of gradients (Kingma and Ba 2015, algorithm 1)."""
    return beta1 * m + (type(m)(1.0) - beta1) * g


@jitable
def adam_second(v: Any, g: Any, beta2: Any) -> Any:
    """beta2 v + (1 - beta2) g^2: the running mean of squared gradients (Kingma and Ba 2015, algorithm 1)."""
    return beta2 * v + (type(v)(1.0) - beta2) * g * g
