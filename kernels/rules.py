"""The update rules: the one table from which the loops of the CPU and of the GPU are built.

A rule is a step: what it does with one coordinate, `step(theta, slots, k, j, g, l1, inner, update)`. It moves
theta[k, j] along the gradient g, L2 term included, applies the prox of the L1 weight l1 with the coordinate's own step
size, and updates the memory slots[:, k, j]. inner: whether the coordinate is not the intercept. Formulas and sources
stand with the classes of `fastgd.optimizers`.

The memory of momentum rules is the difference of iterates after the prox: kept before it, a one-dimensional lasso
converges to the wrong point.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels._jit import jitable
from fastgd.kernels.penalties import soft_threshold


class Update(NamedTuple):
    """The numbers of one update, which all coordinates share."""

    rate: float
    #: The hyper-parameters, in the order of the optimizer's recipe.
    h1: float
    h2: float
    h3: float
    h4: float
    #: The values of the rule's `factors`.
    factors: tuple[float, float, float]


@jitable
def update_of(rule, rate, factors):
    """Collect the numbers of an update by a `records.Rule`."""
    return Update(rate, rule.h1, rule.h2, rule.h3, rule.h4, factors)


@jitable
def velocity(v, g, rate, mu):
    """mu v - rate g: the velocity of the heavy ball."""
    return mu * v - rate * g


@jitable
def running_mean(m, g, beta):
    """beta m + (1 - beta) g."""
    return beta * m + (type(m)(1.0) - beta) * g


@jitable
def running_square(h, g, keep, add):
    """keep h + add g^2: the sum of squares with (1, 1), their running mean with (beta, 1 - beta)."""
    return keep * h + add * (g * g)


@jitable
def descend(w, direction, step, l1):
    """prox(w - step direction)."""
    return soft_threshold(w - step * direction, step * l1)


@jitable
def plain(theta, slots, k, j, g, l1, inner, update):
    """Gradient descent."""
    theta[k, j] = descend(theta[k, j], g, update.rate, l1)


class Span(NamedTuple):
    """Updates [first, stop) of a window of updates, during which a coordinate has no gradient of the loss."""

    #: The rate of update t is rates[offset + t]; sums[t, p] is the sum of rate^(p + 1) / (p + 1) before it, and
    #: sums[t, POWERS] the number of updates before it since the rate last changed.
    rates: NDArray[np.float64]
    offset: int
    sums: NDArray[np.float64]
    first: int
    stop: int
    #: Rows of their batches.
    rows: int


#: Powers of rates in the sums of a window.
POWERS = 8
#: Updates that are taken one by one, in less time than the logarithm of their decay.
_FEW = 4
#: Largest x for which six terms of the series of exp suffice.
_SMALL = 5e-3
#: Largest mean of (rate l2)^7 for the series of that logarithm to end after eight terms.
_LEAST_TERM = 1e-16
#: Largest relative error, but for a factor of at most 1/3, of AdaGrad's closed form.
_LEAST_GROWTH = 3e-13


@jitable
def sum_rates(rates, offset, count, sums):
    """Write the sums of `count` updates of a window."""
    for p in range(POWERS + 1):
        sums[0, p] = 0.0
    for t in range(count):
        same = t > 0 and rates[offset + t] == rates[offset + t - 1]
        sums[t + 1, POWERS] = sums[t, POWERS] + 1.0 if same else 1.0
        power = 1.0
        for p in range(POWERS):
            power *= rates[offset + t]
            sums[t + 1, p] = sums[t, p] + power / (p + 1.0)


@jitable
def share_lost(x):
    """1 - exp(-x); by its series for small x, which takes a fifth of the time."""
    if not abs(x) < _SMALL:
        return -math.expm1(-x)
    return x * (1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0 * (1.0 - x / 6.0)))))


@jitable
def decay_of(l2, span):
    """Return -log of the product of 1 - rate l2 over a span, a series in sums of powers; NaN if that is too long."""
    rates = span.sums[span.stop, 0] - span.sums[span.first, 0]
    last = POWERS * l2**7 * (span.sums[span.stop, POWERS - 1] - span.sums[span.first, POWERS - 1])
    if span.stop - span.first <= _FEW or not last <= _LEAST_TERM * rates:
        return math.nan
    log = 0.0
    for p in range(POWERS - 1, -1, -1):
        log = l2 * (span.sums[span.stop, p] - span.sums[span.first, p] + log)
    return log


@jitable
def rest_plain(w, square, l1, l2, eps, span):
    """Gradient descent without a gradient: each update multiplies w by 1 - rate l2 and moves it by rate l1.

    Together they multiply w by the product P and move it by l1 (1 - P) / l2.
    """
    log = decay_of(l2, span)
    if math.isnan(log):
        for t in range(span.first, span.stop):
            rate = span.rates[span.offset + t]
            w = descend(w, l2 * w, rate, l1)
        return w, square
    rates = span.sums[span.stop, 0] - span.sums[span.first, 0]
    lost = share_lost(log)
    return soft_threshold(w - lost * w, l1 * (lost / l2 if l2 > 0.0 else rates)), square


@jitable
def rest_adagrad(w, square, l1, l2, eps, span):
    """AdaGrad without a gradient of the loss: without L2 thresholds of equal size but for the rate.

    With L2 the sum of squares h grows by (l2 w)^2. k updates of one rate multiply w by 1 - x with
    x = rate l2 / (sqrt(h) + eps), were h constant. To second order in y = (l2 w)^2 / h, with G = sum_j (1 - x)^(2 j):

    h grows by the factor 1 + y G + a x y^2 (k^3 - k) / 3, and log w by k log(1 - x) and by the share of x that y takes:
    x / (1 - x) (a y sum_i G_i - b y^2 sum_i i^2),  a = s / 2,  b = s / 8 + s^2 / 4,  s = sqrt(h) / (sqrt(h) + eps).

    What is left out is at most a third of k x (k y)^2 (k x + k y). Where that is too much, updates go one by one.
    """
    root = math.sqrt(square)
    if l2 == 0.0:
        rates = span.sums[span.stop, 0] - span.sums[span.first, 0]
        return soft_threshold(w, l1 * (rates / (root + eps))), square
    k = float(span.stop - span.first)
    x, y = span.rates[span.offset + span.first] * (l2 / (root + eps)), (l2 * w) * (l2 * w) / square
    error = k * x * (k * y) * (k * y) * (k * x + k * y)
    log = decay_of(l2 / (root + eps), span)
    one_rate = span.sums[span.stop, POWERS] >= k
    if l1 > 0.0 or x == 0.0 or not one_rate or math.isnan(log) or not error <= _LEAST_GROWTH:
        for t in range(span.first, span.stop):
            g = l2 * w
            square = running_square(square, g, 1.0, 1.0)
            w = descend(w, g, span.rates[span.offset + t] / (math.sqrt(square) + eps), l1)
        return w, square
    lost, narrow, share = share_lost(log), x * (2.0 - x), root / (root + eps)
    a, b = 0.5 * share, 0.125 * share + 0.25 * share * share
    powers = lost * (2.0 - lost) / narrow
    sums = (k - (1.0 - narrow) * powers) / narrow
    more = x / (1.0 - x) * y * (a * sums - b * y * (k * (k + 1.0) * (2.0 * k + 1.0) / 6.0))
    growth = y * (powers + a * x * y * ((k * k - 1.0) * k / 3.0))
    w -= lost * w
    return w + w * (more + 0.5 * more * more), square + square * growth


@jitable
def averaged(theta, slots, k, j, g, l1, inner, update):
    """Gradient descent, and the mean of its iterates."""
    theta[k, j] = descend(theta[k, j], g, update.rate, l1)
    slots[0, k, j] += update.factors[0] * (theta[k, j] - slots[0, k, j])


@jitable
def average_weight(rule, t, product):
    """Weight of iterate t in the mean of the iterates from the h1-th on."""
    return 1.0 / np.maximum(1.0, t - rule.h1 + 1.0), 0.0, 0.0


@jitable
def momentum(theta, slots, k, j, g, l1, inner, update):
    """The heavy ball."""
    before = theta[k, j]
    after = soft_threshold(before + velocity(slots[0, k, j], g, update.rate, update.h1), update.rate * l1)
    theta[k, j] = after
    slots[0, k, j] = after - before


@jitable
def nesterov(theta, slots, k, j, g, l1, inner, update):
    """Bengio's form. The memory, without prox the velocity mu v - rate g, takes a share of the prox as well."""
    before, v, rate, mu = theta[k, j], slots[0, k, j], update.rate, update.h1
    moved = before + velocity(velocity(v, g, rate, mu), g, rate, mu)
    after = soft_threshold(moved, (1.0 + mu) * rate * l1)
    theta[k, j] = after
    slots[0, k, j] = (mu * v + (after - before)) / (1.0 + mu)


