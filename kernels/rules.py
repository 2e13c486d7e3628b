"""The update rules as scalar functions: what one coordinate does with its gradient.

`cpu.update` runs them over all coordinates; the rule's number chooses the loop there, outside of it. Rules that differ
in numbers alone share a loop. Formulas and sources stand with the classes of `fastgd.optimizers`.
"""

from typing import Any

from fastgd.kernels._jit import jitable

GD, AVERAGED, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, ADAM, AMSGRAD, NADAM, ADADELTA, ADAMW, SAGA = range(12)
MOMENTUM_TORCH, NESTEROV_TORCH = 12, 13

#: Rule by name: (number, memory slots a coordinate). "lookahead" is momentum with its gradient taken elsewhere.
RULES = {
    "gd": (GD, 0),
    "averaged": (AVERAGED, 1),
    "momentum": (MOMENTUM, 1),
    "lookahead": (MOMENTUM, 1),
    "nesterov": (NESTEROV, 1),
    "adagrad": (ADAGRAD, 1),
    "rmsprop": (RMSPROP, 1),
    "adam": (ADAM, 2),
    "amsgrad": (AMSGRAD, 3),
    "nadam": (NADAM, 2),
    "adadelta": (ADADELTA, 2),
    "adamw": (ADAMW, 2),
    "saga": (SAGA, 1),
    "momentum_torch": (MOMENTUM_TORCH, 1),
    "nesterov_torch": (NESTEROV_TORCH, 1),
}


@jitable
def has_velocity(code: Any) -> Any:
    """Whether a rule is one of the momentum rules."""
    return code in (MOMENTUM, NESTEROV, MOMENTUM_TORCH, NESTEROV_TORCH)


@jitable
def is_adam(code: Any) -> Any:
    """Whether a rule is Adam or one of its relatives."""
    return code in (ADAM, AMSGRAD, NADAM, ADAMW)


@jitable
def gd(w: Any, g: Any, rate: Any) -> Any:
    """w - rate g."""
    return w - rate * g


@jitable
def velocity(v: Any, g: Any, rate: Any, mu: Any) -> Any:
    """mu v - rate g: how far the heavy ball rolls."""
    return mu * v - rate * g


@jitable
def running_mean(m: Any, g: Any, beta: Any) -> Any:
    """beta m + (1 - beta) g."""
    return beta * m + (type(m)(1.0) - beta) * g


@jitable
def running_square(h: Any, g: Any, keep: Any, add: Any) -> Any:
    """keep h + add g^2: the sum of squares with (1, 1), their running mean with (beta, 1 - beta)."""
    return keep * h + add * (g * g)


@jitable
def nadam_momentum(t: Any, beta1: Any, decay: Any) -> Any:
    """beta1 (1 - 0.96^(t decay) / 2): the momentum of update t of Nadam."""
    return beta1 * (1.0 - 0.5 * 0.96 ** (t * decay))
