"""A rule's update of a coordinate that a thread holds: the arithmetic of `kernels.steps`."""

import math
from typing import Any

from fastgd.kernels import rules, steps
from fastgd.kernels._jit import jitable


@jitable
def apply_momentum(memory: Any, g: Any, rule: Any, rate: Any, l1: Any) -> None:
    """The momentum rules."""
    theta, slots, code, k, j = memory.theta, memory.slots, rule.code, 0, 0
    if code == rules.MOMENTUM:
        steps.momentum(theta, slots, k, j, g, rate, rule.h1, l1)
    elif code == rules.NESTEROV:
        steps.nesterov(theta, slots, k, j, g, rate, rule.h1, l1)
    elif code == rules.MOMENTUM_TORCH:
        steps.accumulated(theta, slots, k, j, g, rate, (rule.h1, 0.0, 1.0), l1)
    else:
        steps.accumulated(theta, slots, k, j, g, rate, (rule.h1, 1.0, rule.h1), l1)


@jitable
def apply_adam(memory: Any, g: Any, rule: Any, rate: Any, l1: Any, numbers: Any, inner: Any) -> None:
    """Adam and its relatives."""
    theta, slots, code, k, j = memory.theta, memory.slots, rule.code, 0, 0
    _, own, mean, second = numbers
    of_adam = rule.h1, rule.h2, rule.h3, own, mean, second
    if code == rules.AMSGRAD:
        steps.amsgrad(theta, slots, k, j, g, rate, of_adam, l1)
        return
    if code == rules.ADAMW and inner:
        theta[k, j] *= 1.0 - rate * rule.h4
    steps.adam(theta, slots, k, j, g, rate, of_adam, l1)


@jitable
def apply_rule(memory: Any, g: Any, rule: Any, rate: Any, l1: Any, numbers: Any, inner: Any) -> None:
    """One update of theta (1, 1) with gradient g, L2 term included; numbers: updates with this one, then Adam's.

    inner: whether the coordinate is not the intercept.
    """
    theta, slots, code, k, j = memory.theta, memory.slots, rule.code, 0, 0
    if code == rules.GD or code == rules.AVERAGED or code == rules.SAGA:
        steps.plain(theta, k, j, g, rate, l1)
        if code == rules.AVERAGED:
            steps.average(theta, slots, k, j, steps.average_weight(numbers[0], rule.h1))
    elif rules.has_velocity(code):
        apply_momentum(memory, g, rule, rate, l1)
    elif code == rules.ADAGRAD:
        steps.scaled(theta, slots, k, j, g, rate, (1.0, 1.0, rule.h1), l1)
    elif code == rules.RMSPROP:
        steps.scaled(theta, slots, k, j, g, rate, (rule.h1, 1.0 - rule.h1, rule.h2), l1)
    elif code == rules.ADADELTA:
        steps.adadelta(theta, slots, k, j, g, rate, (rule.h1, rule.h2), l1)
    elif rules.is_adam(code):
        apply_adam(memory, g, rule, rate, l1, numbers, inner)
    else:
        # An unknown rule: NaN, which no fit can miss, since kernels cannot raise.
        theta[k, j] = math.nan
