"""The update rules: formulas, and a table of the arrays that each keeps and the points that it uses.

Update t = 1, 2, ... with rate eta takes theta and g to theta' and a new state. g is the gradient of everything but L1,
taken at the rule's `point`: theta, unless the table says otherwise. L1 is in the prox only, each coordinate with the
step that the rule gives it. Formulas work on arrays of any one shape and take the arguments of `update`, with all
hyper-parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from fastgd.reference.losses import Floats
from fastgd.reference.objective import prox

State = dict[str, Floats]
Hyper = Mapping[str, float]


class Step(NamedTuple):
    """The parameters and the state after an update."""

    theta: Floats
    state: State


def gd(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """theta' = prox(theta - eta g) with step eta: proximal gradient descent (Parikh and Boyd 2014, section 4.2)."""
    return Step(prox(theta - rate * g, rate, l1), {})


def averaged(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """As gd, and the mean of theta' from update `start` on (Polyak and Juditsky 1992); until then the last theta'."""
    moved = prox(theta - rate * g, rate, l1)
    count = max(1.0, t - hyper["start"] + 1)
    return Step(moved, {"mean": state["mean"] + (moved - state["mean"]) / count})


def momentum(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """theta' = prox(theta + mu V - eta g) with step eta, then V' = theta' - theta: the heavy ball (Polyak 1964).

    V is the difference of the iterates after the prox. With the V of before the prox, one-dimensional lasso converges
    to a point that is not the optimum.

    With g taken at theta + mu V this is the accelerated gradient of Nesterov (1983) as Sutskever et al. (2013) write
    it: the rule "lookahead".
    """
    moved = prox(theta + hyper["momentum"] * state["v"] - rate * g, rate, l1)
    return Step(moved, {"v": moved - theta})


def nesterov(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """Nesterov's gradient with theta in the place of "lookahead"'s theta + mu V (Bengio et al. 2013).

    V = mu v - eta g;  p = theta + mu V - eta g;  theta' = prox(p) with step (1 + mu) eta;
    v' = V + (theta' - p) / (1 + mu).

    The prox's share in v' makes v = 0 at the optimum: there v' = mu v / (1 + mu).
    """
    mu = hyper["momentum"]
    velocity = mu * state["v"] - rate * g
    point = theta + mu * velocity - rate * g
    moved = prox(point, (1 + mu) * rate, l1)
    return Step(moved, {"v": velocity + (moved - point) / (1 + mu)})


def momentum_torch(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """V' = mu V + g;  theta' = prox(theta - eta V') with step eta, as torch.optim.SGD without an L1 term.

    V then takes the change by the prox: V' + (theta - eta V' - theta') / eta, which is 0 at the optimum. That is the
    point before the prox divided by eta, clipped to [-l1, l1].
    """
    v = hyper["momentum"] * state["v"] + g
    point = theta - rate * v
    return Step(prox(point, rate, l1), {"v": v + np.clip(point / rate, -l1, l1)})


def nesterov_torch(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """V' = mu V + g;  p = theta - eta (g + mu V');  theta' = prox(p) with step (1 + mu) eta.

    As torch.optim.SGD with nesterov=True where there is no L1 term; V takes (p - theta') / ((1 + mu) eta).
    """
    mu = hyper["momentum"]
    v = mu * state["v"] + g
    point, step = theta - rate * (g + mu * v), (1 + mu) * rate
    return Step(prox(point, step, l1), {"v": v + np.clip(point / step, -l1, l1)})


def adagrad(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """h' = h + g^2;  step = eta / (sqrt(h') + eps);  theta' = prox(theta - step g) (Duchi et al. 2011)."""
    h = state["h"] + g**2
    step = rate / (np.sqrt(h) + hyper["eps"])
    return Step(prox(theta - step * g, step, l1), {"h": h})


def rmsprop(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """AdaGrad with h' = decay h + (1 - decay) g^2 (Tieleman and Hinton 2012, lecture 6.5)."""
    h = hyper["decay"] * state["h"] + (1 - hyper["decay"]) * g**2
    step = rate / (np.sqrt(h) + hyper["eps"])
    return Step(prox(theta - step * g, step, l1), {"h": h})


def _moments(g: Floats, state: State, hyper: Hyper) -> tuple[Floats, Floats]:
    """m' = beta1 m + (1 - beta1) g and v' = beta2 v + (1 - beta2) g^2."""
    beta1, beta2 = hyper["beta1"], hyper["beta2"]
    return beta1 * state["m"] + (1 - beta1) * g, beta2 * state["v"] + (1 - beta2) * g**2


def adam(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """Adam (Kingma and Ba 2015, algorithm 1).

    m' = beta1 m + (1 - beta1) g;  v' = beta2 v + (1 - beta2) g^2;  step = eta / (sqrt(v' / (1 - beta2^t)) + eps);
    theta' = prox(theta - step m' / (1 - beta1^t)) with that step of each coordinate.
    """
    m, v = _moments(g, state, hyper)
    step = rate / (np.sqrt(v / (1 - hyper["beta2"] ** t)) + hyper["eps"])
    return Step(prox(theta - step * m / (1 - hyper["beta1"] ** t), step, l1), {"m": m, "v": v})


def amsgrad(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """Adam with the largest v' so far in v' place (Reddi et al. 2018), bias-corrected as PyTorch does.

    vmax' = max(vmax, v');  step = eta / (sqrt(vmax' / (1 - beta2^t)) + eps).
    """
    m, v = _moments(g, state, hyper)
    largest = np.maximum(state["vmax"], v)
    step = rate / (np.sqrt(largest / (1 - hyper["beta2"] ** t)) + hyper["eps"])
    return Step(prox(theta - step * m / (1 - hyper["beta1"] ** t), step, l1), {"m": m, "v": v, "vmax": largest})


def nadam(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """Adam with Nesterov's momentum (Dozat 2016), as torch.optim.NAdam.

    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);  P_t = mu_1 ... mu_t;  step as Adam's;
    theta' = prox(theta - step [(1 - mu_t) / (1 - P_t) g + mu_{t+1} / (1 - P_{t+1}) m']).

    With a constant g the bracket is g (1 + mu_{t+1} - mu_t) once P_t has vanished, not g: with L1 the optimum is a
    fixed point only in the limit, where mu_t has settled.
    """
    m, v = _moments(g, state, hyper)
    mu = hyper["beta1"] * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) * hyper["momentum_decay"]))
    now, following = mu[t - 1], mu[t]
    mean = (1 - now) / (1 - np.prod(mu[:t])) * g + following / (1 - np.prod(mu)) * m
    step = rate / (np.sqrt(v / (1 - hyper["beta2"] ** t)) + hyper["eps"])
    return Step(prox(theta - step * mean, step, l1), {"m": m, "v": v})


def adadelta(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """AdaDelta (Zeiler 2012, algorithm 1), with a rate as in torch.optim.Adadelta.

    h' = decay h + (1 - decay) g^2;  ratio = sqrt(d + eps) / sqrt(h' + eps);  delta = ratio g;
    theta' = prox(theta - eta delta) with step eta ratio;  d' = decay d + (1 - decay) delta^2.
    """
    keep, eps = hyper["decay"], hyper["eps"]
    h = keep * state["h"] + (1 - keep) * g**2
    ratio = np.sqrt(state["d"] + eps) / np.sqrt(h + eps)
    d = keep * state["d"] + (1 - keep) * (ratio * g) ** 2
    return Step(prox(theta - rate * ratio * g, rate * ratio, l1), {"h": h, "d": d})


def adamw(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """Adam from theta times 1 - eta weight_decay, but for the last column, the intercept (Loshchilov and Hutter 2019).

    The decay is not part of the objective: the limit minimises another one.
    """
    shrunk = theta * (1 - rate * hyper["weight_decay"])
    shrunk[..., -1] = theta[..., -1]
    return adam(shrunk, g, state, t, rate, hyper, l1)


def saga(theta: Floats, g: Floats, state: State, t: int, rate: float, hyper: Hyper, l1: Floats) -> Step:
    """As gd, along the direction of `loop.saga_direction`, which keeps the state (Defazio et al. 2014)."""
    return Step(prox(theta - rate * g, rate, l1), state)


def _theta(theta: Floats, state: State, hyper: Hyper) -> Floats:
    return theta


def _ahead(theta: Floats, state: State, hyper: Hyper) -> Floats:
    return theta + hyper["momentum"] * state["v"]


def _mean(theta: Floats, state: State, hyper: Hyper) -> Floats:
    return state["mean"]


class Rule(NamedTuple):
    """An update rule.

    Attributes
    ----------
    state : tuple of str
        The arrays that it keeps, all 0 at the start.
    defaults : dict of str to float
        Its hyper-parameters, in the order in which the kernels take them.
    update : callable
        Its formula.
    point : callable, optional
        The point of its gradient, from (theta, state, hyper); by default theta.
    reported : callable, optional
        The parameters that a fit returns, from (theta, state, hyper); by default theta.
    keeps_rows : bool, default=False
        Whether its g is the direction of `loop.saga_direction`, which remembers the loss derivatives of rows.
    """

    state: tuple[str, ...]
    defaults: dict[str, float]
    update: Callable[..., Step]
    point: Callable[[Floats, State, Hyper], Floats] = _theta
    reported: Callable[[Floats, State, Hyper], Floats] = _theta
    keeps_rows: bool = False


_ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}

#: The rules by name.
RULES = {
    "gd": Rule((), {}, gd),
    "averaged": Rule(("mean",), {"start": 1.0}, averaged, reported=_mean),
    "momentum": Rule(("v",), {"momentum": 0.9}, momentum),
    "lookahead": Rule(("v",), {"momentum": 0.9}, momentum, point=_ahead),
    "nesterov": Rule(("v",), {"momentum": 0.9}, nesterov),
    "adagrad": Rule(("h",), {"eps": 1e-10}, adagrad),
    "rmsprop": Rule(("h",), {"decay": 0.9, "eps": 1e-8}, rmsprop),
    "adam": Rule(("m", "v"), _ADAM, adam),
    "amsgrad": Rule(("m", "v", "vmax"), _ADAM, amsgrad),
    "nadam": Rule(("m", "v"), {**_ADAM, "momentum_decay": 4e-3}, nadam),
    "adadelta": Rule(("h", "d"), {"decay": 0.9, "eps": 1e-6}, adadelta),
    "adamw": Rule(("m", "v"), {**_ADAM, "weight_decay": 0.01}, adamw),
    "saga": Rule(("mean",), {}, saga, keeps_rows=True),
    "momentum_torch": Rule(("v",), {"momentum": 0.9}, momentum_torch),
    "nesterov_torch": Rule(("v",), {"momentum": 0.9}, nesterov_torch),
}


def init(rule: str, shape: tuple[int, ...]) -> State:
    """Return the state of a rule before its first update, for parameters of this shape."""
    return {name: np.zeros(shape) for name in _rule(rule).state}


def point(rule: str, theta: Floats, state: State, hyper: Hyper) -> Floats:
    """Return the point at which the next update needs the gradient, and before it the loss is recorded."""
    return _rule(rule).point(theta, state, _full(rule, hyper))


def reported(rule: str, theta: Floats, state: State, hyper: Hyper) -> Floats:
    """Return the parameters of a fit that ends after the last update."""
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
    """Return theta and state after one update; nothing is changed in place.

    Parameters
    ----------
    rule : str
        A name in `RULES`.
    theta : ndarray of float64
        Parameters; the last column is the intercept, without weight decay.
    g : ndarray of float64
        Gradient of everything but L1 at `point`, or the direction of `loop.saga_direction`.
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

    Raises
    ------
    ValueError
        If the rule or a hyper-parameter is unknown, or t is below 1.
    """
    if t < 1:
        raise ValueError(f"t must count updates from 1, got {t}")
    return _rule(rule).update(theta, g, state, t, rate, _full(rule, hyper), thresholds)


def _rule(name: str) -> Rule:
    if name not in RULES:
        raise ValueError(f"rule must be one of {sorted(RULES)}, got {name!r}")
    return RULES[name]


def _full(rule: str, hyper: Hyper) -> Hyper:
    """Return all hyper-parameters of a rule: those given, and its defaults for the others."""
    defaults = _rule(rule).defaults
    unknown = sorted(set(hyper) - set(defaults))
    if unknown:
        raise ValueError(f"hyper has {unknown}, which {rule!r} does not know; it knows {sorted(defaults)}")
    return {**defaults, **hyper}
