"""Rule and prox over all coordinates in one elementwise loop; the rule is switched outside of it."""

from typing import Any

import numpy as np

from fastgd.kernels import rules
from fastgd.kernels._jit import cpu_kernel, jitable
from fastgd.kernels.penalties import elastic_net_value, soft_threshold
from fastgd.kernels.rules import ADAM, GD, MOMENTUM


@jitable
def apply_rule(state: Any, g: Any, rule: Any, rate: Any, l1: Any) -> None:
    """One update of `state` with gradient g (K, d + 1), L2 term included; L1 weights l1 (K, d + 1) go to the prox.

    The prox's step is that of the coordinate itself. Momentum's memory is the difference of iterates after the prox:
    kept before it, a one-dimensional lasso converges to the wrong point.
    """
    theta, slots = state.theta, state.slots
    outputs, size = theta.shape
    state.step[0] += 1
    if rule.code == GD:
        for k in range(outputs):
            for j in range(size):
                theta[k, j] = soft_threshold(rules.gd(theta[k, j], g[k, j], rate), rate * l1[k, j])
    elif rule.code == MOMENTUM:
        for k in range(outputs):
            for j in range(size):
                before = theta[k, j]
                after = soft_threshold(rules.momentum(before, slots[0, k, j], g[k, j], rate, rule.h1), rate * l1[k, j])
                theta[k, j] = after
                slots[0, k, j] = after - before
    elif rule.code == ADAM:
        t = float(state.step[0])
        first = 1.0 / (1.0 - rule.h1**t)
        second = 1.0 / (1.0 - rule.h2**t)
        for k in range(outputs):
            for j in range(size):
                m = rules.adam_first(slots[0, k, j], g[k, j], rule.h1)
                v = rules.adam_second(slots[1, k, j], g[k, j], rule.h2)
                slots[0, k, j], slots[1, k, j] = m, v
                step = rate / (np.sqrt(v * second) + rule.h3)
                theta[k, j] = soft_threshold(theta[k, j] - step * (m * first), step * l1[k, j])


@jitable
def penalty(theta: Any, coordinates: Any, k: Any) -> Any:
    """Elastic-net value of output k of theta (K, d + 1)."""
    total = 0.0
    for j in range(theta.shape[1]):
        total += elastic_net_value(theta[k, j], coordinates.l1[k, j], coordinates.l2[k, j])
    return total


@cpu_kernel("update")
def update(state: Any, g: Any, rule: Any, l1: Any) -> None:
    """One update from a gradient computed elsewhere (full-batch rules); the rate is rule.rates[0]."""
    apply_rule(state, g, rule, rule.rates[0], l1)
