"""Rule and prox over all coordinates, a loop for each pattern of memory; the rule is switched outside of the loops."""

import math
from typing import Any

from fastgd.kernels import rules, steps
from fastgd.kernels._jit import cpu_kernel, jitable
from fastgd.kernels.penalties import elastic_net_value


@jitable
def step_plain(theta: Any, g: Any, rate: Any, l1: Any) -> None:
    """`steps.plain` everywhere."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            steps.plain(theta, k, j, g[k, j], rate, l1[k, j])


@jitable
def step_momentum(theta: Any, slots: Any, g: Any, rate: Any, mu: Any, l1: Any) -> None:
    """`steps.momentum` everywhere."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            steps.momentum(theta, slots, k, j, g[k, j], rate, mu, l1[k, j])


@jitable
def step_nesterov(theta: Any, slots: Any, g: Any, rate: Any, mu: Any, l1: Any) -> None:
    """`steps.nesterov` everywhere."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            steps.nesterov(theta, slots, k, j, g[k, j], rate, mu, l1[k, j])


@jitable
def step_accumulated(theta: Any, slots: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """`steps.accumulated` everywhere."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            steps.accumulated(theta, slots, k, j, g[k, j], rate, numbers, l1[k, j])


@jitable
def step_scaled(theta: Any, slots: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """`steps.scaled` everywhere."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            steps.scaled(theta, slots, k, j, g[k, j], rate, numbers, l1[k, j])


@jitable
def step_adam(theta: Any, slots: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """`steps.adam` everywhere."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            steps.adam(theta, slots, k, j, g[k, j], rate, numbers, l1[k, j])


@jitable
def step_amsgrad(theta: Any, slots: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """`steps.amsgrad` everywhere."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            steps.amsgrad(theta, slots, k, j, g[k, j], rate, numbers, l1[k, j])


@jitable
def step_adadelta(theta: Any, slots: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """`steps.adadelta` everywhere."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            steps.adadelta(theta, slots, k, j, g[k, j], rate, numbers, l1[k, j])


@jitable
def average(theta: Any, slots: Any, weight: Any) -> None:
    """`steps.average` everywhere."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            steps.average(theta, slots, k, j, weight)


@jitable
def shrink(theta: Any, factor: Any) -> None:
    """Multiply all coordinates but the intercept, the last: the decoupled decay of AdamW."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1] - 1):
            theta[k, j] *= factor


@jitable
def poison(theta: Any) -> None:
    """Set theta to NaN, which no fit can miss: kernels that threads share cannot raise."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            theta[k, j] = math.nan


@jitable
def apply_momentum(memory: Any, g: Any, rule: Any, rate: Any, l1: Any) -> None:
    """The momentum rules."""
    theta, slots, code = memory.theta, memory.slots, rule.code
    if code == rules.MOMENTUM:
        step_momentum(theta, slots, g, rate, rule.h1, l1)
    elif code == rules.NESTEROV:
        step_nesterov(theta, slots, g, rate, rule.h1, l1)
    elif code == rules.MOMENTUM_TORCH:
        step_accumulated(theta, slots, g, rate, (rule.h1, 0.0, 1.0), l1)
    else:
        step_accumulated(theta, slots, g, rate, (rule.h1, 1.0, rule.h1), l1)


@jitable
def apply_adam(memory: Any, g: Any, rule: Any, rate: Any, l1: Any) -> None:
    """Adam, AMSGrad, Nadam or AdamW: the numbers that depend on the count of updates, then the loop."""
    theta, slots = memory.theta, memory.slots
    t = float(memory.step[0])
    if rule.code == rules.NADAM:
        memory.product[0] *= rules.nadam_momentum(t, rule.h1, rule.h4)
    numbers = steps.adam_numbers(rule, t, memory.product[0])
    if rule.code == rules.AMSGRAD:
        step_amsgrad(theta, slots, g, rate, numbers, l1)
        return
    if rule.code == rules.ADAMW:
        shrink(theta, 1.0 - rate * rule.h4)
    step_adam(theta, slots, g, rate, numbers, l1)


@jitable
def penalty(theta: Any, coordinates: Any, k: Any) -> Any:
    """Elastic-net value of output k of theta (K, d + 1)."""
    total = 0.0
    for j in range(theta.shape[1]):
        total += elastic_net_value(theta[k, j], coordinates.l1[k, j], coordinates.l2[k, j])
    return total


@jitable
def apply_rule(memory: Any, g: Any, rule: Any, rate: Any, l1: Any) -> None:
    """One update with gradient g (K, d + 1), L2 term included; L1 weights l1 (K, d + 1) go to the prox.

    Compiled into every kernel that uses it. As a kernel that others call it would be compiled once, but inlined only
    where it was compiled in the same process and not read from the cache: a quarter slower, and perhaps other bits.
    """
    theta, slots, code = memory.theta, memory.slots, rule.code
    memory.step[0] += 1
    if code == rules.GD or code == rules.AVERAGED or code == rules.SAGA:
        step_plain(theta, g, rate, l1)
        if code == rules.AVERAGED:
            average(theta, slots, steps.average_weight(float(memory.step[0]), rule.h1))
    elif rules.has_velocity(code):
        apply_momentum(memory, g, rule, rate, l1)
    elif code == rules.ADAGRAD:
        step_scaled(theta, slots, g, rate, (1.0, 1.0, rule.h1), l1)
    elif code == rules.RMSPROP:
        step_scaled(theta, slots, g, rate, (rule.h1, 1.0 - rule.h1, rule.h2), l1)
    elif code == rules.ADADELTA:
        step_adadelta(theta, slots, g, rate, (rule.h1, rule.h2), l1)
    elif rules.is_adam(code):
        apply_adam(memory, g, rule, rate, l1)
    else:
        poison(theta)


@cpu_kernel("update")
def update(memory: Any, g: Any, rule: Any, rate: Any, l1: Any) -> None:
    """One update from a gradient computed elsewhere (full-batch rules)."""
    apply_rule(memory, g, rule, rate, l1)
