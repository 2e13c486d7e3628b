"""Rule and prox over all coordinates, a loop for each pattern of memory; the rule is switched outside of the loops.

The prox's step is that of the coordinate itself. The memory of momentum rules is the difference of iterates after the
prox: kept before it, a one-dimensional lasso converges to the wrong point.
"""

from typing import Any

import numpy as np

from fastgd.kernels import rules
from fastgd.kernels._jit import cpu_kernel, jitable
from fastgd.kernels.penalties import elastic_net_value, soft_threshold


@jitable
def step_plain(theta: Any, g: Any, rate: Any, l1: Any) -> None:
    """prox(theta - rate g)."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            theta[k, j] = soft_threshold(rules.gd(theta[k, j], g[k, j], rate), rate * l1[k, j])


@jitable
def step_momentum(theta: Any, slots: Any, g: Any, rate: Any, mu: Any, l1: Any) -> None:
    """The heavy ball."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            before = theta[k, j]
            after = soft_threshold(before + rules.velocity(slots[0, k, j], g[k, j], rate, mu), rate * l1[k, j])
            theta[k, j] = after
            slots[0, k, j] = after - before


@jitable
def step_nesterov(theta: Any, slots: Any, g: Any, rate: Any, mu: Any, l1: Any) -> None:
    """Bengio's form. The memory, without prox the velocity mu v - rate g, takes a share of the prox, too."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            before, v = theta[k, j], slots[0, k, j]
            moved = before + rules.velocity(rules.velocity(v, g[k, j], rate, mu), g[k, j], rate, mu)
            after = soft_threshold(moved, (1.0 + mu) * rate * l1[k, j])
            theta[k, j] = after
            slots[0, k, j] = (mu * v + (after - before)) / (1.0 + mu)


@jitable
def step_scaled(theta: Any, slots: Any, g: Any, rate: Any, keep: Any, add: Any, eps: Any, l1: Any) -> None:
    """AdaGrad (keep = add = 1) and RMSProp."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            square = rules.running_square(slots[0, k, j], g[k, j], keep, add)
            slots[0, k, j] = square
            step = rate / (np.sqrt(square) + eps)
            theta[k, j] = soft_threshold(rules.gd(theta[k, j], g[k, j], step), step * l1[k, j])


@jitable
def step_adam(theta: Any, slots: Any, g: Any, rate: Any, rule: Any, factors: Any, l1: Any) -> None:
    """Adam and its kin: along own g + mean m, m the running mean; `second` corrects the bias of the squares."""
    own, mean, second = factors
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            m = rules.running_mean(slots[0, k, j], g[k, j], rule.h1)
            v = rules.running_square(slots[1, k, j], g[k, j], rule.h2, 1.0 - rule.h2)
            slots[0, k, j], slots[1, k, j] = m, v
            step = rate / (np.sqrt(v * second) + rule.h3)
            theta[k, j] = soft_threshold(theta[k, j] - step * (own * g[k, j] + mean * m), step * l1[k, j])


@jitable
def step_amsgrad(theta: Any, slots: Any, g: Any, rate: Any, rule: Any, mean: Any, second: Any, l1: Any) -> None:
    """Adam divided by the largest mean of squares so far."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            m = rules.running_mean(slots[0, k, j], g[k, j], rule.h1)
            v = rules.running_square(slots[1, k, j], g[k, j], rule.h2, 1.0 - rule.h2)
            # Written so that a NaN passes through.
            top = slots[2, k, j] if slots[2, k, j] > v else v
            slots[0, k, j], slots[1, k, j], slots[2, k, j] = m, v, top
            step = rate / (np.sqrt(top * second) + rule.h3)
            theta[k, j] = soft_threshold(theta[k, j] - step * (mean * m), step * l1[k, j])


@jitable
def step_adadelta(theta: Any, slots: Any, g: Any, rate: Any, rule: Any, l1: Any) -> None:
    """Steps as long as those before relative to the gradients: eps inside both roots."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            h = rules.running_square(slots[0, k, j], g[k, j], rule.h1, 1.0 - rule.h1)
            ratio = np.sqrt(slots[1, k, j] + rule.h2) / np.sqrt(h + rule.h2)
            slots[0, k, j] = h
            slots[1, k, j] = rules.running_square(slots[1, k, j], ratio * g[k, j], rule.h1, 1.0 - rule.h1)
            theta[k, j] = soft_threshold(rules.gd(theta[k, j], g[k, j], rate * ratio), rate * ratio * l1[k, j])


@jitable
def average(theta: Any, slots: Any, weight: Any) -> None:
    """Move the mean of iterates towards theta by the given share."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            slots[0, k, j] += weight * (theta[k, j] - slots[0, k, j])


@jitable
def shrink(theta: Any, factor: Any) -> None:
    """Multiply all coordinates but the intercept, the last: the decoupled decay of AdamW."""
    for k in range(theta.shape[0]):
        for j in range(theta.shape[1] - 1):
            theta[k, j] *= factor


@jitable
def apply_adam(memory: Any, g: Any, rule: Any, rate: Any, l1: Any) -> None:
    """Adam, AMSGrad, Nadam or AdamW: the numbers that depend on the count of updates, then the loop."""
    theta, slots = memory.theta, memory.slots
    t = float(memory.step[0])
    second = 1.0 / (1.0 - rule.h2**t)
    own, mean = 0.0, 1.0 / (1.0 - rule.h1**t)
    if rule.code == rules.AMSGRAD:
        step_amsgrad(theta, slots, g, rate, rule, mean, second, l1)
        return
    if rule.code == rules.NADAM:
        now, following = rules.nadam_momentum(t, rule.h1, rule.h4), rules.nadam_momentum(t + 1.0, rule.h1, rule.h4)
        product = memory.product[0] * now
        memory.product[0] = product
        own, mean = (1.0 - now) / (1.0 - product), following / (1.0 - product * following)
    if rule.code == rules.ADAMW:
        shrink(theta, 1.0 - rate * rule.h4)
    step_adam(theta, slots, g, rate, rule, (own, mean, second), l1)


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
            average(theta, slots, 1.0 / max(1.0, float(memory.step[0]) - rule.h1 + 1.0))
    elif code == rules.MOMENTUM:
        step_momentum(theta, slots, g, rate, rule.h1, l1)
    elif code == rules.NESTEROV:
        step_nesterov(theta, slots, g, rate, rule.h1, l1)
    elif code == rules.ADAGRAD:
        step_scaled(theta, slots, g, rate, 1.0, 1.0, rule.h1, l1)
    elif code == rules.RMSPROP:
        step_scaled(theta, slots, g, rate, rule.h1, 1.0 - rule.h1, rule.h2, l1)
    elif code == rules.ADADELTA:
        step_adadelta(theta, slots, g, rate, rule, l1)
    else:
        apply_adam(memory, g, rule, rate, l1)


@cpu_kernel("update")
def update(memory: Any, g: Any, rule: Any, rate: Any, l1: Any) -> None:
    """One update from a gradient computed elsewhere (full-batch rules)."""
    apply_rule(memory, g, rule, rate, l1)