@jitable
def _accumulate(theta, slots, k, j, g, l1, update, weights):
    """Step along own g + mean v, v = mu v + g; weights: own and mean. v takes a share of the prox: 0 at the optimum."""
    (own, mean), rate = weights, update.rate
    v = update.h1 * slots[0, k, j] + g
    step = (own + mean) * rate
    moved = theta[k, j] - rate * (own * g + mean * v)
    theta[k, j] = soft_threshold(moved, step * l1)
    # The change by the prox, divided by its step.
    if l1 > 0.0 and step > 0.0:
        v += min(max(moved / step, -l1), l1)
    slots[0, k, j] = v


@jitable
def momentum_torch(theta, slots, k, j, g, l1, inner, update):
    """PyTorch's momentum."""
    _accumulate(theta, slots, k, j, g, l1, update, (0.0, 1.0))


@jitable
def nesterov_torch(theta, slots, k, j, g, l1, inner, update):
    """PyTorch's Nesterov momentum."""
    _accumulate(theta, slots, k, j, g, l1, update, (1.0, update.h1))


@jitable
def adagrad(theta, slots, k, j, g, l1, inner, update):
    """Steps divided by the root of the sum of squares."""
    square = running_square(slots[0, k, j], g, 1.0, 1.0)
    slots[0, k, j] = square
    theta[k, j] = descend(theta[k, j], g, update.rate / (math.sqrt(square) + update.h1), l1)


