"""JAX on the CPU: an epoch, or part of it, as one compiled scan over an array of batches, in order."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench.candidates import Candidate
from bench.check import Floats, Plan
from bench.objective import Objective
from bench.problems import Data
from bench.racing import ADAM_RATES, DESCENT_RATES, LAPS, Racer, Setting, lap_rows, settings

_SIZES = [(256, 1), (1024, 1), (4096, 1)]

Gradient = Callable[[Any, tuple[Any, Any]], Any]


def epochs(data: Data, plan: Plan) -> Iterator[Candidate]:
    """Adam in lax.scan; the gradient by autodiff and by hand, with and without unrolling."""
    if data.X.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    rows, d = plan.batches(len(data.y)) * plan.batch_size, data.X.shape[1]
    X = jnp.asarray(data.X[:rows].reshape(-1, plan.batch_size, d))
    y = jnp.asarray(data.signs()[:rows].reshape(-1, plan.batch_size))
    for kind, gradient in (("autodiff", _by_autodiff(plan)), ("gradient by hand", _by_hand(plan))):
        for unroll in (1, 4):
            epoch = _make_epoch(plan, gradient, unroll)

            def run(epoch: Callable[..., Any] = epoch) -> Any:
                return jax.block_until_ready(epoch(X, y))

            yield Candidate("JAX scan, in order", f"{kind}, unroll {unroll}", run)


def _by_autodiff(plan: Plan) -> Gradient:
    def loss(theta: Any, batch: tuple[Any, Any]) -> Any:
        X, y = batch
        z = X @ theta[:-1] + theta[-1]
        return jnp.mean(jax.nn.softplus(-y * z)) + 0.5 * plan.alpha * jnp.sum(theta[:-1] ** 2)

    return jax.grad(loss)


def _by_hand(plan: Plan) -> Gradient:
    def gradient(theta: Any, batch: tuple[Any, Any]) -> Any:
        X, y = batch
        r = -y * jax.nn.sigmoid(-y * (X @ theta[:-1] + theta[-1])) / plan.batch_size
        return jnp.append(r @ X + plan.alpha * theta[:-1], r.sum())

    return gradient


def _make_epoch(plan: Plan, gradient: Gradient, unroll: int) -> Callable[..., Any]:
    @jax.jit
    def epoch(X: Any, y: Any) -> Any:
        def step(state: tuple[Any, ...], batch: tuple[Any, Any]) -> tuple[tuple[Any, ...], None]:
            theta, m, v, power1, power2 = state
            g = gradient(theta, batch)
            m = plan.beta1 * m + (1 - plan.beta1) * g
            v = plan.beta2 * v + (1 - plan.beta2) * g * g
            power1, power2 = power1 * plan.beta1, power2 * plan.beta2
            theta -= plan.rate * (m / (1 - power1)) / (jnp.sqrt(v / (1 - power2)) + plan.eps)
            return (theta, m, v, power1, power2), None

        zero, one = jnp.zeros(X.shape[-1] + 1, X.dtype), jnp.ones((), X.dtype)
        return jax.lax.scan(step, (zero, zero, zero, one, one), (X, y), unroll=unroll)[0][0]

    return epoch


def racers() -> Iterator[Racer]:
    """Stochastic gradient descent, each lap a compiled scan; the fastest gradient of `epochs`, by hand."""
    yield Racer("JAX SGD", settings(_SIZES, DESCENT_RATES), functools.partial(_race, rule="sgd"), rule="descent")


def solvers(objective: Objective) -> Iterator[Racer]:
    """Mini-batches by optax's sgd and adam."""
    if not objective.l1:
        yield from racers()
        yield Racer("JAX Adam", settings(_SIZES, ADAM_RATES), functools.partial(_race, rule="adam"), rule="adam")


def _race(objective: Objective, setting: Setting, rule: str) -> Iterator[Floats]:
    data, size, shape = objective.data, setting.batch_size, objective.shape
    if data.X.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    rows, y = lap_rows(len(data.y), size), objective.y.astype(data.X.dtype)
    y = y if objective.task == "softmax" else y[:, 0]
    X = data.X[: LAPS * rows].reshape(LAPS, -1, size, shape[1] - 1)
    batches = zip(X, y[: LAPS * rows].reshape(LAPS, -1, size, *y.shape[1:]), strict=True)
    laps = [(jnp.asarray(some), jnp.asarray(targets)) for some, targets in batches]
    alpha = jnp.asarray(objective.l2, data.X.dtype)
    theta = jnp.zeros((shape[1], *y.shape[1:]), data.X.dtype)
    state = (theta, _RULES[rule](0.0).init(theta))
    jax.block_until_ready((laps, alpha, state))

    def run(state: Any) -> Iterator[Floats]:
        for number, lap in enumerate(itertools.cycle(laps)):
            rate = data.X.dtype.type(setting.rate_in(number))
            state = _lap(state, *lap, rate, alpha, objective.task, rule)
            yield np.atleast_2d(np.asarray(state[0], dtype=np.float64).T)

    return run(state)


#: optax's rules; sgd is a step of rate times gradient and nothing else.
_RULES = {"sgd": optax.sgd, "adam": optax.adam}


@functools.partial(jax.jit, static_argnums=(5, 6))
def _lap(state: Any, X: Any, y: Any, rate: Any, alpha: Any, task: str, rule: str) -> Any:
    update = _RULES[rule](rate).update

    def step(state: Any, batch: tuple[Any, Any]) -> tuple[Any, None]:
        (theta, memory), (rows, targets) = state, batch
        r = _slope(task, rows @ theta[:-1] + theta[-1], targets) / len(targets)
        g = jnp.concatenate([rows.T @ r + alpha * theta[:-1], r.sum(axis=0, keepdims=True)])
        change, memory = update(g, memory)
        return (theta + change, memory), None

    return jax.lax.scan(step, state, (X, y))[0]


def _slope(task: str, z: Any, y: Any) -> Any:
    if task == "softmax":
        return jax.nn.softmax(z) - y
    return z - y if task == "linear" else -y * jax.nn.sigmoid(-y * z)
