"""What an update rule does with one coordinate: theta[k, j] and its memory slots[:, k, j], in place.

The prox's step is that of the coordinate itself. The memory of momentum rules is the difference of iterates after the
prox: kept before it, a one-dimensional lasso converges to the wrong point.
"""

import math
from typing import Any

from fastgd.kernels import rules
from fastgd.kernels._jit import jitable
from fastgd.kernels.penalties import soft_threshold


@jitable
def plain(theta: Any, k: Any, j: Any, g: Any, rate: Any, l1: Any) -> None:
    """prox(theta - rate g)."""
    theta[k, j] = soft_threshold(rules.gd(theta[k, j], g, rate), rate * l1)


@jitable
def momentum(theta: Any, slots: Any, k: Any, j: Any, g: Any, rate: Any, mu: Any, l1: Any) -> None:
    """The heavy ball."""
    before = theta[k, j]
    after = soft_threshold(before + rules.velocity(slots[0, k, j], g, rate, mu), rate * l1)
    theta[k, j] = after
    slots[0, k, j] = after - before


@jitable
def nesterov(theta: Any, slots: Any, k: Any, j: Any, g: Any, rate: Any, mu: Any, l1: Any) -> None:
    """Bengio's form. The memory, without prox the velocity mu v - rate g, takes a share of the prox, too."""
    before, v = theta[k, j], slots[0, k, j]
    moved = before + rules.velocity(rules.velocity(v, g, rate, mu), g, rate, mu)
    after = soft_threshold(moved, (1.0 + mu) * rate * l1)
    theta[k, j] = after
    slots[0, k, j] = (mu * v + (after - before)) / (1.0 + mu)


@jitable
def accumulated(theta: Any, slots: Any, k: Any, j: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """PyTorch's momentum along own g + mean v, v the sum of gradients mu v + g; numbers: mu, own, mean.

    The memory takes a share of the prox, so that it is 0 at the optimum.
    """
    mu, own, mean = numbers
    v = mu * slots[0, k, j] + g
    step = (own + mean) * rate
    moved = theta[k, j] - rate * (own * g + mean * v)
    theta[k, j] = soft_threshold(moved, step * l1)
    # What the prox took, divided by its step.
    if l1 > 0.0 and step > 0.0:
        v += min(max(moved / step, -l1), l1)
    slots[0, k, j] = v


@jitable
def scaled(theta: Any, slots: Any, k: Any, j: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """AdaGrad (keep = add = 1) and RMSProp; numbers: keep, add, eps."""
    keep, add, eps = numbers
    square = rules.running_square(slots[0, k, j], g, keep, add)
    slots[0, k, j] = square
    step = rate / (math.sqrt(square) + eps)
    theta[k, j] = soft_threshold(rules.gd(theta[k, j], g, step), step * l1)


@jitable
def adam(theta: Any, slots: Any, k: Any, j: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """Adam and its kin: along own g + mean m, m the running mean; numbers: beta1, beta2, eps, own, mean, second."""
    beta1, beta2, eps, own, mean, second = numbers
    m = rules.running_mean(slots[0, k, j], g, beta1)
    v = rules.running_square(slots[1, k, j], g, beta2, 1.0 - beta2)
    slots[0, k, j], slots[1, k, j] = m, v
    step = rate / (math.sqrt(v * second) + eps)
    theta[k, j] = soft_threshold(theta[k, j] - step * (own * g + mean * m), step * l1)


@jitable
def amsgrad(theta: Any, slots: Any, k: Any, j: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """Adam divided by the largest mean of squares so far."""
    beta1, beta2, eps, _, mean, second = numbers
    m = rules.running_mean(slots[0, k, j], g, beta1)
    v = rules.running_square(slots[1, k, j], g, beta2, 1.0 - beta2)
    # Written so that a NaN passes through.
    top = slots[2, k, j] if slots[2, k, j] > v else v
    slots[0, k, j], slots[1, k, j], slots[2, k, j] = m, v, top
    step = rate / (math.sqrt(top * second) + eps)
    theta[k, j] = soft_threshold(theta[k, j] - step * (mean * m), step * l1)


@jitable
def adadelta(theta: Any, slots: Any, k: Any, j: Any, g: Any, rate: Any, numbers: Any, l1: Any) -> None:
    """Steps as long as those before relative to the gradients: eps inside both roots; numbers: decay, eps."""
    decay, eps = numbers
    h = rules.running_square(slots[0, k, j], g, decay, 1.0 - decay)
    ratio = math.sqrt(slots[1, k, j] + eps) / math.sqrt(h + eps)
    slots[0, k, j] = h
    slots[1, k, j] = rules.running_square(slots[1, k, j], ratio * g, decay, 1.0 - decay)
    theta[k, j] = soft_threshold(rules.gd(theta[k, j], g, rate * ratio), rate * ratio * l1)


@jitable
def average(theta: Any, slots: Any, k: Any, j: Any, weight: Any) -> None:
    """Move the mean of iterates towards theta by the given share."""
    slots[0, k, j] += weight * (theta[k, j] - slots[0, k, j])


@jitable
def average_weight(t: Any, after: Any) -> Any:
    """The share of iterate t in the mean of those past the first `after`."""
    return 1.0 / max(1.0, t - after + 1.0)


@jitable
def adam_numbers(rule: Any, t: Any, product: Any) -> Any:
    """(beta1, beta2, eps, own, mean, second) of update t; product: of Nadam's momenta up to that of t, which counts."""
    second = 1.0 / (1.0 - rule.h2**t)
    own, mean = 0.0, 1.0 / (1.0 - rule.h1**t)
    if rule.code == rules.NADAM:
        now, following = rules.nadam_momentum(t, rule.h1, rule.h4), rules.nadam_momentum(t + 1.0, rule.h1, rule.h4)
        own, mean = (1.0 - now) / (1.0 - product), following / (1.0 - product * following)
    return rule.h1, rule.h2, rule.h3, own, mean, second
