"""The rules again, each from the whole past: no state, sums over all gradients and iterates so far, prox by cases."""

import math
from typing import NamedTuple

import numpy as np

MU, BETA1, BETA2 = 0.9, 0.9, 0.999


class Past(NamedTuple):
    """Iterates from the start on, and the gradients that the rule was given at its point: as many as there are."""

    thetas: list[np.ndarray]
    gs: list[np.ndarray]


def shrink(v, a):
    return np.where(v > a, v - a, np.where(v < -a, v + a, 0.0))


def fading(values, keep):
    """sum over ages k = 0, 1, ... of (1 - keep) keep^k times the value of that age; 0 of none."""
    return sum(((1 - keep) * keep**k * value for k, value in enumerate(reversed(values))), start=0.0)


def last_difference(thetas):
    return thetas[-1] - thetas[-2] if len(thetas) > 1 else 0.0 * thetas[0]


def slow_point(rule, thetas):
    return thetas[-1] + MU * last_difference(thetas) if rule == "lookahead" else thetas[-1]


def slow_reported(rule, thetas):
    return np.mean(thetas[1:], axis=0) if rule == "averaged" else thetas[-1]


def gd(past, rate):
    return past.thetas[-1] - rate * past.gs[-1], rate


def momentum(past, rate):
    return past.thetas[-1] + MU * last_difference(past.thetas) - rate * past.gs[-1], rate


def nesterov(past, rate):
    """v' = (mu v + theta' - theta) / (1 + mu): the rule's v with p eliminated."""
    steps = np.diff(past.thetas, axis=0)
    v = sum((MU / (1 + MU)) ** k * step / (1 + MU) for k, step in enumerate(steps[::-1]))
    return past.thetas[-1] + MU**2 * v - (1 + MU) * rate * past.gs[-1], (1 + MU) * rate


def adagrad(past, rate):
    step = rate / (np.sqrt(sum(g**2 for g in past.gs)) + 1e-10)
    return past.thetas[-1] - step * past.gs[-1], step


def rmsprop(past, rate):
    step = rate / (np.sqrt(fading([g**2 for g in past.gs], 0.9)) + 1e-8)
    return past.thetas[-1] - step * past.gs[-1], step


def second_moment(gs):
    return fading([g**2 for g in gs], BETA2)


def adam(past, rate):
    t = len(past.gs)
    step = rate / (np.sqrt(second_moment(past.gs) / (1 - BETA2**t)) + 1e-8)
    return past.thetas[-1] - step * fading(past.gs, BETA1) / (1 - BETA1**t), step


def amsgrad(past, rate):
    t = len(past.gs)
    largest = np.max([second_moment(past.gs[:k]) for k in range(1, t + 1)], axis=0)
    step = rate / (np.sqrt(largest / (1 - BETA2**t)) + 1e-8)
    return past.thetas[-1] - step * fading(past.gs, BETA1) / (1 - BETA1**t), step


def nadam(past, rate):
    t = len(past.gs)
    mu = [BETA1 * (1 - 0.96 ** (0.004 * i) / 2) for i in range(1, t + 2)]
    mean = (1 - mu[-2]) / (1 - math.prod(mu[:-1])) * past.gs[-1] + mu[-1] / (1 - math.prod(mu)) * fading(past.gs, BETA1)
    step = rate / (np.sqrt(second_moment(past.gs) / (1 - BETA2**t)) + 1e-8)
    return past.thetas[-1] - step * mean, step


def adadelta(past, rate):
    deltas = []
    for k, g in enumerate(past.gs, start=1):
        squares = fading([seen**2 for seen in past.gs[:k]], 0.9)
        ratio = np.sqrt((fading([delta**2 for delta in deltas], 0.9) + 1e-6) / (squares + 1e-6))
        deltas.append(ratio * g)
    return past.thetas[-1] - rate * deltas[-1], rate * ratio


def adamw(past, rate):
    decayed = (1 - 0.01 * rate) * past.thetas[-1]
    decayed[:, -1] = past.thetas[-1][:, -1]
    return adam(Past([decayed], past.gs), rate)


SLOW_RULES = {
    "gd": gd,
    "averaged": gd,
    "momentum": momentum,
    "lookahead": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "amsgrad": amsgrad,
    "nadam": nadam,
    "adadelta": adadelta,
    "adamw": adamw,
}


def slow_theta(rule, past, rate, l1):
    """The iterate after the last gradient."""
    moved, step = SLOW_RULES[rule](past, rate)
    return shrink(moved, step * l1)