@jitable
def rmsprop(theta, slots, k, j, g, l1, inner, update):
    """Steps divided by the root of the mean of squares."""
    square = running_square(slots[0, k, j], g, update.h1, 1.0 - update.h1)
    slots[0, k, j] = square
    theta[k, j] = descend(theta[k, j], g, update.rate / (math.sqrt(square) + update.h2), l1)


@jitable
def adadelta(theta, slots, k, j, g, l1, inner, update):
    """Steps as long as those before relative to the gradients: eps inside both roots."""
    decay, eps = update.h1, update.h2
    h = running_square(slots[0, k, j], g, decay, 1.0 - decay)
    ratio = math.sqrt(slots[1, k, j] + eps) / math.sqrt(h + eps)
    slots[0, k, j] = h
    slots[1, k, j] = running_square(slots[1, k, j], ratio * g, decay, 1.0 - decay)
    theta[k, j] = descend(theta[k, j], g, update.rate * ratio, l1)


@jitable
def _adam_from(before, theta, slots, k, j, g, l1, update):
    """Adam's step from `before`, along own g + mean m; factors: own, mean and the correction of the mean square."""
    own, mean, second = update.factors
    m = running_mean(slots[0, k, j], g, update.h1)
    v = running_square(slots[1, k, j], g, update.h2, 1.0 - update.h2)
    slots[0, k, j], slots[1, k, j] = m, v
    theta[k, j] = descend(before, own * g + mean * m, update.rate / (math.sqrt(v * second) + update.h3), l1)


@jitable
def adam(theta, slots, k, j, g, l1, inner, update):
    """Adam, and Nadam by other factors."""
    _adam_from(theta[k, j], theta, slots, k, j, g, l1, update)


@jitable
def adamw(theta, slots, k, j, g, l1, inner, update):
    """Adam after a decay of all coordinates but the intercept."""
    before = theta[k, j]
    decayed = before * (1.0 - update.rate * update.h4)
    _adam_from(decayed if inner else before, theta, slots, k, j, g, l1, update)


@jitable
def amsgrad(theta, slots, k, j, g, l1, inner, update):
    """Adam divided by the largest mean of squares so far."""
    _, mean, second = update.factors
    m = running_mean(slots[0, k, j], g, update.h1)
    v = running_square(slots[1, k, j], g, update.h2, 1.0 - update.h2)
    # Written so that a NaN passes through.
    top = slots[2, k, j] if slots[2, k, j] > v else v
    slots[0, k, j], slots[1, k, j], slots[2, k, j] = m, v, top
    theta[k, j] = descend(theta[k, j], mean * m, update.rate / (math.sqrt(top * second) + update.h3), l1)


