"""Rule and prox over all coordinates: a loop for each rule, chosen outside of the loops."""

import functools
import math

from fastgd.kernels._jit import cpu_kernel, jitable, unsigned
from fastgd.kernels.penalties import elastic_net_value
from fastgd.kernels.rules import FACTORS, STEPS, no_momentum, update_of


@jitable
def _poison(theta, slots, g, l1, step, update, start, stop):
    """Set theta to NaN, which no fit can miss: kernels that threads share cannot raise."""
    for k in range(theta.shape[0]):
        for j in range(start, stop):
            theta[k, j] = math.nan


def _make_loop(other, code):
    """Factory of `run(theta, slots, g, l1, code, update, start, stop)`: the step with this code, `other` for others.

    For the columns [start, stop) of theta; the first column of g is that of `start`.
    """
    step = STEPS[code]

    @jitable
    def run(theta, slots, g, l1, found, update, start, stop):
        if found != code:
            other(theta, slots, g, l1, found, update, start, stop)
            return
        last = theta.shape[1] - 1
        for k in range(theta.shape[0]):
            for q in range(stop - start):
                j = start + q
                step(theta, slots, k, unsigned(j), g[k, q], l1[k, unsigned(j)], j < last, update)

    return run


def _make_factors(other, code):
    """Factory of `factors(rule, memory)`: the factors with this code; `other` for others."""
    values = FACTORS[code].values

    @jitable
    def factors(rule, memory):
        if rule.factors != code:
            return other(rule, memory)
        return values(rule, float(memory.step[0]), memory.product[0])

    return factors


def _make_advance(other, code):
    """Factory of `advance(rule, memory)`: the update's momentum into the product; `other` for other codes."""
    momentum = FACTORS[code].momentum

    @jitable
    def advance(rule, memory):
        if rule.factors == code:
            memory.product[0] *= momentum(rule, float(memory.step[0]))
        else:
            other(rule, memory)

    return advance


@jitable
def _no_factors(rule, memory):
    return math.nan, math.nan, math.nan


@jitable
def _no_momentum(rule, memory):
    pass


run_steps = functools.reduce(_make_loop, range(len(STEPS)), _poison)
_factors = functools.reduce(_make_factors, range(len(FACTORS)), _no_factors)
_advance = functools.reduce(
    _make_advance, [code for code, its in enumerate(FACTORS) if its.momentum is not no_momentum], _no_momentum
)


@jitable
def penalty(theta, coordinates, k):
    """Elastic-net value of output k of theta (K, d + 1)."""
    total = 0.0
    for j in range(theta.shape[1]):
        total += elastic_net_value(theta[k, j], coordinates.l1[k, j], coordinates.l2[k, j])
    return total


@jitable
def count_update(memory, rule):
    """Count an update that begins."""
    memory.step[0] += 1
    _advance(rule, memory)


@jitable
def numbers_of(memory, rule, rate):
    """Return the numbers of the update that has begun."""
    return update_of(rule, rate, _factors(rule, memory))


@jitable
def apply_rule(memory, g, rule, rate, l1):
    """One update with gradient g (K, d + 1), L2 term included; L1 weights l1 (K, d + 1) go to the prox.

    Compiled into every kernel that uses it. As a kernel that others call it would be compiled once, but inlined only
    where it was compiled in the same process and not read from the cache: a quarter slower, and perhaps other bits.
    """
    count_update(memory, rule)
    update = numbers_of(memory, rule, rate)
    run_steps(memory.theta, memory.slots, g, l1, rule.step, update, 0, memory.theta.shape[1])


@cpu_kernel("update")
def update(memory, g, rule, rate, l1):
    """One update from a gradient computed elsewhere (full-batch rules)."""
    apply_rule(memory, g, rule, rate, l1)
