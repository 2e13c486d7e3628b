"""The update rules by name: what each keeps, where it wants its gradient, what it updates and what it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastgd.reference import formulas
from fastgd.reference.formulas import Hyper, State, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgd.reference._arrays import Floats


def _theta(theta: Floats, state: State, hyper: Hyper) -> Floats:
    return theta


def _ahead(theta: Floats, state: State, hyper: Hyper) -> Floats:
    return theta + hyper["momentum"] * state["v"]


def _mean(theta: Floats, state: State, hyper: Hyper) -> Floats:
    return state["mean"]


class Rule(NamedTuple):
    """One rule.

    Attributes
    ----------
    state : tuple of str
        The arrays that it keeps, all 0 at the start.
    defaults : dict of str to float
        Its hyper-parameters.
    update : callable
        Its formula.
    point : callable
        Where its gradient is taken, from (theta, state, hyper); theta but for "lookahead".
    reported : callable
        What a fit by it returns, from (theta, state, hyper); theta but for "averaged".
    """

    state: tuple[str, ...]
    defaults: dict[str, float]
    update: Callable[..., Step]
    point: Callable[[Floats, State, Hyper], Floats] = _theta
    reported: Callable[[Floats, State, Hyper], Floats] = _theta


_ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}

#: The rules by name.
RULES = {
    "gd": Rule((), {}, formulas.gd),
    "averaged": Rule(("mean",), {"start": 1.0}, formulas.averaged, reported=_mean),
    "momentum": Rule(("v",), {"momentum": 0.9}, formulas.momentum),
    "lookahead": Rule(("v",), {"momentum": 0.9}, formulas.momentum, point=_ahead),
    "nesterov": Rule(("v",), {"momentum": 0.9}, formulas.nesterov),
    "adagrad": Rule(("h",), {"eps": 1e-10}, formulas.adagrad),
    "rmsprop": Rule(("h",), {"decay": 0.9, "eps": 1e-8}, formulas.rmsprop),
    "adam": Rule(("m", "v"), _ADAM, formulas.adam),
    "amsgrad": Rule(("m", "v", "vmax"), _ADAM, formulas.amsgrad),
    "nadam": Rule(("m", "v"), {**_ADAM, "momentum_decay": 4e-3}, formulas.nadam),
    "adadelta": Rule(("h", "d"), {"decay": 0.9, "eps": 1e-6}, formulas.adadelta),
    "adamw": Rule(("m", "v"), {**_ADAM, "weight_decay": 0.01}, formulas.adamw),
    "saga": Rule(("mean",), {}, formulas.saga),
    "momentum_torch": Rule(("v",), {"momentum": 0.9}, formulas.momentum_torch),
    "nesterov_torch": Rule(("v",), {"momentum": 0.9}, formulas.nesterov_torch),
}


def init(rule: str, shape: tuple[int, ...]) -> State:
    """The state of a rule before its first update, for parameters of the given shape."""
    return {name: np.zeros(shape) for name in _rule(rule).state}


def point(rule: str, theta: Floats, state: State, hyper: Hyper) -> Floats:
    """Where the rule wants the gradient of its next update, and where the loss before that update is recorded."""
    return _rule(rule).point(theta, state, _full(rule, hyper))


def reported(rule: str, theta: Floats, state: State, hyper: Hyper) -> Floats:
    """What a fit that ends after the last update returns: the mean for "averaged", theta for all others."""
    return _rule(rule).reported(theta, state, _full(rule, hyper))


def update(
    rule: str,
    theta: Floats,
    g: Floats,
    state: State,
    t: int,
    rate: float,
    hyper: Hyper,
    thresholds: Floats | float,
) -> Step:
    """One update; nothing is changed in place.

    Parameters
    ----------
    rule : str
        A name in `RULES`.
    theta : ndarray of float64
        Parameters; the last column is the intercept, which "adamw" does not decay.
    g : ndarray of float64
        Gradient of everything but L1 at `point`, for "saga" the direction of `loop.saga_direction`.
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
    if t < 1:
        raise ValueError(f"t must count updates from 1, got {t}")
    return _rule(rule).update(theta, g, state, t, rate, _full(rule, hyper), thresholds)


def _rule(name: str) -> Rule:
    if name not in RULES:
        raise ValueError(f"rule must be one of {sorted(RULES)}, got {name!r}")
    return RULES[name]


def _full(rule: str, hyper: Hyper) -> Hyper:
    """All hyper-parameters of a rule: those given, and its defaults for the others."""
    defaults = _rule(rule).defaults
    unknown = sorted(set(hyper) - set(defaults))
    if unknown:
        raise ValueError(f"hyper has {unknown}, which {rule!r} does not know; it knows {sorted(defaults)}")
    return {**defaults, **hyper}