@jitable
def bias_corrections(rule, t, product):
    """Adam's factors at update t."""
    return 0.0, 1.0 / (1.0 - rule.h1**t), 1.0 / (1.0 - rule.h2**t)


@jitable
def nadam_momentum(rule, t):
    """beta1 (1 - 0.96^(t decay) / 2): Nadam's momentum of update t."""
    return rule.h1 * (1.0 - 0.5 * 0.96 ** (t * rule.h4))


@jitable
def nadam_corrections(rule, t, product):
    """Nadam's factors at update t."""
    now, following = nadam_momentum(rule, t), nadam_momentum(rule, t + 1.0)
    second = 1.0 / (1.0 - rule.h2**t)
    return (1.0 - now) / (1.0 - product), following / (1.0 - product * following), second


@jitable
def no_factors(rule, t, product):
    """The factors of a rule that has none."""
    return 0.0, 0.0, 0.0


@jitable
def no_momentum(rule, t):
    """1, which leaves the product of momenta as it is."""
    return 1.0


@jitable
def reduce_variance(slots, k, j, change, share):
    """Return the mean gradient of SAGA's table, and add its change over a batch of that share of the rows."""
    mean = slots[0, k, j]
    slots[0, k, j] = mean + share * change
    return mean


class Factors(NamedTuple):
    """How the factors of an update are computed, three at most."""

    #: values(rule, t, product) -> the factors of update t = 1, 2, ...; product: of the momenta up to that of t.
    values: Callable[..., tuple[float, float, float]] = no_factors
    #: momentum(rule, t) -> the momentum of update t that enters the product.
    momentum: Callable[..., float] = no_momentum


class UpdateRule(NamedTuple):
    """How kernels run a rule: its step, its memory slots for a coordinate and its factors."""

    step: Callable[..., None]
    slots: int = 0
    factors: Factors = Factors()
    #: rest(w, slot, l1, l2, h1, span) -> the coordinate and its slot after updates without a gradient of the loss, in
    #: closed form. None if the rule has no such form.
    rest: Callable[..., tuple[float, float]] | None = None
    #: Largest L2 weight times rows of a batch for which nearly all steps are in closed form, if columns are of order 1.
    #: Above, `rest` takes most steps one by one, in more time than steps in all columns.
    rest_l2: float = math.inf


_ADAM = Factors(bias_corrections)

#: The rules by name. "lookahead" is momentum with its gradient taken elsewhere, "saga" descends along another gradient.
RULES = {
    "gd": UpdateRule(plain, rest=rest_plain),
    "averaged": UpdateRule(averaged, 1, Factors(average_weight)),
    "momentum": UpdateRule(momentum, 1),
    "lookahead": UpdateRule(momentum, 1),
    "nesterov": UpdateRule(nesterov, 1),
    "adagrad": UpdateRule(adagrad, 1, rest=rest_adagrad, rest_l2=1e-3),
    "rmsprop": UpdateRule(rmsprop, 1),
    "adam": UpdateRule(adam, 2, _ADAM),
    "amsgrad": UpdateRule(amsgrad, 3, _ADAM),
    "nadam": UpdateRule(adam, 2, Factors(nadam_corrections, nadam_momentum)),
    "adadelta": UpdateRule(adadelta, 2),
    "adamw": UpdateRule(adamw, 2, _ADAM),
    "saga": UpdateRule(plain, 1),
    "momentum_torch": UpdateRule(momentum_torch, 1),
    "nesterov_torch": UpdateRule(nesterov_torch, 1),
}

#: Memory slots of a coordinate at most.
MOST_SLOTS = max(rule.slots for rule in RULES.values())
#: What is compiled of the rules, once each; kernels choose by the places in these lists.
STEPS = list(dict.fromkeys(rule.step for rule in RULES.values()))
FACTORS = list(dict.fromkeys(rule.factors for rule in RULES.values()))


def find_rule(name: str) -> UpdateRule:
    """Return a rule by its name; raise a ValueError for an unknown one."""
    if name not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {name!r}")
    return RULES[name]
