"""The update rules: one function each, on arrays of any one shape, and the table that names them.

Update t = 1, 2, ... with rate eta takes theta and g, the gradient of everything but L1, to theta' and a new state. L1
is in the prox only, each coordinate with the step that the rule gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastgd.reference.penalties import prox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastgd.reference._arrays import Floats

State = dict[str, "Floats"]


class Step(NamedTuple):
    """What one update returns."""

    theta: Floats
    state: State


class Rule(NamedTuple):
    """One rule: the arrays it keeps, all 0 at the start, its hyper-parameters' defaults, and its update."""

    state: tuple[str, ...]
    defaults: dict[str, float]
    update: Callable[..., Step]


def gd(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Mapping[str, float], l1: Floats) -> Step:
    """theta' = prox(theta - eta g) with step eta: proximal gradient descent (Parikh and Boyd 2014, section 4.2)."""
    return Step(prox(theta - rate * g, rate, l1), {})


def momentum(
    theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Mapping[str, float], l1: Floats
) -> Step:
    """theta' = prox(theta + mu V - eta g) with step eta, then V' = theta' - theta: the heavy ball (Polyak 1964).

    V is the difference of the iterates after the prox. With the V of before the prox, one-dimensional lasso converges
    to a point that is not the optimum.
    """
    moved = prox(theta + hyper["momentum"] * state["v"] - rate * g, rate, l1)
    return Step(moved, {"v": moved - theta})


def adam(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Mapping[str, float], l1: Floats) -> Step:
    """Adam (Kingma and Ba 2015, algorithm 1).

    m' = beta1 m + (1 - beta1) g;  v' = beta2 v + (1 - beta2) g^2;  step = eta / (sqrt(v' / (1 - beta2^t)) + eps);
    theta' = prox(theta - step m' / (1 - beta1^t)) with that step of each coordinate.
    """
    beta1, beta2 = hyper["beta1"], hyper["beta2"]
    m = beta1 * state["m"] + (1 - beta1) * g
    v = beta2 * state["v"] + (1 - beta2) * g**2
    step = rate / (np.sqrt(v / (1 - beta2**t)) + hyper["eps"])
    return Step(prox(theta - step * m / (1 - beta1**t), step, l1), {"m": m, "v": v})


#: The rules by name.
RULES = {
    "gd": Rule((), {}, gd),
    "momentum": Rule(("v",), {"momentum": 0.9}, momentum),
    "adam": Rule(("m", "v"), {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}, adam),
}


def init(rule: str, shape: tuple[int, ...]) -> State:
    """The state of a rule before its first update, for parameters of the given shape."""
    return {name: np.zeros(shape) for name in _rule(rule).state}


def update(
    rule: str,
    theta: Floats,
    g: Floats,
    state: State,
    t: int,
    rate: float,
    hyper: Mapping[str, float],
    thresholds: Floats | float,
) -> Step:
    """One update; nothing is changed in place.

    Parameters
    ----------
    rule : str
        A name in `RULES`.
    theta, g : ndarray of float64
        Parameters, and the gradient there of everything but L1.
    state : dict of ndarray
        From `init` or from the update before.
    t : int
        Number of this update, counted from 1.
    rate : float
        Learning rate eta of this update.
    hyper : mapping of str to float
        Hyper-parameters that differ from the rule's defaults.
    thresholds : ndarray of float64 or float
        L1 weight of each entry of theta, 0 where there is none (the intercept).

    Returns
    -------
    Step
        The new theta and state.

    Raises
    ------
    ValueError
        Where the rule or a hyper-parameter is unknown, or t is below 1.
    """
    found = _rule(rule)
    unknown = sorted(set(hyper) - set(found.defaults))
    if unknown:
        raise ValueError(f"hyper has {unknown}, which {rule!r} does not know; it knows {sorted(found.defaults)}")
    if t < 1:
        raise ValueError(f"t must count updates from 1, got {t}")
    return found.update(theta, g, state, t, rate, {**found.defaults, **hyper}, thresholds)


def _rule(name: str) -> Rule:
    if name not in RULES:
        raise ValueError(f"rule must be one of {sorted(RULES)}, got {name!r}")
    return RULES[name]
